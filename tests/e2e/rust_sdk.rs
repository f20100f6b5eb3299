//! AWS's SDK for Rust, with its own retry settings: what is throttled recovers by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_lambda::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_lambda::config::{
    BehaviorVersion, ConfigBag, Credentials, Intercept, Region, RuntimeComponents,
};
use aws_sdk_lambda::error::{BoxError, ProvideErrorMetadata as _, SdkError};
use aws_sdk_lambda::operation::invoke::InvokeOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::ThrottleReason;
use aws_sdk_lambda::{Client, config::retry::RetryConfig};
use e2e_tests::Sandbox;
use e2e_tests::in_process::{self, Timing};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::{Value, json};
use tempfile::TempDir;

const FUNCTION: &str = "throttled";
/// Callers at the same time, beside the one that has the function.
const CALLERS: usize = 3;
/// Nothing here takes a tenth of this.
const WITHIN: Duration = Duration::from_secs(60);

/// The answers that a client was given, retries included.
#[derive(Clone, Debug, Default)]
struct Seen {
    answers: Arc<AtomicUsize>,
    throttles: Arc<AtomicUsize>,
    /// What is done once all callers were throttled.
    release: Option<(Arc<AtomicUsize>, PathBuf)>,
}

impl Intercept for Seen {
    fn name(&self) -> &'static str {
        "Seen"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.answers.fetch_add(1, Ordering::SeqCst);
        if context.response().status().as_u16() != 429 {
            return Ok(());
        }
        let before = self.throttles.fetch_add(1, Ordering::SeqCst);
        if let (0, Some((throttled, file))) = (before, &self.release)
            && throttled.fetch_add(1, Ordering::SeqCst) + 1 == CALLERS
        {
            std::fs::write(file, "")?;
        }
        Ok(())
    }
}

