//! A container that dies during a job, by itself or by `docker kill`: it comes back, the job
//! ends, and nothing that was accepted is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e_tests::compose::Compose;
use e2e_tests::{Answer, Sandbox};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::compose::{snippet, snippet_succeeds, with_logs};
use crate::run;

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

/// How a container is taken away.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// What runs in it dies: its restart policy's.
    Crash,
    /// `docker kill`: the keeper's.
    Kill,
}

/// Takes a service away during a job. It is back and healthy, the job has ended, what was
/// accepted is there, and the next job does well.
async fn the_job_ends_without(compose: &Compose, service: &str, way: Way) -> Result<()> {
    let webhook_id = format!("wh-without-{service}");
    let life = compose.life(service).await?;
    let mut before = BTreeSet::new();
    let answer = in_the_middle_of_a_job(compose, &webhook_id, async |sandbox| {
        before = delivered(sandbox).await?;
        match way {
            Way::Crash => compose.crash(service).await,
            Way::Kill => compose.kill(service).await,
        }
    })
    .await?;
    ensure!(
        answer.is_some() || service == "gateway",
        "the caller got no answer"
    );
    compose.healthy_after(service, &life).await?;
    let sandbox = compose.sandbox().await?;
    let job = sandbox.ended_job(&webhook_id).await?;
    // Whoever ran the job is gone with the gateway, and cannot say so; the last report of
    // another may have met nobody.
    let state = job["state"].as_str().unwrap_or_default();
    let expected = match service {
        "gateway" => state == "timed_out",
        _ => ["succeeded", "failed", "timed_out"].contains(&state),
    };
    ensure!(expected, "{job}");
    ensure!(
        state == "succeeded" || job["reason"] != "",
        "it does not say why: {job}"
    );
    ensure!(
        job["reports"][0]["progress"] == 0.0,
        "the first report is lost: {job}"
    );
    let after = delivered(&sandbox).await?;
    ensure!(
        before.len() >= 3 && after.is_superset(&before),
        "deliveries are lost: {before:?}, then {after:?}"
    );
    let records = sandbox.deliveries().await?["records"].as_u64();
    ensure!(
        state != "succeeded" || records >= Some(2_000),
        "all was delivered, and {records:?} are there"
    );
    // LocalStack keeps nothing: its init hooks and the service `fixtures` put all of it.
    let name = format!("after-{service}-{way:?}.ndjson");
    std::fs::write(sandbox.fixtures().join(&name), "{\"n\": 1}\n")?;
    for name in ["long.ndjson", &name] {
        let url = sandbox.aws(&format!("/test-bucket/{name}"));
        sandbox.until(&url, |answer| answer.status == 200).await?;
    }
    snippet_succeeds(&sandbox).await
}

/// One stack at a time: what comes back has to be quicker than a job's bound on silence.
static ALONE: Mutex<()> = Mutex::const_new(());

const ALL: [&str; 5] = ["destination", "poller", "localstack", "fixtures", "gateway"];

#[test]
fn a_crashed_container_comes_back_and_the_job_ends() -> Result<()> {
    run(async |_| {
        let _alone = ALONE.lock().await;
        let compose = with_a_long_job(&[("LONGSHORE_JOB_SILENCE", "10")])?;
        with_logs(compose, async |compose| {
            compose.up().await?;
            for service in ALL {
                let ends = the_job_ends_without(compose, service, Way::Crash).await;
                ends.with_context(|| format!("{service} crashed"))?;
            }
            Ok(())
        })
        .await
    })
}

#[test]
fn a_container_killed_by_hand_comes_back_and_the_job_ends() -> Result<()> {
    run(async |_| {
        let _alone = ALONE.lock().await;
        let compose = with_a_long_job(&[("LONGSHORE_JOB_SILENCE", "20")])?;
        with_logs(compose, async |compose| {
            compose.up().await?;
            for service in ALL {
                let ends = the_job_ends_without(compose, service, Way::Kill).await;
                ends.with_context(|| format!("{service} was killed by hand"))?;
            }
            // What was stopped stays away: whoever brings the poller back has seen the stop.
            compose.stop("destination").await?;
            let life = compose.life("poller").await?;
            compose.kill("poller").await?;
            compose.healthy_after("poller", &life).await?;
            ensure!(!compose.runs("destination").await?, "it was stopped");
            compose.up().await?;
            // Nobody keeps the keeper: the stack goes on without it, and `up` brings it back.
            let life = compose.life("keeper").await?;
            compose.kill("keeper").await?;
            snippet_succeeds(&compose.sandbox().await?).await?;
            compose.up().await?;
            compose.healthy_after("keeper", &life).await
        })
        .await
    })
}

#[test]
fn without_the_keeper_up_brings_back_a_container_that_was_killed_by_hand() -> Result<()> {
    run(async |_| {
        let _alone = ALONE.lock().await;
        // Silence is longer than the way back: the job ends by itself, not by the clock.
        let settings = [("LONGSHORE_JOB_SILENCE", "120"), ("COMPOSE_PROFILES", "")];
        with_logs(with_a_long_job(&settings)?, async |compose| {
            compose.up().await?;
            ensure!(compose.life("keeper").await.is_err(), "there is a keeper");
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
