//! The demo against an upstream of its own: one webhook from event to last report.

use demo::Demo;
use serde_json::{Value, json};
use webhook_runner::{Deadline, HttpClient};
use wiremock::matchers::{body_json, body_partial_json, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

async fn upstream(source: &str) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/sample.ndjson"))
        .respond_with(ResponseTemplate::new(200).set_body_string(source))
        .mount(&server)
        .await;
    server
}

fn event(server: &MockServer, settings: &Value) -> Value {
    let payload = json!({
        "settings": settings, "label_name": "test label",
        "data_url": format!("{}/sample.ndjson", server.uri()),
        "callback_url": format!("{}/poll/", server.uri()),
        "access_token": "2:a:b", "webhook_id": "wh-1",
    });
    json!({"httpMethod": "POST", "path": "/lambda/demo", "isBase64Encoded": false,
           "body": payload.to_string()})
}

#[tokio::test]
async fn the_payload_s_settings_shape_the_requests() {
    let server = upstream("{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n").await;
    for batch in [json!([{"a": 1}, {"a": 2}]), json!([{"a": 3}])] {
        Mock::given(path("/destination"))
            .and(body_json(json!({"rows": batch})))
            .respond_with(ResponseTemplate::new(200))
            .expect(1)
            .mount(&server)
            .await;
    }
    Mock::given(method("PUT"))
        .and(path("/poll/wh-1"))
        .and(body_partial_json(
            json!({"state": "succeeded", "errors": []}),
        ))
        .respond_with(ResponseTemplate::new(200))
        .expect(1)
        .with_priority(1)
        .mount(&server)
        .await;
    Mock::given(method("PUT"))
        .and(path("/poll/wh-1"))
        .and(body_partial_json(json!({"state": "running"})))
        .respond_with(ResponseTemplate::new(200))
        .expect(2)
        .mount(&server)
        .await;
    let demo = Demo::new(
        HttpClient::new().unwrap(),
        format!("{}/destination", server.uri()),
    );
    let settings = json!({"batch_size": 2, "req_per_min": 1000, "data_key": "rows"});
    let response = demo
        .handle(&event(&server, &settings), Deadline::NONE)
        .await;
    assert_eq!(response.status_code, 200);
    assert_eq!(response.body, r#"{"message":[],"status":"succeeded"}"#);
}

#[tokio::test]
async fn a_bad_setting_is_refused_before_anything_is_sent() {
    let server = upstream("").await;
    let demo = Demo::new(HttpClient::new().unwrap(), server.uri());
    for (settings, words) in [
        (json!({"batch_size": 0}), "settings.batch_size"),
        (json!({"req_per_min": "often"}), "settings.req_per_min"),
        (json!({"data_key": 5}), "settings.data_key"),
    ] {
        let response = demo
            .handle(&event(&server, &settings), Deadline::NONE)
            .await;
        assert_eq!(response.status_code, 400, "{settings}");
        assert!(response.body.contains(words), "{}", response.body);
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
}
