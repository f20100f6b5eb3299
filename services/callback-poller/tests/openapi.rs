//! The document describes this service as it is: every operation it lists is answered.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails where it stands"
)]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use callback_poller::{Config, Jobs, router};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const SERVICE: &str = "callback-poller";

/// A poller that one report was made to.
async fn poller() -> Router {
    let config = Config {
        job_deadline: Config::PLATFORM_DEADLINE,
        job_silence: Config::LONGEST_SILENCE,
        max_jobs: 10,
        max_reports_per_job: 10,
        state_dir: None,
        drain: Duration::from_secs(1),
    };
    let poller = router(Jobs::new(config), CancellationToken::new());
    let report = json!({"state": "running", "progress": 0.0});
    send(&poller, "put", "/mock/poll/wh-1", &report).await;
    poller
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

#[tokio::test]
async fn every_operation_of_this_service_is_routed() {
    let document: Value = serde_json::from_str(service_runtime::OPENAPI).unwrap();
    let mut tried = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let tags = operation["tags"].as_array().into_iter().flatten();
            if !tags.into_iter().any(|tag| tag == SERVICE) {
                continue;
            }
            let body = &operation["requestBody"]["content"]["application/json"]["example"];
            let path = path.replace("{webhook_id}", "wh-1");
            let status = send(&poller().await, method, &path, body).await;
            assert!(status.is_success(), "{method} {path} was answered {status}");
            tried += 1;
        }
    }
    assert!(tried >= 7, "only {tried} operations are described");
}
