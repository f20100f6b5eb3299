//! From an HTTP request to the event a function receives, in each of the shapes AWS sends:
//! REST API (v1), HTTP API (v1 and v2), function URL and load balancer. Pure: everything that is drawn or looked
//! up (ids, the route, the time) comes in, so that a case is a value and its expectation.
//!
//! Where AWS says nothing or the sandbox cannot know, these choices hold for all shapes:
//! paths stay percent-encoded as sent; `X-Forwarded-Proto` and `-Port` name the sandbox's
//! own listener, so that a handler that builds links to itself builds ones that work;
//! `x-longshore-*` request headers speak to the sandbox and never reach a function.

mod body;
mod caller;
mod fields;
mod function_url;
mod headers;
mod http_v1;
mod http_v2;
mod load_balancer;
mod rest_v1;
mod text;

use std::collections::BTreeMap;
use std::net::IpAddr;

use app_model::BinaryMediaTypes;
use bytes::Bytes;
use jiff::Timestamp;

pub(crate) use caller::key_id;
pub use caller::{ApiKey, Authorized, Caller};
pub use function_url::function_url;
pub use http_v1::http_v1;
pub use http_v2::http_v2;
pub use load_balancer::{TargetGroup, load_balancer};
pub use rest_v1::rest_v1;
pub(crate) use text::text_hash;

/// A request as it came in at the gateway.
#[derive(Clone, Debug)]
pub struct GatewayRequest {
    /// The method.
    pub method: http::Method,
    /// The request target as sent, with the sandbox's own prefix and the query.
    pub uri: http::Uri,
    /// The headers as sent.
    pub headers: http::HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The peer's address.
    pub source_ip: IpAddr,
    /// When the request arrived.
    pub received_at: Timestamp,
    /// The protocol version it was sent with.
    pub http_version: http::Version,
}

impl GatewayRequest {
    /// The first value of a header, if it is ASCII.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What the event says about the API in front of the function, and about this call.
#[derive(Clone, Debug)]
pub struct EventContext {
    /// The account's twelve digits. A function URL says `anonymous` instead.
    pub account_id: String,
    /// The API's id, or the id in a function URL's host name.
    pub api_id: String,
    /// The host name the API has; its first label is the domain prefix.
    pub domain_name: String,
    /// The stage. `$default` (HTTP APIs and function URLs) adds no prefix to paths.
    pub stage: String,
    /// The request id, a UUID.
    pub request_id: String,
    /// The short base64 id that API Gateway writes beside it.
    pub extended_request_id: String,
    /// The X-Ray trace, `Root=…;Parent=…;Sampled=…`.
    pub trace_id: String,
    /// The route that matched: `/hook/{proxy+}`, `$default`, or a whole route key such as
    /// `ANY /hook/{id}`.
    pub resource: String,
    /// The path within the stage, percent-encoded as sent.
    pub path: String,
    /// What the route's placeholders matched, in order.
    pub path_parameters: Vec<(String, String)>,
    /// The stage's variables.
    pub stage_variables: BTreeMap<String, String>,
    /// What a REST API takes for binary; unset, the bytes decide.
    pub binary_media_types: Option<BinaryMediaTypes>,
    /// Who calls, on a route that asks.
    pub caller: Caller,
}

impl EventContext {
    /// The first label of the domain name.
    fn domain_prefix(&self) -> &str {
        self.domain_name.split('.').next().unwrap_or_default()
    }
}
