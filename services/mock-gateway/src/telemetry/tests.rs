//! Subscriptions of extensions, with a subscriber that is a task of the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use app_model::LogFormat;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::any;
use function_supervisor::BuildState;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::broker::Broker;
use crate::invocation::Invocation;
use crate::outcome::RuntimeExit;
use crate::testing::{
    FakeLauncher, FakeRuntime, artifact, built, config, invocation, table, text, within,
};

const TELEMETRY: &str = "/2022-07-01/telemetry";
const LOGS: &str = "/2020-08-15/logs";

/// Where telemetry is posted, and what comes.
struct Sink {
    port: u16,
    /// One list of records for each post.
    posts: mpsc::Receiver<Vec<Value>>,
    /// Whether posts are answered.
    answers: watch::Sender<bool>,
    _server: JoinSet<()>,
}

#[derive(Clone)]
struct Taken {
    posts: mpsc::Sender<Vec<Value>>,
    statuses: Arc<Mutex<Vec<u16>>>,
    answers: watch::Receiver<bool>,
}

async fn take(State(mut taken): State<Taken>, body: Bytes) -> StatusCode {
    let records = serde_json::from_slice(&body).unwrap();
    taken.posts.send(records).await.unwrap();
    drop(taken.answers.wait_for(|answers| *answers).await);
    let status = taken.statuses.lock().await.pop().unwrap_or(200);
    StatusCode::from_u16(status).unwrap()
}

/// Answers its posts with these statuses, the last one first, then with 200.
async fn sink(statuses: &[u16]) -> Sink {
    let (sender, posts) = mpsc::channel(100);
    let answers = watch::Sender::new(true);
    let router = Router::new().route("/", any(take)).with_state(Taken {
        posts: sender,
        statuses: Arc::new(Mutex::new(statuses.to_vec())),
        answers: answers.subscribe(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, router).await.unwrap() });
    Sink {
        port,
        posts,
        answers,
        _server: server,
    }
}

impl Sink {
    async fn next(&mut self) -> Vec<Value> {
        within("a post", self.posts.recv()).await.unwrap()
    }

    /// Everything up to a record of this type.
    async fn until(&mut self, last: &str) -> Vec<Value> {
        let mut records = Vec::new();
        while !records.iter().any(|record: &Value| record["type"] == last) {
            let post = within(last, self.posts.recv()).await.unwrap();
            assert!(!post.is_empty());
            records.extend(post);
        }
        records
    }
}

fn types(records: &[Value]) -> Vec<&str> {
    let types = records
        .iter()
        .map(|record| record["type"].as_str().unwrap());
    types.collect()
}

fn of<'a>(records: &'a [Value], name: &str) -> &'a Value {
    let record = records.iter().find(|record| record["type"] == name);
    &record.unwrap()["record"]
}

/// Subscribes; the status and the body.
async fn subscribe(runtime: &FakeRuntime, path: &str, id: &str, body: &Value) -> (u16, String) {
    let request = runtime
        .client
        .put(format!("{}{path}", runtime.base))
        .header("lambda-extension-identifier", id)
        .body(body.to_string());
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.text().await.unwrap())
}

fn wanted(version: &str, port: u16) -> Value {
    json!({
        "schemaVersion": version,
        "destination": {"protocol": "HTTP", "URI": format!("http://sandbox.localdomain:{port}")},
        "types": ["platform", "function"],
        "buffering": {"maxItems": 1_000, "maxBytes": 262_144, "timeoutMs": 25},
    })
}

