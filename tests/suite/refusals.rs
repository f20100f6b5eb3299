//! Destinations and callbacks that fail, for a while or for good.

use anyhow::Result;
use serde_json::json;

use crate::run;

#[test]
fn a_destination_that_refuses_everything_fails_the_job_in_words() -> Result<()> {
    run(async |world| {
        let refusing = "http://api_destination:5005/mock/error/400";
        let sandbox = world.start_with(&[("DESTINATION_URL", refusing)]).await?;
        let answer = sandbox
            .invoke("demo", &sandbox.webhook("wh-refused"))
            .await?;
        assert_eq!(answer.status, 500, "{answer:?}");
        assert_eq!(answer.json()?["status"], "failed", "{answer:?}");
        let job = sandbox.ended_job("wh-refused").await?;
        assert_eq!(job["state"], "failed", "{job}");
        let told = job["reports"].to_string();
        assert!(
            told.contains("the destination refused every batch"),
            "{job}"
        );
        assert!(told.contains("400"), "{job}");
        sandbox.stop().await
    })
}

#[test]
fn a_destination_that_recovers_gets_every_record() -> Result<()> {
    run(async |world| {
        let recovering = "http://api_destination:5005/mock/error/503:2?test=recovers";
        let sandbox = world.start_with(&[("DESTINATION_URL", recovering)]).await?;
        let answer = sandbox
            .invoke("demo", &sandbox.webhook("wh-recovers"))
            .await?;
        assert_eq!(
            answer.json()?,
            json!({"status": "succeeded", "message": []}),
            "{answer:?}"
        );
        let deliveries = sandbox.deliveries().await?;
        let statuses: Vec<_> = deliveries["deliveries"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|delivery| delivery["status"].as_u64())
            .collect();
        let refused = statuses.iter().filter(|status| **status == 503).count();
        let taken = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!((refused, taken), (2, 1), "{deliveries}");
        sandbox.stop().await
    })
}

#[test]
fn a_callback_that_recovers_is_told_everything() -> Result<()> {
    run(async |world| {
        let sandbox = world.start().await?;
        let mut payload = sandbox.webhook("wh-callback-recovers");
        // The identifier is appended: it lands in the query, and the count is this test's.
        let callback = "/mock/error/502:2?of=";
        payload["callback_url"] = json!(sandbox.inside().destination.clone() + callback);
        let answer = sandbox.invoke("demo", &payload).await?;
        assert_eq!(
            answer.json()?,
            json!({"status": "succeeded", "message": []}),
            "{answer:?}"
        );
        let records = sandbox
            .get(&sandbox.destination("/_longshore/deliveries?path=/mock/destination"))
            .await?;
        assert_eq!(records.json()?["records"], 100);
        let reports = sandbox
            .get(&sandbox.destination("/_longshore/deliveries?path=/mock/error/502:2"))
            .await?;
        assert!(reports.body.contains("succeeded"), "{reports:?}");
        sandbox.stop().await
    })
}
