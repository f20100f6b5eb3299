//! The event of an Application Load Balancer's Lambda target. Headers and query are either
//! single or lists, as the target group is set, never both.

use std::borrow::Cow;

use serde::Serialize;

use super::body::of_load_balancer;
use super::fields::{All, Fields, Last};
use super::headers;
use super::{EventContext, GatewayRequest};

/// The group that the function is the target of.
#[derive(Clone, Debug)]
pub struct TargetGroup {
    /// Its ARN.
    pub arn: String,
    /// Its attribute `lambda.multi_value_headers.enabled`.
    pub multi_value_headers: bool,
}

/// The event as JSON.
#[must_use]
pub fn load_balancer(
    request: &GatewayRequest,
    context: &EventContext,
    group: &TargetGroup,
) -> Vec<u8> {
    let headers = headers::load_balancer(request, context);
    let query = Fields::raw_query(request.uri.query().unwrap_or_default());
    let body = of_load_balancer(&request.body, &request.headers);
    let (single, multi) = (!group.multi_value_headers, group.multi_value_headers);
    let event = Event {
        request_context: RequestContext {
            elb: Elb {
                target_group_arn: &group.arn,
            },
        },
        http_method: request.method.as_str(),
        path: &context.path,
        query_string_parameters: single.then(|| query.last_or_empty()),
        multi_value_query_string_parameters: multi.then(|| query.all_or_empty()),
        headers: single.then(|| headers.last_or_empty()),
        multi_value_headers: multi.then(|| headers.all_or_empty()),
        body: body.text.unwrap_or_default(),
        is_base64_encoded: body.is_base64,
    };
    serde_json::to_vec(&event).expect("strings and maps with text keys are JSON")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    request_context: RequestContext<'a>,
    http_method: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_string_parameters: Option<Last<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_query_string_parameters: Option<All<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Last<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<All<'a>>,
    body: Cow<'a, str>,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
struct RequestContext<'a> {
    elb: Elb<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Elb<'a> {
    target_group_arn: &'a str,
}
