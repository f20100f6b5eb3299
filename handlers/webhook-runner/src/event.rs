//! From the event Lambda hands over to the webhook's payload, and back to an answer.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use pipeline_contract::{InvalidPayload, WebhookPayload};
use serde::Serialize;
use serde_json::{Value, json};

use crate::outcome::Outcome;

/// What the sender of a webhook has to mend. The text goes to them with status 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRequest {
    /// The event's `body` is neither text nor absent.
    #[error("the event's `body` must be a string")]
    BodyNotText,
    /// The event says that its body is base64, and it is not, or not of UTF-8 text.
    #[error("the event's `body` is marked as base64 but does not decode to UTF-8 text")]
    BodyNotBase64,
    /// The body is no webhook payload.
    #[error("{0}")]
    Payload(InvalidPayload),
    /// A URL that cannot be asked.
    #[error("`{field}` must be an http or https URL: {why}")]
    Url {
        /// The payload's field, or whose URL it is.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A text that has to go into a header and cannot.
    #[error("`{field}` has characters that an HTTP header cannot carry")]
    Header {
        /// The payload's field, or whose text it is.
        field: &'static str,
    },
    /// An entry of `settings` that cannot be used.
    #[error("`settings.{name}` cannot be used: {why}")]
    Setting {
        /// The entry.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// Takes the webhook's payload out of an event: an API Gateway or function URL event
/// (REST v1, HTTP v2), whose `body` is a string, or the payload itself, as a direct
/// invocation sends it.
///
/// # Errors
/// [`BadRequest`] says what is wrong with the body.
pub fn webhook_payload(event: &Value) -> Result<WebhookPayload, BadRequest> {
    let proxied = ["body", "requestContext", "httpMethod"]
        .iter()
        .any(|field| event.get(field).is_some());
    let text = if proxied {
        body_text(event)?
    } else {
        Cow::Owned(event.to_string())
    };
    WebhookPayload::parse(&text).map_err(BadRequest::Payload)
}

fn body_text(event: &Value) -> Result<Cow<'_, str>, BadRequest> {
    let body = match event.get("body") {
        None | Some(Value::Null) => "",
        Some(Value::String(body)) => body,
        Some(_) => return Err(BadRequest::BodyNotText),
    };
    if event.get("isBase64Encoded") != Some(&Value::Bool(true)) {
        return Ok(Cow::Borrowed(body));
    }
    BASE64_STANDARD
        .decode(body)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .map(Cow::Owned)
        .ok_or(BadRequest::BodyNotBase64)
}

/// The answer of a handler behind API Gateway or a function URL: right for events of
/// either version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// HTTP status.
    pub status_code: u16,
    /// Header names and values.
    pub headers: BTreeMap<&'static str, String>,
    /// The body as text.
    pub body: String,
    /// Always false: the body is text.
    pub is_base64_encoded: bool,
}

impl Response {
    /// An answer with a JSON body.
    #[must_use]
    pub fn json(status_code: u16, body: &Value) -> Self {
        Self {
            status_code,
            headers: BTreeMap::from([("content-type", "application/json".to_owned())]),
            body: body.to_string(),
            is_base64_encoded: false,
        }
    }
}

impl From<Result<Outcome, BadRequest>> for Response {
    fn from(result: Result<Outcome, BadRequest>) -> Self {
        match result {
            Ok(outcome) => Self::json(outcome.status_code(), &outcome.body()),
            Err(bad) => Self::json(400, &json!({"status": "error", "message": bad.to_string()})),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &str =
        r#"{"data_url":"http://d/x","callback_url":"http://c/","webhook_id":"wh-1"}"#;

    #[test]
    fn the_payload_is_found_in_every_kind_of_event() {
        let direct: Value = serde_json::from_str(PAYLOAD).unwrap();
        let base64 = BASE64_STANDARD.encode(PAYLOAD);
        for event in [
            direct,
            json!({"httpMethod": "POST", "body": PAYLOAD, "isBase64Encoded": false}),
            json!({"version": "2.0", "requestContext": {"http": {}}, "body": PAYLOAD}),
            json!({"version": "2.0", "body": base64, "isBase64Encoded": true}),
            json!({"body": PAYLOAD}),
        ] {
            let payload = webhook_payload(&event).unwrap();
            assert_eq!(payload.report_url(), "http://c/wh-1", "{event}");
        }
    }

    #[test]
    fn a_bad_body_is_answered_in_words() {
        for (event, words) in [
            (json!({"httpMethod": "POST", "body": null}), "has no body"),
            (json!({"requestContext": {}}), "has no body"),
            (json!({"body": "{oops"}), "not JSON"),
            (json!({"body": "[]"}), "must be a JSON object"),
            (json!({"body": {"a": 1}}), "`body` must be a string"),
            (json!({"body": "%%", "isBase64Encoded": true}), "base64"),
            (
                json!({"body": r#"{"data_url": "x"}"#}),
                "missing required fields: callback_url, webhook_id",
            ),
            (json!({}), "missing required fields: data_url"),
            (json!("text"), "must be a JSON object"),
        ] {
            let bad = webhook_payload(&event).unwrap_err();
            let response = Response::from(Err(bad));
            assert_eq!(response.status_code, 400);
            let body: Value = serde_json::from_str(&response.body).unwrap();
            assert_eq!(body["status"], "error");
            let message = body["message"].as_str().unwrap();
            assert!(message.contains(words), "{event}: {message}");
        }
    }

    #[test]
    fn the_answer_has_the_proxy_shape() {
        let response = Response::json(200, &json!({"a": 1}));
        assert_eq!(
            serde_json::to_value(response).unwrap(),
            json!({"statusCode": 200, "headers": {"content-type": "application/json"},
                   "body": "{\"a\":1}", "isBase64Encoded": false})
        );
    }
}
