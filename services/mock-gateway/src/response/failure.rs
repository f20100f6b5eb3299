//! Answers for what went wrong: AWS's body, and the cause in a header for the person who
//! wants to know.

use std::fmt::Display;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};

use crate::event::EventContext;
use crate::outcome::{Outcome, header_text};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-longshore-function-error");
const BUILD: HeaderName = HeaderName::from_static("x-longshore-build");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// The largest body that API Gateway takes, in bytes.
pub(super) const MAX_REQUEST_BYTES: usize = 10 * 1024 * 1024;

/// An answer of the gateway itself, `application/json`.
pub(crate) fn json(status: StatusCode, body: &'static str) -> Response<Bytes> {
    answer(status, JSON, Bytes::from_static(body.as_bytes()))
}

/// An answer of the gateway itself, plain text.
pub(super) fn plain(status: StatusCode, body: &'static str) -> Response<Bytes> {
    answer(status, PLAIN, Bytes::from_static(body.as_bytes()))
}

/// The compiler's diagnostics. AWS has no such answer: there, what does not build was
/// never deployed.
pub(super) fn build_failed(diagnostics: &str) -> Response<Bytes> {
    let body = Bytes::copy_from_slice(diagnostics.as_bytes());
    let mut response = answer(StatusCode::BAD_GATEWAY, PLAIN, body);
    let headers = response.headers_mut();
    headers.insert(BUILD, HeaderValue::from_static("failed"));
    response
}

fn answer(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// Names the error as AWS does.
pub(super) fn with_type(mut response: Response<Bytes>, name: &'static str) -> Response<Bytes> {
    let headers = response.headers_mut();
    headers.insert(ERROR_TYPE, HeaderValue::from_static(name));
    response
}

/// Says why, for a person.
pub(super) fn because(mut response: Response<Bytes>, cause: &impl Display) -> Response<Bytes> {
    set(
        response.headers_mut(),
        FUNCTION_ERROR,
        &header_text(&cause.to_string()),
    );
    response
}

/// Says why the outcome is no answer, for a person.
pub(super) fn explained(
    response: Response<Bytes>,
    outcome: &Outcome,
    context: &EventContext,
) -> Response<Bytes> {
    let cause = context
        .request_id
        .parse()
        .ok()
        .and_then(|request_id| outcome.explanation(request_id));
    match cause {
        Some(cause) => because(response, &cause),
        None => response,
    }
}

/// Sets a header whose value is ours; one that HTTP does not allow is left out.
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
