//! How environments begin, wait and end: the initialisation's own limit, what stays when a
//! process is killed, idle ones, frozen ones.

use super::*;
use crate::config::Config;

/// A broker whose function has this timeout, and these settings.
fn broker_with(
    launcher: &Arc<FakeLauncher>,
    timeout: Duration,
    set: impl FnOnce(&mut Config),
) -> Broker {
    let mut config = config();
    set(&mut config);
    let broker = Broker::new(config, launcher.clone());
    let mut table = built(1);
    let mut artifact = crate::testing::artifact("demo", 1);
    artifact.function.settings.timeout = timeout;
    table.functions.get_mut(&demo()).unwrap().artifact = Some(Arc::new(artifact));
    broker.take_in(&table);
    broker
}

/// Invokes with the log's tail.
async fn ask_for_log(broker: &Broker, payload: &str) -> (Answer, String) {
    let mut wanted = invocation(payload);
    wanted.wants_log_tail = true;
    let mut answer = within("an answer", broker.invoke(wanted, PATIENCE)).await;
    let tail = String::from_utf8(answer.log_tail.take().unwrap()).unwrap();
    (answer, tail)
}

/// Answers with where its files and its log are.
async fn tell_place(runtime: &FakeRuntime) {
    let event = runtime.next().await;
    let place = format!(
        "{} {}",
        runtime.env["TMPDIR"], runtime.env["AWS_LAMBDA_LOG_STREAM_NAME"]
    );
    runtime.respond(&event, &place).await;
}

