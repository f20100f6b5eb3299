//! External extensions beside a function: both are tasks of the test.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::broker::{Answer, Broker};
use crate::config::Config;
use crate::outcome::RuntimeExit;
use crate::testing::{
    FakeLauncher, FakeRuntime, config, invocation, text, with_extensions, within,
};

/// What happened, in order.
#[derive(Clone, Default)]
struct Diary(Arc<watch::Sender<Vec<String>>>);

impl Diary {
    fn write(&self, what: impl Into<String>) {
        self.0.send_modify(|lines| lines.push(what.into()));
    }

    async fn until(&self, count: usize) -> Vec<String> {
        let mut lines = self.0.subscribe();
        let lines = lines.wait_for(|lines| lines.len() >= count);
        within("so much", lines).await.unwrap().clone()
    }
}

fn start(config: Config, launcher: Arc<FakeLauncher>, names: &[&str]) -> (Broker, TempDir) {
    let broker = Broker::new(config, launcher);
    let (table, folder) = with_extensions(names);
    broker.take_in(&table);
    (broker, folder)
}

async fn invoke(broker: &Broker, payload: &str) -> Answer {
    let answer = broker.invoke(invocation(payload), Duration::from_secs(20));
    within("an answer", answer).await
}

async fn stop(broker: &Broker) {
    within("the end", broker.stop(std::future::pending())).await;
}

/// The type and the message, without the request's id.
fn error(answer: &Answer) -> (String, String) {
    let id = crate::invocation::RequestId::random();
    let body = answer.outcome.error_body(id);
    let body = body.unwrap_or_else(|| panic!("{:?}", answer.outcome));
    let body: Value = serde_json::from_slice(&body).unwrap();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    let (error_type, message) = (text("errorType"), text("errorMessage"));
    let (_, message) = message.split_once(" Error: ").unwrap();
    (error_type, message.to_owned())
}

/// The lines of the function's log that begin so.
fn logged(broker: &Broker, begins: &str) -> Vec<String> {
    let log = broker.shared.logs.function(&"demo".parse().unwrap());
    let lines = log.lines();
    let messages = lines.lines().map(|numbered| numbered.line.message);
    let wanted = messages.filter(|message| message.starts_with(begins));
    wanted.map(str::to_owned).collect()
}

/// Takes events until the end and writes them down.
async fn listens(runtime: FakeRuntime, diary: Diary) -> RuntimeExit {
    let id = runtime.register(r#""INVOKE","SHUTDOWN""#).await;
    loop {
        let event = runtime.extension_next(&id).await;
        let kind = event["eventType"].as_str().unwrap();
        match event["shutdownReason"].as_str() {
            Some(reason) => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let now = u64::try_from(now.unwrap().as_millis()).unwrap();
                let left = event["deadlineMs"].as_u64().unwrap() - now;
                assert!((1..=2_000).contains(&left), "{left} ms left");
                diary.write(format!("{kind} {reason}"));
                return RuntimeExit::WithoutReason;
            }
            None => diary.write(kind),
        }
    }
}

