//! The main job: a webhook wakes the function, records go from S3 to the destination,
//! status reports arrive at the poller.

use anyhow::Result;
use serde_json::{Value, json};

use crate::run;

fn states(job: &Value) -> Vec<&str> {
    job["reports"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|report| report["state"].as_str())
        .collect()
}

#[test]
fn a_webhook_moves_every_record_and_reports_it() -> Result<()> {
    run(async |world| {
        let sandbox = world.start().await?;
        let answer = sandbox.invoke("demo", &sandbox.webhook("wh-happy")).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(
            answer.json()?,
            json!({"status": "succeeded", "message": []})
        );
        assert_eq!(answer.header("x-longshore-generation"), "1");

        let job = sandbox.ended_job("wh-happy").await?;
        assert_eq!(job["state"], "succeeded", "{job}");
        assert_eq!(job["violations"], json!([]), "{job}");
        let states = states(&job);
        assert_eq!(
            (states.first(), states.last()),
            (Some(&"running"), Some(&"succeeded")),
            "{job}"
        );

        let deliveries = sandbox.deliveries().await?;
        assert_eq!(
            (&deliveries["records"], &deliveries["complete"]),
            (&json!(100), &json!(true)),
            "{deliveries}"
        );
        sandbox.stop().await
    })
}

#[test]
fn the_reference_snippet_works_with_its_own_host_names() -> Result<()> {
    run(async |world| {
        let sandbox = world.start().await?;
        let payload = json!({
            "data_url": "http://fake_s3:4566/test-bucket/sample.ndjson",
            "callback_url": "http://api_destination:5005/mock/poll/",
            "webhook_id": "wh-abcd12345",
        });
        let answer = sandbox.invoke("demo", &payload).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(
            sandbox.ended_job("wh-abcd12345").await?["state"],
            "succeeded"
        );
        assert_eq!(sandbox.deliveries().await?["records"], 100);
        sandbox.stop().await
    })
}

#[test]
fn a_bad_webhook_is_told_what_to_mend_and_starts_nothing() -> Result<()> {
    run(async |world| {
        let sandbox = world.start().await?;
        for (body, expected) in [
            ("", "no body"),
            ("{oops", "not JSON"),
            ("[]", "JSON object"),
            (r#"{"webhook_id": "wh-bad"}"#, "data_url, callback_url"),
        ] {
            let answer = sandbox.invoke_text("demo", body).await?;
            assert_eq!(answer.status, 400, "{body}: {answer:?}");
            assert!(answer.body.contains(expected), "{body}: {answer:?}");
        }
        assert_eq!(sandbox.deliveries().await?["total"], 0);
        sandbox.stop().await
    })
}

#[test]
fn a_source_that_cannot_be_read_fails_the_job() -> Result<()> {
    run(async |world| {
        let sandbox = world.start().await?;
        let mut payload = sandbox.webhook("wh-404");
        payload["data_url"] = json!(format!(
            "{}/test-bucket/no-such.ndjson",
            sandbox.inside().aws
        ));
        let answer = sandbox.invoke("demo", &payload).await?;
        assert_eq!(answer.status, 500, "{answer:?}");
        assert_eq!(
            answer.json()?,
            json!({"status": "failed", "message": "Failed to download file."})
        );
        let job = sandbox.ended_job("wh-404").await?;
        let last = job["reports"]
            .as_array()
            .and_then(|reports| reports.last())
            .cloned()
            .unwrap_or_default();
        assert_eq!(
            (&job["state"], &last["reason"]),
            (&json!("failed"), &json!("Failed to download file.")),
            "{job}"
        );
        assert_eq!(sandbox.deliveries().await?["total"], 0);
        sandbox.stop().await
    })
}

#[test]
fn an_unreachable_callback_stops_the_job_before_it_reads_anything() -> Result<()> {
    run(async |world| {
        let sandbox = world.start().await?;
        let mut payload = sandbox.webhook("wh-nobody");
        payload["callback_url"] =
            json!(format!("{}/mock/error/502?", sandbox.inside().destination));
        let answer = sandbox.invoke("demo", &payload).await?;
        assert_eq!(answer.status, 500, "{answer:?}");
        assert_eq!(
            answer.json()?,
            json!({"status": "error", "message": "Error reporting status to Amperity. Ending Lambda."})
        );
        let deliveries = sandbox
            .get(&sandbox.destination("/_longshore/deliveries?path=/mock/destination"))
            .await?;
        assert_eq!(deliveries.json()?["records"], 0);
        sandbox.stop().await
    })
}

#[test]
fn a_dropped_fixture_is_served_and_a_malformed_line_is_named() -> Result<()> {
    run(async |world| {
        let sandbox = world.start().await?;
        let lines = "{\"n\": 1}\n{\"n\": 2}\n{oops\n{\"n\": 4}\n";
        std::fs::write(sandbox.fixtures().join("dropped.ndjson"), lines)?;
        let url = sandbox.aws("/test-bucket/dropped.ndjson");
        sandbox
            .until(&url, |answer| answer.status == 200 && answer.body == lines)
            .await?;

        let mut payload = sandbox.webhook("wh-dropped");
        payload["data_url"] = json!(format!(
            "{}/test-bucket/dropped.ndjson",
            sandbox.inside().aws
        ));
        let answer = sandbox.invoke("demo", &payload).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        let job = sandbox.ended_job("wh-dropped").await?;
        assert_eq!(job["state"], "succeeded", "{job}");
        assert!(job["errors"].to_string().contains("line 3"), "{job}");
        assert_eq!(sandbox.deliveries().await?["records"], 3);

        std::fs::remove_file(sandbox.fixtures().join("dropped.ndjson"))?;
        sandbox.until(&url, |answer| answer.status == 404).await?;
        sandbox.stop().await
    })
}

#[test]
fn an_unknown_function_is_refused_as_api_gateway_does() -> Result<()> {
    run(async |world| {
        let sandbox = world.start().await?;
        let answer = sandbox.invoke("no-such", &json!({})).await?;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert_eq!(
            answer.json()?,
            json!({"message": "Missing Authentication Token"})
        );
        sandbox.stop().await
    })
}
