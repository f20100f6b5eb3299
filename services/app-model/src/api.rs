//! The APIs in front of functions, as `[workspace.metadata.longshore.api]` sets them.
//!
//! ```toml
//! [workspace.metadata.longshore.api]
//! router = "http"                        # what serves the router's routes: "http" or "rest"
//!
//! [workspace.metadata.longshore.api.http]
//! stage = "dev"                          # default: "$default", which adds no prefix
//! stage_variables = { table = "orders" }
//! payload_format = "2.0"                 # of routes that do not say
//! cors = { allow_origins = ["https://app.example.com"], allow_methods = ["POST"] }
//!
//! [workspace.metadata.longshore.api.rest]
//! stage = "local"
//! stage_variables = { table = "orders" }
//! binary_media_types = ["image/*"]
//!
//! [workspace.metadata.longshore.api.alb]
//! multi_value_headers = true
//!
//! [workspace.metadata.longshore.api.url.orders]    # /lambda-url/orders
//! cors = { allow_origins = ["*"] }
//!
//! [workspace.metadata.longshore.api.route."GET /orders/{id}"]
//! payload_format = "1.0"
//! authorizer = "users"
//! authorization_scopes = ["orders:read"]
//!
//! [workspace.metadata.longshore.api.function.orders]   # /lambda/orders
//! authorizer = "tokens"
//! api_key_required = true
//! response_transfer_mode = "STREAM"
//!
//! [workspace.metadata.longshore.api.usage_plan.basic]
//! api_keys = { acme = "0123456789abcdefghij" }
//! rate = 10
//! burst = 20
//! quota = { limit = 1000, period = "DAY" }
//! ```
//!
//! Authorizers are in [`crate::Authorizer`]'s module.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Authorizer, FunctionName};

/// The APIs in front of functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Api {
    /// What serves the routes of the route table.
    pub router: RouterKind,
    /// The HTTP API.
    pub http: HttpApi,
    /// The REST API.
    pub rest: RestApi,
    /// The load balancer.
    pub alb: LoadBalancer,
    /// Function URLs, where something is set about them.
    pub urls: BTreeMap<FunctionName, FunctionUrl>,
    /// By route key (`GET /orders/{id}`, `ANY /files/{proxy+}`, `$default`).
    pub routes: BTreeMap<String, RouteOptions>,
    /// By function: the REST API's resource `/lambda/<function>` and those below.
    pub functions: BTreeMap<FunctionName, RouteOptions>,
    /// By name.
    pub authorizers: BTreeMap<String, Authorizer>,
    /// By name.
    pub usage_plans: BTreeMap<String, UsagePlan>,
}

impl Api {
    /// The key with this value: its name and the plan it belongs to.
    #[must_use]
    pub fn api_key(&self, value: &str) -> Option<(&str, &UsagePlan)> {
        self.usage_plans.values().find_map(|plan| {
            let (name, _) = plan.api_keys.iter().find(|(_, of)| *of == value)?;
            Some((name.as_str(), plan))
        })
    }

    /// What is set about a route, if anything is.
    #[must_use]
    pub fn route(&self, key: &str) -> Option<&RouteOptions> {
        self.routes.get(key)
    }
}

/// What serves the routes of the route table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouterKind {
    /// An HTTP API.
    #[default]
    Http,
    /// A REST API.
    Rest,
}

/// The HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpApi {
    /// Its stage; `$default` adds no prefix to paths.
    pub stage: String,
    /// The stage's variables.
    pub stage_variables: BTreeMap<String, String>,
    /// The event's shape, for routes that do not say.
    pub payload_format: PayloadFormat,
    /// Who else's pages may call it.
    pub cors: Option<Cors>,
}

impl Default for HttpApi {
    fn default() -> Self {
        Self {
            stage: "$default".to_owned(),
            stage_variables: BTreeMap::new(),
            payload_format: PayloadFormat::default(),
            cors: None,
        }
    }
}

/// The shape of an HTTP API's events and of the answers to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum PayloadFormat {
    /// That of REST APIs, nearly.
    #[serde(rename = "1.0")]
    V1,
    /// The HTTP API's own.
    #[default]
    #[serde(rename = "2.0")]
    V2,
}

