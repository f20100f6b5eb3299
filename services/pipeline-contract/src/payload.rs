//! The webhook payload: what a platform sends to start a job.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Names one job on the platform: the last part of the callback address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WebhookId(String);

impl WebhookId {
    /// Takes any text; an empty one is refused by [`WebhookPayload::parse`].
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The text as sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The body of the webhook. Unknown fields are ignored: platforms add them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WebhookPayload {
    /// Where the NDJSON file is, usually a presigned S3 URL.
    pub data_url: String,
    /// Where status reports go: the webhook id is appended as it stands, so a trailing
    /// slash matters.
    pub callback_url: String,
    /// Names the job.
    pub webhook_id: WebhookId,
    /// Sent back as `Authorization: Bearer …` with each report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token: Option<String>,
    /// Sent back as `X-Amperity-Tenant` with each report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// The label the user gave the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_name: Option<String>,
    /// Free settings for the handler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Map<String, Value>>,
    /// How many records to skip: where an earlier run stopped. Zero if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_offset: Option<u64>,
}

/// Why a body is no webhook payload. The text goes to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidPayload {
    /// There is no body, or it is blank.
    Empty,
    /// The body is not JSON: the parser's words.
    NotJson(String),
    /// The body is JSON, but not an object.
    NotAnObject,
    /// These required fields are absent, null or empty.
    Missing(Vec<&'static str>),
    /// This field has the wrong type.
    WrongType(String),
}

impl fmt::Display for InvalidPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the request has no body; send a JSON object with data_url, callback_url and webhook_id"),
            Self::NotJson(why) => write!(f, "the body is not JSON: {why}"),
            Self::NotAnObject => f.write_str("the body must be a JSON object"),
            Self::Missing(fields) => write!(f, "missing required fields: {}", fields.join(", ")),
            Self::WrongType(why) => write!(f, "a field has the wrong type: {why}"),
        }
    }
}

impl std::error::Error for InvalidPayload {}

impl WebhookPayload {
    /// The fields without which no job can run.
    pub const REQUIRED: [&'static str; 3] = ["data_url", "callback_url", "webhook_id"];

    /// Reads the body of a webhook.
    ///
    /// # Errors
    /// [`InvalidPayload`] names everything the sender has to mend, all missing fields at once.
    pub fn parse(body: &str) -> Result<Self, InvalidPayload> {
        if body.trim().is_empty() {
            return Err(InvalidPayload::Empty);
        }
        let value: Value =
            serde_json::from_str(body).map_err(|why| InvalidPayload::NotJson(why.to_string()))?;
        let Value::Object(fields) = &value else {
            return Err(InvalidPayload::NotAnObject);
        };
        let missing: Vec<_> = Self::REQUIRED
            .into_iter()
            .filter(|name| match fields.get(*name) {
                None | Some(Value::Null) => true,
                Some(Value::String(text)) => text.is_empty(),
                Some(_) => false,
            })
            .collect();
        if !missing.is_empty() {
            return Err(InvalidPayload::Missing(missing));
        }
        serde_json::from_value(value).map_err(|why| InvalidPayload::WrongType(why.to_string()))
    }

    /// Where this job's status reports go.
    #[must_use]
    pub fn report_url(&self) -> String {
        format!("{}{}", self.callback_url, self.webhook_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_payload_parses() {
        let payload = WebhookPayload::parse(
            r#"{"settings": {"some": "setting"}, "label_name": "test label",
                "data_url": "http://fake_s3:4566/test-bucket/sample.ndjson",
                "access_token": "2:somevarchar:anothervarchar", "webhook_id": "wh-somevarchar",
                "callback_url": "https://app.amperity.com/webhook/v1/", "added_later": 1}"#,
        )
        .unwrap();
        assert_eq!(
            payload.report_url(),
            "https://app.amperity.com/webhook/v1/wh-somevarchar"
        );
        assert_eq!(payload.batch_offset, None);
    }

    #[test]
    fn bad_payloads_say_what_to_mend() {
        let cases = [
            ("", InvalidPayload::Empty),
            ("[1]", InvalidPayload::NotAnObject),
            (
                "{}",
                InvalidPayload::Missing(vec!["data_url", "callback_url", "webhook_id"]),
            ),
            (
                r#"{"data_url": "", "callback_url": null, "webhook_id": "wh-1"}"#,
                InvalidPayload::Missing(vec!["data_url", "callback_url"]),
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(WebhookPayload::parse(body), Err(expected), "{body}");
        }
        assert!(matches!(
            WebhookPayload::parse("{oops"),
            Err(InvalidPayload::NotJson(_))
        ));
        assert!(matches!(
            WebhookPayload::parse(r#"{"data_url": 1, "callback_url": "c", "webhook_id": "w"}"#),
            Err(InvalidPayload::WrongType(_))
        ));
    }
}
