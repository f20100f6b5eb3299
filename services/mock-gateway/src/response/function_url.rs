//! The answer of a function URL: format 2.0 with its own failures, and the one front that
//! passes on what a function streams.

use bytes::Bytes;
use http::header::HeaderName;
use http::{Response, StatusCode};
use serde::Deserialize;

use super::answer::{Answer, Malformed, Reserved, not_an_object};
use super::failure::{because, build_failed, explained, json, plain, set, with_type};
use super::fields::{Object, Scalar, Scalars};
use super::http_v2::format_2;
use crate::event::{EventContext, GatewayRequest};
use crate::outcome::{FunctionResponse, Outcome};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

const HTTP_INTEGRATION: &str = "application/vnd.awslambda.http-integration-response";
const PRELUDE_END: [u8; 8] = [0; 8];

/// The answer as a function URL gives it. The request decides nothing here; all fronts
/// take the same arguments.
#[must_use]
pub fn function_url(
    outcome: &Outcome,
    _request: &GatewayRequest,
    context: &EventContext,
) -> Response<Bytes> {
    let mut response = match outcome {
        Outcome::Response(function) => {
            read(function).unwrap_or_else(|malformed| because(internal_server_error(), &malformed))
        }
        failure => explained(failed(failure), failure, context),
    };
    let headers = response.headers_mut();
    set(headers, REQUEST_ID, &context.request_id);
    set(headers, TRACE_ID, &context.trace_id);
    response
}

fn read(function: &FunctionResponse) -> Result<Response<Bytes>, Malformed> {
    if has_prelude(function.content_type.as_deref()) {
        streamed(&function.body)
    } else if function.streaming {
        let mut answer = Answer::new(Reserved::Remapped);
        answer.raw_body(function.body.clone());
        Ok(answer.finish("application/octet-stream"))
    } else {
        format_2(&function.body, Reserved::Remapped, "application/json")
    }
}

/// The head of an answer that is still being written: from its prelude, if it has one. The
/// error is the whole answer.
///
/// # Errors
/// What a caller gets whose function wrote a prelude that is none.
pub(crate) fn stream_head(
    prelude: Option<&Bytes>,
    context: &EventContext,
) -> Result<Response<Bytes>, Box<Response<Bytes>>> {
    let head = match prelude {
        Some(prelude) => read_prelude(prelude),
        None => Ok(Answer::new(Reserved::Remapped)),
    };
    let identified = |mut response: Response<Bytes>| {
        set(response.headers_mut(), REQUEST_ID, &context.request_id);
        set(response.headers_mut(), TRACE_ID, &context.trace_id);
        response
    };
    match head {
        Ok(answer) => Ok(identified(answer.finish("application/octet-stream"))),
        Err(malformed) => Err(Box::new(identified(because(
            internal_server_error(),
            &malformed,
        )))),
    }
}

/// Whether what is posted with this content type begins with a prelude.
pub(crate) fn has_prelude(content_type: Option<&str>) -> bool {
    let essence = content_type.unwrap_or_default().split(';').next();
    essence
        .unwrap_or_default()
        .trim()
        .eq_ignore_ascii_case(HTTP_INTEGRATION)
}

/// Where a prelude ends and where the payload begins.
pub(crate) fn prelude_end(written: &[u8]) -> Option<(usize, usize)> {
    let end = memchr::memmem::find(written, &PRELUDE_END)?;
    Some((end, end + PRELUDE_END.len()))
}

/// What a stream begins with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prelude<'a> {
    #[serde(borrow, default)]
    status_code: Scalar<'a>,
    /// The Rust client writes several values of one name as a list.
    #[serde(borrow, default)]
    headers: Object<'a, Scalars<'a>>,
    #[serde(borrow, default)]
    cookies: Scalars<'a>,
}

/// A JSON prelude, eight NUL bytes, the payload.
fn streamed(source: &Bytes) -> Result<Response<Bytes>, Malformed> {
    let (end, payload) = prelude_end(source).ok_or(Malformed::NoPrelude)?;
    let mut answer = read_prelude(&source.slice(..end))?;
    answer.raw_body(source.slice(payload..));
    Ok(answer.finish("application/octet-stream"))
}

fn read_prelude(json: &Bytes) -> Result<Answer, Malformed> {
    if let Some(malformed) = not_an_object(json) {
        return Err(malformed);
    }
    let prelude: Prelude<'_> = serde_json::from_slice(json)?;
    let mut answer = Answer::new(Reserved::Remapped);
    answer.status(&prelude.status_code)?;
    answer.multi_value_headers(&prelude.headers)?;
    answer.cookies(&prelude.cookies.0)?;
    Ok(answer)
}

fn failed(outcome: &Outcome) -> Response<Bytes> {
    match outcome {
        Outcome::Response(_)
        | Outcome::Streaming(_)
        | Outcome::Streamed { .. }
        | Outcome::FunctionError(_)
        | Outcome::TimedOut { .. }
        | Outcome::Crashed(_)
        | Outcome::ExtensionFailed(_)
        | Outcome::ResponseTooLarge
        | Outcome::InitFailed(_) => internal_server_error(),
        Outcome::RequestTooLarge => with_type(
            json(
                StatusCode::PAYLOAD_TOO_LARGE,
                r#"{"Message":"Request must be smaller than 6291556 bytes for the InvokeFunction operation"}"#,
            ),
            "RequestEntityTooLargeException",
        ),
        Outcome::Throttled => with_type(
            json(
                StatusCode::TOO_MANY_REQUESTS,
                r#"{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}"#,
            ),
            "TooManyRequestsException",
        ),
        Outcome::BuildFailed { diagnostics } => build_failed(diagnostics),
        Outcome::IntegrationTimeout => with_type(
            json(
                StatusCode::GATEWAY_TIMEOUT,
                r#"{"Message":"Endpoint request timed out"}"#,
            ),
            "InternalServerErrorException",
        ),
        Outcome::UnknownFunction => with_type(
            json(StatusCode::FORBIDDEN, r#"{"Message":null}"#),
            "AccessDeniedException",
        ),
        Outcome::ShuttingDown => with_type(
            json(
                StatusCode::SERVICE_UNAVAILABLE,
                r#"{"Message":"Service Unavailable"}"#,
            ),
            "ServiceUnavailableException",
        ),
    }
}

fn internal_server_error() -> Response<Bytes> {
    plain(StatusCode::BAD_GATEWAY, "Internal Server Error")
}
