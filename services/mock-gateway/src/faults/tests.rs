//! Faults, asked for and drawn, at every front.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::kind::Fault;
use super::plan::{Moment, Plan};
use crate::asynchronous::Events;
use crate::broker::Broker;
use crate::outcome::RuntimeExit;
use crate::server::{Gateway, router};
use crate::testing::{FakeLauncher, FakeRuntime, built, config, within};

const INVOKE: &str = "/2015-03-31/functions/demo/invocations";

struct Stage {
    router: Router,
    broker: Broker,
    launcher: Arc<FakeLauncher>,
    /// Request id and event, of every delivery.
    seen: mpsc::UnboundedReceiver<(String, String)>,
    tasks: JoinSet<()>,
    _folder: tempfile::TempDir,
}

/// Answers with the number of its process; an event that says `wait` is never answered.
async fn function(
    runtime: FakeRuntime,
    seen: mpsc::UnboundedSender<(String, String)>,
) -> RuntimeExit {
    loop {
        let event = runtime.next().await;
        drop(seen.send((event.id().to_owned(), event.body.clone())));
        if event.body.contains("wait") {
            std::future::pending::<()>().await;
        }
        let answer = json!({"statusCode": 200, "body": runtime.number.to_string()});
        runtime.respond(&event, &answer.to_string()).await;
    }
}

impl Stage {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (sender, seen) = mpsc::unbounded_channel();
        let launcher = FakeLauncher::new(move |runtime| function(runtime, sender.clone()));
        let mut config = config();
        config.rest_integration_timeout = Duration::from_millis(400);
        let broker = Broker::new(config, launcher.clone());
        let table = built(1);
        broker.take_in(&table);
        let (_, functions) = watch::channel(Arc::new(table));
        let mut tasks = JoinSet::new();
        let events = Events::open(broker.clone(), folder.path(), &mut tasks).await;
        let gateway = Gateway {
            broker: broker.clone(),
            functions,
            events: events.unwrap(),
            access: Arc::default(),
        };
        Self {
            router: router(gateway),
            broker,
            launcher,
            seen,
            tasks,
            _folder: folder,
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = within("an answer", self.router.clone().oneshot(request)).await;
        let (parts, body) = response.unwrap().into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        (parts.status, parts.headers, text)
    }

    async fn faulty(&self, path: &str, fault: &str, body: &str) -> (u16, String, String) {
        let headers = [("x-longshore-fault", fault), ("content-type", "text/plain")];
        let (status, headers, text) = self.ask(Method::POST, path, &headers, body).await;
        let told = headers.get("x-longshore-fault");
        let told = told.map_or("", |told| told.to_str().unwrap());
        (status.as_u16(), told.to_owned(), text)
    }

