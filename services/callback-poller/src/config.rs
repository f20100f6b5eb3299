//! What the poller is told at start.

use std::path::PathBuf;
use std::time::Duration;

use crate::job::Patience;

/// Settings of the poller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a job may take from its first report to its last. The platform waits three
    /// hours; whether each report starts the clock anew is not documented, so it does not.
    pub job_deadline: Duration,
    /// How long a job may go without a report. Bounds what a function that was killed leaves
    /// behind: it cannot report its own end.
    pub job_silence: Duration,
    /// Jobs kept at most; ended ones go first.
    pub max_jobs: usize,
    /// Reports kept for each job at most; the oldest go first.
    pub max_reports_per_job: usize,
    /// Where jobs are kept, so that whoever starts next has them; `None` keeps them in memory
    /// only.
    pub state_dir: Option<PathBuf>,
    /// How long requests in flight may take once shutdown was asked for.
    pub drain: Duration,
}

impl Config {
    /// How long the platform waits for a job's last report.
    pub const PLATFORM_DEADLINE: Duration = Duration::from_secs(3 * 60 * 60);
    /// No function is silent for longer and still reports: it runs 15 minutes at most, and a
    /// retry of its event comes after at most two more.
    pub const LONGEST_SILENCE: Duration = Duration::from_secs(20 * 60);

    pub(crate) fn patience(&self) -> Patience {
        Patience {
            whole: self.job_deadline,
            silence: self.job_silence,
        }
    }
}
