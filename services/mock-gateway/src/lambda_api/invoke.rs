//! Lambda's Invoke API, as SDKs and the AWS CLI call it: `Invoke`, `InvokeAsync` and
//! `InvokeWithResponseStream`.

use std::time::Duration;

use app_model::Excess;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::event_stream::{self, StreamError};
use super::refusal::Refusal;
use super::target::Target;
use crate::asynchronous::NotAccepted;
use crate::broker::Answer;
use crate::faults::{Injected, Speaker, Taken};
use crate::invocation::{Invocation, RequestId, TenantId, TraceId};
use crate::live_body::{Framing, LiveBody};
use crate::outcome::{MAX_PAYLOAD_BYTES, Outcome};
use crate::recursion::{self, Verdict};
use crate::routes::{Hungup, mark, read_body};
use crate::server::Gateway;

/// Lambda's longest run and some: who invokes directly waits for as long as that takes.
const PATIENCE: Duration = Duration::from_secs(960);
/// The longest client context, base64, in bytes.
const MAX_CLIENT_CONTEXT_BYTES: usize = 3_583;
/// The largest event that nobody waits for, in bytes.
const MAX_EVENT_BYTES: usize = 1_048_576;

/// The query of a call.
#[derive(Default, Deserialize)]
pub(crate) struct Version {
    #[serde(rename = "Qualifier")]
    pub(crate) qualifier: Option<String>,
}

/// How an invocation is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    RequestResponse,
    Event,
    DryRun,
}