#[tokio::test]
async fn the_runtime_starts_once_every_external_extension_has_registered() {
    let diary = Diary::default();
    let (of_runtime, of_extension) = (diary.clone(), diary.clone());
    let go = CancellationToken::new();
    let gate = go.clone();
    let launcher = FakeLauncher::with_extensions(
        move |runtime: FakeRuntime| {
            of_runtime.write("runtime");
            runtime.echo()
        },
        move |runtime: FakeRuntime| {
            let (diary, gate) = (of_extension.clone(), gate.clone());
            async move {
                let name = runtime.extension.clone().unwrap();
                for gone in ["_HANDLER", "LAMBDA_TASK_ROOT", "AWS_LAMBDA_LOG_GROUP_NAME"] {
                    assert!(!runtime.env.contains_key(gone), "{gone}");
                }
                assert_eq!(runtime.env["AWS_LAMBDA_FUNCTION_NAME"], "demo");
                if name == "slow" {
                    gate.cancelled().await;
                }
                diary.write(format!("{name} registers"));
                let id = runtime.register(r#""INVOKE""#).await;
                loop {
                    runtime.extension_next(&id).await;
                }
            }
        },
    );
    let (broker, _folder) = start(config(), launcher, &["quick", "slow"]);
    let asked = tokio::spawn({
        let broker = broker.clone();
        async move { invoke(&broker, "x").await }
    });
    assert_eq!(diary.until(1).await, ["quick registers"]);
    go.cancel();
    assert_eq!(text(&within("an answer", asked).await.unwrap()), "1:x");
    assert_eq!(
        diary.until(3).await,
        ["quick registers", "slow registers", "runtime"]
    );
    assert_eq!(
        logged(&broker, "EXTENSION"),
        [
            "EXTENSION\tName: quick\tState: Ready\tEvents: [INVOKE]",
            "EXTENSION\tName: slow\tState: Ready\tEvents: [INVOKE]",
        ]
    );
    stop(&broker).await;
}

#[tokio::test]
async fn extensions_hear_of_the_end_once_the_runtime_has_ended() {
    let diary = Diary::default();
    let (of_runtime, of_extension) = (diary.clone(), diary.clone());
    let launcher = FakeLauncher::with_extensions(
        move |runtime: FakeRuntime| {
            let diary = of_runtime.clone();
            async move {
                tokio::select! {
                    () = runtime.terminated.cancelled() => {
                        diary.write("the runtime ends");
                        RuntimeExit::WithoutReason
                    }
                    exit = runtime.clone().echo() => exit,
                }
            }
        },
        move |runtime| listens(runtime, of_extension.clone()),
    );
    let (broker, _folder) = start(config(), launcher, &["watch"]);
    assert_eq!(text(&invoke(&broker, "x").await), "1:x");
    assert_eq!(diary.until(1).await, ["INVOKE"]);
    stop(&broker).await;
    assert_eq!(
        diary.until(3).await,
        ["INVOKE", "the runtime ends", "SHUTDOWN SPINDOWN"]
    );
}

#[tokio::test]
async fn extensions_hear_why_an_invocation_ended_the_environment() {
    for (payload, reason, expected) in [
        ("hang", "TIMEOUT", "Sandbox.Timedout"),
        ("crash", "FAILURE", "Runtime.ExitError"),
    ] {
        let diary = Diary::default();
        let of_extension = diary.clone();
        let launcher = FakeLauncher::with_extensions(
            async |runtime: FakeRuntime| {
                let event = runtime.next().await;
                match event.body.as_str() {
                    "crash" => RuntimeExit::Status(1),
                    _ => std::future::pending().await,
                }
            },
            move |runtime| listens(runtime, of_extension.clone()),
        );
        let broker = Broker::new(config(), launcher);
        let (mut table, _folder) = with_extensions(&["watch"]);
        let entry = table.functions.first_entry().unwrap().into_mut();
        let mut artifact = (**entry.artifact.as_ref().unwrap()).clone();
        artifact.function.settings.timeout = Duration::from_secs(1);
        entry.artifact = Some(Arc::new(artifact));
        broker.take_in(&table);
        assert_eq!(error(&invoke(&broker, payload).await).0, expected);
        let heard = diary.until(2).await;
        assert_eq!(
            heard[..2],
            ["INVOKE".to_owned(), format!("SHUTDOWN {reason}")]
        );
        stop(&broker).await;
    }
}

#[tokio::test]
async fn one_that_does_not_ask_for_the_end_is_killed_and_one_that_does_not_end_is_too() {
    let launcher =
        FakeLauncher::with_extensions(FakeRuntime::echo, async |runtime: FakeRuntime| {
            let events = match runtime.extension.as_deref() {
                Some("deaf") => "",
                _ => r#""SHUTDOWN""#,
            };
            let id = runtime.register(events).await;
            runtime.extension_next(&id).await;
            std::future::pending().await
        });
    let (broker, _folder) = start(config(), launcher, &["deaf", "stubborn"]);
    assert_eq!(text(&invoke(&broker, "x").await), "1:x");
    let began = tokio::time::Instant::now();
    stop(&broker).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1_900), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn an_extension_that_ends_unasked_fails_the_invocation_and_is_replaced() {
    let launcher = FakeLauncher::with_extensions(
        async |runtime: FakeRuntime| {
            if runtime.number > 1 {
                return runtime.echo().await;
            }
            runtime.next().await;
            std::future::pending().await
        },
        async |runtime: FakeRuntime| {
            let id = runtime.register(r#""INVOKE""#).await;
            loop {
                runtime.extension_next(&id).await;
                if runtime.number == 0 {
                    return RuntimeExit::Status(7);
                }
            }
        },
    );
    let (broker, _folder) = start(config(), launcher, &["watch"]);
    let answer = invoke(&broker, "x").await;
    let expected = ("Extension.Crash".to_owned(), "exit status 7".to_owned());
    assert_eq!(error(&answer), expected);
    assert_eq!(text(&invoke(&broker, "y").await), "1:y");
    let fault = logged(&broker, "RequestId: ");
    assert!(
        fault[0].ends_with(" Error: exit status 7\nExtension.Crash"),
        "{fault:?}"
    );
    let report = logged(&broker, "REPORT");
    assert!(
        report[0].contains("Status: error\tError Type: Extension.Crash"),
        "{report:?}"
    );
    stop(&broker).await;
}

#[tokio::test]
async fn an_extension_that_ends_while_the_environment_is_idle_is_replaced() {
    let diary = Diary::default();
    let of_extension = diary.clone();
    let go = CancellationToken::new();
    let gate = go.clone();
    let launcher = FakeLauncher::with_extensions(FakeRuntime::echo, move |runtime: FakeRuntime| {
        let (gate, diary) = (gate.clone(), of_extension.clone());
        async move {
            let id = runtime.register(r#""INVOKE""#).await;
            diary.write("registered");
            let events = async {
                loop {
                    runtime.extension_next(&id).await;
                }
            };
            tokio::select! {
                () = gate.cancelled(), if runtime.number == 0 => RuntimeExit::WithoutReason,
                () = events => RuntimeExit::Status(9),
            }
        }
    });
    let (broker, _folder) = start(config(), launcher, &["watch"]);
    assert_eq!(text(&invoke(&broker, "x").await), "1:x");
    go.cancel();
    diary.until(2).await;
    assert_eq!(text(&invoke(&broker, "y").await), "1:y");
    stop(&broker).await;
}

#[tokio::test]
async fn what_an_extension_says_before_it_ends_is_the_error() {
    for (phase, expected, state) in [
        ("init", "Extension.InitError", "InitError"),
        ("exit", "Extension.ExitError", "ExitError"),
    ] {
        let launcher = FakeLauncher::with_extensions(
            FakeRuntime::echo,
            move |runtime: FakeRuntime| async move {
                let id = runtime.register(r#""INVOKE","SHUTDOWN""#).await;
                for _ in ["once", "and again, which changes nothing"] {
                    assert_eq!(runtime.extension_error(&id, phase).await, 202);
                }
                RuntimeExit::Status(1)
            },
        );
        let (broker, _folder) = start(config(), launcher, &["watch"]);
        let answer = invoke(&broker, "x").await;
        assert_eq!(
            error(&answer),
            (expected.to_owned(), "exit status 1".to_owned())
        );
        let line = format!(
            "EXTENSION\tName: watch\tState: {state}\tEvents: [INVOKE,SHUTDOWN]\tError Type: Mine.Broken"
        );
        assert_eq!(logged(&broker, "EXTENSION")[0], line);
        assert!(logged(&broker, "INIT_REPORT")[0].contains(expected));
        stop(&broker).await;
    }
}

#[tokio::test]
async fn an_extension_in_the_runtime_fails_it_with_the_same_errors() {
    let launcher = FakeLauncher::new(async |runtime: FakeRuntime| {
        let id = runtime.register(r#""INVOKE""#).await;
        assert_eq!(runtime.extension_error(&id, "init").await, 202);
        RuntimeExit::Status(1)
    });
    let broker = Broker::new(config(), launcher);
    broker.take_in(&crate::testing::built(1));
    assert_eq!(
        error(&invoke(&broker, "x").await),
        (
            "Extension.InitError".to_owned(),
            "Runtime exited with error: exit status 1".to_owned()
        )
    );
    stop(&broker).await;
}

#[tokio::test]
async fn an_extension_that_cannot_be_started_fails_the_initialisation() {
    let launcher = FakeLauncher::new(FakeRuntime::echo);
    let (broker, folder) = start(config(), launcher.clone(), &["watch"]);
    let (error_type, message) = error(&invoke(&broker, "x").await);
    assert_eq!(error_type, "Extension.LaunchError");
    let path = folder.path().join("watch");
    assert_eq!(
        message,
        format!("fork/exec {}: permission denied", path.display())
    );
    assert_eq!(
        logged(&broker, "EXTENSION")[0],
        "EXTENSION\tName: watch\tState: LaunchError\tEvents: []\tError Type: PermissionDenied"
    );
    assert_eq!(launcher.count(), 0, "the runtime was never started");
    stop(&broker).await;
}

#[tokio::test]
async fn an_extension_registers_by_the_name_of_its_file() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    let launcher = FakeLauncher::with_extensions(FakeRuntime::echo, move |runtime: FakeRuntime| {
        let hears = hears.clone();
        async move {
            let url = format!("{}/2020-01-01/extension/register", runtime.base);
            for (name, events) in [
                ("another", r#"["SHUTDOWN"]"#),
                ("watch", r#"["SHUTDOWN"]"#),
                ("watch", r#"["INVOKE"]"#),
            ] {
                let request = runtime.client.post(&url);
                let request = request.header("lambda-extension-name", name);
                let request = request.body(format!(r#"{{"events":{events}}}"#));
                let answer = request.send().await.unwrap();
                let status = answer.status().as_u16();
                let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
                hears
                    .lock()
                    .unwrap()
                    .push((status, body["errorType"].clone()));
            }
            RuntimeExit::Status(1)
        }
    });
    let (broker, _folder) = start(config(), launcher, &["watch"]);
    assert_eq!(error(&invoke(&broker, "x").await).0, "Extension.Crash");
    let heard = std::mem::take(&mut *heard.lock().unwrap());
    assert_eq!(
        heard[..3],
        [
            (403, "Extension.InvalidEventType".into()),
            (200, Value::Null),
            (403, "Extension.InvalidExtensionState".into()),
        ]
    );
    stop(&broker).await;
}
