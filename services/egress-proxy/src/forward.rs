//! One request: where it goes, and what comes back.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{
    CONNECTION, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use service_runtime::Problem;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::aliases::Aliases;
use crate::tunnel;

/// How long a host may take to accept a connection.
pub(crate) const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Headers about one connection, which end at a proxy.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Sends requests on. Clones share connections and tunnels.
#[derive(Clone, Debug)]
pub(crate) struct Forwarder {
    aliases: Aliases,
    client: Client<HttpConnector, Body>,
    tunnels: TaskTracker,
    closing: CancellationToken,
}

impl Forwarder {
    pub(crate) fn new(aliases: Aliases, closing: CancellationToken) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        Self {
            aliases,
            client: Client::builder(TokioExecutor::new()).build(connector),
            tunnels: TaskTracker::new(),
            closing,
        }
    }

    /// Answers one request of a client, whatever it is.
    pub(crate) async fn answer(&self, request: Request) -> Response {
        let answer = if request.method() == Method::CONNECT {
            self.connect(request).await
        } else {
            self.forward(request).await
        };
        answer.unwrap_or_else(IntoResponse::into_response)
    }

    /// Resolves once every tunnel has closed; tunnels close when `closing` is cancelled.
    pub(crate) async fn tunnels_closed(&self) {
        self.tunnels.close();
        self.tunnels.wait().await;
    }

    async fn forward(&self, mut request: Request) -> Result<Response, Problem> {
        let authority = proxied_host(request.uri())?;
        if let Some(address) = self.aliases.find(&authority, 80) {
            *request.uri_mut() = readdressed(request.uri(), address)?;
        }
        drop_hop_by_hop(request.headers_mut());
        // The host as the client sees it: signatures cover it.
        if !request.headers().contains_key(HOST) {
            let host = HeaderValue::from_str(authority.as_str())
                .map_err(|_| Problem::bad_request(format!("`{authority}` is no host")))?;
            request.headers_mut().insert(HOST, host);
        }
        let answer = self.client.request(request).await;
        let mut answer = answer.map_err(|error| self.unreachable(&authority, &error))?;
        drop_hop_by_hop(answer.headers_mut());
        Ok(answer.map(Body::new))
    }

    async fn connect(&self, request: Request) -> Result<Response, Problem> {
        let authority = request.uri().authority().cloned().ok_or_else(|| {
            Problem::bad_request("CONNECT needs a host and a port, as in CONNECT example.com:443")
        })?;
        let upstream = match self.aliases.find(&authority, 443) {
            Some(address) => tunnel::open(address).await,
            None => {
                let port = authority.port_u16().unwrap_or(443);
                let host = authority.host().trim_matches(['[', ']']);
                tunnel::open((host, port)).await
            }
        };
        let upstream = upstream.map_err(|error| self.unreachable(&authority, &error))?;
        self.tunnels
            .spawn(tunnel::relay(request, upstream, self.closing.clone()));
        Ok(Response::new(Body::empty()))
    }

    fn unreachable(&self, authority: &Authority, error: &(dyn Error + 'static)) -> Problem {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            why = format!("{why}: {cause}");
            source = cause.source();
        }
        tracing::warn!(%authority, error = %why, "the egress proxy cannot reach a host");
        Problem::new(
            StatusCode::BAD_GATEWAY,
            format!(
                "cannot reach {authority} ({why}); names known beside this machine's own: {}",
                self.aliases.names()
            ),
        )
    }
}

/// The host that a proxied request is for.
fn proxied_host(uri: &Uri) -> Result<Authority, Problem> {
    match (uri.scheme(), uri.authority()) {
        (Some(scheme), Some(authority)) if *scheme == Scheme::HTTP => Ok(authority.clone()),
        (Some(scheme), _) => Err(Problem::bad_request(format!(
            "this proxy does not speak {scheme}; https goes through CONNECT"
        ))),
        (None, _) => Err(Problem::bad_request(
            "this is a proxy: set it as http_proxy rather than asking it directly",
        )),
    }
}

fn readdressed(uri: &Uri, address: SocketAddr) -> Result<Uri, Problem> {
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(address.to_string())
        .path_and_query(path)
        .build()
        .map_err(|why| Problem::bad_request(format!("`{uri}` is no address: {why}")))
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_connection_end_here() {
        let mut headers: HeaderMap = [
            ("connection", "close, X-Only-Here"),
            ("x-only-here", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("authorization", "Bearer kept"),
        ]
        .into_iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .collect();
        drop_hop_by_hop(&mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["authorization"]);
    }

    #[test]
    fn aliases_keep_the_path_and_query_as_written() {
        let address: SocketAddr = "127.0.0.1:9000".parse().unwrap();
        for (uri, expected) in [
            (
                "http://a:1/b%2Fc?d=e%20f&g",
                "http://127.0.0.1:9000/b%2Fc?d=e%20f&g",
            ),
            ("http://a:1", "http://127.0.0.1:9000/"),
        ] {
            let uri = readdressed(&uri.parse().unwrap(), address).unwrap();
            assert_eq!(uri.to_string(), expected);
        }
    }
}
