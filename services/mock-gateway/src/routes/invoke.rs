//! Lambda's Invoke API, as SDKs and the AWS CLI call it.

use std::time::Duration;

use app_model::FunctionName;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::{Hungup, mark, read_body};
use crate::broker::Answer;
use crate::invocation::{Invocation, RequestId, TraceId};
use crate::outcome::{MAX_PAYLOAD_BYTES, Outcome};
use crate::server::Gateway;

/// Lambda's longest run and some: who invokes directly waits for as long as that takes.
const PATIENCE: Duration = Duration::from_secs(960);

/// The longest client context, base64, in bytes.
const MAX_CLIENT_CONTEXT_BYTES: usize = 3_583;

/// The query of an invocation.
#[derive(Deserialize)]
pub(crate) struct Version {
    #[serde(rename = "Qualifier")]
    qualifier: Option<String>,
}

/// Lambda refuses a call: status, error type, message, whose fault it is.
struct Refusal {
    status: StatusCode,
    error_type: &'static str,
    body: serde_json::Value,
}

impl Refusal {
    fn of_user(status: StatusCode, error_type: &'static str, message: &str) -> Self {
        Self {
            status,
            error_type,
            body: json!({"Type": "User", "Message": message}),
        }
    }

    fn of_service(status: StatusCode, error_type: &'static str, message: &str) -> Self {
        Self {
            status,
            error_type,
            body: json!({"Type": "Service", "Message": message}),
        }
    }
}

/// `POST /2015-03-31/functions/{name}/invocations`.
pub(crate) async fn invoke(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    Query(version): Query<Version>,
    request: Request,
) -> Response {
    let request_id = RequestId::random();
    let (parts, body) = request.into_parts();
    let mut response = match read_body(body).await {
        Ok(body) => {
            let call = prepare(&gateway, &name, version, &parts.headers, body, request_id);
            match call {
                Ok(Prepared::DryRun) => status_only(StatusCode::NO_CONTENT),
                Ok(Prepared::Invoke(invocation)) => {
                    let answer = gateway.broker.invoke(invocation, PATIENCE).await;
                    answered(&gateway, &name, &answer, request_id)
                }
                Err(refusal) => refused(&refusal),
            }
        }
        Err(Hungup) => status_only(StatusCode::BAD_REQUEST),
    };
    if let Ok(id) = HeaderValue::from_str(&request_id.to_string()) {
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static("x-amzn-requestid"), id);
    }
    response
}

enum Prepared {
    DryRun,
    Invoke(Invocation),
}

fn prepare(
    gateway: &Gateway,
    name: &str,
    version: Version,
    headers: &HeaderMap,
    body: Bytes,
    request_id: RequestId,
) -> Result<Prepared, Refusal> {
    let (function, qualifier) = function_of(name)?;
    let qualifier = qualifier.or(version.qualifier);
    if let Some(qualifier) = qualifier.filter(|q| q != "$LATEST") {
        return Err(not_found(gateway, &format!("{function}:{qualifier}")));
    }
    if gateway.broker.function(&function).is_none() {
        return Err(not_found(gateway, &format!("{function}:$LATEST")));
    }
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    match text("x-amz-invocation-type").unwrap_or("RequestResponse") {
        "RequestResponse" => {}
        "DryRun" => return Ok(Prepared::DryRun),
        "Event" => {
            return Err(Refusal::of_service(
                StatusCode::NOT_IMPLEMENTED,
                "NotImplementedException",
                "asynchronous invocation (X-Amz-Invocation-Type: Event) is not supported yet; nothing was invoked. Use RequestResponse",
            ));
        }
        other => {
            return Err(Refusal::of_user(
                StatusCode::BAD_REQUEST,
                "InvalidParameterValueException",
                &format!("Unknown InvocationType: {other}"),
            ));
        }
    }
    if body.len() > MAX_PAYLOAD_BYTES {
        return Err(too_large());
    }
    let payload = if body.is_empty() {
        Bytes::from_static(b"{}")
    } else {
        body
    };
    if let Err(problem) = serde_json::from_slice::<IgnoredAny>(&payload) {
        return Err(Refusal::of_user(
            StatusCode::BAD_REQUEST,
            "InvalidRequestContentException",
            &format!("Could not parse request body into json: {problem}"),
        ));
    }
    let trace_id = text("x-amzn-trace-id")
        .and_then(TraceId::from_header)
        .unwrap_or_else(|| {
            let now = jiff::Timestamp::now().as_second();
            TraceId::random(u64::try_from(now).unwrap_or_default())
        });
    Ok(Prepared::Invoke(Invocation {
        request_id,
        function,
        payload,
        trace_id,
        client_context: text("x-amz-client-context")
            .map(client_context)
            .transpose()?,
        wants_log_tail: text("x-amz-log-type") == Some("Tail"),
    }))
}

/// A function's name and qualifier, from a name, a partial or a whole ARN.
fn function_of(text: &str) -> Result<(FunctionName, Option<String>), Refusal> {
    let bare = match text.rsplit_once(":function:") {
        Some((_, bare)) => bare,
        None => text.strip_prefix("function:").unwrap_or(text),
    };
    let (name, qualifier) = match bare.split_once(':') {
        Some((name, qualifier)) => (name, Some(qualifier.to_owned())),
        None => (bare, None),
    };
    match name.parse() {
        Ok(name) => Ok((name, qualifier)),
        Err(_) => Err(Refusal::of_user(
            StatusCode::BAD_REQUEST,
            "ValidationException",
            &format!("`{text}` is no function name and no function's ARN"),
        )),
    }
}

