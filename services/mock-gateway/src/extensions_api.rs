//! The Lambda Extensions API of one environment: register, next event, errors.
//!
//! External extensions are programs of their own, known by their file's name. Any other name
//! is an internal one's, which registers from the function's own processes; the Rust
//! client's graceful shutdown depends on those.

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::broker::{ExtensionRefused, MAX_EXTENSIONS, StopReason, Wants};
use crate::invocation::Invocation;
use crate::outcome::ExtensionFault;
use crate::runtime_api::{RuntimeApi, accepted, error, json_response, not_found, read_body};

const NAME: &str = "lambda-extension-name";
const IDENTIFIER: &str = "lambda-extension-identifier";
const ERROR_TYPE: &str = "lambda-extension-function-error-type";
const FEATURES: &str = "lambda-extension-accept-feature";

/// The largest body that these calls take, in bytes.
const MAX_BODY_BYTES: usize = 256 * 1024;

#[derive(Deserialize)]
struct Registration {
    #[serde(default)]
    events: Vec<String>,
}

/// What extensions are told of an invocation.
pub(crate) fn invoke_event(invocation: &Invocation, arn: &str, deadline_ms: u128) -> Bytes {
    let version = if invocation.qualified { ":$LATEST" } else { "" };
    let event = json!({
        "eventType": "INVOKE",
        "deadlineMs": deadline_ms,
        "requestId": invocation.request_id.to_string(),
        "invokedFunctionArn": format!("{arn}{version}"),
        "tracing": {"type": "X-Amzn-Trace-Id", "value": invocation.trace_id.as_str()},
    });
    Bytes::from(event.to_string())
}

/// What extensions are told of the end.
pub(crate) fn shutdown_event(reason: StopReason, deadline_ms: u128) -> Bytes {
    let event = json!({
        "eventType": "SHUTDOWN",
        "shutdownReason": reason.as_str(),
        "deadlineMs": deadline_ms,
    });
    Bytes::from(event.to_string())
}

/// Answers a call whose path is `/2020-01-01/extension/<call>`.
pub(crate) async fn answer(
    api: &RuntimeApi,
    request: Request<Incoming>,
    call: &str,
) -> Response<Full<Bytes>> {
    match (request.method(), call) {
        (&Method::POST, "register") => register(api, request).await,
        (&Method::GET, "event/next") => next(api, &request).await,
        (&Method::POST, "init/error") => failed(api, &request, ExtensionFault::Init),
        (&Method::POST, "exit/error") => failed(api, &request, ExtensionFault::Exit),
        _ => not_found(),
    }
}

async fn register(api: &RuntimeApi, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let name = match header(&request, NAME) {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => {
            return forbidden("Extension.InvalidExtensionName", "Empty extension name");
        }
    };
    let wants_account = header(&request, FEATURES)
        .is_some_and(|features| features.split(',').any(|f| f.trim() == "accountId"));
    let Ok(body) = read_body(request.into_body(), MAX_BODY_BYTES).await else {
        return forbidden("InvalidRequestFormat", "the body is cut short or too large");
    };
    let registration: Registration = match serde_json::from_slice(&body.bytes) {
        Ok(registration) => registration,
        Err(problem) => return forbidden("InvalidRequestFormat", &problem.to_string()),
    };
    let known = |event: &&String| !matches!(event.as_str(), "INVOKE" | "SHUTDOWN");
    if let Some(unknown) = registration.events.iter().find(known) {
        return forbidden(
            "Extension.InvalidEventType",
            &format!("{unknown}: Invalid event type"),
        );
    }
    let on = |event: &str| registration.events.iter().any(|e| e == event);
    let wants = Wants {
        invoke: on("INVOKE"),
        shutdown: on("SHUTDOWN"),
    };
    match api.broker.register_extension(api.key, &name, wants) {
        Ok(id) => {
            let mut body = json!({
                "functionName": api.function().name.as_str(),
                "functionVersion": "$LATEST",
                "handler": api.function().settings.handler,
            });
            if wants_account {
                body["accountId"] = api.broker.shared.config.account_id.as_str().into();
            }
            let mut response = json_response(StatusCode::OK, Bytes::from(body.to_string()));
            insert(&mut response, IDENTIFIER, id);
            response
        }
        Err(refused) => refusal(refused, &name),
    }
}

