//! A job that is longer than an invocation may take: before its deadline it invokes itself
//! and goes on there, from where it has come to.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What it takes to deliver a record, at the least.
const PACE: Duration = Duration::from_millis(40);

#[derive(Deserialize, Serialize)]
struct Job {
    destination: String,
    records: u64,
    /// Before the deadline, for handing over.
    reserve_ms: u64,
    #[serde(default)]
    cursor: u64,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    // From a webhook, or from itself.
    let mut job: Job = match event.payload["body"].as_str() {
        Some(body) => serde_json::from_str(body)?,
        None => serde_json::from_value(event.payload)?,
    };
    let deadline = SystemTime::UNIX_EPOCH + Duration::from_millis(event.context.deadline);
    while job.cursor < job.records {
        let record = json!([{"n": job.cursor, "request_id": event.context.request_id}]);
        tokio::time::sleep(PACE).await;
        post(&job.destination, &record, false).await?;
        job.cursor += 1;
        let left = deadline
            .duration_since(SystemTime::now())
            .unwrap_or_default();
        if job.cursor < job.records && left < Duration::from_millis(job.reserve_ms) {
            let (endpoint, function) = (
                std::env::var("AWS_ENDPOINT_URL")?,
                std::env::var("AWS_LAMBDA_FUNCTION_NAME")?,
            );
            let url = format!("{endpoint}/2015-03-31/functions/{function}/invocations");
            post(&url, &serde_json::to_value(&job)?, true).await?;
            return Ok(json!({"statusCode": 202, "body": "goes on"}));
        }
    }
    Ok(json!({"statusCode": 200, "body": "done"}))
}

async fn post(url: &str, body: &Value, nobody_waits: bool) -> Result<(), Error> {
    let kind = if nobody_waits {
        "Event"
    } else {
        "RequestResponse"
    };
    let request = Request::post(url)
        .header("content-type", "application/json")
        .header("x-amz-invocation-type", kind)
        .body(Full::<Bytes>::from(body.to_string()))?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await?;
    if !answer.status().is_success() {
        let status = answer.status();
        let said = answer.into_body().collect().await?.to_bytes();
        return Err(format!("{url}: {status}: {}", String::from_utf8_lossy(&said)).into());
    }
    Ok(())
}
