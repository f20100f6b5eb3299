//! The events as `aws_lambda_events` and `lambda_http` read them, and the answers those
//! write: what a Rust handler sees and sends.

use aws_lambda_events::apigw::{
    ApiGatewayProxyRequest, ApiGatewayProxyResponse, ApiGatewayV2httpRequest,
    ApiGatewayV2httpResponse,
};
use aws_lambda_events::encodings::Body;
use aws_lambda_events::lambda_function_urls::LambdaFunctionUrlRequest;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use lambda_http::RequestExt;
use mock_gateway::event::{self, EventContext, GatewayRequest};
use mock_gateway::{FunctionResponse, Outcome, response};
use serde::Serialize;
use serde_json::json;

use crate::given::{Context, Request};

/// A request with everything in it: duplicates, cookies, escapes, text.
fn request() -> GatewayRequest {
    let request: Request = serde_json::from_value(json!({
        "method": "POST",
        "target": "/lambda/hook/orders/a%20b?n=1&n=2&text=a+b%26c",
        "headers": [
            ["host", "localhost:5555"],
            ["user-agent", "curl/8.5.0"],
            ["content-type", "application/json"],
            ["content-length", "7"],
            ["x-multi", "1"], ["x-multi", "2"],
            ["cookie", "k=v; l=w"]
        ],
        "body": "{\"a\":1}"
    }))
    .unwrap();
    request.build()
}

fn context(stage: &str) -> EventContext {
    let context: Context = serde_json::from_value(json!({
        "stage": stage,
        "resource": "/orders/{id}",
        "path": "/orders/a%20b",
        "path_parameters": [["id", "a b"]],
        "stage_variables": {"table": "orders"}
    }))
    .unwrap();
    context.build()
}

#[test]
fn a_rest_event_is_an_api_gateway_proxy_request() {
    let json = event::rest_v1(&request(), &context("dev"));
    let event: ApiGatewayProxyRequest = serde_json::from_slice(&json).unwrap();
    assert_eq!(event.http_method, http::Method::POST);
    assert_eq!(event.path.as_deref(), Some("/orders/a%20b"));
    assert_eq!(event.resource.as_deref(), Some("/orders/{id}"));
    assert_eq!(event.headers["content-type"], "application/json");
    let multi: Vec<_> = event
        .multi_value_headers
        .get_all("x-multi")
        .iter()
        .collect();
    assert_eq!(multi, ["1", "2"]);
    assert_eq!(event.query_string_parameters.first("n"), Some("2"));
    assert_eq!(
        event.multi_value_query_string_parameters.all("n"),
        Some(vec!["1", "2"])
    );
    assert_eq!(event.query_string_parameters.first("text"), Some("a b&c"));
    assert_eq!(event.path_parameters["id"], "a b");
    assert_eq!(event.stage_variables["table"], "orders");
    assert_eq!(event.body.as_deref(), Some("{\"a\":1}"));
    let context = event.request_context;
    assert_eq!(context.request_time_epoch, 1_763_719_200_123);
    assert_eq!(context.stage.as_deref(), Some("dev"));
    assert_eq!(context.identity.source_ip.as_deref(), Some("203.0.113.7"));
    assert_eq!(context.identity.user_agent.as_deref(), Some("curl/8.5.0"));
}

#[test]
fn an_http_event_is_an_api_gateway_v2_request() {
    let json = event::http_v2(&request(), &context("$default"));
    let event: ApiGatewayV2httpRequest = serde_json::from_slice(&json).unwrap();
    assert_eq!(event.version.as_deref(), Some("2.0"));
    assert_eq!(event.route_key.as_deref(), Some("POST /orders/{id}"));
    assert_eq!(event.raw_path.as_deref(), Some("/orders/a%20b"));
    assert_eq!(
        event.cookies,
        Some(vec!["k=v".to_owned(), "l=w".to_owned()])
    );
    assert_eq!(event.headers["x-multi"], "1,2");
    assert!(!event.headers.contains_key("cookie"));
    assert_eq!(event.path_parameters["id"], "a b");
    assert_eq!(event.stage_variables["table"], "orders");
    assert_eq!(event.request_context.http.method, http::Method::POST);
    assert_eq!(event.request_context.time_epoch, 1_763_719_200_123);
    assert!(event.request_context.authorizer.is_none());
    assert_eq!(event.body.as_deref(), Some("{\"a\":1}"));
    assert!(!event.is_base64_encoded);
}

