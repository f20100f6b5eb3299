//! The status report: how a handler tells the platform how far a job is.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A report carries at most this many entries in `errors`; the rest goes into the next one.
pub const MAX_ERRORS_PER_REPORT: usize = 10;

/// Where a job stands, as its handler reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Work goes on; more reports follow.
    Running,
    /// Everything was read and handed over. `errors` may still name batches that failed.
    Succeeded,
    /// The job ended early; `reason` says why.
    Failed,
}

impl JobState {
    /// Whether no further report is expected.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The body of `PUT {callback_url}{webhook_id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// Where the job stands.
    pub state: JobState,
    /// How much of the source was read, 0 to 1, rounded to two places.
    pub progress: f64,
    /// What went wrong since the last report, at most [`MAX_ERRORS_PER_REPORT`] entries.
    /// Usually strings; some handlers send whole response bodies, so any JSON is taken.
    #[serde(default)]
    pub errors: Vec<Value>,
    /// Why the job failed; empty otherwise.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub reason: String,
}

/// A report that breaks the contract. The receiver keeps it all the same and says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidReport {
    /// `progress` is not a number from 0 to 1.
    ProgressOutOfRange,
    /// More than [`MAX_ERRORS_PER_REPORT`] errors in one report.
    TooManyErrors(usize),
    /// An entry of `errors` is not a string.
    ErrorNotAString(usize),
}

impl fmt::Display for InvalidReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProgressOutOfRange => f.write_str("progress must be a number from 0 to 1"),
            Self::TooManyErrors(count) => write!(
                f,
                "a report carries at most {MAX_ERRORS_PER_REPORT} errors, this one has {count}"
            ),
            Self::ErrorNotAString(index) => write!(f, "errors[{index}] is not a string"),
        }
    }
}

impl StatusReport {
    /// A job that goes on, `progress` of the way through.
    #[must_use]
    pub fn running(progress: f64, errors: Vec<Value>) -> Self {
        Self {
            state: JobState::Running,
            progress,
            errors,
            reason: String::new(),
        }
    }

    /// A job that read its source to the end.
    #[must_use]
    pub fn succeeded(errors: Vec<Value>) -> Self {
        Self {
            state: JobState::Succeeded,
            progress: 1.0,
            errors,
            reason: String::new(),
        }
    }

    /// A job that ended early.
    #[must_use]
    pub fn failed(progress: f64, errors: Vec<Value>, reason: impl Into<String>) -> Self {
        Self {
            state: JobState::Failed,
            progress,
            errors,
            reason: reason.into(),
        }
    }

    /// Every way in which this report breaks the contract.
    #[must_use]
    pub fn violations(&self) -> Vec<InvalidReport> {
        let mut found = Vec::new();
        if !(0.0..=1.0).contains(&self.progress) {
            found.push(InvalidReport::ProgressOutOfRange);
        }
        if self.errors.len() > MAX_ERRORS_PER_REPORT {
            found.push(InvalidReport::TooManyErrors(self.errors.len()));
        }
        found.extend(
            self.errors
                .iter()
                .enumerate()
                .filter(|(_, error)| !error.is_string())
                .map(|(index, _)| InvalidReport::ErrorNotAString(index)),
        );
        found
    }
}

fn null_as_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reports_have_the_reference_shape() {
        let report = StatusReport::running(0.5, vec![json!("batch 3: 503")]);
        assert_eq!(
            serde_json::to_value(&report).unwrap(),
            json!({"state": "running", "progress": 0.5, "errors": ["batch 3: 503"], "reason": ""})
        );
    }

    #[test]
    fn absent_and_null_fields_are_taken() {
        let report: StatusReport =
            serde_json::from_value(json!({"state": "failed", "progress": 0, "reason": null}))
                .unwrap();
        assert_eq!(report, StatusReport::failed(0.0, Vec::new(), ""));
    }

    #[test]
    fn violations_name_what_is_wrong() {
        let cases = [
            (StatusReport::running(1.0, vec![]), vec![]),
            (
                StatusReport::running(30.26, vec![]),
                vec![InvalidReport::ProgressOutOfRange],
            ),
            (
                StatusReport::running(f64::NAN, vec![]),
                vec![InvalidReport::ProgressOutOfRange],
            ),
            (
                StatusReport::running(0.1, vec![json!({"a": 1})]),
                vec![InvalidReport::ErrorNotAString(0)],
            ),
            (
                StatusReport::succeeded(vec![json!("x"); 11]),
                vec![InvalidReport::TooManyErrors(11)],
            ),
        ];
        for (report, expected) in cases {
            assert_eq!(report.violations(), expected, "{report:?}");
        }
    }
}
