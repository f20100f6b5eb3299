//! The event of an HTTP API's Lambda proxy integration, format 2.0. What is absent is left
//! out, never `null`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::body::by_content_type;
use super::fields::{Fields, Joined, Pairs};
use super::headers::{self, EmptyLength};
use super::text::{access_log_time, protocol, staged_path};
use super::{Authorized, EventContext, GatewayRequest};

/// The event as JSON. Any method and path of `$default` has the route key `$default`; a
/// resource without a method gets the request's.
#[must_use]
pub fn http_v2(request: &GatewayRequest, context: &EventContext) -> Vec<u8> {
    let route_key = if context.resource.starts_with('/') {
        Cow::Owned(format!("{} {}", request.method, context.resource))
    } else {
        Cow::Borrowed(context.resource.as_str())
    };
    format_2(
        request,
        context,
        &Front {
            route_key: &route_key,
            account_id: &context.account_id,
            stage: &context.stage,
            path_parameters: Pairs::new(&context.path_parameters),
            stage_variables: (!context.stage_variables.is_empty())
                .then_some(&context.stage_variables),
            empty_length: EmptyLength::Named,
        },
    )
}

/// What HTTP APIs and function URLs, which share format 2.0, say differently.
pub(super) struct Front<'a> {
    pub(super) route_key: &'a str,
    pub(super) account_id: &'a str,
    pub(super) stage: &'a str,
    pub(super) path_parameters: Option<Pairs<'a>>,
    pub(super) stage_variables: Option<&'a BTreeMap<String, String>>,
    pub(super) empty_length: EmptyLength,
}

pub(super) fn format_2(
    request: &GatewayRequest,
    context: &EventContext,
    front: &Front<'_>,
) -> Vec<u8> {
    let headers = headers::lower_case(request, context, front.empty_length);
    let raw_query = request.uri.query().unwrap_or_default();
    let query = Fields::query(raw_query);
    let raw_path = staged_path(front.stage, &context.path);
    let body = by_content_type(&request.body, &request.headers);
    let event = Event {
        version: "2.0",
        route_key: front.route_key,
        raw_path: &raw_path,
        raw_query_string: raw_query,
        cookies: headers::cookies(&request.headers),
        headers: headers.joined(),
        query_string_parameters: query.joined(),
        request_context: RequestContext {
            account_id: front.account_id,
            api_id: &context.api_id,
            authorizer: context.caller.authorizer.as_ref().map(Authorized::format_2),
            domain_name: &context.domain_name,
            domain_prefix: context.domain_prefix(),
            http: Http {
                method: request.method.as_str(),
                path: &raw_path,
                protocol: protocol(request.http_version),
                source_ip: request.source_ip.to_canonical().to_string(),
                user_agent: headers::user_agent(&request.headers).unwrap_or_default(),
            },
            request_id: &context.request_id,
            route_key: front.route_key,
            stage: front.stage,
            time: access_log_time(request.received_at),
            time_epoch: request.received_at.as_millisecond(),
        },
        path_parameters: front.path_parameters.as_ref(),
        stage_variables: front.stage_variables,
        body: body.text,
        is_base64_encoded: body.is_base64,
    };
    serde_json::to_vec(&event).expect("strings, numbers and maps with text keys are JSON")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    version: &'static str,
    route_key: &'a str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cookies: Option<Vec<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Joined<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_string_parameters: Option<Joined<'a>>,
    request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_parameters: Option<&'a Pairs<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage_variables: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    is_base64_encoded: bool,
}

/// `authorizer` is there only when the route has one; `authentication` never is: no client
/// shows a certificate here.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    account_id: &'a str,
    api_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<Value>,
    domain_name: &'a str,
    domain_prefix: &'a str,
    http: Http<'a>,
    request_id: &'a str,
    route_key: &'a str,
    stage: &'a str,
    time: String,
    time_epoch: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Http<'a> {
    method: &'a str,
    path: &'a str,
    protocol: &'static str,
    source_ip: String,
    user_agent: Cow<'a, str>,
}