#[test]
fn a_function_url_event_is_a_lambda_function_url_request() {
    let json = event::function_url(&request(), &context("dev"));
    let event: LambdaFunctionUrlRequest = serde_json::from_slice(&json).unwrap();
    assert_eq!(event.raw_path.as_deref(), Some("/orders/a%20b"));
    assert_eq!(
        event.raw_query_string.as_deref(),
        Some("n=1&n=2&text=a+b%26c")
    );
    assert_eq!(event.query_string_parameters["n"], "1,2");
    assert_eq!(
        event.cookies,
        Some(vec!["k=v".to_owned(), "l=w".to_owned()])
    );
    let context = event.request_context;
    assert_eq!(context.account_id.as_deref(), Some("anonymous"));
    assert_eq!(context.time_epoch, 1_763_719_200_123);
    assert_eq!(context.http.method.as_deref(), Some("POST"));
}

#[test]
fn lambda_http_restores_the_request_from_every_event() {
    let events = [
        ("rest", event::rest_v1(&request(), &context("dev"))),
        ("http", event::http_v2(&request(), &context("$default"))),
        ("url", event::function_url(&request(), &context("dev"))),
    ];
    for (front, json) in events {
        let text = std::str::from_utf8(&json).unwrap();
        let read = lambda_http::request::from_str(text).unwrap();
        assert_eq!(read.method(), http::Method::POST, "{front}");
        assert_eq!(read.raw_http_path(), "/orders/a%20b", "{front}");
        let uri = read.uri();
        assert_eq!(uri.scheme_str(), Some("http"), "{front}");
        assert_eq!(uri.host(), Some("localhost"), "{front}: {uri}");
        assert_eq!(uri.port_u16(), Some(5555), "{front}: {uri}");
        let query = read.query_string_parameters();
        assert_eq!(query.all("n"), Some(vec!["1", "2"]), "{front}");
        assert_eq!(query.first("text"), Some("a b&c"), "{front}");
        assert_eq!(read.headers()[header::COOKIE], "k=v; l=w", "{front}");
        assert_eq!(&read.body()[..], b"{\"a\":1}", "{front}");
        if front != "url" {
            assert_eq!(read.path_parameters().first("id"), Some("a b"), "{front}");
        }
    }
}

#[test]
fn a_binary_body_arrives_as_it_was_sent() {
    let mut request = request();
    request.body = Bytes::from_static(&[0, 159, 146, 150]);
    let content_type = HeaderValue::from_static("application/octet-stream");
    request.headers.insert(header::CONTENT_TYPE, content_type);
    for json in [
        event::rest_v1(&request, &context("dev")),
        event::http_v2(&request, &context("$default")),
        event::function_url(&request, &context("dev")),
    ] {
        let text = std::str::from_utf8(&json).unwrap();
        let read = lambda_http::request::from_str(text).unwrap();
        assert_eq!(read.body(), &Body::Binary(vec![0, 159, 146, 150]));
    }
}

fn outcome(answer: &impl Serialize) -> Outcome {
    Outcome::Response(FunctionResponse {
        body: Bytes::from(serde_json::to_vec(answer).unwrap()),
        content_type: Some("application/json".to_owned()),
        streaming: false,
    })
}

#[test]
fn an_api_gateway_proxy_response_is_a_rest_answer() {
    let mut headers = HeaderMap::new();
    headers.append("x-multi", HeaderValue::from_static("1"));
    headers.append("x-multi", HeaderValue::from_static("2"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/png"));
    let mut answer = ApiGatewayProxyResponse::default();
    answer.status_code = 201;
    answer.multi_value_headers = headers;
    answer.body = Some(Body::Binary(vec![0, 1, 255]));
    answer.is_base64_encoded = true;
    let response = response::rest_v1(&outcome(&answer), &request(), &context("dev"));
    assert_eq!(response.status(), 201, "{response:?}");
    let multi: Vec<_> = response.headers().get_all("x-multi").iter().collect();
    assert_eq!(multi, ["1", "2"]);
    assert_eq!(response.headers()["content-type"], "image/png");
    assert_eq!(&response.body()[..], [0, 1, 255]);
}

#[test]
fn an_api_gateway_v2_response_is_an_http_and_a_url_answer() {
    let mut answer = ApiGatewayV2httpResponse::default();
    answer.status_code = 404;
    answer.headers.insert("x-a", HeaderValue::from_static("1"));
    answer.cookies = vec!["a=1".to_owned(), "b=2".to_owned()];
    answer.body = Some(Body::Text("no such order".to_owned()));
    let outcome = outcome(&answer);
    for response in [
        response::http_v2(&outcome, &request(), &context("$default")),
        response::function_url(&outcome, &request(), &context("$default")),
    ] {
        assert_eq!(response.status(), 404, "{response:?}");
        assert_eq!(response.headers()["x-a"], "1");
        let cookies: Vec<_> = response
            .headers()
            .get_all(header::SET_COOKIE)
            .iter()
            .collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        assert_eq!(&response.body()[..], b"no such order");
    }
}
