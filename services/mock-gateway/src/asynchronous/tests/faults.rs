//! What goes wrong with the deliveries of an event, by rules and by its sender's header.

use http::{Method, Request, StatusCode};

use super::*;

const RULES: &str = "/_longshore/faults";
const INVOKE: &str = "/2015-03-31/functions/demo/invocations";

impl Sandbox {
    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(axum::body::Body::from(body)).unwrap();
        let response = within("an answer", self.router().oneshot(request)).await;
        let (parts, body) = response.unwrap().into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        (
            parts.status,
            serde_json::from_slice(&body).unwrap_or_default(),
        )
    }

    async fn rules(&self, rules: Value) {
        let body = json!({"seed": 7, "rules": rules}).to_string();
        let kind = [("content-type", "application/json")];
        let (status, answer) = self.ask(Method::PUT, RULES, &kind, body).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// How many deliveries or requests the first rule was about, and how many it struck.
    async fn struck(&self) -> (Value, Value) {
        let (_, view) = self.ask(Method::GET, RULES, &[], String::new()).await;
        let rule = &view["rules"][0];
        (rule["matched"].clone(), rule["injected"].clone())
    }

    /// What `other` is told of this event's end. Before that `demo` is given nothing else; a
    /// process that is killed soon may not even have read it.
    async fn record(&mut self, id: &str) -> Value {
        loop {
            let (name, seen, payload) = self.seen().await;
            if name == "other" {
                return payload;
            }
            assert_eq!((name.as_str(), seen.as_str()), ("demo", id));
        }
    }
}

#[tokio::test]
async fn the_first_two_deliveries_go_wrong_and_the_third_is_done() {
    for fault in ["crash", "timeout=30ms"] {
        let folder = tempfile::tempdir().unwrap();
        let mut sandbox = Sandbox::start(folder.path(), None).await;
        sandbox.set(destinations(Some(OTHER), Some(OTHER))).await;
        let rule = json!({"fault": fault, "function": "demo", "deliveries": [1, 2]});
        sandbox.rules(json!([rule])).await;
        let event = json!({"process": 3});
        let id = sandbox.accept(&event).await;
        let mut record = sandbox.record(&id).await;
        assert!(record["timestamp"].take().is_string());
        assert_eq!(
            record,
            json!({
                "version": "1.0",
                "timestamp": null,
                "requestContext": {
                    "requestId": id,
                    "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:demo:$LATEST",
                    "condition": "Success",
                    "approximateInvokeCount": 3,
                },
                "requestPayload": event,
                "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
                "responsePayload": {"done": true},
            }),
            "{fault}"
        );
        sandbox.is_idle().await;
        assert_eq!(sandbox.struck().await, (json!(2), json!(2)), "{fault}");
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn when_every_delivery_goes_wrong_the_failure_is_told_as_aws_tells_it() {
    for (fault, error_type, end) in [
        (
            "crash",
            "Runtime.ExitError",
            "Error: Runtime exited with error: signal: killed",
        ),
        (
            "timeout=30ms",
            "Sandbox.Timedout",
            "Error: Task timed out after 0.03 seconds",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut sandbox = Sandbox::start(folder.path(), None).await;
        sandbox.set(destinations(Some(OTHER), Some(OTHER))).await;
        let rule = json!({"fault": fault, "function": "demo", "deliveries": [1, 2, 3]});
        sandbox.rules(json!([rule])).await;
        let event = json!({"process": 1_000});
        let id = sandbox.accept(&event).await;
        let mut record = sandbox.record(&id).await;
        assert!(record["timestamp"].take().is_string());
        assert_eq!(
            record,
            json!({
                "version": "1.0",
                "timestamp": null,
                "requestContext": {
                    "requestId": id,
                    "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:demo:$LATEST",
                    "condition": "RetriesExhausted",
                    "approximateInvokeCount": 3,
                },
                "requestPayload": event,
                "responseContext": {
                    "statusCode": 200,
                    "executedVersion": "$LATEST",
                    "functionError": "Unhandled",
                },
                "responsePayload": {
                    "errorType": error_type,
                    "errorMessage": format!("RequestId: {id} {end}"),
                },
            })
        );
        sandbox.is_idle().await;
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_refused_delivery_is_put_off_and_does_not_count() {
    for fault in ["throttle", "503"] {
        let folder = tempfile::tempdir().unwrap();
        let mut sandbox = Sandbox::start(folder.path(), None).await;
        sandbox.set(destinations(Some(OTHER), None)).await;
        let rule = json!({"fault": fault, "deliveries": [1, 2], "function": "demo"});
        sandbox.rules(json!([rule])).await;
        let id = sandbox.accept(&json!({"n": 1})).await;
        let expected = ("demo".into(), id.clone(), json!({"n": 1}));
        assert_eq!(sandbox.seen().await, expected, "{fault}");
        let record = sandbox.record(&id).await;
        assert_eq!(record["requestContext"]["requestId"], json!(id));
        assert_eq!(record["requestContext"]["condition"], "Success");
        assert_eq!(record["requestContext"]["approximateInvokeCount"], 1);
        assert_eq!(sandbox.struck().await, (json!(2), json!(2)), "{fault}");
        sandbox.is_idle().await;
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn what_a_sender_asks_for_strikes_the_first_delivery() {
    let folder = tempfile::tempdir().unwrap();
    let mut sandbox = Sandbox::start(folder.path(), None).await;
    sandbox.set(destinations(Some(OTHER), None)).await;
    // About requests: a delivery is none.
    sandbox
        .rules(json!([{"fault": "throttle", "function": "demo", "percent": 0}]))
        .await;
    let headers = [
        ("x-amz-invocation-type", "Event"),
        ("x-longshore-fault", "crash"),
    ];
    let event = json!({"process": 2});
    let (status, _) = sandbox
        .ask(Method::POST, INVOKE, &headers, event.to_string())
        .await;
    assert_eq!(status, 202);
    let (_, id, _) = sandbox.seen().await;
    let record = sandbox.record(&id).await;
    assert_eq!(record["requestContext"]["requestId"], json!(id));
    assert_eq!(record["requestContext"]["approximateInvokeCount"], 2);
    assert_eq!(sandbox.struck().await, (json!(1), json!(0)));
    sandbox.is_idle().await;
    sandbox.stop().await;
}
