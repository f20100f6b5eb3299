//! A job that is longer than an invocation may take goes on in another invocation of its
//! function, which the function starts itself before its deadline: until it is done, without
//! a record lost or delivered twice, and then no more.
//!
//! Three functions do it: a Cargo package over plain HTTP, one by AWS's SDK for Rust, one by
//! boto3.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use e2e_tests::in_process::{self, Timing};
use e2e_tests::{Sandbox, Scratch, python};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Whatever a function's package says.
const TIMEOUT: Duration = Duration::from_secs(3);
/// So much of it is left when the job is handed over: a machine may be busy.
const RESERVE_MS: u64 = 2_000;
/// At 40 ms each they take more than twice the time that is not reserved.
const RECORDS: u64 = 60;

fn timing() -> Timing {
    Timing {
        function_timeout: Some(TIMEOUT),
        ..Timing::AWS
    }
}

/// The records that arrived, in that order: number and request id.
fn arrived(deliveries: &Value) -> Vec<(u64, String)> {
    let deliveries = deliveries["deliveries"].as_array();
    let records = deliveries.into_iter().flatten().map(|delivery| {
        let record = &delivery["body"][0];
        let id = record["request_id"].as_str().unwrap_or_default();
        (record["n"].as_u64().unwrap_or(u64::MAX), id.to_owned())
    });
    records.collect()
}

async fn carries_a_job_to_its_end(sandbox: &Sandbox, function: &str) -> Result<()> {
    let job = json!({
        "destination": format!("{}/mock/destination", sandbox.inside().destination),
        "records": RECORDS,
        "reserve_ms": RESERVE_MS,
    });
    let answer = sandbox.invoke(function, &job).await?;
    ensure!(answer.status == 202, "it is not handed over: {answer:?}");
    ensure!(answer.body == "goes on", "{answer:?}");

    let url = sandbox.destination("/_longshore/deliveries?limit=1000");
    let is_all = |body: &Value| body["records"].as_u64() >= Some(RECORDS);
    let done = |answer: &e2e_tests::Answer| answer.json().is_ok_and(|body| is_all(&body));
    sandbox.until(&url, done).await?;
    // Then nothing runs any longer, and nothing waits to.
    let events = sandbox.gateway("/_longshore/events");
    let none =
        |answer: &e2e_tests::Answer| answer.json().is_ok_and(|events| events["waiting"] == 0);
    sandbox.until(&events, none).await?;
    let environments = sandbox.gateway("/_longshore/environments");
    let at_rest = |answer: &e2e_tests::Answer| !answer.body.contains(r#""busy""#);
    sandbox.until(&environments, at_rest).await?;

    let arrived = arrived(&sandbox.get(&url).await?.json()?);
    let numbers: Vec<u64> = arrived.iter().map(|(n, _)| *n).collect();
    ensure!(
        numbers == (0..RECORDS).collect::<Vec<_>>(),
        "not each once and in order: {arrived:?}"
    );
    let mut chain: Vec<String> = arrived.into_iter().map(|(_, id)| id).collect();
    chain.dedup();
    ensure!(chain.len() >= 3, "too few invocations: {chain:?}");

    let path = format!("/_longshore/invocations?function={function}");
    let journal = sandbox.get(&sandbox.gateway(&path)).await?.json()?;
    let invocations = journal["invocations"].as_array();
    let ran: Vec<(&str, &str)> = invocations
        .into_iter()
        .flatten()
        .rev()
        .map(|invocation| {
            let field = |name: &str| invocation[name].as_str().unwrap_or_default();
            (field("request_id"), field("outcome"))
        })
        .collect();
    let expected: Vec<(&str, &str)> = chain.iter().map(|id| (id.as_str(), "succeeded")).collect();
    ensure!(ran == expected, "ran {ran:?}, of {expected:?}");
    Ok(())
}

fn workspace_of(name: &str, command: &[&str]) -> Result<TempDir> {
    let folder = TempDir::new()?;
    let manifest = format!(
        "[workspace]\nresolver = \"3\"\nmembers = []\n\
         [workspace.metadata.longshore.function.{name}]\ncommand = {command:?}\ntimeout = 900\n"
    );
    std::fs::write(folder.path().join("Cargo.toml"), manifest)?;
    Ok(folder)
}

#[test]
fn a_cargo_function_continues_itself_until_its_job_is_done() -> Result<()> {
    in_process::run(async |_| {
        let source = include_str!("../functions/continues.rs");
        let scratch = Scratch::of_source("probe-continues", source)?;
        let sandbox = in_process::of_workspace(scratch.workspace(), timing()).await?;
        carries_a_job_to_its_end(&sandbox, scratch.function()).await?;
        sandbox.stop().await
    })
}

#[test]
fn a_function_continues_itself_by_boto3() -> Result<()> {
    in_process::run(async |_| {
        let Some(python) = python::interpreter("self-invocation by boto3").await? else {
            return Ok(());
        };
        let python = python.to_string_lossy();
        let command = [&*python, "-m", "awslambdaric", "continues.handler"];
        let workspace = workspace_of("by-boto3", &command)?;
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/continues.py");
        std::fs::copy(source, workspace.path().join("continues.py"))?;
        let sandbox = in_process::of_workspace(workspace.path(), timing()).await?;
        carries_a_job_to_its_end(&sandbox, "by-boto3").await?;
        sandbox.stop().await
    })
}

#[test]
fn a_function_continues_itself_by_the_sdk_for_rust() -> Result<()> {
    in_process::run(async |_| {
        let program = std::env::current_exe()?;
        let program = program.to_string_lossy();
        let function = "self_invocation::by_the_sdk_for_rust";
        let command = [&*program, "--exact", function, "--ignored", "--nocapture"];
        let workspace = workspace_of("by-the-sdk", &command)?;
        let sandbox = in_process::of_workspace(workspace.path(), timing()).await?;
        carries_a_job_to_its_end(&sandbox, "by-the-sdk").await?;
        sandbox.stop().await
    })
}

/// The function of the test above.
#[tokio::test]
#[ignore = "the function that the other test runs"]
async fn by_the_sdk_for_rust() {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return;
    }
    let settings = aws_config::from_env()
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .load()
        .await;
    let lambda = aws_sdk_lambda::Client::new(&settings);
    let handle = service_fn(async |event: LambdaEvent<Value>| {
        let job = continue_job(&lambda, event).await;
        job.map_err(|error| lambda_runtime::Error::from(format!("{error:#}")))
    });
    lambda_runtime::run(handle).await.expect("Lambda is there");
}

