//! Sends status reports: `PUT {callback_url}{webhook_id}`.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use pipeline_contract::{StatusReport, WebhookPayload};

use crate::client::{HttpClient, SendError, read_text};
use crate::deadline::Deadline;
use crate::event::BadRequest;
use crate::settings::RunnerSettings;

const TENANT: HeaderName = HeaderName::from_static("x-amperity-tenant");

/// One job's line to the platform.
#[derive(Debug)]
pub(crate) struct Reporter {
    client: HttpClient,
    url: Uri,
    headers: HeaderMap,
    settings: RunnerSettings,
    deadline: Deadline,
}

impl Reporter {
    pub(crate) fn new(
        client: HttpClient,
        payload: &WebhookPayload,
        settings: RunnerSettings,
        deadline: Deadline,
    ) -> Result<Self, BadRequest> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(tenant) = &payload.tenant_id {
            headers.insert(TENANT, header("tenant_id", tenant)?);
        }
        if let Some(token) = &payload.access_token {
            let mut bearer = header("access_token", &format!("Bearer {token}"))?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        Ok(Self {
            client,
            url: web_url("callback_url", &payload.report_url())?,
            headers,
            settings,
            deadline,
        })
    }

    /// Sends one report, repeated as the retry policy says; the callback's answer.
    pub(crate) async fn send(&self, report: &StatusReport) -> Result<StatusCode, SendError> {
        let body = Bytes::from(
            serde_json::to_vec(report).expect("a report has string keys and finite numbers"),
        );
        let attempt = || {
            let mut request = Request::new(Full::new(body.clone()));
            *request.method_mut() = Method::PUT;
            *request.uri_mut() = self.url.clone();
            *request.headers_mut() = self.headers.clone();
            self.client.send(request, self.settings.answer_timeout)
        };
        let response = self.settings.retry.send(self.deadline, attempt).await?;
        let status = response.status();
        let text = read_text(response.into_body(), 200, self.settings.answer_timeout).await;
        if !status.is_success() {
            tracing::warn!(state = %report.state, %status, answer = text, "the callback refused a report");
        }
        Ok(status)
    }
}

/// An `http` or `https` URL with a host.
pub(crate) fn web_url(field: &'static str, url: &str) -> Result<Uri, BadRequest> {
    let bad = |why: String| BadRequest::Url { field, why };
    let uri: Uri = url
        .parse()
        .map_err(|error: http::uri::InvalidUri| bad(format!("{error} in `{url}`")))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(uri),
        _ => Err(bad(format!("`{url}` has no http scheme or no host"))),
    }
}

pub(crate) fn header(field: &'static str, text: &str) -> Result<HeaderValue, BadRequest> {
    HeaderValue::from_str(text).map_err(|_| BadRequest::Header { field })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_urls_are_taken() {
        for good in ["http://h/x", "https://h:1/?a=b%20c", "http://127.0.0.1:1/a"] {
            assert!(web_url("data_url", good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "x",
            "/x",
            "file:///etc/passwd",
            "ftp://h/x",
            "http://",
            "http://a b/",
        ] {
            let error = web_url("data_url", bad).unwrap_err().to_string();
            assert!(error.starts_with("`data_url` must be"), "{error}");
        }
    }
}
