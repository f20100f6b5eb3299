//! How a connection leaves: straight, or by the proxy the environment names.
//!
//! `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` mean what they mean to curl and
//! to Python's requests. Plain HTTP is asked of the proxy itself; TLS goes through a tunnel
//! it opens.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::header::PROXY_AUTHORIZATION;
use http::{Request, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

/// Connects to a host, or to the proxy for it.
#[derive(Clone, Debug)]
pub(crate) struct Egress {
    tcp: HttpConnector,
    proxies: Arc<Matcher>,
}

/// A connection that knows whether it ends at a proxy.
#[derive(Debug)]
pub(crate) struct Route {
    io: TokioIo<TcpStream>,
    by_proxy: bool,
}

impl Egress {
    pub(crate) fn new(tcp: HttpConnector, proxies: Arc<Matcher>) -> Self {
        Self { tcp, proxies }
    }
}

/// Adds the credentials a proxy wants. Through a tunnel they go with its own request.
pub(crate) fn authorize<B>(request: &mut Request<B>, proxies: &Matcher) {
    if request.uri().scheme_str() == Some("http")
        && let Some(proxy) = proxies.intercept(request.uri())
        && let Some(credentials) = proxy.basic_auth()
    {
        let credentials = credentials.clone();
        request
            .headers_mut()
            .insert(PROXY_AUTHORIZATION, credentials);
    }
}

impl Service<Uri> for Egress {
    type Response = Route;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Route, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, host: Uri) -> Self::Future {
        let mut tcp = self.tcp.clone();
        let proxy = self.proxies.intercept(&host);
        async move {
            let (io, by_proxy) = match proxy {
                None => (tcp.call(host).await?, false),
                Some(proxy) if host.scheme_str() == Some("http") => {
                    (tcp.call(proxy.uri().clone()).await?, true)
                }
                Some(proxy) => {
                    let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
                    if let Some(credentials) = proxy.basic_auth() {
                        tunnel = tunnel.with_auth(credentials.clone());
                    }
                    (tunnel.call(host).await?, false)
                }
            };
            Ok(Route { io, by_proxy })
        }
        .boxed()
    }
}

impl Connection for Route {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.by_proxy)
    }
}

impl Read for Route {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Route {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::client::HttpClient;

    /// What arrives at a proxy when `url` is asked for, up to the end of the head.
    async fn head_at_proxy(url: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxies = Matcher::builder()
            .all(format!("http://user:pass@{address}"))
            .no("direct.example")
            .build();
        let client = HttpClient::with_proxies(proxies).unwrap();
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = url.parse().unwrap();
        let proxy = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                assert_ne!(
                    connection.read_buf(&mut head).await.unwrap(),
                    0,
                    "closed early"
                );
            }
            let answer = b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n";
            connection.write_all(answer).await.unwrap();
            String::from_utf8(head).unwrap().to_ascii_lowercase()
        };
        let timeout = Duration::from_secs(5);
        let (head, _) = tokio::join!(
            tokio::time::timeout(timeout, proxy),
            client.send(request, timeout)
        );
        head.expect("nothing arrived at the proxy")
    }

    #[tokio::test]
    async fn plain_http_is_asked_of_the_proxy_and_tls_through_a_tunnel() {
        for (url, line) in [
            (
                "http://fake_s3:4566/a?b",
                "get http://fake_s3:4566/a?b http/1.1\r\n",
            ),
            (
                "https://api.example/a",
                "connect api.example:443 http/1.1\r\n",
            ),
        ] {
            let head = head_at_proxy(url).await;
            assert!(head.starts_with(line), "{head}");
            assert!(
                head.contains("proxy-authorization: basic dxnlcjpwyxnz\r\n"),
                "{head}"
            );
        }
    }

    #[test]
    fn hosts_named_in_no_proxy_are_asked_straight() {
        let proxies = Matcher::builder()
            .all("http://127.0.0.1:1")
            .no("localhost,127.0.0.1,::1")
            .build();
        for (url, by_proxy) in [
            ("http://localhost:4566/a", false),
            ("http://127.0.0.1:4566/a", false),
            ("http://fake_s3:4566/a", true),
        ] {
            let intercepted = proxies.intercept(&url.parse().unwrap()).is_some();
            assert_eq!(intercepted, by_proxy, "{url}");
        }
    }
}
