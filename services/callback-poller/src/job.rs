//! One job: the fold of its reports, and the clock that ends it if no last one comes.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use journal::{Entry, Journal, Limits, Weigh};
use pipeline_contract::JobState;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use crate::report::{ReceivedReport, Rejection, json_weight};

/// What the kept reports, errors and rejections of one job may weigh, each.
const MAX_BYTES: usize = 512 << 10;
const MAX_ERRORS: usize = 1_000;
const MAX_REJECTIONS: usize = 50;

/// Where a job stands. The first ending counts: nothing un-ends a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    Running,
    Succeeded,
    Failed,
    TimedOut(Overdue),
}

/// Which of the two bounds a job has met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Overdue {
    /// Its last report did not come within this many seconds of its first.
    NoLast(u64),
    /// No report came for this many seconds.
    Silent(u64),
}

impl fmt::Display for Overdue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLast(seconds) => {
                write!(f, "no last report within {seconds} s of the first")
            }
            Self::Silent(seconds) => {
                write!(f, "no report for {seconds} s: whoever ran the job is gone")
            }
        }
    }
}

/// How long a job may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// From its first report to its last.
    pub(crate) whole: Duration,
    /// From one report to the next.
    pub(crate) silence: Duration,
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
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    deadline_at: Instant,
    /// When it times out if nothing more is heard of it.
    silent_at: Instant,
    patience: Patience,
    pub(crate) reports: Journal<ReceivedReport>,
    pub(crate) errors: Journal<ReportedError>,
    pub(crate) rejected: Journal<RejectedReport>,
}

/// What a job is beside its records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outline {
    phase: Phase,
    progress: f64,
    first_report_at: Timestamp,
    last_report_at: Timestamp,
    deadline: Timestamp,
    /// How many there were, kept or not.
    reports: u64,
    errors: u64,
    rejected: u64,
}

impl Job {
    /// A job that something was heard of for the first time.
    pub(crate) fn new(patience: Patience, max_reports: usize) -> Self {
        let (now, at) = (Timestamp::now(), Instant::now());
        Self {
            phase: Phase::Running,
            progress: 0.0,
            first_report_at: now,
            last_report_at: now,
            deadline: now.checked_add(patience.whole).unwrap_or(Timestamp::MAX),
            deadline_at: at + patience.whole,
            silent_at: at + patience.silence,
            patience,
            reports: Journal::new(limits(max_reports)),
            errors: Journal::new(limits(MAX_ERRORS)),
            rejected: Journal::new(limits(MAX_REJECTIONS)),
        }
    }

    /// A job that was written down. Its clocks ran on meanwhile.
    pub(crate) fn restored(
        outline: &Outline,
        reports: Vec<Entry<ReceivedReport>>,
        rejected: Vec<Entry<RejectedReport>>,
        patience: Patience,
        max_reports: usize,
    ) -> Self {
        let of_report = |entry: &Entry<ReceivedReport>| entry.item.report.errors.clone();
        let errors: Vec<Value> = reports.iter().flat_map(of_report).collect();
        let first_error = outline.errors.saturating_sub(errors.len() as u64) + 1;
        let errors = (first_error..)
            .zip(errors)
            .map(|(id, error)| Entry {
                id: id.into(),
                item: ReportedError(error),
            })
            .collect();
        let silent = outline.last_report_at.checked_add(patience.silence);
        Self {
            phase: outline.phase,
            progress: outline.progress,
            first_report_at: outline.first_report_at,
            last_report_at: outline.last_report_at,
            deadline: outline.deadline,
            deadline_at: on_the_clock(outline.deadline),
            silent_at: on_the_clock(silent.unwrap_or(Timestamp::MAX)),
            patience,
            reports: restored(limits(max_reports), reports, outline.reports),
            errors: restored(limits(MAX_ERRORS), errors, outline.errors),
            rejected: restored(limits(MAX_REJECTIONS), rejected, outline.rejected),
        }
    }

    pub(crate) fn outline(&self) -> Outline {
        Outline {
            phase: self.phase,
            progress: self.progress,
            first_report_at: self.first_report_at,
            last_report_at: self.last_report_at,
            deadline: self.deadline,
            reports: self.reports.newest().get(),
            errors: self.errors.newest().get(),
            rejected: self.rejected.newest().get(),
        }
    }

