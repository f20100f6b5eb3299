//! Asynchronous invocations from the accepted event to its end, with functions that are
//! tasks of the test.

mod faults;
mod recursion;

use std::path::Path;
use std::sync::Arc;

use app_model::FunctionName;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::*;
use crate::outcome::RuntimeExit;
use crate::testing::{FakeLauncher, FakeRuntime, artifact, built, config, invocation, within};

/// What a function was given: its name, the request id, the event.
type Seen = (String, String, Value);

struct Sandbox {
    broker: Broker,
    events: Events,
    tasks: JoinSet<()>,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl Sandbox {
    /// Two functions, `demo` and `other`. An event that says `fail` fails; one that says
    /// `{"process": n}` is answered by the n-th process and never by those before it.
    async fn start(folder: &Path, aws_endpoint: Option<String>) -> Self {
        let config = crate::Config {
            aws_endpoint,
            ..config()
        };
        Self::start_with(folder, config).await
    }

    async fn start_with(folder: &Path, config: crate::Config) -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let launcher = FakeLauncher::new(move |runtime| function(runtime, sender.clone()));
        let config = crate::Config {
            // A minute is 50 ms.
            pace: Pace::times(1_200.0).unwrap(),
            ..config
        };
        let broker = Broker::new(config, launcher);
        let mut tasks = JoinSet::new();
        let events = Events::open(broker.clone(), folder, &mut tasks).await;
        let events = events.unwrap();
        let mut table = built(1);
        let other = Arc::new(artifact("other", 1));
        let mut entry = table.functions.values().next().unwrap().clone();
        entry.function = other.function.clone();
        entry.artifact = Some(other);
        table.functions.insert(entry.function.name.clone(), entry);
        broker.take_in(&table);
        Self {
            broker,
            events,
            tasks,
            seen,
        }
    }

    async fn accept(&self, payload: &Value) -> String {
        let invocation = invocation(&payload.to_string());
        let id = invocation.request_id.to_string();
        let nothing = Injected::default();
        self.events.accept(invocation, &nothing).await.unwrap();
        id
    }

    async fn set(&self, options: FunctionOptions) {
        let demo: FunctionName = "demo".parse().unwrap();
        self.events.set_options(&demo, options).await.unwrap();
    }

    async fn seen(&mut self) -> Seen {
        within("an event reaches a function", self.seen.recv())
            .await
            .unwrap()
    }

    /// The routes, in front of this broker.
    fn router(&self) -> axum::Router {
        let (_, functions) = tokio::sync::watch::channel(Arc::new(built(1)));
        crate::router(crate::Gateway {
            broker: self.broker.clone(),
            functions,
            events: self.events.clone(),
            access: Arc::default(),
        })
    }

    async fn is_idle(&self) {
        within("nothing waits any longer", async {
            while self.events.waiting(1).0 > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn stop(mut self) {
        self.broker.stop(std::future::ready(())).await;
        within("the tasks end", async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.unwrap();
            }
        })
        .await;
    }
}

async fn function(runtime: FakeRuntime, seen: mpsc::UnboundedSender<Seen>) -> RuntimeExit {
    loop {
        let event = runtime.next().await;
        let payload: Value = serde_json::from_str(&event.body).unwrap();
        let arn = event.header("lambda-runtime-invoked-function-arn");
        let name = arn.rsplit(':').next().unwrap().to_owned();
        seen.send((name, event.id().to_owned(), payload.clone()))
            .unwrap();
        if payload == "fail" {
            let path = format!("invocation/{}/error", event.id());
            let error = r#"{"errorType":"Mine","errorMessage":"no luck"}"#;
            runtime.post(&path, None, error.to_owned()).await;
        } else if payload["process"].as_u64() > Some(runtime.number.into()) {
            std::future::pending::<()>().await;
        } else {
            runtime.respond(&event, r#"{"done":true}"#).await;
        }
    }
}

fn destinations(on_success: Option<&str>, on_failure: Option<&str>) -> FunctionOptions {
    FunctionOptions {
        event_invoke: Some(EventInvokeConfig {
            on_success: on_success.map(str::to_owned),
            on_failure: on_failure.map(str::to_owned),
            ..EventInvokeConfig::default()
        }),
        ..FunctionOptions::default()
    }
}

const OTHER: &str = "arn:aws:lambda:us-east-1:000000000000:function:other";

#[tokio::test]
async fn a_failing_event_is_tried_three_times_with_one_id_and_its_end_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut sandbox = Sandbox::start(folder.path(), None).await;
    sandbox.set(destinations(None, Some(OTHER))).await;
    let began = std::time::Instant::now();
    let id = sandbox.accept(&json!("fail")).await;
    for _ in 0..3 {
        assert_eq!(
            sandbox.seen().await,
            ("demo".into(), id.clone(), json!("fail"))
        );
    }
    // One minute and two, at 50 ms a minute.
    assert!(began.elapsed().as_millis() >= 145, "{:?}", began.elapsed());
    let (name, told, record) = sandbox.seen().await;
    assert_eq!(name, "other");
    assert_ne!(told, id);
    assert_eq!(record["requestContext"]["condition"], "RetriesExhausted");
    assert_eq!(record["requestContext"]["requestId"], json!(id));
    assert_eq!(record["requestContext"]["approximateInvokeCount"], 3);
    assert_eq!(record["requestPayload"], "fail");
    assert_eq!(record["responsePayload"]["errorType"], "Mine");
    sandbox.is_idle().await;
    sandbox.stop().await;
}

#[tokio::test]
async fn a_success_is_told_to_the_other_function() {
    let folder = tempfile::tempdir().unwrap();
    let mut sandbox = Sandbox::start(folder.path(), None).await;
    sandbox.set(destinations(Some(OTHER), None)).await;
    let id = sandbox.accept(&json!({"n": 1})).await;
    assert_eq!(sandbox.seen().await, ("demo".into(), id, json!({"n": 1})));
    let (name, _, record) = sandbox.seen().await;
    assert_eq!(name, "other");
    assert_eq!(record["requestContext"]["condition"], "Success");
    assert_eq!(record["responsePayload"], json!({"done": true}));
    sandbox.is_idle().await;
    sandbox.stop().await;
}

#[tokio::test]
async fn what_was_accepted_is_delivered_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let first = Sandbox::start(folder.path(), None).await;
    let none = FunctionOptions {
        reserved_concurrency: Some(1),
        ..FunctionOptions::default()
    };
    first.set(none.clone()).await;
    // The broker takes no more work, as when the process is about to end.
    first.broker.shared.closing.cancel();
    let entry = Entry::now(Task::Invoke(Event {
        request_id: "6bc28136-95fa-4ebe-87b2-8f8d9a2f6c3e".to_owned(),
        function: "demo".to_owned(),
        trace_id: String::new(),
        qualified: false,
        tenant: None,
        client_context: None,
        faults: Vec::new(),
    }));
    let store = first.events.store().unwrap();
    store.put(entry, "7".into()).await.unwrap();
    first.stop().await;

