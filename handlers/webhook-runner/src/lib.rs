//! Runs a webhook's job: streams the file it names, hands it over in batches, reports how
//! far it is.
//!
//! A handler takes the payload out of the event, chooses where batches go and runs:
//!
//! ```no_run
//! use webhook_runner::{ApiDestination, BadRequest, Deadline, HttpClient, Response, Runner};
//!
//! async fn handle(client: &HttpClient, event: &serde_json::Value) -> Response {
//!     Response::from(run(client, event).await)
//! }
//!
//! async fn run(
//!     client: &HttpClient,
//!     event: &serde_json::Value,
//! ) -> Result<webhook_runner::Outcome, BadRequest> {
//!     let payload = webhook_runner::webhook_payload(event)?;
//!     let mut destination = ApiDestination::new(client.clone(), "https://api.example.com/people")?
//!         .requests_per_minute(60.try_into().expect("not zero"))
//!         .data_key("records");
//!     Runner::new(client.clone())
//!         .run(&payload, &mut destination, Deadline::NONE)
//!         .await
//! }
//! ```
//!
//! Memory stays flat whatever the size of the file: one chunk of it, one unfinished line and
//! two batches (one under way to the destination, one being filled) are held at a time.
//! Where this differs from the reference runner, and why: `docs/decisions/0004-runner.md`.

mod api;
mod batch;
mod client;
mod deadline;
mod deliver;
mod egress;
mod error_log;
mod event;
mod lines;
mod outcome;
mod rate_limit;
mod reader;
mod report;
mod retry;
mod runner;
mod settings;
mod source;

pub use api::ApiDestination;
pub use batch::Batch;
pub use client::{ClientError, HttpClient, SendError};
pub use deadline::Deadline;
pub use deliver::{Deliver, Delivery};
pub use event::{BadRequest, Response, webhook_payload};
pub use outcome::{Ending, Outcome};
pub use pipeline_contract::{WebhookId, WebhookPayload};
pub use rate_limit::RateLimit;
pub use retry::RetryPolicy;
pub use runner::Runner;
pub use settings::{RunnerSettings, setting};