async fn next(api: &RuntimeApi, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let id = match identifier(request) {
        Ok(id) => id,
        Err(refused) => return *refused,
    };
    let event = match api.broker.extension_next(api.key, id) {
        Ok(event) => event,
        Err(refused) => return refusal(refused, &id.to_string()),
    };
    match event.await {
        Ok(event) => {
            let mut response = json_response(StatusCode::OK, event.0);
            insert(
                &mut response,
                "lambda-extension-event-identifier",
                Uuid::new_v4(),
            );
            response
        }
        // It has failed, or the environment has ended.
        Err(_) => refusal(
            ExtensionRefused::Transition {
                from: "Ready",
                to: "Ready",
            },
            &id.to_string(),
        ),
    }
}

fn failed(
    api: &RuntimeApi,
    request: &Request<Incoming>,
    fault: ExtensionFault,
) -> Response<Full<Bytes>> {
    let id = match identifier(request) {
        Ok(id) => id,
        Err(refused) => return *refused,
    };
    let Some(error_type) = header(request, ERROR_TYPE) else {
        return forbidden(
            "Extension.MissingHeader",
            "Lambda-Extension-Function-Error-Type not found",
        );
    };
    let said = api.broker.extension_failed(api.key, id, fault, error_type);
    match said {
        Ok(()) => accepted(),
        Err(refused) => refusal(refused, &id.to_string()),
    }
}

/// Which extension calls.
pub(crate) fn identifier(request: &Request<Incoming>) -> Result<Uuid, Box<Response<Full<Bytes>>>> {
    let Some(text) = header(request, IDENTIFIER) else {
        return Err(Box::new(forbidden(
            "Extension.MissingExtensionIdentifier",
            "Missing Lambda-Extension-Identifier header",
        )));
    };
    Uuid::try_parse(text).map_err(|_| {
        Box::new(forbidden(
            "Extension.InvalidExtensionIdentifier",
            "Invalid Lambda-Extension-Identifier",
        ))
    })
}

fn refusal(refused: ExtensionRefused, who: &str) -> Response<Full<Bytes>> {
    match refused {
        ExtensionRefused::RegistrationClosed => forbidden(
            "Extension.RegistrationClosed",
            "Extension registration closed already",
        ),
        ExtensionRefused::NameTaken => forbidden(
            "Extension.InvalidExtensionState",
            "Extension with this name already registered",
        ),
        ExtensionRefused::TooMany => forbidden(
            "Extension.TooManyExtensions",
            &format!("Extension limit ({MAX_EXTENSIONS}) reached"),
        ),
        ExtensionRefused::Unknown => forbidden(
            "Extension.UnknownExtensionIdentifier",
            &format!("Unknown extension {who}"),
        ),
        ExtensionRefused::ShutdownIsExternal => {
            forbidden("Extension.InvalidEventType", "SHUTDOWN: Invalid event type")
        }
        ExtensionRefused::Transition { from, to } => forbidden(
            "Extension.InvalidExtensionState",
            &format!(
                "State transition from {from} to {to} failed for extension {who}. Error: State transition is not allowed"
            ),
        ),
    }
}

/// No extension goes by that.
pub(crate) fn unknown(who: &str) -> Response<Full<Bytes>> {
    refusal(ExtensionRefused::Unknown, who)
}

fn forbidden(error_type: &str, message: &str) -> Response<Full<Bytes>> {
    error(StatusCode::FORBIDDEN, error_type, message)
}

fn header<'a>(request: &'a Request<Incoming>, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

fn insert(response: &mut Response<Full<Bytes>>, name: &'static str, id: Uuid) {
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(name, value);
    }
}