    async fn stop(mut self) {
        self.broker.stop(std::future::ready(())).await;
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

#[test]
fn a_fault_is_spelled_as_it_is_told() {
    for (text, told) in [
        ("throttle", "throttle"),
        ("429", "throttle"),
        ("502", "502"),
        ("503", "503"),
        ("504", "504"),
        ("latency=250ms", "latency=250ms"),
        ("latency=2s", "latency=2000ms"),
        ("crash", "crash=20ms"),
        ("crash=1s", "crash=1000ms"),
        ("timeout", "timeout=20ms"),
        ("timeout=3s", "timeout=3000ms"),
        ("duplicate", "duplicate"),
        ("cold-start", "cold-start"),
    ] {
        assert_eq!(text.parse::<Fault>().unwrap().to_string(), told);
    }
    for text in [
        "",
        "404",
        "latency",
        "latency=fast",
        "latency=901s",
        "tea=1s",
    ] {
        let refused = text.parse::<Fault>().unwrap_err().to_string();
        assert!(refused.contains("cold-start"), "{refused}");
    }
}

#[test]
fn one_seed_draws_one_run() {
    let plan = |seed: u64, percent: u32, times: Value| {
        let rule =
            json!({"fault": "throttle", "function": "demo", "percent": percent, "times": times});
        let wanted = json!({"seed": seed, "rules": [rule, {"fault": "503", "percent": 50}]});
        Plan::new(serde_json::from_value(wanted).unwrap(), 0).unwrap()
    };
    let run = |plan: &Plan, name: &str| -> Vec<usize> {
        let name = name.parse().unwrap();
        (0..1_000)
            .map(|_| plan.draw(&name, Moment::Request).len())
            .collect()
    };
    let first = run(&plan(7, 30, Value::Null), "demo");
    assert_eq!(first, run(&plan(7, 30, Value::Null), "demo"));
    assert_ne!(first, run(&plan(8, 30, Value::Null), "demo"));
    for (percent, times, expected) in [
        (0, Value::Null, 0..=0),
        (100, Value::Null, 1_000..=1_000),
        (30, Value::Null, 230..=370),
        (100, json!(3), 3..=3),
    ] {
        let plan = plan(42, percent, times);
        run(&plan, "demo");
        run(&plan, "other");
        let view = serde_json::to_value(plan.view()).unwrap();
        assert_eq!(
            view["rules"][0]["matched"], 1_000,
            "the other is none of its"
        );
        assert_eq!(view["rules"][1]["matched"], 2_000);
        let injected = view["rules"][0]["injected"].as_u64().unwrap();
        assert!(expected.contains(&injected), "{percent} %: {injected}");
    }
}

#[tokio::test]
async fn every_front_refuses_in_its_own_words() {
    let stage = Stage::start().await;
    for (path, fault, status, words) in [
        (
            "/lambda/demo",
            "throttle",
            429,
            r#"{"message":"Too Many Requests"}"#,
        ),
        (
            "/lambda/demo",
            "502",
            502,
            r#"{"message":"Internal server error"}"#,
        ),
        (
            "/lambda/demo",
            "503",
            503,
            r#"{"message":"Service Unavailable"}"#,
        ),
        (
            "/lambda/demo",
            "504",
            504,
            r#"{"message":"Endpoint request timed out"}"#,
        ),
        ("/lambda-url/demo/", "429", 429, "Rate Exceeded."),
        ("/lambda-url/demo/", "502", 502, "Internal Server Error"),
        (
            "/alb/demo/",
            "503",
            503,
            "<h1>503 Service Temporarily Unavailable</h1>",
        ),
        (INVOKE, "throttle", 429, "Rate Exceeded."),
        (INVOKE, "503", 503, r#""Type":"Service""#),
    ] {
        let (found, told, text) = stage.faulty(path, fault, "{}").await;
        assert_eq!(found, status, "{path} {fault}: {text}");
        assert!(text.contains(words), "{path} {fault}: {text}");
        assert!(!told.is_empty(), "{path} {fault}");
    }
    assert_eq!(stage.launcher.count(), 0, "no function heard of it");
    for path in ["/lambda/demo", INVOKE] {
        let (status, _, text) = stage.faulty(path, "tea", "{}").await;
        assert_eq!(status, 400, "{path}");
        assert!(text.contains("`tea` is no fault"), "{path}: {text}");
    }
    stage.stop().await;
}

#[tokio::test]
async fn latency_holds_a_request_up_and_counts_for_the_gateways_patience() {
    let stage = Stage::start().await;
    let began = Instant::now();
    let (status, told, _) = stage.faulty("/lambda/demo", "latency=120ms", "{}").await;
    assert_eq!((status, told.as_str()), (200, "latency=120ms"));
    assert!(began.elapsed() >= Duration::from_millis(120));
    let (status, _, text) = stage.faulty("/lambda/demo", "latency=60s", "{}").await;
    assert_eq!(status, 504, "{text}");
    stage.stop().await;
}

#[tokio::test]
async fn a_crash_strikes_in_the_middle_and_leaves_the_next_request_alone() {
    let stage = Stage::start().await;
    let (status, told, text) = stage.faulty(INVOKE, "crash", r#"{"do":"wait"}"#).await;
    assert_eq!((status, told.as_str()), (200, "crash=20ms"), "{text}");
    assert!(
        text.contains("Runtime exited with error: signal: killed"),
        "{text}"
    );
    let (status, _, text) = stage.ask(Method::POST, INVOKE, &[], "{}").await;
    assert_eq!(status, 200);
    assert!(text.contains(r#""body":"2""#), "another process: {text}");
    // It answers before its time has come: the process lives on.
    let (_, _, text) = stage.faulty(INVOKE, "crash=900s", "{}").await;
    assert!(text.contains(r#""body":"2""#), "{text}");
    let (_, _, text) = stage.ask(Method::POST, INVOKE, &[], "{}").await;
    assert!(text.contains(r#""body":"2""#), "{text}");
    stage.stop().await;
}

#[tokio::test]
async fn a_timeout_ends_one_invocation_sooner_and_in_awss_words() {
    let stage = Stage::start().await;
    let (status, told, text) = stage
        .faulty(INVOKE, "timeout=40ms", r#"{"do":"wait"}"#)
        .await;
    assert_eq!((status, told.as_str()), (200, "timeout=40ms"), "{text}");
    let error: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(error["errorType"], "Sandbox.Timedout");
    let message = error["errorMessage"].as_str().unwrap();
    assert!(
        message.ends_with("Error: Task timed out after 0.04 seconds"),
        "{message}"
    );
    // The next one has the function's own time again, in a process of its own.
    let (_, _, text) = stage.ask(Method::POST, INVOKE, &[], "{}").await;
    assert!(text.contains(r#""body":"2""#), "{text}");
    // Longer than the function's own timeout it never is, and an answer ends it.
    let (_, _, text) = stage.faulty(INVOKE, "timeout=900s", "{}").await;
    assert!(text.contains(r#""body":"2""#), "{text}");
    stage.stop().await;
}

#[tokio::test]
async fn a_cold_start_takes_a_new_environment() {
    let stage = Stage::start().await;
    for (fault, process) in [("", "1"), ("", "1"), ("cold-start", "2"), ("", "2")] {
        let (_, _, text) = stage.faulty("/lambda/demo", fault, "{}").await;
        assert_eq!(text, process, "{fault}");
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_duplicate_is_one_event_delivered_twice() {
    let mut stage = Stage::start().await;
    let headers = [
        ("x-amz-invocation-type", "Event"),
        ("x-longshore-fault", "duplicate"),
    ];
    let (status, _, _) = stage
        .ask(Method::POST, INVOKE, &headers, r#"{"n":1}"#)
        .await;
    assert_eq!(status, 202);
    let first = within("a delivery", stage.seen.recv()).await.unwrap();
    let second = within("another", stage.seen.recv()).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(first.1, r#"{"n":1}"#);
    stage.stop().await;
}

#[tokio::test]
async fn rules_are_set_shown_and_cleared() {
    let stage = Stage::start().await;
    let path = "/_longshore/faults";
    let json_type = [("content-type", "application/json")];
    let rules = json!({"rules": [{"fault": "throttle", "function": "demo", "times": 2}]});
    let (status, _, text) = stage
        .ask(Method::PUT, path, &json_type, &rules.to_string())
        .await;
    assert_eq!(status, 200, "{text}");
    let set: Value = serde_json::from_str(&text).unwrap();
    assert!(set["seed"].is_u64(), "a seed is drawn and told: {set}");
    for expected in [429, 429, 200] {
        let (status, _, text) = stage.ask(Method::POST, "/lambda/demo", &[], "{}").await;
        assert_eq!(status, expected, "{text}");
    }
    let (_, _, text) = stage.ask(Method::GET, path, &[], "").await;
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(shown["seed"], set["seed"]);
    let expected = json!([{"fault": "throttle", "function": "demo", "percent": 100.0, "times": 2, "matched": 3, "injected": 2}]);
    assert_eq!(shown["rules"], expected);
    let (status, _, _) = stage.ask(Method::DELETE, path, &[], "").await;
    assert_eq!(status, 204);
    let (_, _, text) = stage.ask(Method::GET, path, &[], "").await;
    assert!(text.contains(r#""rules":[]"#), "{text}");
    let many = vec![json!({"fault": "503"}); 101];
    for (wrong, why) in [
        (json!({"rules": [{"fault": "tea"}]}), "`tea` is no fault"),
        (json!({"rules": [{"fault": "503", "percent": 101}]}), "101"),
        (
            json!({"rules": [{"fault": "503", "function": "no name"}]}),
            "no name",
        ),
        (json!({"rules": many}), "at most 100"),
        (
            json!({"rules": [{"fault": "crash", "deliveries": []}]}),
            "counted from 1",
        ),
        (
            json!({"rules": [{"fault": "crash", "deliveries": [0, 1]}]}),
            "counted from 1",
        ),
        (
            json!({"rules": [{"fault": "duplicate", "deliveries": [1]}]}),
            "when it comes in",
        ),
        (json!({"rule": []}), "rule"),
    ] {
        let (status, _, text) = stage
            .ask(Method::PUT, path, &json_type, &wrong.to_string())
            .await;
        assert!((400..500).contains(&status.as_u16()), "{status} {text}");
        assert!(text.contains(why), "{text}");
    }
    stage.stop().await;
}
