//! Each rule in both modes: what works here and would fail on AWS is told of, or fails.

use std::time::Instant;

use app_model::parity::{MEMORY, MEMORY_USED, RULES, TIMEOUT, ZIP_SIZE};
use app_model::{Api, BinaryMediaTypes, Function, Parity};
use http::HeaderValue;

use super::*;
use crate::testing::invocation;

const MARK: &str = "x-longshore-parity";

/// Answers with the event, with base64, or with headers of some length.
async fn function(runtime: FakeRuntime) -> RuntimeExit {
    loop {
        let event = runtime.next().await;
        let parsed: Value = serde_json::from_str(&event.body).unwrap();
        let asked = parsed["body"].as_str().unwrap_or_default();
        let answer = match asked.split_once(' ') {
            _ if asked == "base64" => {
                json!({"statusCode": 200, "body": "aGk=", "isBase64Encoded": true})
            }
            Some(("headers", length)) => {
                let long = "h".repeat(length.parse().unwrap());
                json!({"statusCode": 200, "headers": {"x-long": long}, "body": ""})
            }
            _ => json!({"statusCode": 201, "body": event.body}),
        };
        runtime.respond(&event, &answer.to_string()).await;
    }
}

fn gateway(parity: Parity, table: FunctionTable) -> (Router, Broker) {
    let mut config = config();
    config.parity = parity;
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

/// A request to `path` whose headers' values have so many bytes together.
fn with_headers(path: &str, bytes: usize) -> Request<Body> {
    let mut request = post(path, "hello");
    let there: usize = request.headers().values().map(HeaderValue::len).sum();
    let long = "h".repeat(bytes - there);
    let headers = request.headers_mut();
    headers.insert("x-long", HeaderValue::from_str(&long).unwrap());
    request
}

/// The table with a route of an HTTP API.
fn with_route() -> FunctionTable {
    table_with(&[("POST", "/orders/{id}")], Api::default())
}

#[tokio::test]
async fn a_request_beyond_its_fronts_limits_is_told_of_or_refused() {
    let url = |bytes: usize| format!("/lambda/demo?q={}", "q".repeat(bytes - 15));
    // `POST /orders/7 HTTP/1.1`
    let line = 23;
    for (rule, request, refused) in [
        ("", with_headers("/lambda/demo", 10_240), 0),
        ("rest-headers", with_headers("/lambda/demo", 10_241), 431),
        ("", post(&url(10_240), "hello"), 0),
        ("rest-url", post(&url(10_241), "hello"), 414),
        ("", with_headers("/orders/7", 10_240 - line), 0),
        (
            "http-headers",
            with_headers("/orders/7", 10_241 - line),
            431,
        ),
        ("", with_headers("/alb/demo", 16_000), 0),
        ("alb-headers", with_headers("/alb/demo", 16_500), 400),
        // Function URLs take what Lambda takes.
        ("", with_headers("/lambda-url/demo/", 16_500), 0),
    ]
    .map(|(rule, request, refused)| (rule, request.into_parts(), refused))
    {
        let (parts, _) = request;
        for parity in [Parity::Warn, Parity::Enforce] {
            let (router, broker) = gateway(parity, with_route());
            let request = Request::from_parts(parts.clone(), Body::from("hello"));
            let (status, headers, text) = send(&router, request).await;
            let expected = match parity {
                Parity::Enforce if refused > 0 => refused,
                _ => 201,
            };
            let at = format!("{parity} {rule} {}: {text}", parts.uri.path());
            assert_eq!(status.as_u16(), expected, "{at}");
            let told = header(&headers, MARK);
            assert!(told.starts_with(rule), "{at}: {told}");
            assert_eq!(told.is_empty(), rule.is_empty(), "{at}: {told}");
            if !rule.is_empty() {
                assert!(told.contains("https://docs.aws.amazon.com/"), "{told}");
                let demo = "demo".parse().unwrap();
                let found = RULES.iter().find(|known| known.name == rule).unwrap();
                let again = broker.shared.notices.due(Instant::now(), &demo, found.name);
                assert_eq!(again, None, "{at}: it was logged");
            }
            broker.stop(std::future::ready(())).await;
        }
    }
}

#[tokio::test]
async fn a_rest_api_without_binary_types_decides_by_itself_or_has_none() {
    let binary = || {
        let request = Request::post("/lambda/demo").header("content-type", "image/png");
        request.body(Body::from(vec![0xff, 0xd8])).unwrap()
    };
    for (parity, event_body, is_base64, answer) in [
        (Parity::Warn, "/9g=", true, "hi"),
        (Parity::Enforce, "\u{fffd}\u{fffd}", false, "aGk="),
    ] {
        let (router, broker) = gateway(parity, built(1));
        let (status, headers, text) = send(&router, binary()).await;
        assert_eq!(status, 201, "{parity}: {text}");
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["body"], event_body, "{parity}");
        assert_eq!(event["isBase64Encoded"], is_base64, "{parity}");
        assert!(header(&headers, MARK).starts_with("rest-binary: the request's body"));

        let (_, headers, text) = send(&router, post("/lambda/demo", "base64")).await;
        assert_eq!(text, answer, "{parity}");
        assert!(header(&headers, MARK).starts_with("rest-binary: the function answers"));

        let (_, headers, _) = send(&router, post("/lambda/demo", "plain")).await;
        assert_eq!(header(&headers, MARK), "", "{parity}");
        broker.stop(std::future::ready(())).await;

        // What is declared is as on AWS, and nothing is told.
        let mut api = Api::default();
        api.rest.binary_media_types = Some(BinaryMediaTypes(vec!["image/*".to_owned()]));
        let (router, broker) = gateway(parity, table_with(&[], api));
        let (_, headers, text) = send(&router, binary()).await;
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["body"], "/9g=", "{parity}");
        assert_eq!(header(&headers, MARK), "", "{parity}");
        broker.stop(std::future::ready(())).await;
    }
}

