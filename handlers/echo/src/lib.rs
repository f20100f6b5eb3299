//! Answers 200 with the event it was given, as text: shows what a handler gets, and how
//! long the way there and back takes. The event is not parsed, so it comes back byte for
//! byte, whichever version or kind it is.

use serde::Serialize;
use serde_json::value::RawValue;

/// An answer that API Gateway and function URLs both take.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    status_code: u16,
    headers: Headers,
    body: String,
    is_base64_encoded: bool,
}

#[derive(Debug, Serialize)]
struct Headers {
    #[serde(rename = "content-type")]
    content_type: &'static str,
}

/// The event as the body of an answer.
#[must_use]
pub fn echo(event: Box<RawValue>) -> Response {
    Response {
        status_code: 200,
        headers: Headers {
            content_type: "application/json",
        },
        body: String::from(Box::<str>::from(event)),
        is_base64_encoded: false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_event_comes_back_as_it_was() {
        for event in [
            r#"{"version":"2.0","rawPath":"/","body":"{\"a\": 1}"}"#,
            r#"{"httpMethod": "POST",  "body": null}"#,
            "[1, 1.0, \"é\"]",
        ] {
            let response = echo(RawValue::from_string(event.to_owned()).unwrap());
            let response: Value = serde_json::to_value(response).unwrap();
            assert_eq!(
                response,
                json!({"statusCode": 200, "headers": {"content-type": "application/json"},
                       "body": event, "isBase64Encoded": false})
            );
        }
    }
}