    let mut second = Sandbox::start(folder.path(), None).await;
    let (_, id, payload) = second.seen().await;
    assert_eq!(id, "6bc28136-95fa-4ebe-87b2-8f8d9a2f6c3e");
    assert_eq!(payload, 7);
    let demo = "demo".parse().unwrap();
    assert_eq!(
        second.events.options(&demo),
        none,
        "settings outlive the process too"
    );
    second.is_idle().await;
    second.stop().await;
}

#[tokio::test]
async fn without_concurrency_an_event_goes_where_failures_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut sandbox = Sandbox::start(folder.path(), None).await;
    let options = FunctionOptions {
        reserved_concurrency: Some(0),
        ..destinations(None, Some(OTHER))
    };
    sandbox.set(options).await;
    sandbox.accept(&json!({})).await;
    let (name, _, record) = sandbox.seen().await;
    assert_eq!(name, "other");
    assert_eq!(
        record["requestContext"]["condition"],
        "ZeroReservedConcurrency"
    );
    assert_eq!(record.get("responsePayload"), None);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_dead_letter_reaches_its_queue_with_its_attributes() {
    let (sender, mut requests) = mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let queues = axum::Router::new().fallback(move |request: axum::extract::Request| {
        let sender = sender.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            let target = parts.headers["x-amz-target"].to_str().unwrap().to_owned();
            let body: Value = serde_json::from_slice(&body).unwrap();
            sender.send((target, body)).unwrap();
            "{}"
        }
    });
    let server = tokio::spawn(async move { axum::serve(listener, queues).await });

    let folder = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(folder.path(), Some(endpoint.clone())).await;
    let queue = "arn:aws:sqs:us-east-1:000000000000:dead";
    sandbox.events.check_target(queue).await.unwrap();
    let (target, _) = within("the queue is looked up", requests.recv())
        .await
        .unwrap();
    assert_eq!(target, "AmazonSQS.GetQueueAttributes");
    let options = FunctionOptions {
        dead_letter_target: Some(queue.to_owned()),
        event_invoke: Some(EventInvokeConfig {
            maximum_retry_attempts: Some(0),
            ..EventInvokeConfig::default()
        }),
        ..FunctionOptions::default()
    };
    sandbox.set(options).await;
    let id = sandbox.accept(&json!("fail")).await;
    let (target, letter) = within("the letter is sent", requests.recv()).await.unwrap();
    assert_eq!(target, "AmazonSQS.SendMessage");
    assert_eq!(letter["QueueUrl"], format!("{endpoint}/000000000000/dead"));
    assert_eq!(letter["MessageBody"], r#""fail""#);
    let value = |name: &str| letter["MessageAttributes"][name]["StringValue"].clone();
    assert_eq!(value("RequestID"), json!(id));
    assert_eq!(value("ErrorCode"), "200");
    assert_eq!(value("ErrorMessage"), "no luck");
    sandbox.is_idle().await;
    sandbox.stop().await;
    server.abort();
}

#[tokio::test]
async fn the_invoke_api_accepts_an_event_and_the_control_api_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut sandbox = Sandbox::start(folder.path(), None).await;
    let router = sandbox.router();
    for path in [
        "/2015-03-31/functions/demo/invocations",
        "/2014-11-13/functions/demo/invoke-async/",
    ] {
        let request = http::Request::post(path)
            .header("x-amz-invocation-type", "Event")
            .body(axum::body::Body::from(r#"{"n":2}"#))
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 202);
        let id = response.headers()["x-amzn-requestid"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(sandbox.seen().await, ("demo".into(), id, json!({"n": 2})));
    }
    sandbox.is_idle().await;
    // Tried until it is too old: for 18 s at this pace.
    let nobody = Invocation {
        function: "nobody".parse().unwrap(),
        ..invocation("{}")
    };
    let nothing = Injected::default();
    sandbox.events.accept(nobody, &nothing).await.unwrap();
    let request = http::Request::get("/_longshore/events?limit=1")
        .body(axum::body::Body::empty())
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20)
        .await
        .unwrap();
    let shown: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(shown["waiting"], 1);
    assert_eq!(shown["events"][0]["target"], "nobody");
    sandbox.stop().await;
}
