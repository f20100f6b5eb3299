//! The broker with functions that are tasks of the test, over real listeners.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use app_model::FunctionName;
use tokio::sync::{Barrier, Notify};
use tokio::task::JoinSet;

use super::*;
use crate::outcome::{InitFailure, RuntimeExit};
use crate::testing::{FakeLauncher, FakeRuntime, built, config, invocation, table, text, within};

mod environments;
mod swaps;
mod tenants;

const PATIENCE: Duration = Duration::from_secs(20);

fn broker(launcher: &Arc<FakeLauncher>) -> Broker {
    Broker::new(config(), launcher.clone())
}

fn demo() -> FunctionName {
    "demo".parse().unwrap()
}

async fn ask(broker: &Broker, payload: &str) -> Answer {
    within("an answer", broker.invoke(invocation(payload), PATIENCE)).await
}

/// Waits until the function looks like this.
async fn until(broker: &Broker, what: &str, looks: impl Fn(&FunctionView) -> bool) {
    let mut changes = broker.shared.changes.subscribe();
    let there = changes.wait_for(|_| broker.function(&demo()).is_some_and(|f| looks(&f)));
    within(what, there).await.unwrap();
}

async fn stop(broker: &Broker) {
    within(
        "the last process reaped",
        broker.stop(std::future::pending()),
    )
    .await;
    assert!(broker.functions().is_empty());
}

#[tokio::test]
async fn a_request_starts_the_function_and_the_next_one_finds_it() {
    let launcher = FakeLauncher::new(FakeRuntime::echo);
    let broker = broker(&launcher);
    broker.take_in(&built(1));
    assert_eq!(launcher.count(), 0, "lazy");
    for payload in ["1", "2", "3"] {
        let answer = ask(&broker, payload).await;
        assert_eq!(text(&answer), format!("1:{payload}"));
        assert_eq!(answer.served_by, Some(Generation(1)));
        assert_eq!(answer.build, BuildNote::Current);
    }
    assert_eq!(launcher.count(), 1);
    stop(&broker).await;
}

#[tokio::test]
async fn requests_at_the_same_time_run_at_the_same_time() {
    // Nobody gets on before all five have an invocation.
    let meet = Arc::new(Barrier::new(5));
    let launcher = FakeLauncher::new(move |runtime: FakeRuntime| {
        let meet = meet.clone();
        async move {
            loop {
                let event = runtime.next().await;
                meet.wait().await;
                runtime.respond(&event, &event.body).await;
            }
        }
    });
    let broker = broker(&launcher);
    broker.take_in(&built(1));
    let mut requests = JoinSet::new();
    for number in 0..5 {
        let broker = broker.clone();
        requests.spawn(async move { text(&ask(&broker, &number.to_string()).await) });
    }
    let mut answers = within("five answers", requests.join_all()).await;
    answers.sort();
    assert_eq!(answers, ["0", "1", "2", "3", "4"]);
    assert_eq!(launcher.count(), 5);
    stop(&broker).await;
}

#[tokio::test]
async fn no_more_environments_than_allowed() {
    let launcher = FakeLauncher::new(FakeRuntime::echo);
    let mut config = config();
    config.max_environments = 2;
    let broker = Broker::new(config, launcher.clone());
    broker.take_in(&built(1));
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let broker = broker.clone();
        requests.spawn(async move { text(&ask(&broker, "x").await) });
    }
    let answers = within("all answers", requests.join_all()).await;
    assert!(answers.iter().all(|answer| answer == "1:x"));
    assert!(launcher.count() <= 2, "{} were started", launcher.count());
    stop(&broker).await;
}

#[tokio::test]
async fn one_that_waits_too_many_is_throttled() {
    let launcher = FakeLauncher::new(|_| std::future::pending());
    let mut config = config();
    config.max_waiting = 1;
    let broker = Broker::new(config, launcher.clone());
    broker.take_in(&built(1));
    let first = broker.invoke(invocation("1"), PATIENCE);
    tokio::pin!(first);
    tokio::select! {
        biased;
        _ = &mut first => panic!("it cannot be answered"),
        answer = broker.invoke(invocation("2"), PATIENCE) => {
            assert!(matches!(answer.outcome, Outcome::Throttled), "{answer:?}");
        }
    }
    within("the stop", broker.stop(std::future::ready(()))).await;
    assert!(matches!(first.await.outcome, Outcome::ShuttingDown));
}

