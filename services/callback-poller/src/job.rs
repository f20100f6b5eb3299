//! One job: the fold of its reports, and the clock that ends it if no last one comes.

use std::time::Duration;

use jiff::Timestamp;
use journal::{Journal, Limits, Weigh};
use pipeline_contract::JobState;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::report::{ReceivedReport, Rejection, json_weight};

/// What the kept reports, errors and rejections of one job may weigh, each.
const MAX_BYTES: usize = 512 << 10;
const MAX_ERRORS: usize = 1_000;
const MAX_REJECTIONS: usize = 50;

/// Where a job stands. The first ending counts: nothing un-ends a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    Succeeded,
    Failed,
    TimedOut,
}

/// An entry of some report's `errors`.
#[derive(Clone, Debug)]
pub(crate) struct ReportedError(pub(crate) Value);

impl Weigh for ReportedError {
    fn weight(&self) -> usize {
        json_weight(&self.0)
    }
}

/// A report that was refused, and why.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RejectedReport {
    pub(crate) received_at: Timestamp,
    pub(crate) why: String,
}

impl Weigh for RejectedReport {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.why.len()
    }
}

/// One job, from its first report on.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) phase: Phase,
    /// The progress of the newest report that counts.
    pub(crate) progress: f64,
    pub(crate) first_report_at: Timestamp,
    pub(crate) last_report_at: Timestamp,
    /// When it times out, on the calendar.
    pub(crate) deadline: Timestamp,
    /// The same on the clock that timers run on.
    pub(crate) deadline_at: Instant,
    pub(crate) reports: Journal<ReceivedReport>,
    pub(crate) errors: Journal<ReportedError>,
    pub(crate) rejected: Journal<RejectedReport>,
}

impl Job {
    /// A job that something was heard of for the first time.
    pub(crate) fn new(allowed: Duration, max_reports: usize) -> Self {
        let now = Timestamp::now();
        let limits = |entries| Limits {
            entries,
            bytes: MAX_BYTES,
        };
        Self {
            phase: Phase::Running,
            progress: 0.0,
            first_report_at: now,
            last_report_at: now,
            deadline: now.checked_add(allowed).unwrap_or(Timestamp::MAX),
            deadline_at: Instant::now() + allowed,
            reports: Journal::new(limits(max_reports)),
            errors: Journal::new(limits(MAX_ERRORS)),
            rejected: Journal::new(limits(MAX_REJECTIONS)),
        }
    }

    /// Times the job out if its deadline has passed. Called before anyone looks at it, so
    /// that no task has to watch the clock for it.
    pub(crate) fn settle(&mut self) {
        if self.phase == Phase::Running && Instant::now() >= self.deadline_at {
            self.phase = Phase::TimedOut;
        }
    }

    /// Takes a report; returns every breach of the contract, also those that show only
    /// beside the reports before it.
    pub(crate) fn take(&mut self, mut received: ReceivedReport) -> Vec<String> {
        self.settle();
        self.last_report_at = received.received_at;
        let state = received.report.state;
        let progress = received.report.progress;
        match self.phase {
            Phase::Running => {
                if progress < self.progress {
                    received.violations.push(format!(
                        "progress went backwards, from {} to {progress}",
                        self.progress
                    ));
                }
                if (0.0..=1.0).contains(&progress) {
                    self.progress = progress;
                }
                self.phase = match state {
                    JobState::Running => Phase::Running,
                    JobState::Succeeded => Phase::Succeeded,
                    JobState::Failed => Phase::Failed,
                };
            }
            Phase::Succeeded => received.violations.push(after_the_end(state, "succeeded")),
            Phase::Failed => received.violations.push(after_the_end(state, "failed")),
            Phase::TimedOut => received.violations.push(format!(
                "{state} reported {} s after the deadline",
                self.deadline_at.elapsed().as_secs()
            )),
        }
        for error in &received.report.errors {
            self.errors.append(ReportedError(error.clone()));
        }
        let violations = received.violations.clone();
        self.reports.append(received);
        violations
    }

    /// Notes that a report was refused.
    pub(crate) fn reject(&mut self, why: &Rejection) {
        self.settle();
        self.rejected.append(RejectedReport {
            received_at: Timestamp::now(),
            why: why.to_string(),
        });
    }
}

fn after_the_end(state: JobState, end: &str) -> String {
    format!("{state} reported after {end}; a second run needs a webhook id of its own")
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn job() -> Job {
        Job::new(Duration::from_secs(60), 100)
    }

    fn send(job: &mut Job, state: &str, progress: f64) -> Vec<String> {
        let body = format!(r#"{{"state":"{state}","progress":{progress},"errors":["e"]}}"#);
        let headers = HeaderMap::from_iter([(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        )]);
        job.take(ReceivedReport::read(&headers, body.as_bytes()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_ending_counts() {
        for (first, phase) in [("succeeded", Phase::Succeeded), ("failed", Phase::Failed)] {
            for late in ["running", "succeeded", "failed"] {
                let mut job = job();
                assert!(send(&mut job, "running", 0.5).is_empty());
                assert!(send(&mut job, first, 1.0).is_empty());
                let found = send(&mut job, late, 0.2);
                assert!(
                    found[0].starts_with(&format!("{late} reported after {first}")),
                    "{found:?}"
                );
                assert_eq!((job.phase, job.progress), (phase, 1.0));
                assert_eq!(job.reports.snapshot().entries.len(), 3);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn progress_only_goes_forward() {
        let mut job = job();
        assert!(send(&mut job, "running", 0.5).is_empty());
        assert!(send(&mut job, "running", 0.5).is_empty());
        assert_eq!(
            send(&mut job, "running", 0.25),
            ["progress went backwards, from 0.5 to 0.25"]
        );
        assert_eq!(
            send(&mut job, "running", 30.26),
            ["progress must be a number from 0 to 1"]
        );
        assert_eq!(job.progress, 0.25);
    }

    #[tokio::test(start_paused = true)]
    async fn reports_do_not_move_the_deadline() {
        let mut job = job();
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(send(&mut job, "running", 0.5).is_empty());
        tokio::time::advance(Duration::from_secs(1)).await;
        job.settle();
        assert_eq!(job.phase, Phase::TimedOut);
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(
            send(&mut job, "succeeded", 1.0),
            ["succeeded reported 4 s after the deadline"]
        );
        assert_eq!(job.phase, Phase::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn errors_add_up_over_reports() {
        let mut job = job();
        for _ in 0..MAX_ERRORS {
            send(&mut job, "running", 0.5);
        }
        send(&mut job, "succeeded", 1.0);
        let errors = job.errors.snapshot();
        assert_eq!((errors.entries.len(), errors.evicted), (MAX_ERRORS, 1));
        assert_eq!(job.reports.snapshot().entries.len(), 100);
    }
}
