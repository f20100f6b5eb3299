//! The event of an HTTP API's Lambda proxy integration with payload format 1.0: a REST
//! API's, with a version, the stage in its path, and bodies by their type.

use serde_json::json;

use super::body::by_content_type;
use super::headers::{self, Length};
use super::rest_v1::{Front, format_1};
use super::text::staged_path;
use super::{EventContext, GatewayRequest};

/// The event as JSON.
#[must_use]
pub fn http_v1(request: &GatewayRequest, context: &EventContext) -> Vec<u8> {
    let headers = headers::client_cased(request, context, Length::Named);
    let body = by_content_type(&request.body, &request.headers);
    let path = staged_path(&context.stage, &context.path);
    let front = Front {
        version: Some("1.0"),
        path: &path,
        deployment_id: None,
        context_path: path.clone(),
        resource_id: None,
        without_authorizer: Some(json!({"claims": null, "scopes": null})),
    };
    format_1(request, context, &headers, body, front)
}
