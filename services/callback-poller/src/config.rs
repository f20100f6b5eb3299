//! What the poller is told at start.

use std::time::Duration;

/// Settings of the poller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a job may take from its first report to its last. The platform waits three
    /// hours; whether each report starts the clock anew is not documented, so it does not.
    pub job_deadline: Duration,
    /// Jobs kept at most; ended ones go first.
    pub max_jobs: usize,
    /// Reports kept for each job at most; the oldest go first.
    pub max_reports_per_job: usize,
    /// How long requests in flight may take once shutdown was asked for.
    pub drain: Duration,
}

impl Config {
    /// How long the platform waits for a job's last report.
    pub const PLATFORM_DEADLINE: Duration = Duration::from_secs(3 * 60 * 60);
}