/// A client with the SDK's own settings, but for where Lambda is.
fn client(sandbox: &Sandbox, seen: Seen, retries: Option<RetryConfig>) -> Client {
    let mut config = aws_sdk_lambda::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(sandbox.aws(""))
        .credentials_provider(Credentials::new("test", "test", None, None, "these tests"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .interceptor(seen);
    config.set_retry_config(retries);
    Client::from_conf(config.build())
}

fn event(event: &Value) -> Blob {
    Blob::new(event.to_string())
}

fn answered(answer: &InvokeOutput) -> Result<Value> {
    ensure!(answer.function_error().is_none(), "{answer:?}");
    let payload = answer.payload().context("no payload")?;
    Ok(serde_json::from_slice(payload.as_ref())?)
}

/// This test program, as a function.
fn workspace() -> Result<TempDir> {
    let program = std::env::current_exe()?;
    let program = program.to_string_lossy();
    let function = "rust_sdk::function";
    let command = [&*program, "--exact", function, "--ignored", "--nocapture"];
    let folder = TempDir::new()?;
    let manifest = format!(
        "[workspace]\nresolver = \"3\"\nmembers = []\n\
         [workspace.metadata.longshore.function.{FUNCTION}]\ncommand = {command:?}\n"
    );
    std::fs::write(folder.path().join("Cargo.toml"), manifest)?;
    Ok(folder)
}

/// Answers with its event; one that names a file waits until that is there.
#[tokio::test]
#[ignore = "the function that the other tests run"]
async fn function() {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return;
    }
    let handle = service_fn(async |event: LambdaEvent<Value>| {
        if let Some(file) = event.payload["until"].as_str() {
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            while !Path::new(file).exists() {
                tick.tick().await;
            }
        }
        Ok::<_, lambda_runtime::Error>(event.payload)
    });
    lambda_runtime::run(handle).await.expect("Lambda is there");
}

#[test]
fn throttled_callers_recover_by_themselves() -> Result<()> {
    in_process::run(async |_| {
        let workspace = workspace()?;
        let sandbox = in_process::of_workspace(workspace.path(), Timing::AWS).await?;
        let once = client(&sandbox, Seen::default(), Some(RetryConfig::disabled()));
        once.put_function_concurrency()
            .function_name(FUNCTION)
            .reserved_concurrent_executions(1)
            .send()
            .await?;

        let release = workspace.path().join("release");
        let busy = event(&json!({"until": release}));
        let holder = once.invoke().function_name(FUNCTION).payload(busy).send();
        let contenders = async {
            let environments = sandbox.gateway("/_longshore/environments");
            let is_busy = |answer: &e2e_tests::Answer| answer.body.contains(r#""busy""#);
            sandbox.until(&environments, is_busy).await?;

            let refused = once.invoke().function_name(FUNCTION).send().await;
            let refused = refused.err().context("it is not throttled")?;
            throttled_as_aws_does(&refused)?;

            let throttled = Arc::new(AtomicUsize::new(0));
            let calls = (0..CALLERS).map(|n| {
                let seen = Seen {
                    release: Some((throttled.clone(), release.clone())),
                    ..Seen::default()
                };
                let lambda = client(&sandbox, seen.clone(), None);
                tokio::spawn(async move {
                    let call = lambda.invoke().function_name(FUNCTION);
                    let answer = call.payload(event(&json!({"n": n}))).send().await?;
                    ensure!(answered(&answer)? == json!({"n": n}), "{answer:?}");
                    anyhow::Ok(seen)
                })
            });
            let calls: Vec<_> = calls.collect();
            for call in calls {
                let seen = call.await??;
                let throttles = seen.throttles.load(Ordering::SeqCst);
                let answers = seen.answers.load(Ordering::SeqCst);
                ensure!(throttles >= 1, "a caller was never throttled");
                ensure!(answers == throttles + 1, "{answers} answers");
            }
            anyhow::Ok(())
        };
        let both = async { tokio::join!(holder, contenders) };
        let (held, contended) = tokio::time::timeout(WITHIN, both).await?;
        contended?;
        answered(&held?)?;
        sandbox.stop().await
    })
}

fn throttled_as_aws_does(
    error: &SdkError<aws_sdk_lambda::operation::invoke::InvokeError>,
) -> Result<()> {
    ensure!(
        error.code() == Some("TooManyRequestsException"),
        "{error:?}"
    );
    ensure!(error.message() == Some("Rate Exceeded."), "{error:?}");
    let raw = error.raw_response().context("no answer")?;
    ensure!(raw.status().as_u16() == 429);
    ensure!(raw.headers().get("retry-after").is_some(), "{raw:?}");
    let service = error.as_service_error().context("no service error")?;
    let aws_sdk_lambda::operation::invoke::InvokeError::TooManyRequestsException(why) = service
    else {
        anyhow::bail!("{service:?}");
    };
    let reason = ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded;
    ensure!(why.reason() == Some(&reason), "{why:?}");
    ensure!(why.r#type() == Some("User"), "{why:?}");
    Ok(())
}

#[test]
fn throttles_on_demand_are_survived() -> Result<()> {
    in_process::run(async |_| {
        let workspace = workspace()?;
        let sandbox = in_process::of_workspace(workspace.path(), Timing::AWS).await?;
        let rules = json!({"rules": [{"fault": "throttle", "function": FUNCTION, "times": 2}]});
        let set = reqwest::Client::builder()
            .no_proxy()
            .build()?
            .put(sandbox.gateway("/_longshore/faults"))
            .json(&rules)
            .send()
            .await?;
        ensure!(set.status() == 200, "{set:?}");
        let seen = Seen::default();
        let lambda = client(&sandbox, seen.clone(), None);
        let call = lambda.invoke().function_name(FUNCTION);
        let call = call.payload(event(&json!({"n": 1}))).send();
        let answer = tokio::time::timeout(WITHIN, call).await??;
        ensure!(answered(&answer)? == json!({"n": 1}), "{answer:?}");
        let count = |of: &AtomicUsize| of.load(Ordering::SeqCst);
        ensure!(
            (count(&seen.throttles), count(&seen.answers)) == (2, 3),
            "{seen:?}"
        );
        sandbox.stop().await
    })
}
