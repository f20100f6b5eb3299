//! The gateway as a service: its router, and its life from the first request to the last
//! reaped process.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post};
use function_supervisor::{FunctionTable, Supervisor};
use service_runtime::{ServeError, Shutdown, control_routes, serve};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::broker::Broker;
use crate::config::Config;
use crate::routes::{control, front, invoke};

/// What the routes need; clones are handles.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Who takes invocations.
    pub broker: Broker,
    /// The functions and the routes that lead to them.
    pub functions: watch::Receiver<Arc<FunctionTable>>,
}

/// The gateway stopped other than by its shutdown.
#[derive(Debug, thiserror::Error)]
#[error("the gateway stopped serving")]
pub struct RunError(#[from] ServeError);

/// Every route of the gateway.
pub fn router(gateway: Gateway) -> Router {
    Router::new()
        .route("/lambda/{function}", any(front::rest_api))
        .route("/lambda/{function}/", any(front::rest_api))
        .route("/lambda/{function}/{*proxy}", any(front::rest_api))
        .route("/lambda-url/{function}", any(front::function_url))
        .route("/lambda-url/{function}/", any(front::function_url))
        .route("/lambda-url/{function}/{*path}", any(front::function_url))
        .route(
            "/2015-03-31/functions/{name}/invocations",
            post(invoke::invoke),
        )
        .route("/_longshore/functions", get(control::functions))
        .route("/_longshore/functions/{name}", get(control::function))
        .route("/_longshore/environments", get(control::environments))
        .route("/_longshore/invocations", get(control::invocations))
        .fallback(front::http_api)
        .merge(control_routes("mock-gateway"))
        // The routes have limits of their own, AWS's.
        .layer(DefaultBodyLimit::disable())
        .with_state(gateway)
}

/// Serves until `shutdown` asks to drain; then requests in flight finish, environments are
/// stopped and their processes reaped. Asked to stop at once, it kills them instead.
///
/// # Errors
/// [`RunError`] if the listener fails for good. No process is left behind then either.
pub async fn run(
    listener: TcpListener,
    supervisor: Supervisor,
    config: Config,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let drain = config.drain;
    let functions = supervisor.functions();
    let broker = Broker::new(config, Arc::new(supervisor));
    // What is known already is known before the first request.
    let known = functions.borrow().clone();
    broker.take_in(&known);
    let mut tasks = JoinSet::new();
    tasks.spawn(broker.clone().follow(functions.clone()));

    let began = Arc::new(OnceLock::new());
    let (draining, mark) = (shutdown.draining(), began.clone());
    let drained = async move {
        draining.await;
        mark.get_or_init(Instant::now);
    };
    let router = router(Gateway {
        broker: broker.clone(),
        functions,
    });
    let served = tokio::select! {
        served = serve(listener, router, drained, drain) => served,
        () = shutdown.killed() => Ok(()),
    };

    let deadline = *began.get_or_init(Instant::now) + drain;
    let patience = async {
        tokio::select! {
            () = tokio::time::sleep_until(deadline) => {}
            () = shutdown.killed() => {}
        }
    };
    let stop = broker.stop(patience);
    tokio::pin!(stop);
    tokio::select! {
        () = &mut stop => {}
        () = shutdown.killed() => {
            broker.kill();
            stop.await;
        }
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "following the functions ended badly");
        }
    }
    Ok(served?)
}
