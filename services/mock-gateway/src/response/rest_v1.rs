//! The answer of a REST API: strict about the function's object, 502 for whatever is not
//! one.

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{Response, StatusCode};
use serde::Deserialize;

use super::answer::{Answer, Malformed, Reserved, not_an_object};
use super::failure::{MAX_REQUEST_BYTES, because, build_failed, explained, json, set, with_type};
use super::fields::{Object, Scalar, Scalars};
use crate::event::{EventContext, GatewayRequest};
use crate::outcome::{FunctionResponse, Outcome};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const EXTENDED_ID: HeaderName = HeaderName::from_static("x-amz-apigw-id");
const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// The answer as a REST API gives it. Base64 is decoded, unless the API says what is binary
/// and neither what the client accepts nor the answer's own type is.
#[must_use]
pub fn rest_v1(
    outcome: &Outcome,
    request: &GatewayRequest,
    context: &EventContext,
) -> Response<Bytes> {
    let response = match outcome {
        Outcome::Response(function) => read(function, request, context)
            .unwrap_or_else(|malformed| because(internal_server_error(), &malformed)),
        failure => explained(failed(failure, request), failure, context),
    };
    identified(response, context)
}

/// The answer with the ids that a REST API gives it.
pub(super) fn identified(mut response: Response<Bytes>, context: &EventContext) -> Response<Bytes> {
    let headers = response.headers_mut();
    set(headers, REQUEST_ID, &context.request_id);
    set(headers, EXTENDED_ID, &context.extended_request_id);
    set(headers, TRACE_ID, &context.trace_id);
    response
}

/// Says, in a response's extensions, that the function called its body base64.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base64;

/// None of the fields must be there, and no other may.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProxyAnswer<'a> {
    #[serde(borrow, default)]
    status_code: Scalar<'a>,
    #[serde(borrow, default)]
    headers: Object<'a, Scalar<'a>>,
    #[serde(borrow, default)]
    multi_value_headers: Object<'a, Scalars<'a>>,
    #[serde(borrow, default)]
    body: Scalar<'a>,
    #[serde(borrow, default)]
    is_base64_encoded: Scalar<'a>,
}

fn read(
    function: &FunctionResponse,
    request: &GatewayRequest,
    context: &EventContext,
) -> Result<Response<Bytes>, Malformed> {
    read_object(&function.body, request, context).map_err(|malformed| {
        if function.streaming {
            Malformed::Streamed
        } else {
            malformed
        }
    })
}

fn read_object(
    source: &Bytes,
    request: &GatewayRequest,
    context: &EventContext,
) -> Result<Response<Bytes>, Malformed> {
    if let Some(malformed) = not_an_object(source) {
        return Err(malformed);
    }
    let read: ProxyAnswer<'_> = serde_json::from_slice(source)?;
    let mut answer = Answer::new(Reserved::Remapped);
    answer.status(&read.status_code)?;
    answer.headers(&read.headers)?;
    answer.multi_value_headers(&read.multi_value_headers)?;
    if let Some(types) = &context.binary_media_types {
        let accepted = request
            .headers
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok()?.split(',').next());
        let own = answer.content_type().unwrap_or("application/json");
        answer.decodes_base64(accepted.is_some_and(|of| types.contains(of)) || types.contains(own));
    }
    let is_base64 = read.is_base64_encoded.as_deref();
    let is_base64 = is_base64.is_some_and(|flag| flag.eq_ignore_ascii_case("true"));
    answer.text_body(read.body, &read.is_base64_encoded, source)?;
    let mut response = answer.finish("application/json");
    if is_base64 {
        response.extensions_mut().insert(Base64);
    }
    Ok(response)
}

fn failed(outcome: &Outcome, request: &GatewayRequest) -> Response<Bytes> {
    match outcome {
        Outcome::Response(_)
        | Outcome::Streaming(_)
        | Outcome::Streamed { .. }
        | Outcome::FunctionError(_)
        | Outcome::TimedOut { .. }
        | Outcome::Crashed(_)
        | Outcome::ExtensionFailed(_)
        | Outcome::ResponseTooLarge
        | Outcome::Throttled
        | Outcome::InitFailed(_) => internal_server_error(),
        Outcome::RequestTooLarge if request.body.len() > MAX_REQUEST_BYTES => with_type(
            json(
                StatusCode::PAYLOAD_TOO_LARGE,
                r#"{"message":"HTTP content length exceeded 10485760 bytes."}"#,
            ),
            "RequestTooLargeException",
        ),
        Outcome::RequestTooLarge => internal_server_error(),
        Outcome::BuildFailed { diagnostics } => build_failed(diagnostics),
        Outcome::IntegrationTimeout => with_type(
            json(
                StatusCode::GATEWAY_TIMEOUT,
                r#"{"message":"Endpoint request timed out"}"#,
            ),
            "InternalServerErrorException",
        ),
        Outcome::UnknownFunction => with_type(
            json(
                StatusCode::FORBIDDEN,
                r#"{"message":"Missing Authentication Token"}"#,
            ),
            "MissingAuthenticationTokenException",
        ),
        Outcome::ShuttingDown => with_type(
            json(
                StatusCode::SERVICE_UNAVAILABLE,
                r#"{"message":"Service Unavailable"}"#,
            ),
            "ServiceUnavailableException",
        ),
    }
}

pub(super) fn internal_server_error() -> Response<Bytes> {
    with_type(
        json(
            StatusCode::BAD_GATEWAY,
            r#"{"message":"Internal server error"}"#,
        ),
        "InternalServerErrorException",
    )
}
