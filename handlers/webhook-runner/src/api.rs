//! Posts batches to an HTTP API: the reference's API runner.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use serde::Serialize;
use tokio::time::Instant;

use crate::batch::Batch;
use crate::client::{HttpClient, SendError, read_text};
use crate::deadline::Deadline;
use crate::deliver::{Deliver, Delivery};
use crate::event::BadRequest;
use crate::rate_limit::RateLimit;
use crate::report::{header, web_url};
use crate::retry::RetryPolicy;

/// How much of a refusal's text goes into the error, in bytes.
const REFUSAL_TEXT: usize = 512;

type Mapping = Box<dyn Fn(&Batch) -> Result<Vec<u8>, serde_json::Error> + Send + Sync>;

/// Sends each batch as one `POST`, by default as the JSON array of its records.
pub struct ApiDestination {
    client: HttpClient,
    url: Uri,
    headers: HeaderMap,
    data_key: Option<String>,
    mapping: Option<Mapping>,
    /// A mutex, since attempts of one batch book one after another but share no `&mut`;
    /// never held over an await.
    rate: Option<Mutex<RateLimit>>,
    retry: RetryPolicy,
    answer_timeout: Duration,
}

impl ApiDestination {
    /// Posts to `url`, without authentication or rate limit.
    ///
    /// # Errors
    /// If `url` is no http or https URL.
    pub fn new(client: HttpClient, url: &str) -> Result<Self, BadRequest> {
        let json = HeaderValue::from_static("application/json");
        Ok(Self {
            client,
            url: web_url("destination_url", url)?,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, json)]),
            data_key: None,
            mapping: None,
            rate: None,
            retry: RetryPolicy::REFERENCE,
            answer_timeout: Duration::from_secs(60),
        })
    }

    /// Sends this header with each request.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sends `Authorization: Bearer <token>`.
    ///
    /// # Errors
    /// If a header cannot carry the token.
    pub fn bearer_auth(self, token: &str) -> Result<Self, BadRequest> {
        let mut value = header("destination token", &format!("Bearer {token}"))?;
        value.set_sensitive(true);
        Ok(self.header(AUTHORIZATION, value))
    }

    /// Sends `Authorization: Basic …`.
    #[must_use]
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        let credentials = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let mut value =
            HeaderValue::from_str(&format!("Basic {credentials}")).expect("base64 is plain ASCII");
        value.set_sensitive(true);
        self.header(AUTHORIZATION, value)
    }

    /// Sends at most this many requests a minute; over that, waits for the rest of it.
    #[must_use]
    pub fn requests_per_minute(self, requests: NonZeroU32) -> Self {
        self.rate_limit(RateLimit::per_minute(requests))
    }

    /// Sends at most so many requests in a window.
    #[must_use]
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.rate = Some(Mutex::new(limit));
        self
    }

    /// Sends `{"<key>": <batch>}` instead of the bare batch.
    #[must_use]
    pub fn data_key(mut self, key: impl Into<String>) -> Self {
        self.data_key = Some(key.into());
        self
    }

    /// Sends what `mapping` makes of a batch. If it fails, the batch counts as refused.
    #[must_use]
    pub fn map<T: Serialize>(
        mut self,
        mapping: impl Fn(&Batch) -> Result<T, serde_json::Error> + Send + Sync + 'static,
    ) -> Self {
        self.mapping = Some(Box::new(move |batch| serde_json::to_vec(&mapping(batch)?)));
        self
    }

    /// Repeats requests as this policy says.
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Waits this long for an answer instead of a minute.
    #[must_use]
    pub fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    fn body(&self, batch: &Batch) -> Result<Bytes, serde_json::Error> {
        let data = match &self.mapping {
            Some(mapping) => mapping(batch)?.into(),
            None => batch.as_json_array(),
        };
        let Some(key) = &self.data_key else {
            return Ok(data);
        };
        let key = serde_json::to_string(key)?;
        let mut wrapped = Vec::with_capacity(data.len() + key.len() + 3);
        wrapped.push(b'{');
        wrapped.extend_from_slice(key.as_bytes());
        wrapped.push(b':');
        wrapped.extend_from_slice(&data);
        wrapped.push(b'}');
        Ok(wrapped.into())
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// Books a request with the rate limit: when it may be made, or `None` if that is too
    /// late for this invocation.
    fn book(&self, deadline: Deadline) -> Option<Instant> {
        let now = Instant::now();
        let Some(rate) = &self.rate else {
            return Some(now);
        };
        let mut rate = rate
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let wait = rate.book(now);
        if wait > Duration::ZERO && !deadline.leaves(wait) {
            rate.release();
            return None;
        }
        Some(now + wait)
    }

    async fn post(
        &self,
        body: Bytes,
        first: Instant,
        deadline: Deadline,
    ) -> Result<http::Response<hyper::body::Incoming>, SendError> {
        let mut booked = Some(first);
        let attempt = || {
            // A repeated request counts like any other. Without time to wait for its turn
            // it is made at once: the retry's own pause was checked against the deadline.
            let turn = booked.take().or_else(|| self.book(deadline));
            let request = self.request(body.clone());
            async move {
                // The timer ticks once a millisecond: a sleep until now may take that long.
                if let Some(turn) = turn
                    && turn > Instant::now()
                {
                    tokio::time::sleep_until(turn).await;
                }
                self.client.send(request, self.answer_timeout).await
            }
        };
        self.retry.send(deadline, attempt).await
    }
}

impl Deliver for ApiDestination {
    async fn deliver(&mut self, batch: Batch, deadline: Deadline) -> Delivery {
        let name = format!(
            "batch {} (records {} to {})",
            batch.number(),
            batch.range().start(),
            batch.range().end()
        );
        let body = match self.body(&batch) {
            Ok(body) => body,
            Err(error) => return Delivery::Refused(format!("{name}: not mapped: {error}")),
        };
        drop(batch);
        let Some(first) = self.book(deadline) else {
            return Delivery::OutOfTime;
        };
        match self.post(body, first, deadline).await {
            Ok(response) => {
                let status = response.status();
                let text = read_text(response.into_body(), REFUSAL_TEXT, self.answer_timeout).await;
                if status.is_success() {
                    Delivery::Accepted
                } else {
                    Delivery::Refused(format!("{name}: {status}: {text}"))
                }
            }
            Err(error) => Delivery::Refused(format!("{name}: {error}")),
        }
    }
}

impl fmt::Debug for ApiDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiDestination")
            .field("url", &self.url)
            .field("headers", &self.headers)
            .field("data_key", &self.data_key)
            .field("mapped", &self.mapping.is_some())
            .field("rate", &self.rate)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}
