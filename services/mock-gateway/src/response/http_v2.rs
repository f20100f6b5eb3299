//! The answer of an HTTP API, format 2.0: an object with `statusCode` is an HTTP answer,
//! any other JSON is the body of one.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::HeaderName;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::answer::{Answer, Malformed, Reserved, not_an_object};
use super::failure::{MAX_REQUEST_BYTES, because, build_failed, explained, json, set};
use super::fields::{Object, Scalar};
use crate::event::{EventContext, GatewayRequest};
use crate::outcome::{FunctionResponse, Outcome};

const REQUEST_ID: HeaderName = HeaderName::from_static("apigw-requestid");

/// The answer as an HTTP API gives it.
#[must_use]
pub fn http_v2(
    outcome: &Outcome,
    request: &GatewayRequest,
    context: &EventContext,
) -> Response<Bytes> {
    answered(outcome, request, context, read)
}

/// An HTTP API's answer; `read` knows the format of what the function said.
pub(super) fn answered(
    outcome: &Outcome,
    request: &GatewayRequest,
    context: &EventContext,
    read: fn(&FunctionResponse) -> Result<Response<Bytes>, Malformed>,
) -> Response<Bytes> {
    let mut response = match outcome {
        Outcome::Response(function) => {
            read(function).unwrap_or_else(|malformed| because(internal_server_error(), &malformed))
        }
        failure => explained(failed(failure, request), failure, context),
    };
    set(
        response.headers_mut(),
        REQUEST_ID,
        &context.extended_request_id,
    );
    response
}

fn read(function: &FunctionResponse) -> Result<Response<Bytes>, Malformed> {
    let answered = format_2(
        &function.body,
        Reserved::Dropped,
        "text/plain;charset=UTF-8",
    );
    match answered {
        Err(_) if function.streaming => Err(Malformed::Streamed),
        answered => answered,
    }
}

/// The fields of an HTTP answer, unread: without `statusCode` they are only JSON, and may
/// hold anything.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    status_code: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    cookies: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    is_base64_encoded: Option<&'a RawValue>,
}

/// Reads an answer of format 2.0, which HTTP APIs and function URLs share.
pub(super) fn format_2(
    source: &Bytes,
    reserved: Reserved,
    default_content_type: &'static str,
) -> Result<Response<Bytes>, Malformed> {
    let mut answer = Answer::new(reserved);
    match not_an_object(source) {
        Some(Malformed::Empty) => return Err(Malformed::Empty),
        Some(_) => {
            answer.raw_body(bare_json(source)?);
            return Ok(answer.finish("application/json"));
        }
        None => {}
    }
    let fields: Fields<'_> = serde_json::from_slice(source)?;
    let Some(status_code) = fields.status_code else {
        answer.raw_body(source.clone());
        return Ok(answer.finish("application/json"));
    };
    answer.status(&field("statusCode", Some(status_code))?)?;
    let headers: Object<'_, Scalar<'_>> = field("headers", fields.headers)?;
    answer.headers(&headers)?;
    let cookies: Option<Vec<Scalar<'_>>> = field("cookies", fields.cookies)?;
    answer.cookies(&cookies.unwrap_or_default())?;
    answer.text_body(
        field("body", fields.body)?,
        &field("isBase64Encoded", fields.is_base64_encoded)?,
        source,
    )?;
    Ok(answer.finish(default_content_type))
}

/// A string without its quotes; other JSON as it stands.
fn bare_json(source: &Bytes) -> Result<Bytes, Malformed> {
    if source.trim_ascii_start().starts_with(b"\"") {
        let Scalar(text) = serde_json::from_slice(source)?;
        return Ok(match text.unwrap_or_default() {
            Cow::Borrowed(text) => source.slice_ref(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        });
    }
    serde_json::from_slice::<IgnoredAny>(source)?;
    Ok(source.clone())
}

fn field<'a, T: Deserialize<'a> + Default>(
    name: &'static str,
    raw: Option<&'a RawValue>,
) -> Result<T, Malformed> {
    raw.map_or_else(
        || Ok(T::default()),
        |raw| {
            serde_json::from_str(raw.get()).map_err(|source| Malformed::Field {
                field: name,
                source,
            })
        },
    )
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
        Outcome::RequestTooLarge if request.body.len() > MAX_REQUEST_BYTES => json(
            StatusCode::PAYLOAD_TOO_LARGE,
            r#"{"message":"Request Entity Too Large"}"#,
        ),
        Outcome::RequestTooLarge => internal_server_error(),
        Outcome::BuildFailed { diagnostics } => build_failed(diagnostics),
        Outcome::IntegrationTimeout | Outcome::ShuttingDown => json(
            StatusCode::SERVICE_UNAVAILABLE,
            r#"{"message":"Service Unavailable"}"#,
        ),
        Outcome::UnknownFunction => json(StatusCode::NOT_FOUND, r#"{"message":"Not Found"}"#),
    }
}

fn internal_server_error() -> Response<Bytes> {
    json(
        StatusCode::INTERNAL_SERVER_ERROR,
        r#"{"message":"Internal Server Error"}"#,
    )
}
