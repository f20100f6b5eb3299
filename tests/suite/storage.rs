//! S3 as a test and as a function see it: what is written is what is read.

use anyhow::Result;
use e2e_tests::Scratch;
use serde_json::json;

use crate::run;

#[test]
fn an_object_written_by_a_client_is_read_by_a_job() -> Result<()> {
    run(async |world| {
        let sandbox = world.start().await?;
        let lines: String = (0..250).map(|n| format!("{{\"n\": {n}}}\n")).collect();
        let url = sandbox.aws("/test-bucket/written/by-a-client.ndjson");
        let put = sandbox.put(&url, &lines).await?;
        assert_eq!(put.status, 200, "{put:?}");
        assert_eq!(sandbox.get(&url).await?.body, lines);

        let mut payload = sandbox.webhook("wh-written");
        let inside = &sandbox.inside().aws;
        payload["data_url"] = json!(format!("{inside}/test-bucket/written/by-a-client.ndjson"));
        payload["settings"] = json!({"batch_size": 100});
        let answer = sandbox.invoke("demo", &payload).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        let deliveries = sandbox.deliveries().await?;
        assert_eq!(
            (&deliveries["total"], &deliveries["records"]),
            (&json!(3), &json!(250)),
            "{deliveries}"
        );

        let deleted = sandbox.delete(&url).await?;
        assert_eq!(deleted.status, 204, "{deleted:?}");
        assert_eq!(sandbox.get(&url).await?.status, 404);
        sandbox.stop().await
    })
}

#[test]
fn an_object_written_by_a_function_is_read_back() -> Result<()> {
    run(async |world| {
        let scratch = Scratch::new("probe-writing", "written")?;
        let sandbox = world.of_workspace(scratch.workspace()).await?;
        let path = "/test-bucket/written/by-a-function.txt";
        let text = "from inside, äöü";
        let answer = sandbox
            .invoke(scratch.function(), &json!({"put": path, "text": text}))
            .await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.contains(" 200 "), "{answer:?}");
        let read = sandbox.get(&sandbox.aws(path)).await?;
        assert_eq!((read.status.as_u16(), read.body.as_str()), (200, text));
        sandbox.stop().await
    })
}
