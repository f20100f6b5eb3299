//! Posts the records of a webhook, in batches, to one destination.
//!
//! `settings` of the payload may choose `batch_size`, `req_per_min` and `data_key`.

use std::num::NonZeroU32;

use serde_json::Value;
use webhook_runner::{
    ApiDestination, BadRequest, Deadline, HttpClient, Outcome, Response, Runner, RunnerSettings,
    setting, webhook_payload,
};

/// The handler with what it keeps between invocations.
#[derive(Clone, Debug)]
pub struct Demo {
    client: HttpClient,
    destination_url: String,
}

impl Demo {
    /// Where batches go when `DESTINATION_URL` is not set: the mock destination, by the
    /// name it has wherever it runs: in one process, on another port, in its container.
    pub const DESTINATION_URL: &str = "http://api_destination:5005/mock/destination";

    /// A handler that posts to `destination_url`.
    #[must_use]
    pub fn new(client: HttpClient, destination_url: String) -> Self {
        Self {
            client,
            destination_url,
        }
    }

    /// Runs the job an event brings and answers with how it ended.
    pub async fn handle(&self, event: &Value, deadline: Deadline) -> Response {
        Response::from(self.run(event, deadline).await)
    }

    async fn run(&self, event: &Value, deadline: Deadline) -> Result<Outcome, BadRequest> {
        let payload = webhook_payload(event)?;
        let mut destination = ApiDestination::new(self.client.clone(), &self.destination_url)?;
        if let Some(requests) = setting::<NonZeroU32>(&payload, "req_per_min")? {
            destination = destination.requests_per_minute(requests);
        }
        if let Some(key) = setting::<String>(&payload, "data_key")? {
            destination = destination.data_key(key);
        }
        Runner::new(self.client.clone())
            .settings(RunnerSettings::from_payload(&payload)?)
            .run(&payload, &mut destination, deadline)
            .await
    }
}