/// A function that registers an extension, subscribes it, and answers events: with as many
/// printed lines as the event says.
fn function(path: &'static str, wanted: Value) -> Arc<FakeLauncher> {
    FakeLauncher::new(move |runtime: FakeRuntime| {
        let wanted = wanted.clone();
        async move {
            let id = runtime.register(r#""INVOKE""#).await;
            let ok = (200, "\"OK\"".to_owned());
            for _ in ["once", "and again, which changes nothing"] {
                assert_eq!(subscribe(&runtime, path, &id, &wanted).await, ok);
            }
            let extension = async {
                loop {
                    runtime.extension_next(&id).await;
                }
            };
            let work = async {
                loop {
                    let event = runtime.next().await;
                    if event.body == "crash" {
                        return RuntimeExit::Status(1);
                    }
                    for _ in 0..event.body.parse().unwrap() {
                        runtime.print(r#"{"at":"work"}"#).await;
                    }
                    runtime.respond(&event, "answer").await;
                }
            };
            tokio::select! { exit = work => exit, () = extension => RuntimeExit::Status(9) }
        }
    })
}

fn broker(launcher: &Arc<FakeLauncher>) -> Broker {
    let broker = Broker::new(config(), launcher.clone());
    broker.take_in(&built(1));
    broker
}

async fn invoke(broker: &Broker, asked: Invocation) {
    within("an answer", broker.invoke(asked, Duration::from_secs(10))).await;
}

async fn stop(broker: &Broker) {
    within("the end", broker.stop(std::future::pending())).await;
}

#[tokio::test]
async fn an_extension_is_told_all_that_happens_from_the_start() {
    let mut sink = sink(&[]).await;
    let launcher = function(TELEMETRY, wanted("2022-12-13", sink.port));
    let broker = broker(&launcher);
    let asked = invocation("1");
    let (id, trace) = (asked.request_id.to_string(), asked.trace_id.clone());
    invoke(&broker, asked).await;
    let mut records = sink.until("platform.report").await;
    for record in &records {
        assert!(record["time"].as_str().unwrap().ends_with('Z'), "{record}");
    }
    // What is printed takes another way than what is done.
    let printed: Vec<_> = records
        .extract_if(.., |record| record["type"] == "function")
        .map(|record| record["record"].clone())
        .collect();
    assert_eq!(printed, [json!(r#"{"at":"work"}"#)]);
    assert_eq!(
        types(&records),
        [
            "platform.initStart",
            "platform.telemetrySubscription",
            "platform.initRuntimeDone",
            "platform.extension",
            "platform.initReport",
            "platform.start",
            "platform.runtimeDone",
            "platform.report",
        ]
    );
    assert_eq!(
        *of(&records, "platform.telemetrySubscription"),
        json!({"name": "test", "state": "Subscribed", "types": ["platform", "function"]})
    );
    assert_eq!(
        *of(&records, "platform.extension"),
        json!({"name": "test", "state": "Ready", "events": ["INVOKE"]})
    );
    assert_eq!(
        *of(&records, "platform.initRuntimeDone"),
        json!({"initializationType": "on-demand", "phase": "init", "status": "success"})
    );
    assert!(of(&records, "platform.initReport")["metrics"]["durationMs"].is_f64());
    let tracing = json!({"type": "X-Amzn-Trace-Id", "value": trace.as_str()});
    assert_eq!(
        *of(&records, "platform.start"),
        json!({"requestId": id, "version": "$LATEST", "tracing": tracing})
    );
    let done = of(&records, "platform.runtimeDone");
    assert_eq!(done["status"], "success");
    assert_eq!(done["metrics"]["producedBytes"], 6);
    assert_eq!(done["tracing"], tracing);
    let spans = done["spans"].as_array().unwrap();
    let spans: Vec<_> = spans.iter().map(|span| &span["name"]).collect();
    assert_eq!(
        spans,
        ["responseLatency", "responseDuration", "runtimeOverhead"]
    );
    let report = of(&records, "platform.report");
    assert_eq!(report["status"], "success");
    assert_eq!(report["spans"][0]["name"], "extensionOverhead");
    assert!(report["metrics"]["initDurationMs"].is_f64());

    invoke(&broker, invocation("crash")).await;
    let records = sink.until("platform.report").await;
    let done = of(&records, "platform.runtimeDone");
    assert_eq!(done["status"], "error");
    assert_eq!(done["errorType"], "Runtime.ExitError");
    assert_eq!(done["spans"], json!([]));
    stop(&broker).await;
}

#[tokio::test]
async fn the_older_logs_api_has_fewer_records_with_less_in_them() {
    for (version, has_runtime_done) in [("2021-03-18", true), ("2020-08-15", false)] {
        let mut sink = sink(&[]).await;
        let mut wanted = wanted(version, sink.port);
        wanted["destination"]["method"] = json!("PUT");
        let launcher = function(LOGS, wanted);
        let broker = broker(&launcher);
        let asked = invocation("0");
        let id = asked.request_id.to_string();
        invoke(&broker, asked).await;
        let records = sink.until("platform.report").await;
        let mut expected = vec![
            "platform.logsSubscription",
            "platform.extension",
            "platform.start",
            "platform.runtimeDone",
            "platform.end",
            "platform.report",
        ];
        if !has_runtime_done {
            expected.remove(3);
        }
        assert_eq!(types(&records), expected);
        assert_eq!(
            *of(&records, "platform.start"),
            json!({"requestId": id, "version": "$LATEST"})
        );
        if has_runtime_done {
            assert_eq!(
                *of(&records, "platform.runtimeDone"),
                json!({"requestId": id, "status": "success"})
            );
        }
        assert_eq!(*of(&records, "platform.end"), json!({"requestId": id}));
        assert_eq!(of(&records, "platform.report")["status"], Value::Null);

        invoke(&broker, invocation("crash")).await;
        let records = sink.until("platform.fault").await;
        let fault = of(&records, "platform.fault").as_str().unwrap();
        assert!(
            fault.ends_with("exit status 1\nRuntime.ExitError"),
            "{fault}"
        );
        if has_runtime_done {
            assert_eq!(of(&records, "platform.runtimeDone")["status"], "failure");
        }
        stop(&broker).await;
    }
}

#[tokio::test]
async fn a_delivery_that_is_refused_is_tried_again() {
    let mut sink = sink(&[503, 500]).await;
    let launcher = function(TELEMETRY, wanted("2022-12-13", sink.port));
    let broker = broker(&launcher);
    invoke(&broker, invocation("0")).await;
    let first = sink.next().await;
    assert_eq!(sink.next().await, first);
    assert_eq!(sink.next().await, first);
    invoke(&broker, invocation("0")).await;
    let second = sink.next().await;
    assert_ne!(second, first);
    assert!(!types(&second).contains(&"platform.logsDropped"));
    stop(&broker).await;
}

#[tokio::test]
async fn what_a_slow_subscriber_misses_is_counted_and_told() {
    let mut sink = sink(&[]).await;
    sink.answers.send_replace(false);
    let launcher = function(TELEMETRY, wanted("2022-12-13", sink.port));
    let broker = broker(&launcher);
    invoke(&broker, invocation("5000")).await;
    sink.answers.send_replace(true);
    let records = sink.until("platform.logsDropped").await;
    let dropped = of(&records, "platform.logsDropped");
    let count = dropped["droppedRecords"].as_u64().unwrap();
    assert!((1..5_000).contains(&count), "{dropped}");
    assert!(dropped["droppedBytes"].as_u64().unwrap() > 50 * count);
    stop(&broker).await;
}

#[tokio::test]
async fn records_go_to_a_tcp_port_as_lines() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut body = wanted("2022-12-13", port);
    body["destination"] = json!({"protocol": "TCP", "port": port});
    let launcher = function(TELEMETRY, body);
    let broker = broker(&launcher);
    invoke(&broker, invocation("0")).await;
    let (stream, _) = within("a connection", listener.accept()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut names = Vec::new();
    while names.last().is_none_or(|last| last != "platform.report") {
        let line = within("a line", lines.next_line()).await.unwrap().unwrap();
        let record: Value = serde_json::from_str(&line).unwrap();
        names.push(record["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(names[0], "platform.initStart");
    stop(&broker).await;
}

#[tokio::test]
async fn lines_of_a_json_log_are_objects_where_the_schema_has_them() {
    let line = json!({"at": "work"});
    for (version, expected) in [
        ("2022-12-13", line.clone()),
        ("2022-07-01", json!(line.to_string())),
    ] {
        let mut sink = sink(&[]).await;
        let launcher = function(TELEMETRY, wanted(version, sink.port));
        let broker = Broker::new(config(), launcher);
        let mut artifact = artifact("demo", 1);
        artifact.function.settings.log_format = LogFormat::Json;
        broker.take_in(&table(BuildState::Built, Some(Arc::new(artifact))));
        invoke(&broker, invocation("1")).await;
        let records = sink.until("function").await;
        assert_eq!(*of(&records, "function"), expected, "{version}");
        stop(&broker).await;
    }
}

#[tokio::test]
async fn an_extension_has_its_port_to_itself() {
    let sink = sink(&[]).await;
    let port = sink.port;
    let alive = Arc::new(AtomicU32::new(0));
    let counts = alive.clone();
    let launcher = FakeLauncher::new(move |runtime: FakeRuntime| {
        let counts = counts.clone();
        async move {
            let id = runtime.register(r#""INVOKE""#).await;
            let beside = counts.fetch_add(1, Ordering::SeqCst);
            assert_eq!(beside, 0, "another environment has the port");
            let wanted = wanted("2022-12-13", port);
            assert_eq!(subscribe(&runtime, TELEMETRY, &id, &wanted).await.0, 200);
            let extension = async {
                loop {
                    runtime.extension_next(&id).await;
                }
            };
            let exit = tokio::select! {
                () = runtime.terminated.cancelled() => RuntimeExit::WithoutReason,
                exit = runtime.clone().echo() => exit,
                () = extension => RuntimeExit::Status(9),
            };
            counts.fetch_sub(1, Ordering::SeqCst);
            exit
        }
    });
    let broker = broker(&launcher);
    let ask = async |payload: &str| {
        let answer = broker.invoke(invocation(payload), Duration::from_secs(10));
        text(&within("an answer", answer).await)
    };
    assert_eq!(ask("x").await, "1:x");
    let together = futures::future::join_all((0..5).map(|_| ask("y"))).await;
    assert_eq!(together, ["1:y"; 5]);
    assert_eq!(launcher.count(), 1, "they wait for one another");
    broker.take_in(&built(2));
    assert_eq!(ask("z").await, "2:z", "after the old build has ended");
    assert_eq!(launcher.count(), 2);
    stop(&broker).await;
}

#[tokio::test]
async fn the_end_waits_for_no_buffer() {
    let mut sink = sink(&[]).await;
    let mut body = wanted("2022-12-13", sink.port);
    body["buffering"]["timeoutMs"] = json!(30_000);
    let launcher = function(TELEMETRY, body);
    let broker = broker(&launcher);
    invoke(&broker, invocation("0")).await;
    stop(&broker).await;
    let records = sink.until("platform.report").await;
    assert_eq!(records[0]["type"], "platform.initStart");
}

#[tokio::test]
async fn a_subscription_that_cannot_be_is_refused() {
    let told = Arc::new(Notify::new());
    let tell = told.clone();
    let launcher = FakeLauncher::new(move |runtime: FakeRuntime| {
        let tell = tell.clone();
        async move {
            let good = wanted("2022-12-13", 8_080);
            let refused = async |path: &str, id: &str, body: &Value| {
                let (status, body) = subscribe(&runtime, path, id, body).await;
                let body: Value = serde_json::from_str(&body).unwrap();
                let error_type = body["errorType"].as_str().unwrap().to_owned();
                (status, error_type, body["errorMessage"].clone())
            };
            let (status, error_type, _) = refused(TELEMETRY, "nobody", &good).await;
            assert_eq!(status, 403);
            assert_eq!(error_type, "Extension.InvalidExtensionIdentifier");
            let stranger = "6bc28136-95fa-4ebe-87b2-8f8d9a2f6c3e";
            let (status, error_type, _) = refused(TELEMETRY, stranger, &good).await;
            assert_eq!(status, 403);
            assert_eq!(error_type, "Extension.UnknownExtensionIdentifier");

            let id = runtime.register(r#""INVOKE""#).await;
            let mut bad = good.clone();
            bad["types"] = json!([]);
            for (path, expected) in [
                (TELEMETRY, "ValidationError"),
                (LOGS, "Logs.ValidationError"),
            ] {
                bad["schemaVersion"] = json!(if path == LOGS {
                    "2021-03-18"
                } else {
                    "2022-12-13"
                });
                let (status, error_type, message) = refused(path, &id, &bad).await;
                assert_eq!((status, error_type.as_str()), (400, expected));
                assert_eq!(message, "types should not be empty");
            }
            assert_eq!(subscribe(&runtime, TELEMETRY, &id, &good).await.0, 200);
            let (status, error_type, message) =
                refused(LOGS, &id, &wanted("2021-03-18", 8_080)).await;
            assert_eq!((status, error_type.as_str()), (400, "Logs.ValidationError"));
            assert!(
                message.as_str().unwrap().contains("Telemetry API"),
                "{message}"
            );

            let extension = runtime.extension_next(&id);
            let work = async {
                let event = runtime.next().await;
                let (status, error_type, message) = refused(TELEMETRY, &id, &good).await;
                assert_eq!(status, 403);
                assert_eq!(error_type, "Telemetry.SubscriptionClosed");
                assert_eq!(message, "Telemetry API subscription is closed already");
                tell.notify_one();
                runtime.respond(&event, "ok").await;
                std::future::pending::<()>().await;
            };
            tokio::join!(extension, work);
            RuntimeExit::WithoutReason
        }
    });
    let broker = broker(&launcher);
    invoke(&broker, invocation("x")).await;
    within("all asked", told.notified()).await;
    stop(&broker).await;
}
