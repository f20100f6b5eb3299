//! What stands around a runner in these tests: a callback and a destination that record,
//! and a source that answers with exactly the bytes it is told.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use webhook_runner::{ApiDestination, HttpClient, WebhookPayload};
use wiremock::matchers::{method, path, path_regex};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

pub(crate) struct Upstream {
    pub(crate) server: MockServer,
}

impl Upstream {
    /// A callback and a destination that take everything.
    pub(crate) async fn start() -> Self {
        let upstream = Self::silent().await;
        upstream.callback(ResponseTemplate::new(200)).await;
        upstream.destination(ResponseTemplate::new(200)).await;
        upstream
    }

    /// Knows no route yet.
    pub(crate) async fn silent() -> Self {
        Self {
            server: MockServer::start().await,
        }
    }

    pub(crate) async fn callback(&self, answer: ResponseTemplate) {
        let callback = Mock::given(method("PUT")).and(path_regex("^/poll/"));
        callback.respond_with(answer).mount(&self.server).await;
    }

    pub(crate) async fn destination(&self, answer: ResponseTemplate) {
        let destination = Mock::given(method("POST")).and(path("/destination"));
        destination.respond_with(answer).mount(&self.server).await;
    }

    pub(crate) async fn source(&self, answer: ResponseTemplate) -> String {
        let source = Mock::given(method("GET")).and(path("/data.ndjson"));
        source.respond_with(answer).mount(&self.server).await;
        format!("{}/data.ndjson", self.server.uri())
    }

    pub(crate) async fn text(&self, ndjson: &str) -> String {
        self.source(ResponseTemplate::new(200).set_body_string(ndjson))
            .await
    }

    pub(crate) fn payload(&self, data_url: &str) -> WebhookPayload {
        serde_json::from_value(json!({
            "settings": {}, "label_name": "test label", "data_url": data_url,
            "callback_url": format!("{}/poll/", self.server.uri()),
            "webhook_id": "wh-1", "access_token": "2:some:token", "tenant_id": "tenant-1",
        }))
        .unwrap()
    }

    pub(crate) fn api(&self, client: &HttpClient) -> ApiDestination {
        let url = format!("{}/destination", self.server.uri());
        ApiDestination::new(client.clone(), &url).unwrap()
    }

    pub(crate) async fn requests(&self, method: &str) -> Vec<Request> {
        let requests = self.server.received_requests().await.unwrap();
        requests
            .into_iter()
            .filter(|request| request.method.as_str() == method)
            .collect()
    }

    /// The bodies the callback got, in order.
    pub(crate) async fn reports(&self) -> Vec<Value> {
        bodies(&self.requests("PUT").await)
    }

    /// The bodies the destination got, in order.
    pub(crate) async fn deliveries(&self) -> Vec<Value> {
        bodies(&self.requests("POST").await)
    }
}

/// `state` and `progress` of each report.
pub(crate) fn timeline(reports: &[Value]) -> Vec<(String, f64)> {
    reports
        .iter()
        .map(|report| {
            let state = report["state"].as_str().unwrap().to_owned();
            (state, report["progress"].as_f64().unwrap())
        })
        .collect()
}

fn bodies(requests: &[Request]) -> Vec<Value> {
    requests
        .iter()
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .collect()
}

/// `rows` records of equal size: `{"n":100}`, `{"n":101}`, …
pub(crate) fn rows(count: usize) -> String {
    (0..count)
        .map(|n| format!("{{\"n\":{}}}\n", 100 + n))
        .collect()
}

/// Ends its listener when dropped.
pub(crate) struct RawSource {
    pub(crate) url: String,
    task: AbortHandle,
}

impl Drop for RawSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a raw source does after its last byte.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    Close,
    Hang,
}

/// Answers each connection's first request with these pieces, each one written by itself.
pub(crate) async fn raw_source(pieces: Vec<Vec<u8>>, then: Then) -> RawSource {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/data", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut head = [0; 4096];
            if connection.read(&mut head).await.is_err() {
                continue;
            }
            for piece in &pieces {
                if connection.write_all(piece).await.is_err() {
                    break;
                }
            }
            if let Then::Hang = then {
                std::future::pending::<()>().await;
            }
        }
    });
    RawSource {
        url,
        task: task.abort_handle(),
    }
}

pub(crate) fn head(headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n").into_bytes()
}

pub(crate) fn chunked(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut answer = vec![head("transfer-encoding: chunked")];
    for piece in pieces {
        let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
        chunk.extend_from_slice(piece);
        chunk.extend_from_slice(b"\r\n");
        answer.push(chunk);
    }
    answer
}
