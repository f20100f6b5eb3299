//! The destination as handlers and people see it: requests in, answers and records out.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails where it stands"
)]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use journal::Limits;
use mock_destination::{Config, router};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use wiremock::matchers::{body_string, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn destination() -> Router {
    destination_with("http://127.0.0.1:1", CancellationToken::new())
}

fn destination_with(poller: &str, closing: CancellationToken) -> Router {
    let config = Config {
        poller: poller.parse().unwrap(),
        body_limit: 2_000,
        deliveries: 100,
        bodies: Limits {
            entries: 100,
            bytes: 3_000,
        },
        body_kept: 1_000,
        state_dir: None,
        drain: Duration::from_secs(1),
    };
    router(config, closing).unwrap()
}

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn ask(destination: &Router, request: Request<Body>) -> Answer {
    let (parts, body) = destination
        .clone()
        .oneshot(request)
        .await
        .unwrap()
        .into_parts();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes().to_vec(),
    }
}

async fn send(destination: &Router, method: &str, path: &str, body: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .header("authorization", "Bearer secret")
        .body(Body::from(body.to_owned()))
        .unwrap();
    ask(destination, request).await
}

async fn deliveries(destination: &Router, query: &str) -> Value {
    let path = format!("/_longshore/deliveries{query}");
    let answer = send(destination, "GET", &path, "").await;
    assert_eq!(answer.status, StatusCode::OK);
    answer.json()
}

#[tokio::test]
async fn any_json_is_taken_counted_and_shown() {
    let destination = destination();
    let batch = r#"[{"id": 1}, {"id": 2}]"#;
    let answer = send(&destination, "POST", "/mock/destination", batch).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.json(),
        json!({"status": "ok", "records": 2, "id": 1})
    );

    let mut shown = deliveries(&destination, "").await;
    let delivery = shown["deliveries"][0].as_object_mut().unwrap();
    delivery.remove("received_at").unwrap();
    assert_eq!(
        shown,
        json!({"total": 1, "records": 2, "evicted": 0, "complete": true, "deliveries": [{
            "id": 1, "method": "POST", "path": "/mock/destination", "status": 200,
            "headers": {"authorization": "Bearer ***", "content-type": "application/json"},
            "size": 22, "records": 2, "body_state": "kept", "body": [{"id": 1}, {"id": 2}]
        }]})
    );
    let raw = send(&destination, "GET", "/_longshore/deliveries/1/body", "").await;
    assert_eq!(raw.body, batch.as_bytes());
    assert_eq!(raw.headers["content-type"], "application/json");
    assert_eq!(raw.headers["x-longshore-truncated"], "false");
}

#[tokio::test]
async fn what_is_refused_is_told_why_and_kept_but_not_counted() {
    let destination = destination();
    let long = format!("[\"{}\"]", "x".repeat(2_000));
    let cases = [
        ("POST", "/mock/destination", "", 400, "not JSON"),
        ("POST", "/mock/destination", "{oops", 400, "not JSON"),
        ("POST", "/mock/destination", &long, 413, "limit"),
        ("POST", "/mock/rudderstack", "{}", 400, "batch is missing"),
        (
            "POST",
            "/mock/rudderstack",
            r#"{"batch":[{"id":1}]}"#,
            400,
            "userId",
        ),
        ("POST", "/mock/error/999", "[1]", 400, "200 to 599"),
        ("POST", "/mock/error/100", "[1]", 400, "cannot end"),
    ];
    for (method, path, body, status, words) in cases {
        let answer = send(&destination, method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        let problem = answer.json();
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{method} {path}: {detail}");
    }
    let shown = deliveries(&destination, "").await;
    assert_eq!(shown["total"], cases.len());
    assert_eq!(shown["records"], 0);
    assert_eq!(shown["deliveries"][1]["body"], "{oops");
    assert_eq!(shown["deliveries"][2]["body_state"], "absent");
}

#[tokio::test]
async fn compressed_bodies_are_refused_by_name() {
    let request = Request::post("/mock/destination")
        .header("content-encoding", "gzip")
        .body(Body::from(vec![0x1f, 0x8b, 0x08, 0xff]))
        .unwrap();
    let answer = ask(&destination(), request).await;
    let problem = answer.json();
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(problem["detail"].as_str().unwrap().contains("gzip"));
}

#[tokio::test]
async fn a_rudderstack_batch_is_taken() {
    let body = r#"{"batch": [{"userId": "1", "type": "track"}, {"userId": 1234}]}"#;
    let answer = send(&destination(), "POST", "/mock/rudderstack", body).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["records"], 2);
}

