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

use crate::access::Access;
use crate::asynchronous::{Events, StoreError};
use crate::broker::Broker;
use crate::cloudwatch_logs;
use crate::config::Config;
use crate::faults;
use crate::lambda_api;
use crate::process::Launcher;
use crate::routes::{control, front, logs};

/// What the routes need; clones are handles.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Who takes invocations.
    pub broker: Broker,
    /// The functions and the routes that lead to them.
    pub functions: watch::Receiver<Arc<FunctionTable>>,
    /// Who takes events that nobody waits for.
    pub events: Events,
    /// Who may call, on routes that ask.
    pub access: Arc<Access>,
}

/// The gateway stopped other than by its shutdown.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The listener failed.
    #[error("the gateway stopped serving")]
    Serve(#[from] ServeError),
    /// The events that an earlier run accepted cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Every route of the gateway.
pub fn router(gateway: Gateway) -> Router {
    Router::new()
        .route("/lambda/{function}", any(front::rest_api))
        .route("/lambda/{function}/", any(front::rest_api))
        .route("/lambda/{function}/{*proxy}", any(front::rest_api))
        .route("/lambda-url/{function}", any(front::function_url))
        .route("/lambda-url/{function}/", any(front::function_url))
        .route("/lambda-url/{function}/{*path}", any(front::function_url))
        .route("/alb/{function}", any(front::load_balancer))
        .route("/alb/{function}/", any(front::load_balancer))
        .route("/alb/{function}/{*path}", any(front::load_balancer))
        .merge(lambda_api::routes())
        .route("/_longshore/functions", get(control::functions))
        .route("/_longshore/functions/{name}", get(control::function))
        .route("/_longshore/environments", get(control::environments))
        .route("/_longshore/invocations", get(control::invocations))
        .route("/_longshore/events", get(control::events))
        .route(
            "/_longshore/faults",
            get(faults::routes::get)
                .put(faults::routes::put)
                .delete(faults::routes::delete),
        )
        .route("/_longshore/logs/{function}", get(logs::lines))
        .route("/_longshore/cloudwatch-logs", post(cloudwatch_logs::call))
        .fallback(front::routed)
        .merge(control_routes("mock-gateway"))
        // The routes have limits of their own, AWS's.
        .layer(DefaultBodyLimit::disable())
        .with_state(gateway)
}

/// Serves until `shutdown` asks to drain; then requests in flight finish, environments are
/// stopped and their processes reaped. Asked to stop at once, it kills them instead.
///
/// # Errors
/// [`RunError`] if accepted events cannot be read, or the listener fails for good. No
/// process is left behind then either.
pub async fn run(
    listener: TcpListener,
    supervisor: Supervisor,
    config: Config,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let functions = supervisor.functions();
    run_with(listener, functions, Arc::new(supervisor), config, shutdown).await
}

/// [`run`] with functions from anywhere and any way to start them.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    listener: TcpListener,
    functions: watch::Receiver<Arc<FunctionTable>>,
    launcher: Arc<dyn Launcher>,
    config: Config,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let drain = config.drain;
    let events_dir = config.events_dir.clone();
    let logs_dir = config.logs_dir.clone();
    let broker = Broker::new(config, launcher);
    let logs = broker.shared.logs.clone();
    let mut tasks = JoinSet::new();
    if let Some(folder) = &logs_dir {
        logs.keep(folder, &mut tasks).await;
    }
    // What is known already is known before the first request.
    let known = functions.borrow().clone();
    broker.take_in(&known);
    let events = match Events::open(broker.clone(), &events_dir, &mut tasks).await {
        Ok(events) => events,
        // Everything else works without it, and two sandboxes may share a folder.
        Err(error @ StoreError::InUse(_)) => {
            tracing::warn!("asynchronous invocation is off: {error}");
            Events::unavailable(broker.clone(), &error.to_string())
        }
        Err(error) => return Err(error.into()),
    };
    tasks.spawn(broker.clone().follow(functions.clone()));

    let began = Arc::new(OnceLock::new());
    let (draining, mark) = (shutdown.draining(), began.clone());
    let followed = logs.clone();
    let drained = async move {
        draining.await;
        // Who follows a log would hold up the end for as long as he likes.
        followed.close();
        mark.get_or_init(Instant::now);
    };
    let router = router(Gateway {
        broker: broker.clone(),
        functions,
        events,
        access: Arc::default(),
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
    logs.finish();
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a task of the gateway ended badly");
        }
    }
    Ok(served?)
}
