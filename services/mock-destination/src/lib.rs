//! The third parties: where handlers deliver to.
//!
//! `POST /mock/destination` takes any JSON, `POST /mock/rudderstack` wants what RudderStack
//! wants, `/mock/error/<code>` fails as told, `PUT /mock/poll/<webhook id>` hands status
//! reports on to the callback poller. What arrived is at `GET /_longshore/deliveries`.

mod config;
mod deliveries;
mod delivery;
mod fault;
mod forward;
mod inspect;
mod kept;
mod records;
mod routes;

use std::future::Future;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::Config;
use deliveries::Deliveries;
pub use routes::router;

/// The destination could not start, or stopped other than by its shutdown.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The client that hands status reports on could not be made.
    #[error("cannot set up the client for the callback poller")]
    Client(#[from] reqwest::Error),
    /// What is kept on disk cannot be used.
    #[error("the mock destination cannot keep what it gets")]
    Kept(#[from] journal::LedgerError),
    /// The listener failed for good.
    #[error("the mock destination stopped")]
    Serve(#[from] service_runtime::ServeError),
}

/// Serves the destination until `shutdown`; queries that wait are then answered with what
/// has arrived.
///
/// # Errors
/// [`RunError`] if it cannot start or the listener fails for good.
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let closing = CancellationToken::new();
    let drain = config.drain;
    let (deliveries, writing) = Deliveries::open(&config).await?;
    let router = routes::over(deliveries, config, closing.clone())?;
    let stop = async move {
        shutdown.await;
        closing.cancel();
    };
    let served = service_runtime::serve(listener, router, stop, drain).await;
    if let Some(writing) = writing {
        writing.finish().await;
    }
    Ok(served?)
}
