//! Lambda refuses a call: status, error type and body as the SDKs read them.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::{Value, json};

use crate::recursion;

/// A refused call.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    error_type: &'static str,
    body: Value,
}

impl Refusal {
    /// The caller's fault.
    pub(crate) fn of_user(
        status: StatusCode,
        error_type: &'static str,
        message: impl AsRef<str>,
    ) -> Self {
        Self::new(status, error_type, "User", message.as_ref())
    }

    /// Ours.
    pub(crate) fn of_service(status: StatusCode, message: impl AsRef<str>) -> Self {
        Self::new(status, "ServiceException", "Service", message.as_ref())
    }

    fn new(status: StatusCode, error_type: &'static str, whose: &str, message: &str) -> Self {
        // Services differ in the capital, and SDKs read either; AWS sends both.
        Self {
            status,
            error_type,
            body: json!({"Type": whose, "Message": message, "message": message}),
        }
    }

    /// A parameter that Lambda does not take.
    pub(crate) fn invalid_parameter(message: impl AsRef<str>) -> Self {
        Self::of_user(
            StatusCode::BAD_REQUEST,
            "InvalidParameterValueException",
            message,
        )
    }

    /// One field of a request is out of its bounds.
    pub(crate) fn validation(value: &str, field: &str, constraint: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error_type: "ValidationException",
            body: json!({"message": format!(
                "1 validation error detected: Value '{value}' at '{field}' failed to satisfy constraint: {constraint}"
            )}),
        }
    }

    /// A body that is no JSON, or not of the operation's shape.
    pub(crate) fn serialization(message: impl AsRef<str>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error_type: "SerializationException",
            body: json!({"message": message.as_ref()}),
        }
    }

    pub(crate) fn not_found(message: impl AsRef<str>) -> Self {
        Self::of_user(StatusCode::NOT_FOUND, "ResourceNotFoundException", message)
    }

    /// `limit` is the operation's, in bytes.
    pub(crate) fn too_large(length: usize, kind: &str, limit: usize) -> Self {
        Self::of_user(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestTooLargeException",
            format!(
                "{length} byte payload is too large for the {kind} invocation type (limit {limit} bytes)"
            ),
        )
    }

    /// A request that asks for what there is not.
    pub(crate) fn bad_header(message: impl AsRef<str>) -> Self {
        Self::of_user(
            StatusCode::BAD_REQUEST,
            "InvalidRequestContentException",
            message,
        )
    }

    /// An invocation that a chain of requests makes too often.
    pub(crate) fn recursive() -> Self {
        Self::of_user(
            StatusCode::BAD_REQUEST,
            "RecursiveInvocationException",
            recursion::MESSAGE,
        )
    }

    /// A field that a request must have.
    pub(crate) fn missing(field: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error_type: "ValidationException",
            body: json!({"message": format!(
                "1 validation error detected: Value null at '{field}' failed to satisfy constraint: Member must not be null"
            )}),
        }
    }

    /// `reason` is one of the API's: whose limit was reached.
    pub(crate) fn throttled(reason: &str) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            error_type: "TooManyRequestsException",
            body: json!({"Reason": reason, "Type": "User", "message": "Rate Exceeded."}),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            HeaderName::from_static("x-amzn-errortype"),
            HeaderValue::from_static(self.error_type),
        );
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
