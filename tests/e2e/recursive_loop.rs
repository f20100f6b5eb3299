//! A function that invokes itself, by AWS's SDK, more often than Lambda lets a chain of
//! requests: it is stopped as on AWS, and its event goes where failures go, unless its
//! recursion configuration says that the loop is meant to be.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_lambda::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{DestinationConfig, InvocationType, OnFailure, RecursiveLoop};
use e2e_tests::{Sandbox, in_process};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::{Value, json};
use tempfile::TempDir;

const TOLD: &str = "arn:aws:lambda:us-east-1:000000000000:function:told";

/// `loops`, which invokes itself, and `told`, which hears of events that failed. Both are
/// functions of this test's program.
fn workspace() -> Result<TempDir> {
    let folder = TempDir::new()?;
    let program = std::env::current_exe()?;
    let program = program.to_string_lossy();
    let mut manifest = "[workspace]\nresolver = \"3\"\nmembers = []\n".to_owned();
    for name in ["loops", "told"] {
        let function = format!("recursive_loop::{name}");
        let command = [&*program, "--exact", &*function, "--ignored", "--nocapture"];
        manifest += &format!(
            "[workspace.metadata.longshore.function.{name}]\ncommand = {command:?}\n\
             timeout = 20\nmemory = 512\n"
        );
    }
    std::fs::write(folder.path().join("Cargo.toml"), manifest)?;
    Ok(folder)
}

fn lambda(sandbox: &Sandbox) -> aws_sdk_lambda::Client {
    let settings = aws_sdk_lambda::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(sandbox.aws(""))
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    aws_sdk_lambda::Client::from_conf(settings.build())
}

/// Starts a chain that would go on until `last`, by a call with an answer at `asks_at`, and
/// waits until as many records of it are there.
async fn chain(
    sandbox: &Sandbox,
    lambda: &aws_sdk_lambda::Client,
    name: &str,
    (last, asks_at): (u64, u64),
    records: usize,
) -> Result<Vec<Value>> {
    let event = json!({
        "chain": name,
        "n": 1,
        "last": last,
        "asks_at": asks_at,
        "destination": format!("{}/mock/destination", sandbox.inside().destination),
    });
    let invoke = lambda.invoke().function_name("loops");
    let invoke = invoke.invocation_type(InvocationType::Event);
    invoke.payload(Blob::new(event.to_string())).send().await?;
    let of_chain = |answer: &e2e_tests::Answer| -> Vec<Value> {
        let deliveries = answer.json().unwrap_or_default();
        let all = deliveries["deliveries"].as_array().into_iter().flatten();
        all.map(|delivery| delivery["body"][0].clone())
            .filter(|record| record["chain"] == name)
            .collect()
    };
    let url = sandbox.destination("/_longshore/deliveries?limit=1000");
    let all = |answer: &e2e_tests::Answer| of_chain(answer).len() >= records;
    sandbox.until(&url, all).await?;
    // Then nothing waits any longer: what is not there by now does not come.
    let events = sandbox.gateway("/_longshore/events");
    let none =
        |answer: &e2e_tests::Answer| answer.json().is_ok_and(|events| events["waiting"] == 0);
    sandbox.until(&events, none).await?;
    Ok(of_chain(&sandbox.get(&url).await?))
}

fn numbers(records: &[Value]) -> BTreeSet<u64> {
    records
        .iter()
        .filter_map(|record| record["n"].as_u64())
        .collect()
}

