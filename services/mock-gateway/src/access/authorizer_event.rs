//! What Lambda authorizers are sent: a token, or the request's own event without its body.

use serde_json::{Map, Value, json};

use crate::event::{self, EventContext, GatewayRequest};

/// The event of a token authorizer.
pub(super) fn token(token: &str, method_arn: &str) -> Vec<u8> {
    let event = json!({
        "type": "TOKEN",
        "methodArn": method_arn,
        "authorizationToken": token,
    });
    event.to_string().into_bytes()
}

/// The event of a REST API's request authorizer.
pub(super) fn rest(request: &GatewayRequest, context: &EventContext, arn: &str) -> Vec<u8> {
    let mut event = without_body(&event::rest_v1(request, context));
    event.insert("type".to_owned(), json!("REQUEST"));
    event.insert("methodArn".to_owned(), json!(arn));
    text(event)
}

/// The event of an HTTP API's request authorizer, format 1.0.
pub(super) fn http_v1(
    request: &GatewayRequest,
    context: &EventContext,
    arn: &str,
    identity: &[String],
) -> Vec<u8> {
    let mut event = without_body(&event::http_v1(request, context));
    event.insert("type".to_owned(), json!("REQUEST"));
    event.insert("methodArn".to_owned(), json!(arn));
    event.insert("identitySource".to_owned(), json!(identity.join(",")));
    event.insert("authorizationToken".to_owned(), json!(identity.join(",")));
    text(event)
}

/// The event of an HTTP API's request authorizer, format 2.0.
pub(super) fn http_v2(
    request: &GatewayRequest,
    context: &EventContext,
    arn: &str,
    identity: &[String],
) -> Vec<u8> {
    let mut event = without_body(&event::http_v2(request, context));
    event.insert("type".to_owned(), json!("REQUEST"));
    event.insert("routeArn".to_owned(), json!(arn));
    event.insert("identitySource".to_owned(), json!(identity));
    text(event)
}

fn without_body(event: &[u8]) -> Map<String, Value> {
    let mut event: Map<String, Value> = serde_json::from_slice(event).unwrap_or_default();
    event.remove("body");
    event.remove("isBase64Encoded");
    event
}

fn text(event: Map<String, Value>) -> Vec<u8> {
    Value::Object(event).to_string().into_bytes()
}
