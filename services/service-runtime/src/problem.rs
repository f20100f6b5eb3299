//! Errors of our own control and mock routes, as RFC 9457 problem documents.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use serde_json::{Map, Value};

/// The media type of a problem document.
pub const PROBLEM_CONTENT_TYPE: &str = "application/problem+json";

/// What went wrong and what the caller can do about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl Problem {
    /// A problem with this status; `detail` is for the reader of the answer.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            extra: Map::new(),
        }
    }

    /// 400: the request itself is wrong.
    #[must_use]
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 404: there is no such thing.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// Adds a member of its own, such as the list of what does exist.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }

    /// The status it will be answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        // A map of strings and JSON values always serialises.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        (status, [(CONTENT_TYPE, PROBLEM_CONTENT_TYPE)], body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_flat_and_named_as_the_rfc_says() {
        let problem = Problem::not_found("no job `wh-1`").with("jobs", json!(["wh-2"]));
        assert_eq!(
            serde_json::to_value(&problem).unwrap(),
            json!({"title": "Not Found", "status": 404, "detail": "no job `wh-1`", "jobs": ["wh-2"]})
        );
        assert_eq!(problem.into_response().status(), StatusCode::NOT_FOUND);
    }
}
