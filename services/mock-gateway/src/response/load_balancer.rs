//! The answer of an Application Load Balancer: an object with a `statusCode` and the kind
//! of headers that the target group is set to, or a small page of HTML.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use hyper::ext::ReasonPhrase;
use serde::Deserialize;

use super::answer::{Answer, Malformed, Reserved, not_an_object};
use super::failure::{because, build_failed, explained};
use super::fields::{Object, Scalar, Scalars};
use crate::event::{EventContext, TargetGroup};
use crate::outcome::{FunctionResponse, Outcome};

/// The largest body that a load balancer takes or gives back, in bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The answer as a load balancer gives it. A reason that the function states in
/// `statusDescription` is in the response's extensions.
#[must_use]
pub fn load_balancer(
    outcome: &Outcome,
    context: &EventContext,
    group: &TargetGroup,
) -> Response<Bytes> {
    match outcome {
        Outcome::Response(function) => {
            read(function, group.multi_value_headers).unwrap_or_else(|malformed| {
                because(page(StatusCode::BAD_GATEWAY, "502 Bad Gateway"), &malformed)
            })
        }
        failure => explained(failed(failure), failure, context),
    }
}

/// Fields that the target group does not look at may hold anything.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TargetAnswer<'a> {
    #[serde(borrow, default)]
    status_code: Scalar<'a>,
    #[serde(borrow, default)]
    status_description: Scalar<'a>,
    #[serde(borrow, default)]
    headers: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow, default)]
    multi_value_headers: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow, default)]
    body: Scalar<'a>,
    #[serde(borrow, default)]
    is_base64_encoded: Scalar<'a>,
}

fn read(function: &FunctionResponse, multi: bool) -> Result<Response<Bytes>, Malformed> {
    let source = &function.body;
    if source.len() > MAX_BODY_BYTES {
        return Err(Malformed::TooLargeForLoadBalancer(MAX_BODY_BYTES));
    }
    if let Some(malformed) = not_an_object(source) {
        return Err(malformed);
    }
    let read: TargetAnswer<'_> = serde_json::from_slice(source)?;
    if read.status_code.as_deref().is_none() {
        return Err(Malformed::NoStatus);
    }
    let mut answer = Answer::new(Reserved::Dropped);
    answer.status(&read.status_code)?;
    if let (true, Some(raw)) = (multi, read.multi_value_headers) {
        let headers: Object<'_, Scalars<'_>> =
            serde_json::from_str(raw.get()).map_err(|source| Malformed::Field {
                field: "multiValueHeaders",
                source,
            })?;
        answer.multi_value_headers(&headers)?;
    }
    if let (false, Some(raw)) = (multi, read.headers) {
        let headers: Object<'_, Scalar<'_>> =
            serde_json::from_str(raw.get()).map_err(|source| Malformed::Field {
                field: "headers",
                source,
            })?;
        answer.headers(&headers)?;
    }
    answer.text_body(read.body, &read.is_base64_encoded, source)?;
    let mut response = answer.finish("application/octet-stream");
    let reason = read
        .status_description
        .as_deref()
        .map(|text| text.split_once(' ').map_or(text, |(_, reason)| reason));
    if let Some(Ok(reason)) = reason.map(|text| ReasonPhrase::try_from(text.as_bytes())) {
        response.extensions_mut().insert(reason);
    }
    Ok(response)
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
        | Outcome::Throttled
        | Outcome::InitFailed(_) => page(StatusCode::BAD_GATEWAY, "502 Bad Gateway"),
        Outcome::RequestTooLarge => page(
            StatusCode::PAYLOAD_TOO_LARGE,
            "413 Request Entity Too Large",
        ),
        Outcome::BuildFailed { diagnostics } => build_failed(diagnostics),
        Outcome::IntegrationTimeout => page(StatusCode::GATEWAY_TIMEOUT, "504 Gateway Time-out"),
        Outcome::UnknownFunction | Outcome::ShuttingDown => page(
            StatusCode::SERVICE_UNAVAILABLE,
            "503 Service Temporarily Unavailable",
        ),
    }
}

/// What a load balancer says to a request, or instead of an answer, that it does not pass
/// on.
pub(crate) fn refused(status: StatusCode) -> Response<Bytes> {
    let reason = status.canonical_reason().unwrap_or_default();
    page(status, &format!("{} {reason}", status.as_u16()))
}

/// What load balancers say of themselves.
fn page(status: StatusCode, title: &str) -> Response<Bytes> {
    let body = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n\
         <center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    );
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    headers.insert(header::SERVER, HeaderValue::from_static("awselb/2.0"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_description_is_the_reason_phrase() {
        for (description, reason) in [
            (r#""200 Fine""#, Some("Fine")),
            (r#""404 Not Here""#, Some("Not Here")),
            (r#""Fine""#, Some("Fine")),
            (r#""200 a\nb""#, None),
            ("null", None),
        ] {
            let answer = format!(r#"{{"statusCode":200,"statusDescription":{description}}}"#);
            let function = FunctionResponse {
                body: Bytes::from(answer),
                content_type: None,
                streaming: false,
            };
            let response = read(&function, false).unwrap();
            let found = response.extensions().get::<ReasonPhrase>();
            let found = found.map(|reason| std::str::from_utf8(reason.as_bytes()).unwrap());
            assert_eq!(found, reason, "{description}");
        }
    }
}