#[test]
fn a_function_that_invokes_itself_is_stopped_unless_that_is_allowed() -> Result<()> {
    in_process::run(async |_| {
        let workspace = workspace()?;
        let sandbox = in_process::of_workspace_as_on_aws(workspace.path()).await?;
        let lambda = lambda(&sandbox);
        let on_failure = OnFailure::builder().destination(TOLD).build();
        let destinations = DestinationConfig::builder().on_failure(on_failure).build();
        let configure = lambda.put_function_event_invoke_config();
        let configure = configure.function_name("loops").maximum_retry_attempts(0);
        configure.destination_config(destinations).send().await?;

        let records = chain(&sandbox, &lambda, "stopped", (20, 0), 17).await?;
        ensure!(numbers(&records) == (1..=16).collect(), "{records:?}");
        let told: Vec<_> = records
            .iter()
            .filter(|it| it["told"] != Value::Null)
            .collect();
        let [told] = told.as_slice() else {
            anyhow::bail!("not one word of its end: {records:?}");
        };
        ensure!(told["told"]["requestPayload"]["n"] == 17, "{told}");
        let condition = &told["told"]["requestContext"]["condition"];
        ensure!(condition == "RecursiveInvocationException", "{told}");

        // Its own caller gets an exception of the SDK's.
        let records = chain(&sandbox, &lambda, "asks", (20, 16), 17).await?;
        ensure!(numbers(&records) == (1..=16).collect(), "{records:?}");
        let refused = records
            .iter()
            .any(|it| it["refused"] == "RecursiveInvocationException");
        ensure!(refused, "{records:?}");

        let allow = lambda.put_function_recursion_config();
        let allow = allow.recursive_loop(RecursiveLoop::Allow);
        allow.function_name("loops").send().await?;
        let set = lambda
            .get_function_recursion_config()
            .function_name("loops");
        let set = set.send().await?;
        ensure!(
            set.recursive_loop() == Some(&RecursiveLoop::Allow),
            "{set:?}"
        );
        let records = chain(&sandbox, &lambda, "allowed", (20, 0), 20).await?;
        ensure!(records.len() == 20, "{records:?}");
        ensure!(numbers(&records) == (1..=20).collect(), "{records:?}");
        sandbox.stop().await
    })
}

async fn post(destination: &Value, record: Value) -> Result<()> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let destination = destination.as_str().context("no destination")?;
    let sent = http.post(destination).json(&json!([record])).send().await?;
    sent.error_for_status()?;
    Ok(())
}

/// The function that invokes itself.
#[tokio::test]
#[ignore = "a function that the other test runs"]
async fn loops() {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return;
    }
    let settings = aws_config::from_env()
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .load()
        .await;
    let lambda = aws_sdk_lambda::Client::new(&settings);
    let handle = service_fn(async |event: LambdaEvent<Value>| {
        let done = once_more(&lambda, event).await;
        done.map_err(|error| lambda_runtime::Error::from(format!("{error:#}")))
    });
    lambda_runtime::run(handle).await.expect("Lambda is there");
}

async fn once_more(lambda: &aws_sdk_lambda::Client, event: LambdaEvent<Value>) -> Result<Value> {
    let LambdaEvent { payload, context } = event;
    let (chain, n) = (&payload["chain"], payload["n"].as_u64().unwrap_or_default());
    let destination = &payload["destination"];
    post(destination, json!({"chain": chain, "n": n})).await?;
    if Some(n) >= payload["last"].as_u64() {
        return Ok(json!("done"));
    }
    let mut next = payload.clone();
    next["n"] = json!(n + 1);
    let asks = payload["asks_at"] == n;
    let kind = if asks {
        InvocationType::RequestResponse
    } else {
        InvocationType::Event
    };
    let invoke = lambda.invoke().function_name(context.invoked_function_arn);
    let invoke = invoke.payload(Blob::new(next.to_string()));
    let answer = invoke.invocation_type(kind).send().await;
    if !asks {
        answer?;
        return Ok(json!("goes on"));
    }
    let error = answer.err().context("it went on")?.into_service_error();
    ensure!(error.is_recursive_invocation_exception(), "{error:?}");
    let refused = json!({"chain": chain, "refused": "RecursiveInvocationException"});
    post(destination, refused).await?;
    Ok(json!("refused"))
}

/// The function that hears of events that failed.
#[tokio::test]
#[ignore = "a function that the other test runs"]
async fn told() {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return;
    }
    let handle = service_fn(async |event: LambdaEvent<Value>| {
        let request = event.payload["requestPayload"].clone();
        let record = json!({"chain": request["chain"], "told": event.payload});
        let sent = post(&request["destination"], record).await;
        sent.map_err(|error| lambda_runtime::Error::from(format!("{error:#}")))
    });
    lambda_runtime::run(handle).await.expect("Lambda is there");
}
