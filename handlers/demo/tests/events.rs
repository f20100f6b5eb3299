//! The events in `fixtures/events`: what each is answered, without anything around.

use std::path::Path;

use demo::Demo;
use serde_json::Value;
use webhook_runner::{Deadline, HttpClient, webhook_payload};

fn event(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/events");
    let text = std::fs::read_to_string(folder.join(name)).expect(name);
    serde_json::from_str(&text).expect(name)
}

#[test]
fn good_events_carry_the_same_payload() {
    let direct = webhook_payload(&event("webhook-payload.json")).unwrap();
    assert_eq!(direct.webhook_id.as_str(), "wh-somevarchar");
    for name in [
        "apigw-v1-webhook.json",
        "function-url-v2-webhook-base64.json",
    ] {
        assert_eq!(webhook_payload(&event(name)).unwrap(), direct, "{name}");
    }
}

#[tokio::test]
async fn bad_events_are_answered_400_in_words() {
    let demo = Demo::new(HttpClient::new().unwrap(), Demo::DESTINATION_URL.to_owned());
    for (name, words) in [
        ("bad-body-not-json.json", "the body is not JSON"),
        (
            "bad-body-missing-fields.json",
            "missing required fields: callback_url, webhook_id",
        ),
        ("bad-body-absent.json", "the request has no body"),
        ("bad-body-not-base64.json", "base64"),
        ("bad-url-file-scheme.json", "`data_url` must be an http"),
        ("bad-batch-size.json", "`settings.batch_size`"),
    ] {
        let response = demo.handle(&event(name), Deadline::NONE).await;
        assert_eq!(response.status_code, 400, "{name}");
        let body: Value = serde_json::from_str(&response.body).unwrap();
        assert_eq!(body["status"], "error", "{name}");
        assert!(body["message"].as_str().unwrap().contains(words), "{body}");
    }
}