#[tokio::test]
async fn a_crash_is_answered_and_the_environment_replaced_at_once() {
    let launcher = FakeLauncher::new(async |runtime: FakeRuntime| {
        loop {
            let event = runtime.next().await;
            if event.body == "crash" {
                return RuntimeExit::Status(3);
            }
            runtime.respond(&event, &event.body).await;
        }
    });
    let broker = broker(&launcher);
    broker.take_in(&built(1));
    let answer = ask(&broker, "crash").await;
    assert!(
        matches!(answer.outcome, Outcome::Crashed(RuntimeExit::Status(3))),
        "{answer:?}"
    );
    assert_eq!(answer.served_by, Some(Generation(1)));
    until(&broker, "a replacement without a request", |f| {
        f.environments.iter().any(|e| e.state == "idle")
    })
    .await;
    assert_eq!(text(&ask(&broker, "fine").await), "fine");
    assert_eq!(launcher.count(), 2);
    stop(&broker).await;
}

#[tokio::test]
async fn an_exit_while_idle_loses_no_request() {
    let leave = Arc::new(Notify::new());
    let left = leave.clone();
    let launcher = FakeLauncher::new(move |runtime: FakeRuntime| {
        let leave = leave.clone();
        async move {
            if runtime.number > 1 {
                return runtime.echo().await;
            }
            let event = runtime.next().await;
            runtime.respond(&event, "first").await;
            tokio::select! {
                _ = runtime.next() => panic!("a leaving process was given work"),
                () = leave.notified() => RuntimeExit::WithoutReason,
            }
        }
    });
    let broker = broker(&launcher);
    broker.take_in(&built(1));
    assert_eq!(text(&ask(&broker, "1").await), "first");
    left.notify_one();
    until(&broker, "the first environment gone", |f| {
        f.environments.iter().all(|e| e.id > 1)
    })
    .await;
    assert_eq!(text(&ask(&broker, "2").await), "1:2");
    stop(&broker).await;
}

#[tokio::test]
async fn a_dead_poll_is_not_given_work() {
    // The process lives on, but its connection is gone; nothing tells the broker.
    let hung_up = Arc::new(Notify::new());
    let told = hung_up.clone();
    let launcher = FakeLauncher::new(move |runtime: FakeRuntime| {
        let hung_up = hung_up.clone();
        async move {
            if runtime.number > 1 {
                return runtime.echo().await;
            }
            let address = runtime.base.strip_prefix("http://").unwrap().to_owned();
            let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
            let poll = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: x\r\n\r\n";
            tokio::io::AsyncWriteExt::write_all(&mut connection, poll)
                .await
                .unwrap();
            hung_up.notified().await;
            drop(connection);
            hung_up.notify_one();
            std::future::pending().await
        }
    });
    let mut config = config();
    config.start = StartPolicy::Eager;
    let broker = Broker::new(config, launcher.clone());
    broker.take_in(&built(1));
    until(&broker, "the first poll", |f| {
        f.environments.iter().any(|e| e.state == "idle")
    })
    .await;
    told.notify_one();
    tokio::task::yield_now().await;
    assert_eq!(text(&ask(&broker, "x").await), "1:x");
    assert_eq!(launcher.count(), 2);
    stop(&broker).await;
}