/// The REST API: `/lambda/<function>`, and the routes if it serves them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RestApi {
    /// Its stage.
    pub stage: String,
    /// The stage's variables.
    pub stage_variables: BTreeMap<String, String>,
    /// What is binary. Unset, the bytes decide: what is not UTF-8 comes as base64, and
    /// base64 in answers is always decoded.
    pub binary_media_types: Option<BinaryMediaTypes>,
}

impl Default for RestApi {
    fn default() -> Self {
        Self {
            stage: "local".to_owned(),
            stage_variables: BTreeMap::new(),
            binary_media_types: None,
        }
    }
}

/// The media types that a REST API takes for binary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct BinaryMediaTypes(pub Vec<String>);

impl BinaryMediaTypes {
    /// Whether a media type, with or without parameters, is one of them. `image/*` takes
    /// every image.
    #[must_use]
    pub fn contains(&self, media_type: &str) -> bool {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        self.0.iter().any(|declared| {
            if declared == "*/*" {
                return true;
            }
            match declared.strip_suffix("/*") {
                Some(kind) => essence
                    .split_once('/')
                    .is_some_and(|(of, _)| of.eq_ignore_ascii_case(kind)),
                None => essence.eq_ignore_ascii_case(declared),
            }
        })
    }
}

/// The load balancer: `/alb/<function>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoadBalancer {
    /// The target group's `lambda.multi_value_headers.enabled`.
    pub multi_value_headers: bool,
}

/// A function's URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FunctionUrl {
    /// Who else's pages may call it.
    pub cors: Option<Cors>,
}

/// Who else's pages may call an API, and how. What is not set is not said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    /// Origins, or `*`; `https://*.example.com` takes every subdomain.
    pub allow_origins: Vec<String>,
    /// Methods, or `*`.
    pub allow_methods: Vec<String>,
    /// Request headers, or `*`.
    pub allow_headers: Vec<String>,
    /// Response headers that a page may read.
    pub expose_headers: Vec<String>,
    /// Whether credentials may be sent.
    pub allow_credentials: bool,
    /// How long a preflight holds, in seconds.
    pub max_age: Option<u32>,
}

/// What is set about a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteOptions {
    /// The shape of its events, on an HTTP API.
    pub payload_format: Option<PayloadFormat>,
    /// The name of the authorizer that decides who may call.
    pub authorizer: Option<String>,
    /// Of which a JWT must have one.
    pub authorization_scopes: Vec<String>,
    /// Whether a caller needs an API key, on a REST API.
    pub api_key_required: bool,
    /// How answers are passed on, on a REST API.
    pub response_transfer_mode: TransferMode,
}

/// How a REST API passes answers on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TransferMode {
    /// Whole.
    #[default]
    Buffered,
    /// While the function writes them.
    Stream,
}

/// How much the holders of some API keys may call a REST API.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UsagePlan {
    /// Name to value; a value has 20 to 128 characters. Rate and quota are each key's own.
    pub api_keys: BTreeMap<String, String>,
    /// Requests a second, over time.
    pub rate: Option<f64>,
    /// Requests at once; as many as `rate` when it is not set.
    pub burst: Option<u32>,
    /// Requests in a period.
    pub quota: Option<Quota>,
}

// `rate` is checked to be a number when it is read.
impl Eq for UsagePlan {}

/// Requests in a period of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// How many.
    pub limit: u64,
    /// In which period.
    pub period: Period,
}

/// A period of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Period {
    /// From midnight.
    Day,
    /// From Monday.
    Week,
    /// From the first.
    Month,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_media_types_may_name_a_whole_kind() {
        let types = BinaryMediaTypes(vec!["image/*".to_owned(), "application/zip".to_owned()]);
        for (media_type, binary) in [
            ("image/png", true),
            ("Image/PNG", true),
            ("application/zip; q=1", true),
            ("application/json", false),
            ("imagery/png", false),
            ("image", false),
            ("", false),
        ] {
            assert_eq!(types.contains(media_type), binary, "{media_type}");
        }
        assert!(BinaryMediaTypes(vec!["*/*".to_owned()]).contains(""));
    }
}
