//! Receives status reports and owns a job's timeline until it ends or times out.
//!
//! `PUT /mock/poll/<webhook id>` is where handlers report to; the view of a job is at
//! `GET /_longshore/jobs/<webhook id>`. A report that breaks the contract is answered as
//! the platform would, kept, and shown as a violation.

mod config;
mod job;
mod jobs;
mod kept;
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

/// The poller could not start, or stopped other than by its shutdown.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// What is kept on disk cannot be used.
    #[error("the callback poller cannot keep its jobs")]
    Kept(#[from] journal::LedgerError),
    /// The listener failed for good.
    #[error("the callback poller stopped")]
    Serve(#[from] service_runtime::ServeError),
}

/// Serves the poller until `shutdown`; queries that wait are then answered with what is
/// known.
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
    let (jobs, writing) = Jobs::open(config).await?;
    let router = router(jobs, closing.clone());
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
