//! How a run ended.

use http::StatusCode;
use serde_json::{Value, json};

/// A finished run: what is answered to the caller, and where the next one would go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// Records of the source that are settled, skipped ones included: delivered or
    /// reported as errors. A run with this `batch_offset` goes on after them.
    pub batch_offset: u64,
    /// Records in the batches that were accepted.
    pub delivered: u64,
    /// Batches handed over.
    pub batches: u64,
    /// Those of them that were refused.
    pub refused: u64,
    /// The first errors, at most ten.
    pub errors: Vec<String>,
    /// How many errors there were.
    pub error_count: u64,
}

/// The ways a run can end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The source was read to its end, and that was reported: the callback's answer.
    Succeeded(StatusCode),
    /// It ended early, or everything was refused: why. Reported, if the callback could be
    /// reached.
    Failed(String),
    /// The callback did not take the first report (nothing was read then) or could not be
    /// reached for the last.
    Unreported,
}

impl Outcome {
    pub(crate) const UNREPORTED: &str = "Error reporting status to Amperity. Ending Lambda.";

    /// The HTTP status to answer with: the callback's own after success, as the reference
    /// does it, else 500.
    #[must_use]
    pub fn status_code(&self) -> u16 {
        match &self.ending {
            Ending::Succeeded(status) => status.as_u16(),
            Ending::Failed(_) | Ending::Unreported => 500,
        }
    }

    /// The body to answer with: `{"status", "message"}`.
    #[must_use]
    pub fn body(&self) -> Value {
        match &self.ending {
            Ending::Succeeded(_) => json!({"status": "succeeded", "message": self.errors}),
            Ending::Failed(reason) => json!({"status": "failed", "message": reason}),
            Ending::Unreported => json!({"status": "error", "message": Self::UNREPORTED}),
        }
    }
}
