//! Lambda's API and the functions' logs, passed on to the gateway: functions live there. So
//! that one endpoint URL is enough for an SDK.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Request, StatusCode};
use serde_json::json;
use url::Url;

/// What all operations on functions have in their path, after the API's version.
const PLACES: [&str; 2] = ["functions", "account-settings"];
/// Where the gateway answers for CloudWatch Logs.
const LOGS_PATH: &str = "/_longshore/cloudwatch-logs";
/// What names an operation of CloudWatch Logs.
const TARGET: &str = "x-amz-target";
/// Every answer of Lambda's API has it.
const REQUEST_ID: &str = "x-amzn-requestid";

/// Passes requests on to the gateway.
#[derive(Clone, Debug)]
pub(crate) struct Lambda {
    http: reqwest::Client,
    gateway: Url,
}

impl Lambda {
    /// The gateway is on this machine: no proxy stands between.
    pub(crate) fn new(gateway: Url) -> Self {
        let http = reqwest::Client::builder().no_proxy();
        Self {
            http: http.build().unwrap_or_default(),
            gateway,
        }
    }

    /// A call of CloudWatch Logs: the gateway has the functions' logs.
    pub(crate) async fn pass_on_logs(&self, request: Request<Body>) -> Response {
        self.send(request, LOGS_PATH).await
    }

    /// A call of Lambda.
    pub(crate) async fn pass_on(&self, request: Request<Body>) -> Response {
        let path = request.uri().path().to_owned();
        self.send(request, &path).await
    }

    async fn send(&self, request: Request<Body>, path: &str) -> Response {
        let (parts, body) = request.into_parts();
        let what = format!("{} {}", parts.method, parts.uri.path());
        let mut url = self.gateway.clone();
        // As it came: an ARN's colons stay as they are escaped.
        url.set_path(path);
        url.set_query(parts.uri.query());
        let sent = self
            .http
            .request(parts.method, url)
            .headers(end_to_end(parts.headers))
            .body(reqwest::Body::wrap_stream(body.into_data_stream()))
            .send()
            .await;
        let answer = match sent {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(%error, what, "the gateway could not be reached");
                return refusal(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "ServiceException",
                    &format!("the gateway could not be reached: {error}"),
                );
            }
        };
        if !answer.headers().contains_key(REQUEST_ID) {
            return refusal(
                StatusCode::NOT_IMPLEMENTED,
                "NotImplementedException",
                &format!(
                    "Longshore's Lambda does not answer `{what}`: functions are declared in the workspace, see docs/openapi.json for what it does answer"
                ),
            );
        }
        let status = answer.status();
        let headers = end_to_end(answer.headers().clone());
        let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// Whether a path is Lambda's: `/<date of an API>/functions…`. No object that somebody
/// fetches unsigned has such a name.
pub(crate) fn is_lambda_path(path: &str) -> bool {
    let mut segments = path.trim_start_matches('/').split('/');
    let is_date = |text: &str| {
        text.len() == 10
            && text.bytes().enumerate().all(|(n, byte)| match n {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            })
    };
    segments.next().is_some_and(is_date)
        && segments.next().is_some_and(|place| PLACES.contains(&place))
}

/// Whether an unsigned request is for CloudWatch Logs.
pub(crate) fn is_of_logs(headers: &HeaderMap) -> bool {
    let target = headers.get(TARGET);
    target.is_some_and(|target| target.as_bytes().starts_with(b"Logs_20140328."))
}

/// Without what is between two neighbours only.
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    for name in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}

fn refusal(status: StatusCode, error_type: &'static str, message: &str) -> Response {
    let body = json!({"Type": "Service", "message": message}).to_string();
    let headers = [
        (CONTENT_TYPE.as_str(), "application/json"),
        ("x-amzn-errortype", error_type),
    ];
    (status, headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lambdas_paths_begin_with_a_date_and_name_functions() {
        for (path, expected) in [
            ("/2015-03-31/functions/demo/invocations", true),
            ("/2015-03-31/functions/", true),
            ("/2016-08-19/account-settings/", true),
            ("/2019-09-25/functions/demo/event-invoke-config/list", true),
            ("/2015-03-31/other", false),
            ("/2015-3-31/functions", false),
            ("/test-bucket/functions/demo", false),
            ("/", false),
        ] {
            assert_eq!(is_lambda_path(path), expected, "{path}");
        }
    }
}
