//! CloudWatch Logs refuses a call: the error type in the body, as JSON 1.1 has it.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

/// A refused call.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    error_type: &'static str,
    message: String,
}

impl Refusal {
    fn of_user(error_type: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error_type,
            message: message.into(),
        }
    }

    /// A body that is no JSON, or not of the operation's shape.
    pub(super) fn serialization(message: impl Into<String>) -> Self {
        Self::of_user("SerializationException", message)
    }

    pub(super) fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::of_user("InvalidParameterException", message)
    }

    pub(super) fn no_such_group() -> Self {
        Self::of_user(
            "ResourceNotFoundException",
            "The specified log group does not exist.",
        )
    }

    pub(super) fn no_such_stream() -> Self {
        Self::of_user(
            "ResourceNotFoundException",
            "The specified log stream does not exist.",
        )
    }

    pub(super) fn unknown_operation(operation: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error_type: "UnknownOperationException",
            message: format!(
                "Longshore's CloudWatch Logs does not answer `{operation}`: it reads the functions' logs, with DescribeLogGroups, DescribeLogStreams, FilterLogEvents and GetLogEvents"
            ),
        }
    }

    #[cfg(test)]
    pub(super) fn error_type(&self) -> &'static str {
        self.error_type
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"__type": self.error_type, "message": self.message});
        (self.status, body.to_string()).into_response()
    }
}