#[tokio::test]
async fn errors_come_for_any_method_and_any_body() {
    let destination = destination();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
        for body in ["", "[1]", "not json"] {
            let answer = send(&destination, method, "/mock/error/502", body).await;
            assert_eq!(answer.status, 502, "{method} {body}");
            assert_eq!(answer.json()["message"], "Bad Gateway");
        }
    }
    for (code, empty) in [
        (200, false),
        (204, true),
        (304, true),
        (401, false),
        (599, false),
    ] {
        let path = format!("/mock/error/{code}");
        let answer = send(&destination, "POST", &path, "[1, 2, 3]").await;
        assert_eq!(answer.status, code);
        assert_eq!(answer.body.is_empty(), empty, "{code}");
    }
    let shown = deliveries(&destination, "?path=/mock/error/502").await;
    assert_eq!(
        (&shown["total"], &shown["records"]),
        (&json!(21), &json!(0))
    );
    assert_eq!(shown["deliveries"][1]["records"], 1);
}

#[tokio::test]
async fn a_number_of_failures_then_success() {
    let destination = destination();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let address = "/mock/error/503:2?retry_after=7";
        let answer = send(&destination, "POST", address, "[1, 2]").await;
        let retry_after = answer.headers.get("retry-after");
        seen.push((
            answer.status.as_u16(),
            retry_after.map(|value| value.to_str().unwrap().to_owned()),
        ));
    }
    let later = || Some("7".to_owned());
    assert_eq!(
        seen,
        [(503, later()), (503, later()), (200, None), (200, None)]
    );
    let shown = deliveries(&destination, "").await;
    assert_eq!((&shown["total"], &shown["records"]), (&json!(4), &json!(4)));
}