async fn continue_job(lambda: &aws_sdk_lambda::Client, event: LambdaEvent<Value>) -> Result<Value> {
    let mut job = match event.payload["body"].as_str() {
        Some(body) => serde_json::from_str(body)?,
        None => event.payload,
    };
    let deadline = SystemTime::UNIX_EPOCH + Duration::from_millis(event.context.deadline);
    let http = reqwest::Client::builder().no_proxy().build()?;
    let destination = job["destination"]
        .as_str()
        .context("no destination")?
        .to_owned();
    let mut cursor = job["cursor"].as_u64().unwrap_or_default();
    let reserve = Duration::from_millis(job["reserve_ms"].as_u64().unwrap_or_default());
    while cursor < RECORDS {
        // What a delivery takes, at the least.
        tokio::time::sleep(Duration::from_millis(40)).await;
        let record = json!([{"n": cursor, "request_id": event.context.request_id}]);
        let sent = http.post(&destination).json(&record).send().await?;
        sent.error_for_status()?;
        cursor += 1;
        let left = deadline
            .duration_since(SystemTime::now())
            .unwrap_or_default();
        if cursor < RECORDS && left < reserve {
            job["cursor"] = json!(cursor);
            let answer = lambda
                .invoke()
                .function_name(&event.context.invoked_function_arn)
                .invocation_type(InvocationType::Event)
                .payload(Blob::new(job.to_string()))
                .send()
                .await?;
            ensure!(answer.status_code() == 202, "{answer:?}");
            return Ok(json!({"statusCode": 202, "body": "goes on"}));
        }
    }
    Ok(json!({"statusCode": 200, "body": "done"}))
}
