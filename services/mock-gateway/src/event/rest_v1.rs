//! The event of a REST API's Lambda proxy integration, format 1.0. Empty maps are `null`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::body::{EventBody, by_binary_type, utf8_or_base64};
use super::fields::{All, Fields, Last, Pairs};
use super::headers::{self, Length};
use super::text::{access_log_time, protocol, short_id};
use super::{Authorized, EventContext, GatewayRequest};

/// The event as JSON.
#[must_use]
pub fn rest_v1(request: &GatewayRequest, context: &EventContext) -> Vec<u8> {
    let headers = headers::client_cased(request, context, Length::Left);
    let body = match &context.binary_media_types {
        Some(types) => by_binary_type(&request.body, &request.headers, types),
        None => utf8_or_base64(&request.body),
    };
    let front = Front {
        version: None,
        path: &context.path,
        deployment_id: Some(short_id(&context.api_id)),
        context_path: format!("/{}{}", context.stage, context.path),
        resource_id: Some(short_id(&context.resource)),
        without_authorizer: None,
    };
    format_1(request, context, &headers, body, front)
}

/// What REST and HTTP APIs, which share format 1.0, say differently.
pub(super) struct Front<'a> {
    pub(super) version: Option<&'static str>,
    pub(super) path: &'a str,
    pub(super) deployment_id: Option<String>,
    pub(super) context_path: String,
    pub(super) resource_id: Option<String>,
    /// What is said of the authorizer where the route has none.
    pub(super) without_authorizer: Option<Value>,
}

pub(super) fn format_1(
    request: &GatewayRequest,
    context: &EventContext,
    headers: &Fields<'_>,
    body: EventBody<'_>,
    front: Front<'_>,
) -> Vec<u8> {
    let query = Fields::query(request.uri.query().unwrap_or_default());
    let method = request.method.as_str();
    let caller = &context.caller;
    let event = Event {
        version: front.version,
        resource: &context.resource,
        path: front.path,
        http_method: method,
        headers: headers.last(),
        multi_value_headers: headers.all(),
        query_string_parameters: query.last(),
        multi_value_query_string_parameters: query.all(),
        path_parameters: Pairs::new(&context.path_parameters),
        stage_variables: (!context.stage_variables.is_empty()).then_some(&context.stage_variables),
        request_context: RequestContext {
            account_id: &context.account_id,
            api_id: &context.api_id,
            authorizer: caller
                .authorizer
                .as_ref()
                .map(Authorized::format_1)
                .or(front.without_authorizer),
            deployment_id: front.deployment_id,
            domain_name: &context.domain_name,
            domain_prefix: context.domain_prefix(),
            extended_request_id: &context.extended_request_id,
            http_method: method,
            identity: Identity {
                api_key: caller.api_key.as_ref().map(|key| key.value.as_str()),
                api_key_id: caller.api_key.as_ref().map(|key| key.id.as_str()),
                source_ip: request.source_ip.to_canonical().to_string(),
                user_agent: headers::user_agent(&request.headers),
                ..Identity::default()
            },
            path: front.context_path,
            protocol: protocol(request.http_version),
            request_id: &context.request_id,
            request_time: access_log_time(request.received_at),
            request_time_epoch: request.received_at.as_millisecond(),
            resource_id: front.resource_id,
            resource_path: &context.resource,
            stage: &context.stage,
        },
        body: body.text,
        is_base64_encoded: body.is_base64,
    };
    serde_json::to_vec(&event).expect("strings, numbers and maps with text keys are JSON")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    resource: &'a str,
    path: &'a str,
    http_method: &'a str,
    headers: Option<Last<'a>>,
    multi_value_headers: Option<All<'a>>,
    query_string_parameters: Option<Last<'a>>,
    multi_value_query_string_parameters: Option<All<'a>>,
    path_parameters: Option<Pairs<'a>>,
    stage_variables: Option<&'a BTreeMap<String, String>>,
    request_context: RequestContext<'a>,
    body: Option<Cow<'a, str>>,
    is_base64_encoded: bool,
}

/// `authorizer` and the keys of `identity` about API keys are there only when the route has
/// such a thing; `operationName` never is: no route here has one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    account_id: &'a str,
    api_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment_id: Option<String>,
    domain_name: &'a str,
    domain_prefix: &'a str,
    extended_request_id: &'a str,
    http_method: &'a str,
    identity: Identity<'a>,
    path: String,
    protocol: &'static str,
    request_id: &'a str,
    request_time: String,
    request_time_epoch: i64,
    resource_id: Option<String>,
    resource_path: &'a str,
    stage: &'a str,
}

/// Who called: nobody that AWS knows, so all but the address and the agent is `null`.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'a> {
    access_key: (),
    account_id: (),
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_id: Option<&'a str>,
    caller: (),
    cognito_authentication_provider: (),
    cognito_authentication_type: (),
    cognito_identity_id: (),
    cognito_identity_pool_id: (),
    principal_org_id: (),
    source_ip: String,
    user: (),
    user_agent: Option<Cow<'a, str>>,
    user_arn: (),
}