/// The client context as the runtime gets it: JSON on one line of ASCII.
fn client_context(encoded: &str) -> Result<String, Refusal> {
    let refusal = |why: &str| {
        Refusal::of_user(
            StatusCode::BAD_REQUEST,
            "InvalidRequestContentException",
            &format!("Client context must be a valid Base64-encoded JSON object ({why})"),
        )
    };
    if encoded.len() > MAX_CLIENT_CONTEXT_BYTES {
        return Err(refusal("longer than 3583 bytes"));
    }
    let decoded = BASE64.decode(encoded).map_err(|_| refusal("not base64"))?;
    let value: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&decoded).map_err(|_| refusal("not a JSON object"))?;
    let json = serde_json::Value::Object(value).to_string();
    // A header is ASCII; JSON can say everything that way.
    let mut ascii = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut units) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Ok(ascii)
}

fn answered(gateway: &Gateway, name: &str, answer: &Answer, request_id: RequestId) -> Response {
    let (body, is_error) = match &answer.outcome {
        Outcome::Response(response) => (response.body.clone(), false),
        Outcome::Throttled => return refused(&throttled()),
        Outcome::RequestTooLarge => return refused(&too_large()),
        Outcome::UnknownFunction => return refused(&not_found(gateway, name)),
        Outcome::IntegrationTimeout => {
            return refused(&Refusal::of_service(
                StatusCode::INTERNAL_SERVER_ERROR,
                "ServiceException",
                "the function was not done after 16 minutes; it runs on",
            ));
        }
        Outcome::ShuttingDown => {
            return refused(&Refusal::of_service(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceException",
                "the gateway is stopping",
            ));
        }
        failed @ (Outcome::FunctionError(_)
        | Outcome::TimedOut { .. }
        | Outcome::Crashed(_)
        | Outcome::ResponseTooLarge
        | Outcome::BuildFailed { .. }
        | Outcome::InitFailed(_)) => (failed.error_body(request_id).unwrap_or_default(), true),
    };
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        HeaderName::from_static("x-amz-executed-version"),
        HeaderValue::from_static("$LATEST"),
    );
    if is_error {
        headers.insert(
            HeaderName::from_static("x-amz-function-error"),
            HeaderValue::from_static("Unhandled"),
        );
    }
    if let Some(tail) = &answer.log_tail
        && let Ok(value) = HeaderValue::from_str(&BASE64.encode(tail))
    {
        headers.insert(HeaderName::from_static("x-amz-log-result"), value);
    }
    mark(&mut response, answer);
    if matches!(answer.outcome, Outcome::BuildFailed { .. }) {
        let headers = response.headers_mut();
        headers.insert(
            HeaderName::from_static("x-longshore-build"),
            HeaderValue::from_static("failed"),
        );
    }
    response
}

fn not_found(gateway: &Gateway, name: &str) -> Refusal {
    let config = &gateway.broker.shared.config;
    let arn = format!(
        "arn:aws:lambda:{}:{}:function:{name}",
        config.region, config.account_id
    );
    Refusal::of_user(
        StatusCode::NOT_FOUND,
        "ResourceNotFoundException",
        &format!("Function not found: {arn}"),
    )
}

fn too_large() -> Refusal {
    Refusal::of_user(
        StatusCode::PAYLOAD_TOO_LARGE,
        "RequestTooLargeException",
        &format!(
            "Request must be smaller than {MAX_PAYLOAD_BYTES} bytes for the InvokeFunction operation"
        ),
    )
}

fn throttled() -> Refusal {
    Refusal {
        status: StatusCode::TOO_MANY_REQUESTS,
        error_type: "TooManyRequestsException",
        body: json!({
            "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
            "Type": "User",
            "message": "Rate Exceeded.",
        }),
    }
}

fn refused(refusal: &Refusal) -> Response {
    let mut response = Response::new(Body::from(refusal.body.to_string()));
    *response.status_mut() = refusal.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        HeaderName::from_static("x-amzn-errortype"),
        HeaderValue::from_static(refusal.error_type),
    );
    if refusal.status == StatusCode::TOO_MANY_REQUESTS {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn status_only(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_goes_by_name_or_arn() {
        for (text, name, qualifier) in [
            ("demo", "demo", None),
            ("demo:$LATEST", "demo", Some("$LATEST")),
            (
                "arn:aws:lambda:us-east-1:000000000000:function:demo",
                "demo",
                None,
            ),
            (
                "arn:aws:lambda:us-east-1:000000000000:function:demo:7",
                "demo",
                Some("7"),
            ),
            ("000000000000:function:demo", "demo", None),
        ] {
            let Ok((found, version)) = function_of(text) else {
                panic!("{text} was refused");
            };
            assert_eq!((found.as_str(), version.as_deref()), (name, qualifier));
        }
        assert!(function_of("no spaces").is_err());
    }

    #[test]
    fn a_client_context_becomes_one_line_of_ascii() {
        let encoded = BASE64.encode("{\n \"custom\": {\"who\": \"Zo\u{eb}\"}}");
        let Ok(text) = client_context(&encoded) else {
            panic!("refused");
        };
        assert_eq!(text, r#"{"custom":{"who":"Zo\u00eb"}}"#);
        assert!(client_context("%%%").is_err());
        assert!(client_context(&BASE64.encode("[1]")).is_err());
    }
}
