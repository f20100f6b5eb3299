//! A function that streams, written by hand onto its socket: what callers have while it has
//! not ended.

use std::sync::Arc;

use app_model::{Api, RouteOptions, TransferMode};
use aws_smithy_eventstream::frame::read_message_from;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::{Buf as _, Bytes};
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt as _;

use crate::asynchronous::Events;
use crate::broker::Broker;
use crate::outcome::RuntimeExit;
use crate::server::{Gateway, router};
use crate::testing::{FakeLauncher, FakeRuntime, built, config, within};

const INTEGRATION: &str = "application/vnd.awslambda.http-integration-response";
const PRELUDE: &str = r#"{"statusCode":201,"headers":{"x-a":"1"},"cookies":["k=v"]}"#;

/// A response that is being posted in chunks.
struct Posting(TcpStream);

impl Posting {
    async fn open(base: &str, id: &str, content_type: &str) -> Self {
        let address = base.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nhost: {address}\r\n\
             content-type: {content_type}\r\ntransfer-encoding: chunked\r\n\
             lambda-runtime-function-response-mode: streaming\r\n\
             trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        Self(stream)
    }

    async fn chunk(&mut self, data: &str) {
        let chunk = format!("{:x}\r\n{data}\r\n", data.len());
        self.0.write_all(chunk.as_bytes()).await.unwrap();
    }

