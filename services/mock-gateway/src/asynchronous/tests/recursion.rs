//! Events of a chain of requests that has invoked its function as often as Lambda lets it.

use app_model::{Parity, RecursiveLoop};
use http::Request;

use super::*;

const INVOKE: &str = "/2015-03-31/functions/demo/invocations";

impl Sandbox {
    async fn start_as(folder: &Path, parity: Parity) -> Self {
        let config = crate::Config { parity, ..config() };
        Self::start_with(folder, config).await
    }

    /// Sends an event by Lambda's API, in a chain that has invoked `demo` so often.
    async fn send(&self, times: u32, event: &Value) -> String {
        let demo: FunctionName = "demo".parse().unwrap();
        let mut trace = crate::TraceId::random(0);
        for _ in 0..times {
            trace.enter(&demo);
        }
        let request = Request::post(INVOKE)
            .header("x-amz-invocation-type", "Event")
            .header("x-amzn-trace-id", trace.as_str())
            .body(axum::body::Body::from(event.to_string()))
            .unwrap();
        let response = within("an answer", self.router().oneshot(request)).await;
        let response = response.unwrap();
        assert_eq!(response.status(), 202, "whatever becomes of it");
        let id = &response.headers()["x-amzn-requestid"];
        id.to_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn an_event_too_many_goes_where_failures_go_without_its_function() {
    let folder = tempfile::tempdir().unwrap();
    let mut sandbox = Sandbox::start_as(folder.path(), Parity::Enforce).await;
    sandbox.set(destinations(None, Some(OTHER))).await;
    let last = sandbox.send(15, &json!({"n": 16})).await;
    assert_eq!(
        sandbox.seen().await,
        ("demo".into(), last, json!({"n": 16}))
    );
    let dropped = sandbox.send(16, &json!({"n": 17})).await;
    let (name, _, record) = sandbox.seen().await;
    assert_eq!(name, "other");
    let context = &record["requestContext"];
    assert_eq!(context["condition"], "RecursiveInvocationException");
    assert_eq!(context["requestId"], json!(dropped));
    assert_eq!(context["approximateInvokeCount"], 0);
    assert_eq!(record["requestPayload"], json!({"n": 17}));
    assert_eq!(record.get("responsePayload"), None);
    sandbox.is_idle().await;
    sandbox.stop().await;
}

#[tokio::test]
async fn it_is_delivered_where_nobody_wants_it_stopped() {
    let allowed = FunctionOptions {
        recursive_loop: Some(RecursiveLoop::Allow),
        ..FunctionOptions::default()
    };
    for (parity, options) in [
        (Parity::Warn, FunctionOptions::default()),
        (Parity::Enforce, allowed),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut sandbox = Sandbox::start_as(folder.path(), parity).await;
        sandbox.set(options).await;
        let id = sandbox.send(40, &json!({"n": 41})).await;
        assert_eq!(sandbox.seen().await, ("demo".into(), id, json!({"n": 41})));
        sandbox.is_idle().await;
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn attempts_at_one_event_are_one_invocation_of_its_chain() {
    let folder = tempfile::tempdir().unwrap();
    let mut sandbox = Sandbox::start_as(folder.path(), Parity::Enforce).await;
    sandbox.set(destinations(None, Some(OTHER))).await;
    let id = sandbox.send(15, &json!("fail")).await;
    for _ in 0..3 {
        assert_eq!(
            sandbox.seen().await,
            ("demo".into(), id.clone(), json!("fail"))
        );
    }
    let (name, _, record) = sandbox.seen().await;
    assert_eq!(name, "other");
    assert_eq!(record["requestContext"]["condition"], "RetriesExhausted");
    sandbox.is_idle().await;
    sandbox.stop().await;
}

#[tokio::test]
async fn what_is_set_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let demo: FunctionName = "demo".parse().unwrap();
    let first = Sandbox::start(folder.path(), None).await;
    let options = FunctionOptions {
        recursive_loop: Some(RecursiveLoop::Allow),
        ..FunctionOptions::default()
    };
    first.set(options).await;
    first.stop().await;
    let second = Sandbox::start(folder.path(), None).await;
    assert_eq!(second.events.recursive_loop(&demo), RecursiveLoop::Allow);
    second.stop().await;
}