#[tokio::test]
async fn bodies_beyond_the_bounds_are_cut_or_dropped_and_say_so() {
    let destination = destination();
    let half = format!("[\"{}\"]", "x".repeat(900));
    let long = format!("[\"{}\"]", "x".repeat(1_500));
    for body in [&half, &long, &half, &half] {
        send(&destination, "POST", "/mock/destination", body).await;
    }
    let shown = deliveries(&destination, "").await;
    let states: Vec<_> = (0..4)
        .map(|index| shown["deliveries"][index]["body_state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["evicted", "truncated", "kept", "kept"]);
    assert_eq!(
        (&shown["records"], &shown["complete"]),
        (&json!(4), &json!(true))
    );

    let gone = send(&destination, "GET", "/_longshore/deliveries/1/body", "").await;
    assert_eq!(gone.status, StatusCode::GONE);
    let cut = send(&destination, "GET", "/_longshore/deliveries/2/body", "").await;
    assert_eq!((cut.body.len(), cut.status), (1_000, StatusCode::OK));
    assert_eq!(cut.headers["x-longshore-truncated"], "true");
    let none = send(&destination, "GET", "/_longshore/deliveries/9/body", "").await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn deliveries_are_paged_filtered_and_cleared() {
    let destination = destination();
    for path in ["/mock/destination", "/mock/error/503", "/mock/destination"] {
        send(&destination, "POST", path, "[1]").await;
    }
    let ids = async |query: &str| {
        let shown = deliveries(&destination, query).await;
        let listed = shown["deliveries"].as_array().unwrap().clone();
        let ids: Vec<_> = listed.iter().map(|d| d["id"].as_u64().unwrap()).collect();
        (ids, shown["complete"].as_bool().unwrap())
    };
    assert_eq!(ids("?path=/mock/destination").await, (vec![1, 3], true));
    assert_eq!(ids("?limit=2").await, (vec![2, 3], false));
    assert_eq!(ids("?since=0&limit=2").await, (vec![1, 2], false));
    assert_eq!(ids("?since=2&limit=2").await, (vec![3], true));
    assert!(deliveries(&destination, "?bodies=false").await["deliveries"][0]["body"].is_null());

    let cleared = send(&destination, "DELETE", "/_longshore/deliveries", "").await;
    assert_eq!(cleared.status, StatusCode::NO_CONTENT);
    let shown = deliveries(&destination, "").await;
    let expected =
        json!({"deliveries": [], "total": 0, "records": 0, "evicted": 0, "complete": true});
    assert_eq!(shown, expected);
    for query in [
        "?limit=0",
        "?limit=x",
        "?since=x",
        "?wait=10",
        "?waits=1s",
        "?since=1&count=101",
    ] {
        let path = format!("/_longshore/deliveries{query}");
        let answer = send(&destination, "GET", &path, "").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_waits_for_deliveries() {
    let destination = destination();
    let started = tokio::time::Instant::now();
    let sending = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            send(&destination, "POST", "/mock/destination", "[1]").await;
        }
    };
    let (shown, ()) = tokio::join!(deliveries(&destination, "?wait=10s&count=3"), sending);
    assert_eq!(
        (&shown["total"], started.elapsed().as_secs()),
        (&json!(3), 6)
    );
    let shown = deliveries(&destination, "?wait=10s&count=4").await;
    assert_eq!(
        (&shown["total"], started.elapsed().as_secs()),
        (&json!(3), 16)
    );
}

#[tokio::test(start_paused = true)]
async fn closing_answers_who_waits() {
    let closing = CancellationToken::new();
    let destination = destination_with("http://127.0.0.1:1", closing.clone());
    closing.cancel();
    let started = tokio::time::Instant::now();
    let shown = deliveries(&destination, "?wait=60s").await;
    assert_eq!(
        (&shown["total"], started.elapsed().as_secs()),
        (&json!(0), 0)
    );
}

#[tokio::test]
async fn status_reports_are_handed_on_to_the_poller() {
    let poller = MockServer::start().await;
    let report = r#"{"state":"running","progress":0.0,"errors":[],"reason":""}"#;
    Mock::given(method("PUT"))
        .and(path("/mock/poll/wh-abcd%2012345"))
        .and(header("content-type", "application/json"))
        .and(header("authorization", "Bearer secret"))
        .and(body_string(report))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"status": "ok"})))
        .expect(1)
        .named("the report, as it was sent")
        .mount(&poller)
        .await;
    let destination = destination_with(&poller.uri(), CancellationToken::new());
    let answer = send(&destination, "PUT", "/mock/poll/wh-abcd%2012345", report).await;
    assert_eq!(
        (answer.status, answer.json()),
        (StatusCode::OK, json!({"status": "ok"}))
    );
    // The poller's refusals come back as they are.
    let answer = send(&destination, "PUT", "/mock/poll/other", report).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    // A report is no delivery.
    assert_eq!(deliveries(&destination, "").await["total"], 0);
}

#[tokio::test]
async fn an_unreachable_poller_is_a_bad_gateway() {
    // Bound and dropped again: nobody listens there.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let destination = destination_with(&format!("http://{address}"), CancellationToken::new());
    let answer = send(&destination, "PUT", "/mock/poll/wh-1", "{}").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    let problem = answer.json();
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("is it running?")
    );
}

#[tokio::test]
async fn wrong_addresses_are_told_the_right_ones() {
    let destination = destination();
    for (method, path, status, words) in [
        ("PUT", "/mock/pollwh-1", 404, "end with a slash"),
        ("POST", "/mock/error/", 404, "/mock/error/503"),
        ("POST", "/", 404, "/mock/destination"),
        ("GET", "/mock/destination", 405, "GET"),
    ] {
        let answer = send(&destination, method, path, "").await;
        assert_eq!(answer.status, status, "{method} {path}");
        let problem = answer.json();
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{method} {path}: {detail}");
    }
    let health = send(&destination, "GET", "/health", "").await;
    assert_eq!(health.json(), json!({"status": "ok"}));
}
