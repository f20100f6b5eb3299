//! The compose file itself: what `make up` promises.

use anyhow::{Result, ensure};
use e2e_tests::Sandbox;
use e2e_tests::compose::Compose;
use serde_json::{Value, json};

use crate::run;

/// Runs the body and takes the project down; an error carries the containers' logs.
pub(crate) async fn with_logs(
    compose: Compose,
    body: impl AsyncFnOnce(&Compose) -> Result<()>,
) -> Result<()> {
    if let Err(error) = body(&compose).await {
        let logs = compose.logs().await.unwrap_or_default();
        return Err(error.context(format!("the containers said:\n{logs}")));
    }
    compose.down().await
}

/// The README's request, word for word.
pub(crate) fn snippet() -> Value {
    json!({
        "data_url": "http://fake_s3:4566/test-bucket/sample.ndjson",
        "callback_url": "http://api_destination:5005/mock/poll/",
        "webhook_id": "wh-abcd12345",
    })
}

pub(crate) async fn snippet_succeeds(sandbox: &Sandbox) -> Result<()> {
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
