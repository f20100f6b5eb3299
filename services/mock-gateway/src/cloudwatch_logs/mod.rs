//! The reads of CloudWatch Logs over the functions' logs, as SDKs speak them: JSON 1.1, the
//! operation in `X-Amz-Target`. The AWS endpoint passes them on to here.

mod operations;
mod pattern;
mod refusal;
mod request;
#[cfg(test)]
mod tests;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::invocation::RequestId;
use crate::routes::read_body;
use crate::server::Gateway;
use refusal::Refusal;

const TARGET: &str = "x-amz-target";
const VERSION: &str = "Logs_20140328.";

/// `POST /_longshore/cloudwatch-logs`.
pub(crate) async fn call(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let target = headers.get(TARGET).and_then(|value| value.to_str().ok());
    let answer = match read_body(body).await {
        Ok(body) => answer(&gateway, target.unwrap_or_default(), &body),
        Err(_) => Err(Refusal::serialization("the body was cut short")),
    };
    let mut response = match answer {
        Ok(body) => (StatusCode::OK, body.to_string()).into_response(),
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-amz-json-1.1"),
    );
    if let Ok(id) = HeaderValue::from_str(&RequestId::random().to_string()) {
        headers.insert(HeaderName::from_static("x-amzn-requestid"), id);
    }
    response
}

fn answer(gateway: &Gateway, target: &str, body: &[u8]) -> Result<Value, Refusal> {
    let operation = target.strip_prefix(VERSION).unwrap_or(target);
    let logs = operations::Reads::new(gateway);
    match operation {
        "DescribeLogGroups" => logs.describe_log_groups(&request::read(body)?),
        "DescribeLogStreams" => logs.describe_log_streams(&request::read(body)?),
        "FilterLogEvents" => logs.filter_log_events(&request::read(body)?),
        "GetLogEvents" => logs.get_log_events(&request::read(body)?),
        other => Err(Refusal::unknown_operation(other)),
    }
}
