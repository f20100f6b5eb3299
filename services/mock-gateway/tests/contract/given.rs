//! How a case in `cases/` spells a request and its surroundings; all fields have defaults.

use std::collections::BTreeMap;
use std::path::Path;

use app_model::BinaryMediaTypes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use mock_gateway::event::{Caller, EventContext, GatewayRequest, TargetGroup};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// All cases of a file below `cases/`.
pub(crate) fn cases<T: DeserializeOwned>(file: &str) -> Vec<T> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("cases")
        .join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A request. The body is `body`, or `body_base64`, or `body_size` bytes of `x`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
    body_base64: String,
    body_size: usize,
    source_ip: String,
    http_version: String,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            target: "/lambda/echo/a".to_owned(),
            headers: Vec::new(),
            body: String::new(),
            body_base64: String::new(),
            body_size: 0,
            source_ip: "203.0.113.7".to_owned(),
            http_version: "1.1".to_owned(),
        }
    }
}

impl Request {
    pub(crate) fn build(&self) -> GatewayRequest {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().unwrap();
            // Characters up to U+00FF stand for one octet each.
            let octets: Vec<u8> = value.chars().map(|c| u8::try_from(c).unwrap()).collect();
            headers.append(name, HeaderValue::from_bytes(&octets).unwrap());
        }
        let body = if self.body_size > 0 {
            Bytes::from(vec![b'x'; self.body_size])
        } else if self.body_base64.is_empty() {
            Bytes::from(self.body.clone())
        } else {
            Bytes::from(STANDARD.decode(&self.body_base64).unwrap())
        };
        GatewayRequest {
            method: self.method.parse().unwrap(),
            uri: self.target.parse().unwrap(),
            headers,
            body,
            source_ip: self.source_ip.parse().unwrap(),
            received_at: Timestamp::from_millisecond(1_763_719_200_123).unwrap(),
            http_version: match self.http_version.as_str() {
                "1.0" => http::Version::HTTP_10,
                "1.1" => http::Version::HTTP_11,
                "2" => http::Version::HTTP_2,
                other => panic!("unknown version {other}"),
            },
        }
    }
}

/// What is around a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Context {
    stage: String,
    resource: String,
    path: String,
    path_parameters: Vec<(String, String)>,
    stage_variables: BTreeMap<String, String>,
    binary_media_types: Option<Vec<String>>,
    trace_id: String,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            stage: "dev".to_owned(),
            resource: "/a".to_owned(),
            path: "/a".to_owned(),
            path_parameters: Vec::new(),
            stage_variables: BTreeMap::new(),
            binary_media_types: None,
            trace_id: "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0"
                .to_owned(),
        }
    }
}

impl Context {
    pub(crate) fn build(&self) -> EventContext {
        EventContext {
            account_id: "000000000000".to_owned(),
            api_id: "a1b2c3d4e5".to_owned(),
            domain_name: "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com".to_owned(),
            stage: self.stage.clone(),
            request_id: "6bc28136-95fa-4ebe-87b2-8f8d9a2f6c3e".to_owned(),
            extended_request_id: "UXYq8EHCoAMFg-w=".to_owned(),
            trace_id: self.trace_id.clone(),
            resource: self.resource.clone(),
            path: self.path.clone(),
            path_parameters: self.path_parameters.clone(),
            stage_variables: self.stage_variables.clone(),
            binary_media_types: self.binary_media_types.clone().map(BinaryMediaTypes),
            caller: Caller::default(),
        }
    }
}

/// A load balancer's target group.
pub(crate) fn target_group(multi_value_headers: bool) -> TargetGroup {
    TargetGroup {
        arn:
            "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/hook/49e9d65c45c6791a"
                .to_owned(),
        multi_value_headers,
    }
}