#[tokio::test]
async fn a_load_balancer_passes_32_k_of_headers_on() {
    for (parity, length, status, rule) in [
        (Parity::Warn, 32_000, 200, ""),
        (Parity::Enforce, 32_000, 200, ""),
        (Parity::Warn, 33_000, 200, "alb-answer-headers"),
        (Parity::Enforce, 33_000, 502, "alb-answer-headers"),
    ] {
        let (router, broker) = gateway(parity, built(1));
        let request = post("/alb/demo", &format!("headers {length}"));
        let (found, headers, text) = send(&router, request).await;
        assert_eq!(found, status, "{parity} {length}: {text}");
        assert_eq!(text.contains("502 Bad Gateway"), status == 502, "{text}");
        let told = header(&headers, MARK);
        assert!(told.starts_with(rule), "{parity} {length}: {told}");
        assert_eq!(told.is_empty(), rule.is_empty(), "{told}");
        broker.stop(std::future::ready(())).await;
    }
}

/// A function that AWS would not take, by each rule about its declaration.
type Declared = (&'static str, fn(&mut Function));

const DECLARED: [Declared; 7] = [
    ("memory", |f| {
        f.beyond.push(MEMORY.broken("`memory = 64` is declared"))
    }),
    ("timeout", |f| {
        f.beyond.push(TIMEOUT.broken("`timeout = 901` is declared"))
    }),
    ("zip-size", |f| {
        f.beyond.push(ZIP_SIZE.broken("it has 60000000 bytes"))
    }),
    ("handler", |f| f.settings.handler = "app handler".to_owned()),
    ("environment-size", |f| set(f, "BIG", &"x".repeat(4_096))),
    ("reserved-variables", |f| set(f, "AWS_REGION", "eu-west-1")),
    ("variable-names", |f| set(f, "WITH-HYPHEN", "x")),
];

fn set(function: &mut Function, name: &str, value: &str) {
    let env = &mut function.settings.env;
    env.insert(name.to_owned(), value.to_owned());
}

fn declared(generation: u64, change: fn(&mut Function)) -> FunctionTable {
    let mut table = built(generation);
    for entry in table.functions.values_mut() {
        change(&mut entry.function);
    }
    table
}

#[tokio::test]
async fn a_function_that_aws_would_not_take_is_told_of_or_not_served() {
    for (rule, change) in DECLARED {
        for parity in [Parity::Warn, Parity::Enforce] {
            let (router, broker) = gateway(parity, declared(1, change));
            let (status, headers, text) = send(&router, post("/lambda/demo", "hello")).await;
            let told = header(&headers, MARK);
            assert!(told.starts_with(rule), "{parity} {rule}: {told}");
            assert!(told.contains("https://docs.aws.amazon.com/"), "{told}");
            if parity == Parity::Warn {
                assert_eq!(status, 201, "{rule}: {text}");
            } else {
                assert_eq!(status, 502, "{rule}: {text}");
                assert_eq!(header(&headers, "x-longshore-build"), "failed");
                assert!(text.contains("AWS would not take this function"), "{text}");
                assert!(text.contains(told), "{text}");
            }
            let (_, _, view) = send(&router, get("/_longshore/functions/demo")).await;
            let view: Value = serde_json::from_str(&view).unwrap();
            assert_eq!(view["parity"], json!([told]), "{parity} {rule}");
            broker.stop(std::future::ready(())).await;
        }
    }
}

#[tokio::test]
async fn a_build_that_aws_would_take_serves_on_where_the_next_is_refused() {
    let (router, broker) = gateway(Parity::Enforce, built(1));
    let generation = async |expected: &str, build: &str| {
        let (status, headers, text) = send(&router, post("/lambda/demo", "hello")).await;
        assert_eq!(status, 201, "{text}");
        assert_eq!(header(&headers, "x-longshore-generation"), expected);
        assert_eq!(header(&headers, "x-longshore-build"), build);
        header(&headers, MARK).to_owned()
    };
    assert_eq!(generation("1", "").await, "");
    broker.take_in(&declared(2, |f| set(f, "AWS_REGION", "eu-west-1")));
    assert!(
        generation("1", "failed")
            .await
            .starts_with("reserved-variables")
    );
    broker.take_in(&built(3));
    let demo = "demo".parse().unwrap();
    let third = function_supervisor::Generation(3);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    broker.wait_for_generation(&demo, third, deadline).await;
    assert_eq!(generation("3", "").await, "");
    broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn memory_beyond_what_a_function_has_is_told_of_once_it_is_measured() {
    for (memory_mb, told) in [(36, false), (35, true)] {
        let mut table = built(1);
        for entry in table.functions.values_mut() {
            let artifact = entry.artifact.take().unwrap();
            let mut artifact = (*artifact).clone();
            artifact.function.settings.memory_mb = memory_mb;
            entry.artifact = Some(Arc::new(artifact));
        }
        let (_, broker) = gateway(Parity::Enforce, table);
        // Who wants the log is answered after the report. A process here has 36 MB.
        let mut call = invocation("{}");
        call.wants_log_tail = true;
        let answer = within("an answer", broker.invoke(call, Duration::from_secs(10))).await;
        assert!(answer.log_tail.is_some());
        let demo = "demo".parse().unwrap();
        let again = broker
            .shared
            .notices
            .due(Instant::now(), &demo, MEMORY_USED.name);
        assert_eq!(again.is_none(), told, "{memory_mb} MB");
        broker.stop(std::future::ready(())).await;
    }
}
