//! The compose file itself: what `make up` promises, and what a killed container does.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e_tests::compose::Compose;
use e2e_tests::{Answer, Sandbox};
use serde_json::{Value, json};

use crate::run;

/// Runs the body and takes the project down; an error carries the containers' logs.
async fn with_logs(compose: Compose, body: impl AsyncFnOnce(&Compose) -> Result<()>) -> Result<()> {
    if let Err(error) = body(&compose).await {
        let logs = compose.logs().await.unwrap_or_default();
        return Err(error.context(format!("the containers said:\n{logs}")));
    }
    compose.down().await
}

/// The README's request, word for word.
fn snippet() -> Value {
    json!({
        "data_url": "http://fake_s3:4566/test-bucket/sample.ndjson",
        "callback_url": "http://api_destination:5005/mock/poll/",
        "webhook_id": "wh-abcd12345",
    })
}

async fn snippet_succeeds(sandbox: &Sandbox) -> Result<()> {
    for url in [
        sandbox.destination("/_longshore/deliveries"),
        sandbox.poller("/_longshore/jobs"),
    ] {
        sandbox.delete(&url).await?;
    }
    let answer = sandbox.invoke("demo", &snippet()).await?;
    ensure!(
        answer.json()? == json!({"status": "succeeded", "message": []}),
        "{answer:?}"
    );
    let job = sandbox.ended_job("wh-abcd12345").await?;
    ensure!(job["state"] == "succeeded", "{job}");
    let deliveries = sandbox.deliveries().await?;
    ensure!(deliveries["records"] == 100, "{deliveries}");
    Ok(())
}

#[test]
fn up_serves_the_snippet_and_an_edit_and_down_leaves_nothing() -> Result<()> {
    run(async |_| {
        with_logs(Compose::new(&[])?, async |compose| {
            let sandbox = compose.up().await?;
            snippet_succeeds(&sandbox).await?;

            let source = compose.folder().join("handlers/echo/src/lib.rs");
            let echo = sandbox.invoke("echo", &json!({})).await?;
            ensure!(
                echo.header("content-type") == "application/json",
                "{echo:?}"
            );
            let text = std::fs::read_to_string(&source)?;
            let edited = text.replacen("\"application/json\"", "\"text/edited\"", 1);
            std::fs::write(&source, edited)?;
            sandbox
                .until(&sandbox.gateway("/lambda/echo"), |answer| {
                    answer.header("content-type") == "text/edited"
                })
                .await?;

            let dropped = sandbox.fixtures().join("dropped.ndjson");
            std::fs::write(&dropped, "{\"n\": 1}\n")?;
            let url = sandbox.aws("/test-bucket/dropped.ndjson");
            sandbox.until(&url, |answer| answer.status == 200).await?;
            std::fs::remove_file(&dropped)?;
            sandbox.until(&url, |answer| answer.status == 404).await?;
            Ok(())
        })
        .await
    })
}

/// The numbers of the first deliveries that the destination has.
async fn delivered(sandbox: &Sandbox) -> Result<BTreeSet<u64>> {
    let first = sandbox.destination("/_longshore/deliveries?since=0&limit=1000&bodies=false");
    let listing = sandbox.get(&first).await?.json()?;
    let deliveries = listing["deliveries"].as_array().context("no list")?.iter();
    Ok(deliveries.filter_map(|one| one["id"].as_u64()).collect())
}

/// A project with a file that keeps a function busy for seconds: 2,000 records, which
/// [`long_webhook`] delivers one by one.
fn with_a_long_job(settings: &[(&str, &str)]) -> Result<Compose> {
    let compose = Compose::new(settings)?;
    let fixtures = compose.folder().join("fixtures/data");
    let sample = std::fs::read_to_string(fixtures.join("sample.ndjson"))?;
    std::fs::write(fixtures.join("long.ndjson"), sample.repeat(20))?;
    Ok(compose)
}

