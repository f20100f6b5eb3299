//! The proxy as a function sees it, over real sockets.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails where it stands"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::{any, get};
use egress_proxy::{Config, run};
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(10);

/// A proxy with an upstream behind it; both end with the value.
struct World {
    proxy: SocketAddr,
    upstream: SocketAddr,
    /// Lets the second half of `/halves` go.
    second_half: Arc<Notify>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl World {
    async fn start() -> Self {
        let second_half = Arc::new(Notify::new());
        let app = Router::new()
            .route("/halves", get(halves))
            .fallback(any(describe))
            .with_state(second_half.clone());
        let mut tasks = JoinSet::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = listener.local_addr().unwrap();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });

        let stop = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = listener.local_addr().unwrap();
        let config = Config {
            aliases: [("fake_s3:4566".to_owned(), upstream)].into(),
        };
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn(async move { run(listener, config, stopped).await.unwrap() });
        Self {
            proxy,
            upstream,
            second_half,
            stop,
            tasks,
        }
    }

    fn client(&self) -> reqwest::Client {
        let proxy = reqwest::Proxy::http(format!("http://{}", self.proxy)).unwrap();
        reqwest::Client::builder()
            .proxy(proxy)
            .timeout(PATIENCE)
            .build()
            .unwrap()
    }

    async fn socket(&self, head: String) -> TcpStream {
        let mut socket = TcpStream::connect(self.proxy).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        socket
    }
}

/// Says what arrived: request line, host, whether hop-by-hop headers came, body.
async fn describe(request: Request) -> String {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    format!(
        "{} {} host={} proxy-connection={} body={}",
        parts.method,
        parts.uri,
        parts.headers["host"].to_str().unwrap(),
        parts.headers.contains_key("proxy-connection"),
        String::from_utf8_lossy(&body),
    )
}

async fn halves(State(second_half): State<Arc<Notify>>) -> Body {
    let first = futures::stream::once(async { Ok::<_, Infallible>("first ") });
    let second = futures::stream::once(async move {
        second_half.notified().await;
        Ok("second")
    });
    Body::from_stream(first.chain(second))
}

async fn read_until(socket: &mut TcpStream, end: &str) -> String {
    let mut seen = Vec::new();
    let read = async {
        let mut buffer = [0; 1024];
        while !String::from_utf8_lossy(&seen).contains(end) {
            let count = socket.read(&mut buffer).await.unwrap();
            assert!(count > 0, "closed after {}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap();
    String::from_utf8(seen).unwrap()
}

#[tokio::test]
async fn an_alias_leads_to_the_service_with_its_host_as_sent() {
    let world = World::start().await;
    let url = "http://fake_s3:4566/test-bucket/a%2Fb.ndjson?x=1";
    let answer = world
        .client()
        .put(url)
        .header("proxy-connection", "keep-alive")
        .body("hello")
        .send()
        .await
        .unwrap();
    assert_eq!(
        answer.text().await.unwrap(),
        "PUT /test-bucket/a%2Fb.ndjson?x=1 host=fake_s3:4566 proxy-connection=false body=hello"
    );
}

#[tokio::test]
async fn other_hosts_are_reached_where_they_point() {
    let world = World::start().await;
    let url = format!("http://{}/path", world.upstream);
    let answer = world.client().get(&url).send().await.unwrap();
    let expected = format!(
        "GET /path host={} proxy-connection=false body=",
        world.upstream
    );
    assert_eq!(answer.text().await.unwrap(), expected);
}

#[tokio::test]
async fn bodies_are_streamed_as_they_come() {
    let world = World::start().await;
    let url = "http://fake_s3:4566/halves";
    let mut answer = world.client().get(url).send().await.unwrap();
    // The second half is not sent before the first was seen here.
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "first ");
    world.second_half.notify_one();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "second");
    assert_eq!(answer.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn what_cannot_be_reached_is_a_bad_gateway_in_words() {
    let world = World::start().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = free.local_addr().unwrap();
    drop(free);
    let answer = world.client().get(format!("http://{closed}/")).send().await;
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 502);
    let problem = answer.text().await.unwrap();
    assert!(problem.contains(&closed.to_string()), "{problem}");
    assert!(problem.contains("fake_s3:4566"), "{problem}");

    let head = format!("CONNECT {closed} HTTP/1.1\r\nhost: {closed}\r\n\r\n");
    let mut socket = world.socket(head).await;
    let head = read_until(&mut socket, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
}

#[tokio::test]
async fn asked_directly_it_says_that_it_is_a_proxy() {
    let world = World::start().await;
    let url = format!("http://{}/", world.proxy);
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(answer.status(), 400);
    assert!(answer.text().await.unwrap().contains("http_proxy"));
}

#[tokio::test]
async fn connect_opens_a_tunnel_that_ends_with_the_proxy() {
    let mut world = World::start().await;
    for host in ["fake_s3:4566".to_owned(), world.upstream.to_string()] {
        let head = format!("CONNECT {host} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let mut tunnel = world.socket(head).await;
        let answer = read_until(&mut tunnel, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let inner = b"GET /inner HTTP/1.1\r\nhost: inside\r\n\r\n";
        tunnel.write_all(inner).await.unwrap();
        let answer = read_until(&mut tunnel, "body=").await;
        assert!(answer.contains("GET /inner host=inside"), "{answer}");
    }

    let head = "CONNECT fake_s3:4566 HTTP/1.1\r\nhost: fake_s3:4566\r\n\r\n";
    let mut tunnel = world.socket(head.to_owned()).await;
    read_until(&mut tunnel, "\r\n\r\n").await;
    world.stop.cancel();
    let ended = tokio::time::timeout(PATIENCE, world.tasks.join_next()).await;
    ended.unwrap().unwrap().unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, tunnel.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert!(rest.is_empty());
}
