//! The gateway's routes, with a function that is a task of the test behind them.

mod control;
mod parity;

use std::sync::Arc;
use std::time::Duration;

use app_model::{
    Api, Cors, FunctionUrl, PayloadFormat, RouteDeclaration, RouteOptions, RouteTable, RouterKind,
};
use axum::Router;
use axum::body::Body;
use function_supervisor::{BuildState, FunctionTable};
use http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::asynchronous::Events;
use crate::broker::Broker;
use crate::outcome::RuntimeExit;
use crate::server::{Gateway, router};
use crate::testing::{FakeLauncher, FakeRuntime, built, config, table, within};

/// Answers an event with an HTTP answer that holds it, unless its body says otherwise.
async fn function(runtime: FakeRuntime) -> RuntimeExit {
    loop {
        let event = runtime.next().await;
        let parsed: Value = serde_json::from_str(&event.body).unwrap();
        match parsed["body"].as_str().or(parsed["do"].as_str()) {
            Some("crash") => return RuntimeExit::Status(3),
            Some("fail") => {
                let path = format!("invocation/{}/error", event.id());
                let error = r#"{"errorType":"Mine","errorMessage":"no luck"}"#;
                runtime.post(&path, None, error.to_owned()).await;
            }
            Some("never") => std::future::pending().await,
            _ => {
                runtime.print("at work").await;
                let answer = json!({"statusCode": 201, "body": event.body});
                runtime.respond(&event, &answer.to_string()).await;
            }
        }
    }
}

fn gateway(table: FunctionTable) -> (Router, Broker) {
    let mut config = config();
    config.rest_integration_timeout = Duration::from_secs(1);
    let broker = Broker::new(config, FakeLauncher::new(function));
    broker.take_in(&table);
    let (_, functions) = watch::channel(Arc::new(table));
    let gateway = Gateway {
        broker: broker.clone(),
        functions,
        events: Events::unavailable(broker.clone(), "a test without a store"),
        access: Arc::default(),
    };
    (router(gateway), broker)
}

