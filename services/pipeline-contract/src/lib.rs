//! What handlers and services say to each other: the webhook payload that starts a job
//! and the status reports that follow it.
//!
//! Types only, no IO: this crate is linked into handlers that run on AWS and into the
//! services that stand in for the platform. The contract is the one of the Amperity
//! Lambda runner's webhook destination.

mod payload;
mod report;

pub use payload::{InvalidPayload, WebhookId, WebhookPayload};
pub use report::{InvalidReport, JobState, MAX_ERRORS_PER_REPORT, StatusReport};