    /// Ends it, with these trailers; the status.
    async fn end(mut self, trailers: &str) -> u16 {
        let end = format!("0\r\n{trailers}\r\n");
        self.0.write_all(end.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        self.0.read_exact(&mut answer).await.unwrap();
        std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap()
    }
}

/// Streams as the path says. `go` lets it write on; `done` hears the status it got.
async fn function(
    runtime: FakeRuntime,
    go: Arc<Semaphore>,
    done: watch::Sender<u16>,
) -> RuntimeExit {
    loop {
        let event = runtime.next().await;
        let parsed: Value = serde_json::from_str(&event.body).unwrap();
        let of_rest = parsed["pathParameters"]["proxy"].as_str();
        let of_rest = of_rest.map(|proxy| format!("/{proxy}"));
        let how = parsed["rawPath"].as_str().or(of_rest.as_deref());
        let how = how.unwrap_or("/good");
        let wait = async || go.acquire().await.unwrap().forget();
        let kind = if how == "/raw" {
            "text/plain"
        } else {
            INTEGRATION
        };
        let mut posting = Posting::open(&runtime.base, event.id(), kind).await;
        let mut trailers = "";
        match how {
            "/raw" => posting.chunk("one").await,
            "/nothing" => {}
            "/malformed" => posting.chunk("[]\0\0\0\0\0\0\0\0").await,
            "/endless" => posting.chunk("{}").await,
            _ => {
                // The eight bytes come in two pieces.
                posting.chunk(&format!("{PRELUDE}\0\0\0\0")).await;
                posting.chunk("\0\0\0\0one").await;
            }
        }
        match how {
            "/good" | "/raw" => {
                wait().await;
                posting.chunk("two").await;
            }
            "/trailer" | "/nothing" => {
                // {"errorType":"Mine","errorMessage":"no luck"}
                trailers = "Lambda-Runtime-Function-Error-Type: Mine\r\nLambda-Runtime-Function-Error-Body: eyJlcnJvclR5cGUiOiJNaW5lIiwiZXJyb3JNZXNzYWdlIjoibm8gbHVjayJ9\r\n";
                wait().await;
            }
            "/text" => {
                wait().await;
                posting
                    .chunk("two!Lambda-Runtime-Function-Error-Type: Mine\r\nLambda-Runtime-Function-Error-Body: eyJlcnJvclR5cGUiOiJNaW5lIiwiZXJyb3JNZXNzYWdlIjoibm8gbHVjayJ9\r\n")
                    .await;
            }
            "/crash" => {
                wait().await;
                return RuntimeExit::Status(3);
            }
            _ => {}
        }
        done.send_replace(posting.end(trailers).await);
    }
}

struct Stand {
    router: Router,
    broker: Broker,
    go: Arc<Semaphore>,
    done: watch::Receiver<u16>,
}

fn stand() -> Stand {
    stand_with(Api::default())
}

/// A stand whose REST API's `/lambda/demo` streams.
fn rest_stand() -> Stand {
    stand_with(streaming())
}

/// APIs of which the REST API's `/lambda/demo` streams.
fn streaming() -> Api {
    let options = RouteOptions {
        response_transfer_mode: TransferMode::Stream,
        ..RouteOptions::default()
    };
    Api {
        functions: [("demo".parse().unwrap(), options)].into(),
        ..Api::default()
    }
}

fn stand_with(api: Api) -> Stand {
    let go = Arc::new(Semaphore::new(0));
    let (done, seen) = watch::channel(0);
    let (allowed, told) = (go.clone(), done);
    let launcher =
        FakeLauncher::new(move |runtime| function(runtime, allowed.clone(), told.clone()));
    let (router, broker) = gateway(launcher, api);
    Stand {
        router,
        broker,
        go,
        done: seen,
    }
}

fn gateway(launcher: Arc<FakeLauncher>, api: Api) -> (Router, Broker) {
    let broker = Broker::new(config(), launcher);
    let mut table = built(1);
    table.routes = std::mem::take(&mut table.routes).with_api(api);
    broker.take_in(&table);
    let (_, functions) = watch::channel(Arc::new(table));
    let router = router(Gateway {
        broker: broker.clone(),
        functions,
        events: Events::unavailable(broker.clone(), "a test without a store"),
        access: Arc::default(),
    });
    (router, broker)
}

impl Stand {
    async fn send(&self, request: Request<Body>) -> Response {
        within("a head", self.router.clone().oneshot(request))
            .await
            .unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        let request = Request::get(format!("/lambda-url/demo{path}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn rest(&self, path: &str) -> Response {
        let request = Request::get(format!("/lambda/demo{path}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn invoke(&self, path: &str) -> Response {
        let request = Request::post("/2021-11-15/functions/demo/response-streaming-invocations");
        let request = request.header("x-amz-log-type", "Tail");
        let event = json!({"rawPath": path}).to_string();
        self.send(request.body(Body::from(event)).unwrap()).await
    }
}

/// The next piece of a body; none at its end, and an error where it breaks off.
async fn piece(body: &mut Body) -> Option<Result<Bytes, String>> {
    let frame = within("a piece", body.frame()).await?;
    Some(
        frame
            .map(|frame| frame.into_data().unwrap())
            .map_err(|error| error.to_string()),
    )
}

async fn text(body: &mut Body) -> String {
    String::from_utf8(piece(body).await.unwrap().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn a_caller_has_what_is_written_before_the_function_has_ended() {
    let stand = stand();
    for (path, status, cookie) in [("/good", 201, "k=v"), ("/raw", 200, "")] {
        let response = stand.get(path).await;
        assert_eq!(response.status(), status, "{path}");
        let found = response.headers().get("set-cookie");
        assert_eq!(found.map_or("", |value| value.to_str().unwrap()), cookie);
        assert_eq!(response.headers()["x-longshore-generation"], "1");
        assert!(response.headers().contains_key("x-amzn-requestid"));
        let mut body = response.into_body();
        assert_eq!(text(&mut body).await, "one", "{path}: the function waits");
        stand.go.add_permits(1);
        assert_eq!(text(&mut body).await, "two", "{path}");
        assert!(piece(&mut body).await.is_none(), "{path}");
    }
    let invocations = Request::get("/_longshore/invocations");
    let response = stand.send(invocations.body(Body::empty()).unwrap()).await;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let invocations: Value = serde_json::from_slice(&body).unwrap();
    let good = invocations["invocations"].as_array().unwrap();
    assert!(
        good.iter().all(|one| one["outcome"] == "succeeded"),
        "{invocations}"
    );
    stand.broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn an_error_in_the_middle_breaks_the_answer_off() {
    let stand = stand();
    for path in ["/trailer", "/text", "/crash"] {
        let response = stand.get(path).await;
        assert_eq!(response.status(), 201, "{path}");
        let mut body = response.into_body();
        assert_eq!(text(&mut body).await, "one", "{path}");
        stand.go.add_permits(1);
        if path == "/text" {
            assert_eq!(text(&mut body).await, "two!", "the error is no data");
        }
        let end = piece(&mut body).await;
        assert!(matches!(end, Some(Err(_))), "{path}: {end:?}");
    }
    stand.broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn what_fails_before_its_head_is_a_bad_gateway() {
    let stand = stand();
    stand.go.add_permits(1);
    for (path, cause) in [
        ("/nothing", "no luck"),
        ("/malformed", "a JSON array"),
        ("/endless", "no eight NUL bytes"),
    ] {
        let response = stand.get(path).await;
        assert_eq!(response.status(), 502, "{path}");
        let found = response.headers()["x-longshore-function-error"].to_str();
        let found = found.unwrap();
        assert!(found.contains(cause), "{path}: {found}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "Internal Server Error", "{path}");
    }
    stand.broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn a_caller_who_leaves_changes_nothing_for_the_function() {
    let mut stand = stand();
    let response = stand.get("/good").await;
    drop(response);
    stand.go.add_permits(1);
    let taken = stand.done.wait_for(|status| *status == 202);
    within("the function's own 202", taken).await.unwrap();
    stand.broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn fronts_that_want_an_object_get_all_at_once() {
    let stand = stand();
    stand.go.add_permits(1);
    let request = Request::get("/lambda/demo").body(Body::empty()).unwrap();
    let response = stand.send(request).await;
    assert_eq!(response.status(), 502);
    let cause = response.headers()["x-longshore-function-error"].to_str();
    let cause = cause.unwrap();
    assert!(cause.contains("streams its answer"), "{cause}");
    stand.broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn a_rest_api_that_streams_passes_on_what_is_written() {
    let stand = rest_stand();
    let response = stand.rest("/good").await;
    assert_eq!(response.status(), 201);
    for (name, value) in [
        ("x-a", "1"),
        ("set-cookie", "k=v"),
        ("content-type", "application/json"),
        ("x-longshore-generation", "1"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
    for id in ["x-amzn-requestid", "x-amz-apigw-id", "x-amzn-trace-id"] {
        assert!(response.headers().contains_key(id), "{id}");
    }
    let mut body = response.into_body();
    assert_eq!(text(&mut body).await, "one", "the function waits");
    stand.go.add_permits(1);
    assert_eq!(text(&mut body).await, "two");
    assert!(piece(&mut body).await.is_none());

    let mut body = stand.rest("/crash").await.into_body();
    assert_eq!(text(&mut body).await, "one");
    stand.go.add_permits(1);
    assert!(matches!(piece(&mut body).await, Some(Err(_))));
    stand.broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn a_rest_api_that_streams_wants_a_head() {
    let stand = rest_stand();
    stand.go.add_permits(2);
    for (path, cause) in [
        ("/nothing", "no luck"),
        ("/malformed", "a JSON array"),
        ("/endless", "no eight NUL bytes"),
        // Without a head, whatever its content type.
        ("/raw", "no eight NUL bytes"),
    ] {
        let response = stand.rest(path).await;
        assert_eq!(response.status(), 502, "{path}");
        let found = response.headers()["x-longshore-function-error"].to_str();
        let found = found.unwrap();
        assert!(found.contains(cause), "{path}: {found}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, r#"{"message":"Internal server error"}"#, "{path}");
    }
    stand.broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn a_rest_api_that_streams_takes_a_whole_answer_with_a_head() {
    let launcher = FakeLauncher::new(|runtime: FakeRuntime| async move {
        loop {
            let event = runtime.next().await;
            let parsed: Value = serde_json::from_str(&event.body).unwrap();
            let answer = match parsed["body"].as_str() {
                Some("head") => "{\"statusCode\":202}\0\0\0\0\0\0\0\0whole",
                _ => r#"{"statusCode":200,"body":"an object"}"#,
            };
            runtime.respond(&event, answer).await;
        }
    });
    let (router, broker) = gateway(launcher, streaming());
    for (asked, status, body) in [
        ("head", 202, "whole"),
        ("object", 502, r#"{"message":"Internal server error"}"#),
    ] {
        let request = Request::post("/lambda/demo")
            .body(Body::from(asked))
            .unwrap();
        let response = within("an answer", router.clone().oneshot(request))
            .await
            .unwrap();
        assert_eq!(response.status(), status, "{asked}");
        let found = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(found, body, "{asked}");
    }
    broker.stop(std::future::ready(())).await;
}

/// The events of one piece: their types and payloads.
fn events(piece: &Bytes) -> Vec<(String, String)> {
    let mut rest = piece.clone();
    let mut events = Vec::new();
    while rest.has_remaining() {
        let message = read_message_from(&mut rest).unwrap();
        let kind = message
            .headers()
            .iter()
            .find(|header| header.name().as_str() == ":event-type")
            .unwrap();
        let kind = kind.value().as_string().unwrap().as_str().to_owned();
        let payload = String::from_utf8(message.payload().to_vec()).unwrap();
        events.push((kind, payload));
    }
    events
}

#[tokio::test]
async fn invoke_with_response_stream_sends_frames_as_they_come() {
    let stand = stand();
    for (path, last, errors) in [
        ("/good", Some("two"), &[Value::Null][..]),
        ("/trailer", None, &[json!("Mine")]),
        // Whichever is seen first: the connection's end or the process's.
        (
            "/crash",
            None,
            &[
                json!("Runtime.TruncatedResponse"),
                json!("Runtime.ExitError"),
            ],
        ),
    ] {
        let response = stand.invoke(path).await;
        assert_eq!(response.status(), 200);
        assert_eq!(
            response.headers()["content-type"],
            "application/vnd.amazon.eventstream"
        );
        let mut body = response.into_body();
        let first = piece(&mut body).await.unwrap().unwrap();
        let chunk = "PayloadChunk".to_owned();
        assert_eq!(
            events(&first),
            [(chunk.clone(), format!("{PRELUDE}\0\0\0\0"))]
        );
        let second = piece(&mut body).await.unwrap().unwrap();
        assert_eq!(events(&second), [(chunk.clone(), "\0\0\0\0one".to_owned())]);
        stand.go.add_permits(1);
        if let Some(last) = last {
            let third = piece(&mut body).await.unwrap().unwrap();
            assert_eq!(events(&third), [(chunk, last.to_owned())]);
        }
        let end = events(&piece(&mut body).await.unwrap().unwrap());
        assert_eq!(
            (end.len(), end[0].0.as_str()),
            (1, "InvokeComplete"),
            "{path}"
        );
        let complete: Value = serde_json::from_str(&end[0].1).unwrap();
        assert!(
            errors.contains(&complete["ErrorCode"]),
            "{path}: {complete}"
        );
        assert!(complete["LogResult"].is_string(), "{path}: {complete}");
        assert!(piece(&mut body).await.is_none(), "{path}");
    }
    stand.broker.stop(std::future::ready(())).await;
}
