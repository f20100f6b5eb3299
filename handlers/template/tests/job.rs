//! The handler against an upstream of its own: one webhook from event to last report.

use serde_json::json;
use template::Handler;
use webhook_runner::{Deadline, HttpClient};
use wiremock::matchers::{body_json, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

#[tokio::test]
async fn records_arrive_mapped() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/people.ndjson"))
        .respond_with(ResponseTemplate::new(200).set_body_string(
            "{\"amperity_id\":\"a-1\",\"full_name\":\"Ada\",\"email\":\"ada@example.com\",\"city\":null}\n",
        ))
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/destination"))
        .and(body_json(json!({
            "records": [{"id": "a-1", "name": "Ada", "email": "ada@example.com"}]
        })))
        .respond_with(ResponseTemplate::new(200))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("PUT"))
        .and(path("/poll/wh-1"))
        .respond_with(ResponseTemplate::new(200))
        .expect(2)
        .named("reports: running and succeeded")
        .mount(&server)
        .await;
    let payload = json!({
        "data_url": format!("{}/people.ndjson", server.uri()),
        "callback_url": format!("{}/poll/", server.uri()),
        "webhook_id": "wh-1", "access_token": "2:a:b",
    });
    let handler = Handler::new(
        HttpClient::new().unwrap(),
        format!("{}/destination", server.uri()),
    );
    let event = json!({"httpMethod": "POST", "body": payload.to_string()});
    let response = handler.handle(&event, Deadline::NONE).await;
    assert_eq!(response.status_code, 200, "{}", response.body);
}
