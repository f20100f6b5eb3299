//! Edits, broken builds and crashes: what a running function lives through.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e_tests::{Answer, Sandbox, Scratch};
use serde_json::json;

use crate::run;

async fn until_answer(
    sandbox: &Sandbox,
    scratch: &Scratch,
    satisfied: impl Fn(&Answer) -> bool,
) -> Result<Answer> {
    sandbox
        .until(
            &sandbox.gateway(&format!("/lambda/{}", scratch.function())),
            satisfied,
        )
        .await
}

#[test]
fn an_edit_is_served_while_an_older_request_gets_its_answer() -> Result<()> {
    run(async |world| {
        let scratch = Scratch::new("probe-edited", "one")?;
        let sandbox = world.of_workspace(scratch.workspace()).await?;
        let first = sandbox.invoke(scratch.function(), &json!({})).await?;
        assert_eq!(
            (first.body.as_str(), first.header("x-longshore-generation")),
            ("one", "1"),
            "{first:?}"
        );

        let sleeping = json!({"sleep_ms": 3000});
        let (in_flight, edited) =
            tokio::join!(sandbox.invoke(scratch.function(), &sleeping), async {
                scratch.write("two")?;
                until_answer(&sandbox, &scratch, |answer| answer.body == "two").await
            });
        let (in_flight, edited) = (in_flight?, edited?);
        assert_eq!(
            (
                in_flight.body.as_str(),
                in_flight.header("x-longshore-generation")
            ),
            ("one", "1"),
            "{in_flight:?}"
        );
        assert_eq!(edited.header("x-longshore-generation"), "2", "{edited:?}");
        sandbox.stop().await
    })
}

#[test]
fn a_broken_build_never_takes_the_function_down() -> Result<()> {
    run(async |world| {
        let scratch = Scratch::new("probe-broken", "good")?;
        let sandbox = world.of_workspace(scratch.workspace()).await?;
        sandbox.invoke(scratch.function(), &json!({})).await?;
        scratch.break_it()?;
        let stale = until_answer(&sandbox, &scratch, |answer| {
            answer.header("x-longshore-build") == "failed"
        })
        .await?;
        assert_eq!(
            (stale.status.as_u16(), stale.body.as_str()),
            (200, "good"),
            "{stale:?}"
        );
        let functions = sandbox
            .get(&sandbox.gateway("/_longshore/functions"))
            .await?;
        assert!(functions.body.contains("NoSuchType"), "{functions:?}");

        scratch.write("mended")?;
        let mended = until_answer(&sandbox, &scratch, |answer| answer.body == "mended").await?;
        assert_eq!(mended.header("x-longshore-build"), "", "{mended:?}");
        sandbox.stop().await
    })
}

#[test]
fn a_function_that_never_built_answers_with_the_compilers_words() -> Result<()> {
    run(async |world| {
        let scratch = Scratch::new("probe-never-built", "never")?;
        scratch.break_it()?;
        let sandbox = world.of_workspace(scratch.workspace()).await?;
        let answer = sandbox.invoke(scratch.function(), &json!({})).await?;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-longshore-build")),
            (502, "failed"),
            "{answer:?}"
        );
        assert!(answer.body.contains("NoSuchType"), "{answer:?}");
        sandbox.stop().await
    })
}

#[test]
fn a_crash_is_told_to_its_caller_alone() -> Result<()> {
    run(async |world| {
        let scratch = Scratch::new("probe-crashing", "up")?;
        let sandbox = world.of_workspace(scratch.workspace()).await?;
        sandbox.invoke(scratch.function(), &json!({})).await?;
        let crashed = sandbox
            .invoke(scratch.function(), &json!({"exit": 3}))
            .await?;
        assert_eq!(crashed.status, 502, "{crashed:?}");
        assert_eq!(crashed.json()?, json!({"message": "Internal server error"}));
        assert!(
            crashed
                .header("x-longshore-function-error")
                .contains("exit status 3"),
            "{crashed:?}"
        );

        let begun = Instant::now();
        let next = sandbox.invoke(scratch.function(), &json!({})).await?;
        assert_eq!(
            (next.status.as_u16(), next.body.as_str()),
            (200, "up"),
            "{next:?}"
        );
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "took {:?}",
            begun.elapsed()
        );

        let panicked = sandbox
            .invoke(scratch.function(), &json!({"panic": true}))
            .await?;
        assert_eq!(panicked.status, 502, "{panicked:?}");
        sandbox.stop().await
    })
}

#[test]
fn edits_under_load_lose_nothing() -> Result<()> {
    run(async |world| {
        let scratch = Scratch::new("probe-loaded", "edit 0")?;
        let sandbox = world.of_workspace(scratch.workspace()).await?;
        sandbox.invoke(scratch.function(), &json!({})).await?;
        let load = async {
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            let mut answered = 0_u32;
            let url = sandbox.gateway("/_longshore/functions");
            loop {
                tick.tick().await;
                let answer = sandbox.invoke(scratch.function(), &json!({})).await?;
                ensure!(
                    answer.status == 200,
                    "lost after {answered}: {answer:?}, {:?}",
                    sandbox.get(&url).await
                );
                answered += 1;
                if answer.body == "edit 3" {
                    return Ok(answered);
                }
            }
        };
        let edits = async {
            for edit in 1..=3 {
                scratch.write(&format!("edit {edit}"))?;
                until_answer(&sandbox, &scratch, |answer| {
                    answer.body == format!("edit {edit}")
                })
                .await?;
            }
            Ok::<_, anyhow::Error>(())
        };
        let (answered, edited) = tokio::join!(load, edits);
        edited?;
        let answered = answered?;
        assert!(answered > 3, "only {answered} requests crossed the edits");
        sandbox.stop().await
    })
}

#[test]
fn requests_run_side_by_side() -> Result<()> {
    run(async |world| {
        let scratch = Scratch::new("probe-wide", "wide")?;
        let sandbox = world.of_workspace(scratch.workspace()).await?;
        sandbox.invoke(scratch.function(), &json!({})).await?;
        let begun = Instant::now();
        let sleep = json!({"sleep_ms": 1000});
        let answers = tokio::join!(
            sandbox.invoke(scratch.function(), &sleep),
            sandbox.invoke(scratch.function(), &sleep),
            sandbox.invoke(scratch.function(), &sleep),
            sandbox.invoke(scratch.function(), &sleep),
            sandbox.invoke(scratch.function(), &sleep),
        );
        let took = begun.elapsed();
        for answer in [answers.0?, answers.1?, answers.2?, answers.3?, answers.4?] {
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        assert!(
            // One after the other they would take this long at the least.
            took < Duration::from_secs(5),
            "five times 1 s took {took:?}"
        );
        sandbox.stop().await
    })
}
