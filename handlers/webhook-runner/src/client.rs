//! The HTTP client of a handler: plain HTTP and TLS over one keep-alive pool.
//!
//! TLS is rustls with ring and the Mozilla roots compiled in, so that a handler needs
//! nothing of the machine it runs on. Every wait is bounded: connecting, the time to an
//! answer's head, and (by the reader of a body) each pause within a body.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, Error as PoolError, connect::HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::ServiceExt as _;
use tower_http::follow_redirect::FollowRedirect;

use crate::egress::{self, Egress};

type Pool = Client<HttpsConnector<Egress>, Full<Bytes>>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Shorter than the idle timeout of the usual servers and load balancers (60 s and up), so
/// that it is this side that closes an idle connection.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// One read takes at most this much; it bounds memory, and more gains no speed.
const READ_BUFFER: usize = 256 * 1024;
/// Read after an error or before reuse of a connection; the rest is not worth the wait.
const ANSWER_LIMIT: usize = 64 * 1024;

/// A cheap handle on one connection pool: make one per process and clone it.
#[derive(Clone, Debug)]
pub struct HttpClient {
    pool: Pool,
    proxies: Arc<Matcher>,
}

/// The TLS settings were refused: a build without the cipher suites rustls asks for.
#[derive(Debug, thiserror::Error)]
#[error("set up TLS for the handler's HTTP client")]
pub struct ClientError(#[source] rustls::Error);

/// A request got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// No connection, or it broke before an answer came.
    #[error("no answer from {host}: {cause}")]
    NoAnswer {
        /// Host and port asked.
        host: String,
        /// The chain of causes in words.
        cause: String,
        /// Whether nothing was sent, so that another attempt can do no harm.
        unsent: bool,
    },
    /// The answer's head did not come in time.
    #[error("{host} did not answer within {} s", .after.as_secs_f64())]
    TimedOut {
        /// Host and port asked.
        host: String,
        /// How long was waited.
        after: Duration,
    },
}

impl HttpClient {
    /// Makes a client with its own pool, that leaves by the proxies the environment names
    /// (`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`).
    ///
    /// # Errors
    /// [`ClientError`] if rustls cannot be set up.
    pub fn new() -> Result<Self, ClientError> {
        Self::with_proxies(Matcher::from_env())
    }

    pub(crate) fn with_proxies(proxies: Matcher) -> Result<Self, ClientError> {
        let proxies = Arc::new(proxies);
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .map_err(ClientError)?
            .https_or_http()
            .enable_http1()
            .wrap_connector(Egress::new(tcp, Arc::clone(&proxies)));
        let pool = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .http1_max_buf_size(READ_BUFFER)
            .build(connector);
        Ok(Self { pool, proxies })
    }

    /// Sends one request and waits at most `timeout` for the answer's head.
    ///
    /// # Errors
    /// [`SendError`] if there is none. Any status is an answer.
    pub async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        timeout: Duration,
    ) -> Result<Response<Incoming>, SendError> {
        let host = host_of(request.uri());
        egress::authorize(&mut request, &self.proxies);
        match tokio::time::timeout(timeout, self.pool.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(no_answer(host, &error)),
            Err(_) => Err(SendError::TimedOut {
                host,
                after: timeout,
            }),
        }
    }

    /// Like [`HttpClient::send`], for a request without a body; follows redirects.
    pub(crate) async fn fetch(
        &self,
        mut request: Request<Full<Bytes>>,
        timeout: Duration,
    ) -> Result<Response<Incoming>, SendError> {
        let host = host_of(request.uri());
        egress::authorize(&mut request, &self.proxies);
        let following = FollowRedirect::new(self.pool.clone());
        match tokio::time::timeout(timeout, following.oneshot(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(no_answer(host, &error)),
            Err(_) => Err(SendError::TimedOut {
                host,
                after: timeout,
            }),
        }
    }
}

/// Reads an answer's body to its end, so that the connection is used again, and gives its
/// first `keep` bytes as text. Stops early at a limit, at `timeout` or when it breaks.
pub(crate) async fn read_text(mut body: Incoming, keep: usize, timeout: Duration) -> String {
    let mut kept: Vec<u8> = Vec::new();
    let mut seen = 0;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else {
                continue;
            };
            seen += data.len();
            let room = keep.saturating_sub(kept.len()).min(data.len());
            kept.extend_from_slice(&data[..room]);
            if seen > ANSWER_LIMIT {
                break;
            }
        }
    };
    if tokio::time::timeout(timeout, reading).await.is_err() {
        tracing::debug!("an answer's body did not end in time; its connection is dropped");
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

/// An error and everything that caused it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

fn no_answer(host: String, error: &PoolError) -> SendError {
    SendError::NoAnswer {
        host,
        cause: chain(error),
        unsent: error.is_connect(),
    }
}

fn host_of(uri: &Uri) -> String {
    uri.authority()
        .map_or_else(|| "?".to_owned(), |host| host.as_str().to_owned())
}
