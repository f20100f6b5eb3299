//! Start here: a handler that takes a webhook, reads the file it names and posts the
//! records to your API in batches.
//!
//! Change four things: where batches go and how you sign in ([`Handler::destination`]), how
//! many at a time ([`Handler::run`]), what a record looks like over there ([`person`]), and
//! the tests. `longshore new <name>` makes a copy under a name of your own.

use serde_json::{Value, json};
use webhook_runner::{
    ApiDestination, BadRequest, Deadline, HttpClient, Outcome, Response, Runner, RunnerSettings,
    webhook_payload,
};

/// The handler with what it keeps between invocations: connections stay open.
#[derive(Clone, Debug)]
pub struct Handler {
    client: HttpClient,
    destination_url: String,
}

impl Handler {
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
        // The user's own settings: `setting::<String>(&payload, "audience")?`.
        let settings = RunnerSettings::from_payload(&payload)?;
        Runner::new(self.client.clone())
            .settings(settings)
            .run(&payload, &mut self.destination()?, deadline)
            .await
    }

    fn destination(&self) -> Result<ApiDestination, BadRequest> {
        let destination = ApiDestination::new(self.client.clone(), &self.destination_url)?
            // Sign in: `.bearer_auth(&token)?`, `.basic_auth("user", "password")` or `.header(…)`.
            // Slow down: `.requests_per_minute(60.try_into().expect("not zero"))`.
            // Send {"records": […]} rather than a bare array:
            .data_key("records")
            // Leave this out to send the records as they are: that is many times faster.
            .map(|batch| Ok(batch.parse()?.iter().map(person).collect::<Vec<_>>()));
        Ok(destination)
    }
}

/// One record as the destination wants it. Fields the source has not are null.
fn person(record: &Value) -> Value {
    json!({
        "id": record["amperity_id"],
        "name": record["full_name"],
        "email": record["email"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_has_the_fields_the_destination_knows() {
        let record = json!({"amperity_id": "a-1", "full_name": "Ada", "loyalty": null});
        assert_eq!(
            person(&record),
            json!({"id": "a-1", "name": "Ada", "email": null})
        );
    }
}
