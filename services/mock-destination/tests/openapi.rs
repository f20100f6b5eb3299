//! The document describes this service as it is: every operation it lists is answered.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails where it stands"
)]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Method, Request, StatusCode};
use mock_destination::{Config, router};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

const SERVICE: &str = "mock-destination";

/// A destination that one delivery was made to.
async fn destination(poller: &MockServer) -> Router {
    let config = Config {
        poller: poller.uri().parse().unwrap(),
        body_limit: Config::DEFAULT_BODY_LIMIT,
        deliveries: Config::DEFAULT_DELIVERIES,
        bodies: Config::DEFAULT_BODIES,
        body_kept: Config::DEFAULT_BODY_KEPT,
        state_dir: None,
        drain: Duration::from_secs(1),
    };
    let destination = router(config, CancellationToken::new()).unwrap();
    let delivery = json!({"method": "post"});
    send(&destination, "post", "/mock/destination", &delivery).await;
    destination
}

async fn send(router: &Router, method: &str, path: &str, body: &Value) -> StatusCode {
    let request = Request::builder()
        .method(method.to_uppercase().parse::<Method>().unwrap())
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    router.clone().oneshot(request).await.unwrap().status()
}

/// The path with the examples of its parameters filled in.
fn fill(path: &str, operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    parameters
        .filter(|parameter| parameter["in"] == "path")
        .fold(path.to_owned(), |path, parameter| {
            let name = parameter["name"].as_str().unwrap();
            let example = parameter["example"].to_string();
            path.replace(&format!("{{{name}}}"), example.trim_matches('"'))
        })
}

#[tokio::test]
async fn every_operation_of_this_service_is_routed() {
    let poller = MockServer::start().await;
    Mock::given(matchers::method("PUT"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&poller)
        .await;
    let document: Value = serde_json::from_str(service_runtime::OPENAPI).unwrap();
    let mut tried = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let tags = operation["tags"].as_array().into_iter().flatten();
            if !tags.into_iter().any(|tag| tag == SERVICE) {
                continue;
            }
            let body = &operation["requestBody"]["content"]["application/json"]["example"];
            let destination = destination(&poller).await;
            let status = send(&destination, method, &fill(path, operation), body).await;
            // The code that the example asks for.
            let expected = if path == "/mock/error/{code}" {
                status == StatusCode::SERVICE_UNAVAILABLE
            } else {
                status.is_success()
            };
            assert!(expected, "{method} {path} was answered {status}");
            tried += 1;
        }
    }
    assert!(tried >= 16, "only {tried} operations are described");
}