    /// When it times out unless something is heard of it before.
    pub(crate) fn times_out_at(&self) -> Instant {
        self.deadline_at.min(self.silent_at)
    }

    /// Times the job out if it is overdue. Called before anyone looks at it, so that no task
    /// has to watch the clock for it.
    pub(crate) fn settle(&mut self) {
        if self.phase == Phase::Running && Instant::now() >= self.times_out_at() {
            self.phase = Phase::TimedOut(if self.deadline_at <= self.silent_at {
                let allowed = self.deadline.duration_since(self.first_report_at);
                Overdue::NoLast(allowed.as_secs().unsigned_abs())
            } else {
                Overdue::Silent(self.patience.silence.as_secs())
            });
        }
    }

    /// Why it ended as it did: what the handler said, or which bound it met.
    pub(crate) fn reason(&self) -> String {
        match self.phase {
            Phase::Running | Phase::Succeeded => String::new(),
            Phase::TimedOut(overdue) => overdue.to_string(),
            Phase::Failed => {
                let reports = self.reports.snapshot().entries;
                let failed = |state| state == JobState::Failed;
                let report = reports.iter().find(|entry| failed(entry.item.report.state));
                report.map_or_else(String::new, |entry| entry.item.report.reason.clone())
            }
        }
    }

    /// Takes a report; returns every breach of the contract, also those that show only
    /// beside the reports before it.
    pub(crate) fn take(&mut self, mut received: ReceivedReport) -> Vec<String> {
        self.settle();
        let timed_out_at = self.times_out_at();
        self.last_report_at = received.received_at;
        self.silent_at = Instant::now() + self.patience.silence;
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
            Phase::TimedOut(overdue) => received.violations.push(format!(
                "{state} reported {} s after the job had timed out: {overdue}",
                timed_out_at.elapsed().as_secs()
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

fn limits(entries: usize) -> Limits {
    Limits {
        entries,
        bytes: MAX_BYTES,
    }
}

fn restored<T: Weigh>(limits: Limits, entries: Vec<Entry<T>>, ever: u64) -> Journal<T> {
    let evicted = ever.saturating_sub(entries.len() as u64);
    Journal::restored(limits, entries, ever.into(), evicted)
}

/// A moment of the calendar as one of the clock; one that is past is now.
fn on_the_clock(moment: Timestamp) -> Instant {
    let left = Timestamp::now().duration_until(moment);
    Instant::now() + Duration::try_from(left).unwrap_or_default()
}

fn after_the_end(state: JobState, end: &str) -> String {
    format!("{state} reported after {end}; a second run needs a webhook id of its own")
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn job() -> Job {
        job_with(60, 3_600)
    }

    fn job_with(whole: u64, silence: u64) -> Job {
        let patience = Patience {
            whole: Duration::from_secs(whole),
            silence: Duration::from_secs(silence),
        };
        Job::new(patience, 100)
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
        let timed_out = Phase::TimedOut(Overdue::NoLast(60));
        assert_eq!(job.phase, timed_out);
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(
            send(&mut job, "succeeded", 1.0),
            [
                "succeeded reported 4 s after the job had timed out: no last report within 60 s of the first"
            ]
        );
        assert_eq!(job.phase, timed_out);
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_nobody_reports_on_any_more_has_ended() {
        let mut job = job_with(60, 10);
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(9)).await;
            assert!(send(&mut job, "running", 0.5).is_empty());
        }
        tokio::time::advance(Duration::from_secs(10)).await;
        job.settle();
        assert_eq!(job.phase, Phase::TimedOut(Overdue::Silent(10)));
        assert_eq!(
            job.reason(),
            "no report for 10 s: whoever ran the job is gone"
        );
        tokio::time::advance(Duration::from_secs(3)).await;
        let found = send(&mut job, "running", 0.6);
        assert!(
            found[0].starts_with("running reported 3 s after the job had timed out: no report"),
            "{found:?}"
        );
        assert_eq!(job.phase, Phase::TimedOut(Overdue::Silent(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_reason_is_that_of_the_report_that_ended_it() {
        let mut job = job();
        send(&mut job, "running", 0.5);
        assert_eq!(job.reason(), "");
        let body = br#"{"state":"failed","progress":0.5,"reason":"no such file"}"#;
        job.take(ReceivedReport::read(&HeaderMap::new(), body).unwrap());
        send(&mut job, "failed", 0.5);
        assert_eq!(job.reason(), "no such file");
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