fn long_webhook(webhook_id: &str) -> Value {
    let mut payload = snippet();
    payload["data_url"] = json!("http://fake_s3:4566/test-bucket/long.ndjson");
    payload["webhook_id"] = json!(webhook_id);
    payload["settings"] = json!({"batch_size": 1});
    payload
}

/// Takes a service away while a job runs, in whichever way, and waits for the job's answer;
/// there is none if the gateway itself was taken.
async fn in_the_middle_of_a_job(
    compose: &Compose,
    webhook_id: &str,
    take_away: impl AsyncFnOnce(&Sandbox) -> Result<()>,
) -> Result<Option<Answer>> {
    let sandbox = compose.sandbox().await?;
    let webhook = long_webhook(webhook_id);
    sandbox
        .delete(&sandbox.destination("/_longshore/deliveries"))
        .await?;
    let under_way = sandbox.destination("/_longshore/deliveries?wait=20s&count=3&bodies=false");
    let job = tokio::time::timeout(Duration::from_secs(60), sandbox.invoke("demo", &webhook));
    let (answer, taken) = tokio::join!(job, async {
        sandbox.get(&under_way).await?;
        take_away(&sandbox).await
    });
    taken?;
    Ok(answer.context("the job hangs")?.ok())
}

#[test]
fn a_crashed_container_comes_back_and_the_job_ends() -> Result<()> {
    run(async |_| {
        let compose = with_a_long_job(&[("LONGSHORE_JOB_SILENCE", "10")])?;
        with_logs(compose, async |compose| {
            compose.up().await?;
            for service in ["destination", "poller", "localstack", "gateway"] {
                let webhook_id = format!("wh-without-{service}");
                let mut before = BTreeSet::new();
                let answer = in_the_middle_of_a_job(compose, &webhook_id, async |sandbox| {
                    before = delivered(sandbox).await?;
                    compose.crash(service).await
                })
                .await
                .with_context(|| format!("without {service}"))?;
                ensure!(
                    answer.is_some() || service == "gateway",
                    "{service}: the caller got no answer"
                );
                compose.restarted(service).await?;
                let sandbox = compose.sandbox().await?;
                let job = sandbox.ended_job(&webhook_id).await?;
                // Whoever ran the job is gone with the gateway, and cannot say so; the last
                // report of another may have met nobody.
                let state = job["state"].as_str().unwrap_or_default();
                let expected = match service {
                    "gateway" => state == "timed_out",
                    _ => state != "running",
                };
                ensure!(expected, "without {service}: {job}");
                ensure!(
                    job["reports"][0]["progress"] == 0.0,
                    "without {service}, the first report is lost: {job}"
                );
                let after = delivered(&sandbox).await?;
                ensure!(
                    before.len() >= 3 && after.is_superset(&before),
                    "without {service}, deliveries are lost: {before:?}, then {after:?}"
                );
                snippet_succeeds(&sandbox)
                    .await
                    .with_context(|| format!("after {service} crashed"))?;
            }
            Ok(())
        })
        .await
    })
}

#[test]
fn up_brings_back_a_container_that_was_killed_by_hand() -> Result<()> {
    run(async |_| {
        // Silence is longer than the way back: the job ends by itself, not by the clock.
        let compose = with_a_long_job(&[("LONGSHORE_JOB_SILENCE", "120")])?;
        with_logs(compose, async |compose| {
            compose.up().await?;
            let kill = async |_: &Sandbox| compose.kill("destination").await;
            let answer = in_the_middle_of_a_job(compose, "wh-killed-by-hand", kill).await?;
            ensure!(answer.is_some(), "the caller got no answer");
            let sandbox = compose.up().await?;
            let job = sandbox.ended_job("wh-killed-by-hand").await?;
            ensure!(job["state"] != "running", "{job}");
            snippet_succeeds(&sandbox).await
        })
        .await
    })
}