#[tokio::test]
async fn work_that_was_not_written_to_its_poll_goes_to_another_environment() {
    // The first process never polls: the test does, in its place, and then goes away.
    let launcher = FakeLauncher::new(async |runtime: FakeRuntime| {
        if runtime.number > 1 {
            return runtime.echo().await;
        }
        std::future::pending().await
    });
    let mut config = config();
    config.start = StartPolicy::Eager;
    let broker = Broker::new(config, launcher.clone());
    broker.take_in(&built(1));
    let key = EnvironmentKey {
        pool: PoolId(0),
        id: EnvironmentId(1),
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let _peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let connection = listener.accept().unwrap().0;
    connection.set_nonblocking(true).unwrap();
    let poll = broker
        .next(key, Arc::new(socket2::Socket::from(connection)))
        .unwrap();
    let asking = {
        let broker = broker.clone();
        tokio::spawn(async move { ask(&broker, "x").await })
    };
    let delivery = within("a delivery", poll).await.unwrap();
    broker.undelivered(key, delivery);
    assert_eq!(text(&within("an answer", asking).await.unwrap()), "1:x");
    assert_eq!(launcher.count(), 2);
    stop(&broker).await;
}

#[tokio::test]
async fn time_up_kills_the_function_and_says_so_as_aws_does() {
    let launcher = FakeLauncher::new(async |runtime: FakeRuntime| {
        let event = runtime.next().await;
        if event.body == "slow" {
            std::future::pending().await
        }
        runtime.respond(&event, "quick").await;
        runtime.echo().await
    });
    let broker = broker(&launcher);
    let mut table = built(1);
    let entry = table.functions.get_mut(&demo()).unwrap();
    let mut artifact = crate::testing::artifact("demo", 1);
    artifact.function.settings.timeout = Duration::from_millis(250);
    entry.artifact = Some(Arc::new(artifact));
    broker.take_in(&table);
    let asked = Instant::now();
    let answer = ask(&broker, "slow").await;
    assert!(asked.elapsed() >= Duration::from_millis(250));
    assert!(
        matches!(answer.outcome, Outcome::TimedOut { timeout } if timeout.as_millis() == 250),
        "{answer:?}"
    );
    // The next invocation gets the whole time again, and so does the one after it, which
    // reuses a timer.
    assert_eq!(text(&ask(&broker, "quick").await), "quick");
    assert_eq!(text(&ask(&broker, "again").await), "1:again");
    assert!(launcher.count() >= 2, "the slow one was not replaced");
    stop(&broker).await;
}

#[tokio::test]
async fn the_function_runs_on_when_the_gateway_gives_up() {
    let finish = Arc::new(Notify::new());
    let release = finish.clone();
    let launcher = FakeLauncher::new(move |runtime: FakeRuntime| {
        let finish = finish.clone();
        async move {
            let event = runtime.next().await;
            finish.notified().await;
            runtime.respond(&event, "late").await;
            runtime.echo().await
        }
    });
    let broker = broker(&launcher);
    broker.take_in(&built(1));
    let answer = broker
        .invoke(invocation("x"), Duration::from_millis(200))
        .await;
    assert!(matches!(answer.outcome, Outcome::IntegrationTimeout));
    release.notify_one();
    let journal = broker.invocations().clone();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let record = journal
        .wait_for(deadline, |journal| {
            journal.snapshot().entries.first().cloned()
        })
        .await
        .unwrap();
    assert_eq!(record.item.outcome, "succeeded");
    assert_eq!(text(&ask(&broker, "next").await), "1:next");
    assert_eq!(launcher.count(), 1, "it was not killed");
    stop(&broker).await;
}

#[tokio::test]
async fn a_function_that_cannot_be_initialised_answers_with_its_error() {
    let launcher = FakeLauncher::new(async |runtime: FakeRuntime| {
        if runtime.number == 1 {
            let error = r#"{"errorType":"Mine","errorMessage":"no database"}"#;
            let (status, _) = runtime.post("init/error", None, error.to_owned()).await;
            assert_eq!(status, 202);
        }
        RuntimeExit::Status(1)
    });
    let broker = broker(&launcher);
    broker.take_in(&built(1));
    let answer = ask(&broker, "x").await;
    match answer.outcome {
        Outcome::InitFailed(InitFailure::Reported(body)) => {
            assert!(body.starts_with(br#"{"errorType":"Mine""#), "{body:?}");
        }
        other => panic!("{other:?}"),
    }
    let answer = ask(&broker, "x").await;
    assert!(
        matches!(
            answer.outcome,
            Outcome::InitFailed(InitFailure::Exited(RuntimeExit::Status(1)))
        ),
        "{answer:?}"
    );
    assert_eq!(
        launcher.count(),
        2,
        "it is tried again for each request only"
    );
    stop(&broker).await;
}

#[tokio::test]
async fn requests_wait_for_the_first_build_and_hear_of_its_failure() {
    let launcher = FakeLauncher::new(FakeRuntime::echo);
    let broker = broker(&launcher);
    broker.take_in(&table(BuildState::NotBuilt, None));
    let waiting = {
        let broker = broker.clone();
        tokio::spawn(async move { ask(&broker, "x").await })
    };
    within("the build asked for", async {
        while launcher.builds_requested.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let since = SystemTime::now();
    broker.take_in(&table(BuildState::Building { since }, None));
    let failed = || BuildState::Failed {
        diagnostics: "error[E0308]: mismatched types".into(),
        at: since,
    };
    broker.take_in(&table(failed(), None));
    let diagnostics = |answer: Answer| match answer.outcome {
        Outcome::BuildFailed { diagnostics } => {
            assert_eq!(answer.build, BuildNote::Failed);
            diagnostics.to_string()
        }
        other => panic!("{other:?}"),
    };
    let answer = within("an answer", waiting).await.unwrap();
    assert_eq!(diagnostics(answer), "error[E0308]: mismatched types");
    let answer = ask(&broker, "y").await;
    assert_eq!(diagnostics(answer), "error[E0308]: mismatched types");
    broker.take_in(&built(1));
    assert_eq!(text(&ask(&broker, "z").await), "1:z");
    // From now on a failed build takes nothing down.
    broker.take_in(&table(
        failed(),
        Some(Arc::new(crate::testing::artifact("demo", 1))),
    ));
    let answer = ask(&broker, "z").await;
    assert_eq!(
        (text(&answer).as_str(), answer.build),
        ("1:z", BuildNote::Failed)
    );
    stop(&broker).await;
}

#[tokio::test]
async fn stopping_lets_work_in_flight_finish_and_refuses_more() {
    let finish = Arc::new(Notify::new());
    let release = finish.clone();
    let launcher = FakeLauncher::new(move |runtime: FakeRuntime| {
        let finish = finish.clone();
        async move {
            let event = runtime.next().await;
            finish.notified().await;
            runtime.respond(&event, "done").await;
            runtime.echo().await
        }
    });
    let broker = broker(&launcher);
    broker.take_in(&built(1));
    let in_flight = {
        let broker = broker.clone();
        tokio::spawn(async move { ask(&broker, "x").await })
    };
    until(&broker, "ready", |f| {
        f.state == "ready" && !f.environments.is_empty()
    })
    .await;
    let stopping = {
        let broker = broker.clone();
        tokio::spawn(async move { stop(&broker).await })
    };
    within("closing", broker.shared.closing.cancelled()).await;
    let refused = ask(&broker, "y").await;
    assert!(matches!(refused.outcome, Outcome::ShuttingDown));
    release.notify_one();
    assert_eq!(
        text(&within("the answer", in_flight).await.unwrap()),
        "done"
    );
    within("the stop", stopping).await.unwrap();
}

#[tokio::test]
async fn work_that_is_not_done_at_the_drain_deadline_ends_with_its_process() {
    let launcher = FakeLauncher::new(async |runtime: FakeRuntime| {
        let _event = runtime.next().await;
        std::future::pending().await
    });
    let broker = broker(&launcher);
    broker.take_in(&built(1));
    let in_flight = {
        let broker = broker.clone();
        tokio::spawn(async move { ask(&broker, "x").await })
    };
    until(&broker, "ready", |f| {
        f.state == "ready" && !f.environments.is_empty()
    })
    .await;
    within("the stop", broker.stop(std::future::ready(()))).await;
    let answer = within("an answer", in_flight).await.unwrap();
    assert!(
        matches!(answer.outcome, Outcome::Crashed(RuntimeExit::Signal(9))),
        "{answer:?}"
    );
}

#[tokio::test]
async fn the_tail_of_the_log_has_what_was_printed_and_the_report() {
    let launcher = FakeLauncher::new(async |runtime: FakeRuntime| {
        loop {
            let event = runtime.next().await;
            runtime.print(&format!("got {}", event.body)).await;
            runtime.respond(&event, "ok").await;
        }
    });
    let broker = broker(&launcher);
    broker.take_in(&built(1));
    for (payload, is_cold) in [("1", true), ("2", false)] {
        let mut wanted = invocation(payload);
        wanted.wants_log_tail = true;
        let id = wanted.request_id;
        let answer = within("an answer", broker.invoke(wanted, PATIENCE)).await;
        let tail = String::from_utf8(answer.log_tail.unwrap()).unwrap();
        let lines: Vec<_> = tail.lines().collect();
        assert_eq!(lines.len(), 4, "{tail}");
        assert_eq!(lines[0], format!("START RequestId: {id} Version: $LATEST"));
        assert_eq!(lines[1], format!("got {payload}"));
        assert_eq!(lines[2], format!("END RequestId: {id}"));
        assert!(
            lines[3].starts_with(&format!("REPORT RequestId: {id}\tDuration: ")),
            "{tail}"
        );
        assert!(
            lines[3].contains("\tMemory Size: 128 MB\tMax Memory Used: 36 MB\t"),
            "{tail}"
        );
        assert_eq!(lines[3].contains("Init Duration"), is_cold, "{tail}");
    }
    stop(&broker).await;
}

#[tokio::test]
async fn a_function_that_is_no_longer_declared_is_unknown_and_stopped() {
    let launcher = FakeLauncher::new(FakeRuntime::echo);
    let broker = broker(&launcher);
    broker.take_in(&built(1));
    assert_eq!(text(&ask(&broker, "x").await), "1:x");
    broker.take_in(&FunctionTable::default());
    let answer = ask(&broker, "x").await;
    assert!(matches!(answer.outcome, Outcome::UnknownFunction));
    within("its end", async {
        while broker
            .lock()
            .pools
            .iter()
            .any(|p| !p.environments.is_empty())
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    stop(&broker).await;
}

#[tokio::test]
async fn an_event_beyond_six_megabytes_never_reaches_the_function() {
    let launcher = FakeLauncher::new(FakeRuntime::echo);
    let broker = broker(&launcher);
    broker.take_in(&built(1));
    let at_limit = "1".repeat(MAX_PAYLOAD_BYTES);
    let answer = ask(&broker, &format!("{at_limit}1")).await;
    assert!(matches!(answer.outcome, Outcome::RequestTooLarge));
    assert_eq!(launcher.count(), 0);
    stop(&broker).await;
}