impl Kind {
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        match text(headers, "x-amz-invocation-type") {
            None | Some("RequestResponse") => Ok(Self::RequestResponse),
            Some("Event") => Ok(Self::Event),
            Some("DryRun") => Ok(Self::DryRun),
            Some(other) => Err(Refusal::validation(
                other,
                "invocationType",
                "Member must satisfy enum value set: [Event, RequestResponse, DryRun]",
            )),
        }
    }

    fn limit(self) -> (&'static str, usize) {
        match self {
            Self::Event => ("Event", MAX_EVENT_BYTES),
            Self::RequestResponse | Self::DryRun => ("RequestResponse", MAX_PAYLOAD_BYTES),
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
    let call = async {
        let (headers, body) = take_apart(request).await?;
        let kind = Kind::of(&headers)?;
        let target = existing(&gateway, &name, version.qualifier.as_deref())?;
        let call = prepare(&target, kind, &headers, body, request_id);
        match kind {
            Kind::DryRun => call.map(|_| status_only(StatusCode::NO_CONTENT)),
            Kind::Event => {
                let (call, injected) = (call?, injected(&gateway, &target, &headers)?);
                if let Some(refused) = refused(&injected) {
                    return Ok(refused);
                }
                accept(&gateway, call, &injected).await
            }
            Kind::RequestResponse => {
                let (call, injected) = (call?, injected(&gateway, &target, &headers)?);
                if let Some(refused) = refused(&injected) {
                    return Ok(refused);
                }
                let told = match recursion::judge(&gateway.events, &call) {
                    Verdict::Made => None,
                    Verdict::Told(excess) => Some(excess),
                    Verdict::Stopped(excess) => return Ok(stopped(&excess)),
                };
                let broker = &gateway.broker;
                let answer = broker
                    .invoke_with(call, PATIENCE, &injected, Taken::Whole)
                    .await;
                let mut response = match body_of(&gateway, &target, &answer, request_id)? {
                    Told::Answered(body) => answered(body, None, &answer),
                    Told::Failed(body) => answered(body, Some("Unhandled"), &answer),
                };
                recursion::mark(response.headers_mut(), told.as_ref());
                injected.mark(&mut response);
                Ok(response)
            }
        }
    };
    let response = call.await.unwrap_or_else(Refusal::into_response);
    identified(response, request_id)
}

/// `POST /2014-11-13/functions/{name}/invoke-async/`: what `Event` was before.
pub(crate) async fn invoke_async(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let request_id = RequestId::random();
    let call = async {
        let (headers, body) = take_apart(request).await?;
        let target = existing(&gateway, &name, None)?;
        let call = prepare(&target, Kind::Event, &headers, body, request_id)?;
        let injected = injected(&gateway, &target, &headers)?;
        if let Some(refused) = refused(&injected) {
            return Ok(refused);
        }
        accept(&gateway, call, &injected).await
    };
    let response = call.await.unwrap_or_else(Refusal::into_response);
    identified(response, request_id)
}

/// `POST /2021-11-15/functions/{name}/response-streaming-invocations`.
pub(crate) async fn invoke_with_response_stream(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    Query(version): Query<Version>,
    request: Request,
) -> Response {
    let request_id = RequestId::random();
    let call = async {
        let (headers, body) = take_apart(request).await?;
        let kind = Kind::of(&headers)?;
        if kind == Kind::Event {
            return Err(Refusal::invalid_parameter(
                "InvocationType Event is not supported for response streaming",
            ));
        }
        let target = existing(&gateway, &name, version.qualifier.as_deref())?;
        let call = prepare(&target, kind, &headers, body, request_id)?;
        if kind == Kind::DryRun {
            return Ok(status_only(StatusCode::NO_CONTENT));
        }
        let injected = injected(&gateway, &target, &headers)?;
        if let Some(refused) = refused(&injected) {
            return Ok(refused);
        }
        let told = match recursion::judge(&gateway.events, &call) {
            Verdict::Made => None,
            Verdict::Told(excess) => Some(excess),
            Verdict::Stopped(excess) => return Ok(stopped(&excess)),
        };
        let broker = &gateway.broker;
        let answer = broker
            .invoke_with(call, PATIENCE, &injected, Taken::AsWritten)
            .await;
        let written = match &answer.outcome {
            Outcome::Streaming(stream) => stream.take(),
            _ => None,
        };
        if let Some(pieces) = written {
            let framing = Framing::Framed {
                piece: event_stream::piece,
                end: Box::new(move |answer| end_of_stream(answer, request_id)),
            };
            let body = LiveBody::body(Bytes::new(), pieces, framing, None);
            let mut response = framed(Response::new(body), &answer);
            recursion::mark(response.headers_mut(), told.as_ref());
            injected.mark(&mut response);
            return Ok(response);
        }
        let (payload, error) = match body_of(&gateway, &target, &answer, request_id)? {
            Told::Answered(body) => (body, None),
            Told::Failed(body) => (Bytes::new(), Some(stream_error(&body))),
        };
        let log = answer.log_tail.as_ref().map(|tail| BASE64.encode(tail));
        let frames = event_stream::frames(&payload, error.as_ref(), log.as_deref());
        let mut response = framed(Response::new(Body::from(frames)), &answer);
        recursion::mark(response.headers_mut(), told.as_ref());
        injected.mark(&mut response);
        Ok(response)
    };
    let response = call.await.unwrap_or_else(Refusal::into_response);
    identified(response, request_id)
}

fn framed(mut response: Response, answer: &Answer) -> Response {
    let kind = HeaderValue::from_static(event_stream::CONTENT_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    executed(&mut response);
    mark(&mut response, answer);
    response
}

/// The last frame of an answer that was passed on while it was written.
fn end_of_stream(answer: &Answer, request_id: RequestId) -> Bytes {
    let error = match &answer.outcome {
        Outcome::Streamed { .. } => None,
        failure => Some(match failure.error_body(request_id) {
            Some(body) => stream_error(&body),
            None => StreamError {
                code: "ServiceException".to_owned(),
                details: failure.explanation(request_id).unwrap_or_default(),
            },
        }),
    };
    let log = answer.log_tail.as_ref().map(|tail| BASE64.encode(tail));
    event_stream::end(error.as_ref(), log.as_deref())
}

/// What a caller is told of an invocation that a function had.
enum Told {
    Answered(Bytes),
    Failed(Bytes),
}

async fn take_apart(request: Request) -> Result<(HeaderMap, Bytes), Refusal> {
    let (parts, body) = request.into_parts();
    match read_body(body).await {
        Ok(body) => Ok((parts.headers, body)),
        Err(Hungup) => Err(Refusal::serialization("the body was cut short")),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The function that was named, if there is one.
fn existing(gateway: &Gateway, name: &str, qualifier: Option<&str>) -> Result<Target, Refusal> {
    let config = &gateway.broker.shared.config;
    let target = Target::read(name, qualifier, config)?;
    if target.is_latest() && gateway.broker.is_declared(&target.name) {
        Ok(target)
    } else {
        Err(function_not_found(gateway, &target))
    }
}

fn function_not_found(gateway: &Gateway, target: &Target) -> Refusal {
    let arn = target.invoked_arn(&gateway.broker.shared.config);
    Refusal::not_found(format!("Function not found: {arn}"))
}

fn prepare(
    target: &Target,
    kind: Kind,
    headers: &HeaderMap,
    body: Bytes,
    request_id: RequestId,
) -> Result<Invocation, Refusal> {
    let (kind, limit) = kind.limit();
    if body.len() > limit {
        return Err(Refusal::too_large(body.len(), kind, limit));
    }
    let wants_log_tail = match text(headers, "x-amz-log-type") {
        None | Some("None") => false,
        Some("Tail") => true,
        Some(other) => {
            return Err(Refusal::validation(
                other,
                "logType",
                "Member must satisfy enum value set: [None, Tail]",
            ));
        }
    };
    let payload = if body.is_empty() {
        Bytes::from_static(b"{}")
    } else {
        body
    };
    if let Err(problem) = serde_json::from_slice::<IgnoredAny>(&payload) {
        return Err(Refusal::of_user(
            StatusCode::BAD_REQUEST,
            "InvalidRequestContentException",
            format!("Could not parse request body into json: {problem}"),
        ));
    }
    let mut trace_id = text(headers, "x-amzn-trace-id")
        .and_then(TraceId::from_header)
        .unwrap_or_else(|| {
            let now = jiff::Timestamp::now().as_second();
            TraceId::random(u64::try_from(now).unwrap_or_default())
        });
    trace_id.enter(&target.name);
    Ok(Invocation {
        request_id,
        function: target.name.clone(),
        payload,
        trace_id,
        qualified: target.qualifier.is_some(),
        tenant: text(headers, "x-amz-tenant-id").map(tenant).transpose()?,
        client_context: text(headers, "x-amz-client-context")
            .map(client_context)
            .transpose()?,
        wants_log_tail,
    })
}

fn tenant(text: &str) -> Result<TenantId, Refusal> {
    TenantId::read(text).ok_or_else(|| {
        let constraint = format!(
            "Member must satisfy regular expression pattern: {}",
            TenantId::PATTERN
        );
        Refusal::validation(text, "tenantId", &constraint)
    })
}

/// The client context as the runtime gets it: JSON on one line of ASCII.
fn client_context(encoded: &str) -> Result<String, Refusal> {
    let refusal = |why: &str| {
        Refusal::of_user(
            StatusCode::BAD_REQUEST,
            "InvalidRequestContentException",
            format!("Client context must be a valid Base64-encoded JSON object ({why})"),
        )
    };
    if encoded.len() > MAX_CLIENT_CONTEXT_BYTES {
        return Err(refusal("longer than 3583 bytes"));
    }
    let decoded = BASE64.decode(encoded).map_err(|_| refusal("not base64"))?;
    let value: serde_json::Map<String, Value> =
        serde_json::from_slice(&decoded).map_err(|_| refusal("not a JSON object"))?;
    let json = Value::Object(value).to_string();
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

/// What is to go wrong with a call.
fn injected(gateway: &Gateway, target: &Target, headers: &HeaderMap) -> Result<Injected, Refusal> {
    let injected = gateway.broker.shared.faults.of(headers, &target.name);
    injected.map_err(|invalid| Refusal::bad_header(invalid.to_string()))
}

/// The answer to a call that no function is to hear of.
fn refused(injected: &Injected) -> Option<Response> {
    let mut response = injected.refused()?.answer(Speaker::Lambda);
    injected.mark(&mut response);
    Some(response)
}

/// The answer to a call that a chain of requests makes too often.
fn stopped(excess: &Excess) -> Response {
    let mut response = Refusal::recursive().into_response();
    recursion::mark(response.headers_mut(), Some(excess));
    response
}

/// Once this returns, the event outlives the process.
async fn accept(
    gateway: &Gateway,
    invocation: Invocation,
    injected: &Injected,
) -> Result<Response, Refusal> {
    if injected.duplicates() {
        write_down(gateway, invocation.clone(), injected).await?;
    }
    write_down(gateway, invocation, injected).await?;
    let mut response = status_only(StatusCode::ACCEPTED);
    injected.mark(&mut response);
    Ok(response)
}

async fn write_down(
    gateway: &Gateway,
    invocation: Invocation,
    injected: &Injected,
) -> Result<(), Refusal> {
    let accepted = gateway.events.accept(invocation, injected).await;
    accepted.map_err(|error| match error {
        NotAccepted::Full => Refusal::throttled("ConcurrentInvocationLimitExceeded"),
        NotAccepted::Unavailable(_) | NotAccepted::NotWritten(_) => {
            Refusal::of_service(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        }
    })
}

fn body_of(
    gateway: &Gateway,
    target: &Target,
    answer: &Answer,
    request_id: RequestId,
) -> Result<Told, Refusal> {
    Err(match &answer.outcome {
        Outcome::Response(response) => return Ok(Told::Answered(response.body.clone())),
        Outcome::Streaming(_) | Outcome::Streamed { .. } => {
            Refusal::of_service(StatusCode::INTERNAL_SERVER_ERROR, "the stream is gone")
        }
        Outcome::Throttled => {
            let reserved = gateway.events.options(&target.name).reserved_concurrency;
            Refusal::throttled(if reserved.is_some() {
                "ReservedFunctionConcurrentInvocationLimitExceeded"
            } else {
                "ConcurrentInvocationLimitExceeded"
            })
        }
        Outcome::RequestTooLarge => {
            Refusal::too_large(MAX_PAYLOAD_BYTES + 1, "RequestResponse", MAX_PAYLOAD_BYTES)
        }
        Outcome::UnknownFunction => function_not_found(gateway, target),
        Outcome::IntegrationTimeout => Refusal::of_service(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the function was not done after 16 minutes; it runs on",
        ),
        Outcome::ShuttingDown => {
            Refusal::of_service(StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping")
        }
        failed @ (Outcome::FunctionError(_)
        | Outcome::TimedOut { .. }
        | Outcome::Crashed(_)
        | Outcome::ExtensionFailed(_)
        | Outcome::ResponseTooLarge
        | Outcome::BuildFailed { .. }
        | Outcome::InitFailed(_)) => {
            let body = failed.error_body(request_id).unwrap_or_default();
            return Ok(Told::Failed(body));
        }
    })
}

/// The function's own error type is the code; its whole error the details.
fn stream_error(body: &Bytes) -> StreamError {
    let error: Value = serde_json::from_slice(body).unwrap_or_default();
    StreamError {
        code: error["errorType"]
            .as_str()
            .unwrap_or("Unhandled")
            .to_owned(),
        details: String::from_utf8_lossy(body).into_owned(),
    }
}

fn answered(body: Bytes, error: Option<&'static str>, answer: &Answer) -> Response {
    let mut response = Response::new(Body::from(body));
    executed(&mut response);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(error) = error {
        headers.insert(
            HeaderName::from_static("x-amz-function-error"),
            HeaderValue::from_static(error),
        );
    }
    if let Some(tail) = &answer.log_tail
        && let Ok(value) = HeaderValue::from_str(&BASE64.encode(tail))
    {
        headers.insert(HeaderName::from_static("x-amz-log-result"), value);
    }
    mark(&mut response, answer);
    if matches!(answer.outcome, Outcome::BuildFailed { .. }) {
        response.headers_mut().insert(
            HeaderName::from_static("x-longshore-build"),
            HeaderValue::from_static("failed"),
        );
    }
    response
}

fn executed(response: &mut Response) {
    response.headers_mut().insert(
        HeaderName::from_static("x-amz-executed-version"),
        HeaderValue::from_static("$LATEST"),
    );
}

fn identified(mut response: Response, request_id: RequestId) -> Response {
    if let Ok(id) = HeaderValue::from_str(&request_id.to_string()) {
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static("x-amzn-requestid"), id);
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
    fn a_client_context_becomes_one_line_of_ascii() {
        let encoded = BASE64.encode("{\n \"custom\": {\"who\": \"Zo\u{eb}\"}}");
        let text = client_context(&encoded).unwrap();
        assert_eq!(text, r#"{"custom":{"who":"Zo\u00eb"}}"#);
        assert!(client_context("%%%").is_err());
        assert!(client_context(&BASE64.encode("[1]")).is_err());
        assert!(client_context(&"e".repeat(MAX_CLIENT_CONTEXT_BYTES + 1)).is_err());
    }
}
