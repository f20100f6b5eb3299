//! How a job looks to who asks: the JSON of the control routes.

use jiff::Timestamp;
use pipeline_contract::WebhookId;
use serde::Serialize;
use serde_json::Value;

use crate::job::{Job, Phase, RejectedReport};
use crate::report::ReceivedReport;

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Reports are still to come.
    Running,
    /// The handler reported that it read everything. `errors` may name failed batches.
    Succeeded,
    /// The handler reported that it gave up.
    Failed,
    /// No last report came in time, or none for too long; `reason` says which.
    TimedOut,
}

impl State {
    /// Whether the job has ended.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        self != Self::Running
    }
}

impl From<Phase> for State {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Running => Self::Running,
            Phase::Succeeded => Self::Succeeded,
            Phase::Failed => Self::Failed,
            Phase::TimedOut(_) => Self::TimedOut,
        }
    }
}

/// A violation and the report it is about, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Violation {
    report: u64,
    violation: String,
}

/// Everything known of one job.
#[derive(Clone, Debug, Serialize)]
pub struct JobView {
    webhook_id: WebhookId,
    state: State,
    /// Why it failed or timed out; empty otherwise.
    reason: String,
    progress: f64,
    first_report_at: Timestamp,
    last_report_at: Timestamp,
    deadline: Timestamp,
    reports: Vec<ReceivedReport>,
    /// The errors of all reports, in order.
    errors: Vec<Value>,
    violations: Vec<Violation>,
    /// Reports that were refused.
    rejected: Vec<RejectedReport>,
    rejected_reports: u64,
    evicted_reports: u64,
    evicted_errors: u64,
    /// Whether nothing of this job was let go of.
    complete: bool,
}

impl JobView {
    pub(crate) fn new(webhook_id: WebhookId, job: &Job) -> Self {
        let reports = job.reports.snapshot();
        let errors = job.errors.snapshot();
        let rejected = job.rejected.snapshot();
        Self {
            webhook_id,
            state: job.phase.into(),
            reason: job.reason(),
            progress: job.progress,
            first_report_at: job.first_report_at,
            last_report_at: job.last_report_at,
            deadline: job.deadline,
            violations: reports
                .entries
                .iter()
                .flat_map(|entry| {
                    entry.item.violations.iter().map(|violation| Violation {
                        report: entry.id.get(),
                        violation: violation.clone(),
                    })
                })
                .collect(),
            reports: reports.entries.iter().map(|e| e.item.clone()).collect(),
            errors: errors.entries.iter().map(|e| e.item.0.clone()).collect(),
            rejected_reports: rejected.evicted + rejected.entries.len() as u64,
            rejected: rejected.entries.iter().map(|e| e.item.clone()).collect(),
            evicted_reports: reports.evicted,
            evicted_errors: errors.evicted,
            complete: reports.complete() && errors.complete() && rejected.complete(),
        }
    }

    /// Where the job stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }
}

/// One line of the list of jobs.
#[derive(Clone, Debug, Serialize)]
pub struct JobSummary {
    webhook_id: WebhookId,
    state: State,
    progress: f64,
    first_report_at: Timestamp,
    last_report_at: Timestamp,
    deadline: Timestamp,
    reports: u64,
    errors: u64,
    rejected_reports: u64,
}

impl JobSummary {
    pub(crate) fn new(webhook_id: WebhookId, job: &Job) -> Self {
        let reports = job.reports.snapshot();
        let errors = job.errors.snapshot();
        let rejected = job.rejected.snapshot();
        Self {
            webhook_id,
            state: job.phase.into(),
            progress: job.progress,
            first_report_at: job.first_report_at,
            last_report_at: job.last_report_at,
            deadline: job.deadline,
            reports: reports.evicted + reports.entries.len() as u64,
            errors: errors.evicted + errors.entries.len() as u64,
            rejected_reports: rejected.evicted + rejected.entries.len() as u64,
        }
    }
}

/// The jobs, in order of their first report.
#[derive(Clone, Debug, Serialize)]
pub struct JobList {
    pub(crate) jobs: Vec<JobSummary>,
    /// Jobs let go of to stay within the limit.
    pub(crate) evicted: u64,
    pub(crate) complete: bool,
}
