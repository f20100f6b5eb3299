//! Receives status reports and owns a job's timeline until it ends or times out.
//!
//! `PUT /mock/poll/<webhook id>` is where handlers report to; the view of a job is at
//! `GET /_longshore/jobs/<webhook id>`. A report that breaks the contract is answered as
//! the platform would, kept, and shown as a violation.

mod config;
mod job;
mod jobs;
mod report;
mod routes;
mod view;

use std::future::Future;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use jobs::Jobs;
pub use routes::router;
pub use view::{JobList, JobSummary, JobView, State};

/// The poller stopped other than by its shutdown.
#[derive(Debug, thiserror::Error)]
#[error("the callback poller stopped")]
pub struct RunError(#[from] service_runtime::ServeError);

/// Serves the poller until `shutdown`; queries that wait are then answered with what is
/// known.
///
/// # Errors
/// [`RunError`] if the listener fails for good.
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let closing = CancellationToken::new();
    let router = router(Jobs::new(config), closing.clone());
    let stop = async move {
        shutdown.await;
        closing.cancel();
    };
    Ok(service_runtime::serve(listener, router, stop, config.drain).await?)
}