async fn send(router: &Router, request: Request<Body>) -> (StatusCode, HeaderMap, String) {
    let response = within("an answer", router.clone().oneshot(request))
        .await
        .unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    (
        parts.status,
        parts.headers,
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

fn post(path: &str, body: &str) -> Request<Body> {
    let request = Request::post(path)
        .header("host", "localhost:5555")
        .header("content-type", "text/plain");
    request.body(Body::from(body.to_owned())).unwrap()
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn each_front_sends_its_own_event() {
    let mut table = built(1);
    let route = RouteDeclaration {
        resource: "/orders/{id}".to_owned(),
        methods: ["POST".to_owned()].into(),
        function: "demo".parse().unwrap(),
    };
    assert!(route_problems(&mut table, route).is_empty());
    let (router, broker) = gateway(table);
    for (path, pointers) in [
        (
            "/lambda/demo?a=1",
            vec![
                ("/resource", json!("/lambda/demo")),
                ("/path", json!("/lambda/demo")),
                ("/pathParameters", Value::Null),
                ("/requestContext/stage", json!("local")),
                ("/queryStringParameters/a", json!("1")),
                ("/body", json!("hello")),
            ],
        ),
        (
            "/lambda/demo/a/b",
            vec![
                ("/resource", json!("/lambda/demo/{proxy+}")),
                ("/pathParameters/proxy", json!("a/b")),
            ],
        ),
        (
            "/lambda-url/demo/a/b",
            vec![
                ("/version", json!("2.0")),
                ("/rawPath", json!("/a/b")),
                ("/routeKey", json!("$default")),
            ],
        ),
        (
            "/orders/7",
            vec![
                ("/version", json!("2.0")),
                ("/rawPath", json!("/orders/7")),
                ("/pathParameters/id", json!("7")),
            ],
        ),
    ] {
        let (status, headers, body) = send(&router, post(path, "hello")).await;
        assert_eq!(status, 201, "{path}: {body}");
        assert_eq!(header(&headers, "x-longshore-generation"), "1");
        assert_eq!(header(&headers, "x-longshore-build"), "");
        let event: Value = serde_json::from_str(&body).unwrap();
        for (pointer, expected) in pointers {
            let found = event.pointer(pointer).cloned().unwrap_or_default();
            assert_eq!(found, expected, "{path} {pointer} in {event}");
        }
    }
    broker.stop(std::future::ready(())).await;
}

/// A table whose routes lead to `demo`, with APIs set so.
fn table_with(routes: &[(&str, &str)], api: Api) -> FunctionTable {
    let mut table = built(1);
    let declarations = routes.iter().map(|(method, resource)| RouteDeclaration {
        resource: (*resource).to_owned(),
        methods: method.split_whitespace().map(str::to_owned).collect(),
        function: "demo".parse().unwrap(),
    });
    let (routes, problems) = RouteTable::new(declarations);
    assert!(problems.is_empty(), "{problems:?}");
    table.routes = routes.with_api(api);
    table
}

/// What is sent and some of the event that comes of it.
type Sent<'a> = (&'a str, &'a str, &'a [(&'a str, Value)]);

async fn check_events(table: FunctionTable, cases: &[Sent<'_>]) {
    let (router, broker) = gateway(table);
    for (method, path, pointers) in cases {
        let request = Request::builder().method(*method).uri(*path);
        let request = request.body(Body::empty()).unwrap();
        let (status, _, body) = send(&router, request).await;
        assert_eq!(status, 201, "{method} {path}: {body}");
        let event: Value = serde_json::from_str(&body).unwrap();
        for (pointer, expected) in *pointers {
            let found = event.pointer(pointer).cloned().unwrap_or_default();
            assert_eq!(found, *expected, "{method} {path} {pointer} in {event}");
        }
    }
    broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn an_http_api_has_stages_variables_formats_and_a_default_route() {
    let mut api = Api::default();
    api.http.stage = "dev".to_owned();
    api.http.stage_variables = [("table".to_owned(), "orders".to_owned())].into();
    let v1 = RouteOptions {
        payload_format: Some(PayloadFormat::V1),
        ..RouteOptions::default()
    };
    api.routes.insert("GET /old/{id}".to_owned(), v1);
    let routes = [
        ("", "/orders/{id}"),
        ("GET", "/orders/latest"),
        ("GET", "/old/{id}"),
        ("", "$default"),
    ];
    let variables = json!({"table": "orders"});
    check_events(
        table_with(&routes, api),
        &[
            (
                "GET",
                "/dev/orders/latest",
                &[
                    ("/routeKey", json!("GET /orders/latest")),
                    ("/rawPath", json!("/dev/orders/latest")),
                    ("/requestContext/stage", json!("dev")),
                    ("/stageVariables", variables.clone()),
                    ("/pathParameters", Value::Null),
                ],
            ),
            (
                "POST",
                "/orders/latest",
                &[
                    ("/routeKey", json!("ANY /orders/{id}")),
                    ("/rawPath", json!("/dev/orders/latest")),
                    ("/pathParameters/id", json!("latest")),
                ],
            ),
            (
                "GET",
                "/dev/old/7",
                &[
                    ("/version", json!("1.0")),
                    ("/resource", json!("/old/{id}")),
                    ("/path", json!("/dev/old/7")),
                    ("/stageVariables", variables),
                ],
            ),
            ("PUT", "/dev", &[("/routeKey", json!("$default"))]),
            (
                "GET",
                "/development",
                &[("/rawPath", json!("/dev/development"))],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn routes_may_be_a_rest_apis() {
    let mut api = Api {
        router: RouterKind::Rest,
        ..Api::default()
    };
    api.rest.stage = "dev".to_owned();
    api.rest.stage_variables = [("table".to_owned(), "orders".to_owned())].into();
    let routes = [("POST", "/orders/{id}"), ("", "/files/{proxy+}")];
    check_events(
        table_with(&routes, api.clone()),
        &[
            (
                "POST",
                "/dev/orders/7/",
                &[
                    ("/resource", json!("/orders/{id}")),
                    ("/path", json!("/orders/7/")),
                    ("/requestContext/path", json!("/dev/orders/7/")),
                    ("/pathParameters/id", json!("7")),
                    ("/stageVariables/table", json!("orders")),
                ],
            ),
            (
                "GET",
                "/files/a/b/",
                &[
                    ("/resource", json!("/files/{proxy+}")),
                    ("/path", json!("/files/a/b/")),
                    ("/pathParameters/proxy", json!("a/b")),
                ],
            ),
        ],
    )
    .await;
    let (router, _) = gateway(table_with(&routes, api));
    for path in ["/dev/orders/7", "/nowhere"] {
        let (status, headers, body) = send(&router, get(path)).await;
        assert_eq!(status, 403, "{path}: {body}");
        assert_eq!(body, r#"{"message":"Missing Authentication Token"}"#);
        assert_eq!(
            header(&headers, "x-amzn-errortype"),
            "MissingAuthenticationTokenException"
        );
    }
}

#[tokio::test]
async fn a_load_balancer_takes_a_megabyte_and_answers_in_html() {
    let mut api = Api::default();
    api.alb.multi_value_headers = true;
    let table = table_with(&[], api);
    check_events(
        table.clone(),
        &[(
            "GET",
            "/alb/demo/a/b?x=1",
            &[
                ("/path", json!("/a/b")),
                ("/multiValueQueryStringParameters/x", json!(["1"])),
                ("/headers", Value::Null),
            ],
        )],
    )
    .await;
    let (router, broker) = gateway(table);
    for (path, body, status) in [
        ("/alb/demo", "fail".to_owned(), 502),
        ("/alb/nobody/", "x".to_owned(), 503),
        ("/alb/demo", "x".repeat(1024 * 1024 + 1), 413),
    ] {
        let (found, headers, text) = send(&router, post(path, &body)).await;
        assert_eq!(found, status, "{path}: {text}");
        assert!(text.contains(&format!("<h1>{status} ")), "{path}: {text}");
        assert_eq!(header(&headers, "server"), "awselb/2.0");
    }
    broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn preflights_never_reach_a_function() {
    let cors = Cors {
        allow_origins: vec!["https://app.example.com".to_owned()],
        allow_methods: vec!["POST".to_owned()],
        ..Cors::default()
    };
    let mut api = Api::default();
    api.http.cors = Some(cors.clone());
    let url = FunctionUrl { cors: Some(cors) };
    api.urls.insert("demo".parse().unwrap(), url);
    let (router, broker) = gateway(table_with(&[("", "/orders")], api));
    for (path, preflight_status, status) in [
        ("/orders", 204, 201),
        ("/lambda-url/demo/", 200, 201),
        ("/nowhere", 204, 404),
    ] {
        let request = |method: &str, origin: &str| {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("origin", origin);
            request
                .header("access-control-request-method", "POST")
                .body(Body::empty())
                .unwrap()
        };
        let allowed = "access-control-allow-origin";
        let preflight = request("OPTIONS", "https://app.example.com");
        let (found, headers, body) = send(&router, preflight).await;
        assert_eq!((found.as_u16(), body.as_str()), (preflight_status, ""));
        assert_eq!(header(&headers, allowed), "https://app.example.com");
        assert_eq!(header(&headers, "access-control-allow-methods"), "POST");
        let (found, headers, _) = send(&router, request("GET", "https://app.example.com")).await;
        assert_eq!(found, status, "{path}");
        assert_eq!(header(&headers, allowed), "https://app.example.com");
        let (_, headers, _) = send(&router, request("GET", "https://example.net")).await;
        assert_eq!(header(&headers, allowed), "", "{path}");
    }
    // Elsewhere OPTIONS is a method as any other.
    let options = Request::options("/lambda/demo").header("origin", "https://app.example.com");
    let options = options.header("access-control-request-method", "POST");
    let (status, _, _) = send(&router, options.body(Body::empty()).unwrap()).await;
    assert_eq!(status, 201);
    broker.stop(std::future::ready(())).await;
}

fn route_problems(table: &mut FunctionTable, route: RouteDeclaration) -> Vec<String> {
    let (routes, problems) = RouteTable::new([route]);
    table.routes = routes;
    problems.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn failures_read_as_api_gateway_writes_them_and_say_why() {
    let (router, broker) = gateway(built(1));
    for (path, body, status, answer, why) in [
        (
            "/lambda/demo",
            "fail",
            502,
            r#"{"message": "Internal server error"}"#,
            "no luck",
        ),
        (
            "/lambda/demo",
            "crash",
            502,
            r#"{"message": "Internal server error"}"#,
            "exit status 3",
        ),
        (
            "/lambda-url/demo/",
            "crash",
            502,
            "Internal Server Error",
            "exit status 3",
        ),
        (
            "/lambda/demo",
            "never",
            504,
            r#"{"message": "Endpoint request timed out"}"#,
            "runs on",
        ),
    ] {
        let (found, headers, text) = send(&router, post(path, body)).await;
        assert_eq!(found, status, "{path} {body}: {text}");
        let same = serde_json::from_str::<Value>(&text).ok() == serde_json::from_str(answer).ok();
        assert!(same, "{path} {body}: {text}");
        let cause = header(&headers, "x-longshore-function-error");
        assert!(cause.contains(why), "{path} {body}: {cause}");
    }
    broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn what_leads_to_no_function_is_refused_with_a_hint() {
    let (router, _) = gateway(built(1));
    for (path, status, answer) in [
        ("/lambda/nobody", 403, "Missing Authentication Token"),
        ("/lambda/no%20name", 403, "Missing Authentication Token"),
        ("/lambda-url/nobody/", 403, r#"{"Message":null}"#),
        ("/nowhere", 404, "Not Found"),
    ] {
        let (found, headers, text) = send(&router, get(path)).await;
        assert_eq!(found, status, "{path}: {text}");
        assert!(text.contains(answer), "{path}: {text}");
        let hint = header(&headers, "x-longshore-error");
        assert!(hint.contains("demo"), "{path}: {hint}");
    }
}

#[tokio::test]
async fn a_body_beyond_ten_megabytes_is_refused() {
    let (router, _) = gateway(built(1));
    let body = "x".repeat(10 * 1024 * 1024 + 1);
    let (status, _, text) = send(&router, post("/lambda/demo", &body)).await;
    assert_eq!(status, 413, "{text}");
}

#[tokio::test]
async fn base64_makes_a_binary_request_too_large_for_lambda() {
    let (router, broker) = gateway(table_with(&[("", "$default")], Api::default()));
    for (bytes, expected, cause) in [
        (4_800_000, 500, "the event is larger than Lambda's"),
        (4_600_000, 201, ""),
    ] {
        let request = Request::post("/orders").body(Body::from(vec![0; bytes]));
        let (status, headers, text) = send(&router, request.unwrap()).await;
        assert_eq!(status.as_u16(), expected, "{bytes}");
        assert_eq!(text.contains("Internal Server Error"), expected == 500);
        let why = header(&headers, "x-longshore-function-error");
        assert!(why.starts_with(cause), "{bytes}: {why}");
    }
    broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn a_build_that_never_worked_is_answered_with_its_diagnostics() {
    let failed = BuildState::Failed {
        diagnostics: "error[E0308]: mismatched types".into(),
        at: std::time::SystemTime::now(),
    };
    let (router, _) = gateway(table(failed, None));
    let (status, headers, text) = send(&router, post("/lambda/demo", "x")).await;
    assert_eq!(
        (status.as_u16(), text.as_str()),
        (502, "error[E0308]: mismatched types")
    );
    assert_eq!(header(&headers, "x-longshore-build"), "failed");
    assert!(header(&headers, "content-type").starts_with("text/plain"));
}