#[tokio::test]
async fn a_slow_initialisation_is_started_over_within_the_invocation() {
    let launcher = FakeLauncher::new(async |runtime: FakeRuntime| {
        if runtime.number == 1 {
            std::future::pending().await
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
        runtime.print("slowly").await;
        runtime.echo().await
    });
    let broker = broker_with(&launcher, Duration::from_secs(20), |config| {
        config.init_timeout = Duration::from_millis(50);
    });
    let (answer, tail) = ask_for_log(&broker, "x").await;
    assert_eq!(text(&answer), "1:x");
    assert_eq!(answer.build, BuildNote::Current, "it works after all");
    let lines: Vec<_> = tail.lines().collect();
    assert!(lines[0].starts_with("START RequestId: "), "{tail}");
    assert_eq!(lines[1], "slowly", "initialisation is part of it: {tail}");
    assert!(!tail.contains("Init Duration"), "{tail}");
    let record = broker.invocations().snapshot().entries[0].item.clone();
    assert!(record.duration_ms >= 60.0, "{record:?}");
    assert_eq!(text(&ask(&broker, "y").await), "1:y");
    assert_eq!(launcher.count(), 2);
    stop(&broker).await;
}

#[tokio::test]
async fn an_initialisation_that_never_ends_takes_the_functions_whole_time() {
    let launcher = FakeLauncher::new(async |runtime: FakeRuntime| {
        if runtime.number < 4 {
            std::future::pending().await
        }
        runtime.echo().await
    });
    let timeout = Duration::from_millis(150);
    let broker = broker_with(&launcher, timeout, |config| {
        config.init_timeout = Duration::from_millis(50);
    });
    let asked = Instant::now();
    let (answer, tail) = ask_for_log(&broker, "1").await;
    assert!(asked.elapsed() >= Duration::from_millis(200));
    assert!(
        matches!(answer.outcome, Outcome::TimedOut { timeout: after } if after == timeout),
        "{answer:?}"
    );
    assert!(
        tail.contains(" Task timed out after 0.15 seconds\n"),
        "{tail}"
    );
    assert_eq!(launcher.count(), 2);
    // Its time begins at once: nothing is tried for free any more.
    let answer = ask(&broker, "2").await;
    assert!(matches!(answer.outcome, Outcome::TimedOut { .. }));
    assert_eq!(launcher.count(), 3);
    assert_eq!(text(&ask(&broker, "3").await), "1:3");
    stop(&broker).await;
}

#[tokio::test]
async fn what_starts_over_may_fail_in_any_way() {
    let launcher = FakeLauncher::new(async |runtime: FakeRuntime| match runtime.number {
        1 => std::future::pending().await,
        2 => RuntimeExit::Status(7),
        _ => {
            let error = r#"{"errorType":"Mine","errorMessage":"no database"}"#;
            let (status, _) = runtime.post("init/error", None, error.to_owned()).await;
            assert_eq!(status, 202);
            RuntimeExit::Status(1)
        }
    });
    let broker = broker_with(&launcher, Duration::from_secs(20), |config| {
        config.init_timeout = Duration::from_millis(50);
    });
    let answer = ask(&broker, "1").await;
    assert!(
        matches!(answer.outcome, Outcome::Crashed(RuntimeExit::Status(7))),
        "{answer:?}"
    );
    let answer = ask(&broker, "2").await;
    match answer.outcome {
        Outcome::FunctionError(error) => assert!(error.starts_with(br#"{"errorType":"Mine""#)),
        other => panic!("{other:?}"),
    }
    stop(&broker).await;
}

#[tokio::test]
async fn a_killed_process_leaves_its_files_and_its_log_to_the_next() {
    let launcher = FakeLauncher::new(async |runtime: FakeRuntime| {
        tell_place(&runtime).await;
        let event = runtime.next().await;
        if event.body == "crash" {
            return RuntimeExit::Status(1);
        }
        std::future::pending().await
    });
    let broker = broker_with(&launcher, Duration::from_millis(300), |_| {});
    let place = text(&ask(&broker, "").await);
    let folder = place.split(' ').next().unwrap().to_owned();
    std::fs::write(format!("{folder}/kept"), "").unwrap();
    for ending in ["slow", "crash"] {
        let answer = ask(&broker, ending).await;
        assert!(
            !matches!(answer.outcome, Outcome::Response(_)),
            "{answer:?}"
        );
        assert_eq!(text(&ask(&broker, "").await), place, "after {ending}");
    }
    assert!(std::fs::exists(format!("{folder}/kept")).unwrap());
    stop(&broker).await;
    drop(broker);
    within("the folder gone", async {
        while std::fs::exists(&folder).unwrap() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn one_that_waits_too_long_for_work_is_shut_down() {
    let launcher = FakeLauncher::new(async |runtime: FakeRuntime| {
        let id = runtime.register(r#""INVOKE""#).await;
        let extension = async {
            loop {
                runtime.extension_next(&id).await;
            }
        };
        let work = async {
            loop {
                tell_place(&runtime).await;
            }
        };
        tokio::select! {
            () = runtime.terminated.cancelled() => RuntimeExit::WithoutReason,
            () = extension => RuntimeExit::Status(1),
            () = work => RuntimeExit::Status(1),
        }
    });
    let broker = broker_with(&launcher, Duration::from_secs(20), |config| {
        config.idle_timeout = Some(Duration::from_millis(50));
    });
    let first = text(&ask(&broker, "").await);
    until(&broker, "its end", |f| f.environments.is_empty()).await;
    let second = text(&ask(&broker, "").await);
    assert_ne!(first, second, "a new environment is empty");
    assert_eq!(launcher.count(), 2);
    stop(&broker).await;
}

#[tokio::test]
async fn processes_are_frozen_while_there_is_no_work() {
    let (tell, told) = tokio::sync::watch::channel(None);
    let launcher = FakeLauncher::new(move |runtime: FakeRuntime| {
        tell.send_replace(Some(runtime.frozen.clone()));
        async move {
            let mut frozen = runtime.frozen.clone();
            loop {
                let event = runtime.next().await;
                let thawed = frozen.wait_for(|frozen| !frozen);
                within("the thaw", thawed).await.unwrap();
                runtime.respond(&event, "thawed").await;
            }
        }
    });
    let broker = broker_with(&launcher, Duration::from_secs(20), |config| {
        config.freeze = true;
    });
    for _ in 0..3 {
        assert_eq!(text(&ask(&broker, "").await), "thawed");
        let mut frozen = told.borrow().clone().unwrap();
        within("the freeze", frozen.wait_for(|frozen| *frozen))
            .await
            .unwrap();
    }
    assert_eq!(launcher.count(), 1);
    // One that is frozen could not hear that it is to stop.
    let mut frozen = told.borrow().clone().unwrap();
    stop(&broker).await;
    assert!(!*frozen.borrow_and_update());
}

#[tokio::test]
async fn a_log_of_json_has_records_where_one_of_text_has_lines() {
    let launcher = FakeLauncher::new(async |runtime: FakeRuntime| {
        assert_eq!(runtime.env["AWS_LAMBDA_LOG_FORMAT"], "JSON");
        loop {
            let event = runtime.next().await;
            runtime.print("as it is").await;
            if event.body == "crash" {
                return RuntimeExit::Status(1);
            }
            runtime.respond(&event, "ok").await;
        }
    });
    let broker = broker(&launcher);
    let mut table = built(1);
    let mut artifact = crate::testing::artifact("demo", 1);
    artifact.function.settings.log_format = app_model::LogFormat::Json;
    table.functions.get_mut(&demo()).unwrap().artifact = Some(Arc::new(artifact));
    broker.take_in(&table);
    let record = |line: &str| -> serde_json::Value {
        let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(record["time"].as_str().unwrap().ends_with('Z'), "{line}");
        let record = record.as_object_mut().unwrap();
        assert_eq!(record.len(), 3, "{line}");
        serde_json::json!([record["type"], record["record"]["status"]])
    };
    let (_, tail) = ask_for_log(&broker, "1").await;
    let lines: Vec<_> = tail.lines().collect();
    assert_eq!(lines.len(), 3, "{tail}");
    assert_eq!(
        record(lines[0]),
        serde_json::json!(["platform.start", null])
    );
    assert!(lines[0].contains(r#""tracing":{"type":"X-Amzn-Trace-Id","value":"Root=1-"#));
    assert_eq!(lines[1], "as it is");
    assert_eq!(
        record(lines[2]),
        serde_json::json!(["platform.report", "success"])
    );
    assert!(lines[2].contains(r#""initDurationMs":"#), "{tail}");
    let (_, tail) = ask_for_log(&broker, "crash").await;
    let last = tail.lines().last().unwrap();
    assert_eq!(
        record(last),
        serde_json::json!(["platform.report", "error"])
    );
    assert!(
        last.contains(r#""errorType":"Runtime.ExitError""#),
        "{tail}"
    );
    let log = broker.shared.logs.find(&demo()).unwrap();
    let lines = log.lines();
    let first = lines.lines().next().unwrap();
    assert_eq!(
        record(first.line.message),
        serde_json::json!(["platform.initStart", null])
    );
    stop(&broker).await;
}
