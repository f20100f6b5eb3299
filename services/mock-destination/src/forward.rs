//! Handing status reports on to the callback poller, so that a `callback_url` on either
//! service feeds the same job.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, StatusCode};
use service_runtime::Problem;
use url::Url;

/// The poller answers at once, or it is not well.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Headers that are about one connection, or that the client sets itself.
const NOT_HANDED_ON: [HeaderName; 10] = [
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// A client of the callback poller.
#[derive(Clone, Debug)]
pub(crate) struct Poller {
    base: Url,
    http: reqwest::Client,
}

impl Poller {
    pub(crate) fn new(base: Url) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()?;
        Ok(Self { base, http })
    }

    /// Sends the report on under the same path and gives back the poller's answer.
    pub(crate) async fn report(
        &self,
        path: &str,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response, Problem> {
        for name in NOT_HANDED_ON {
            headers.remove(name);
        }
        let mut url = self.base.clone();
        url.set_path(path);
        let answer = self
            .http
            .put(url)
            .headers(headers)
            .body(body)
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        let content_type = answer.headers().get(CONTENT_TYPE).cloned();
        let mut response = (status, Body::from_stream(answer.bytes_stream())).into_response();
        if let Some(content_type) = content_type {
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        Ok(response)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Problem {
        tracing::warn!(poller = %self.base, error = ?error, "cannot hand a status report on");
        Problem::new(
            StatusCode::BAD_GATEWAY,
            format!(
                "the callback poller at {} does not answer, so this report is lost; is it running?",
                self.base
            ),
        )
    }
}
