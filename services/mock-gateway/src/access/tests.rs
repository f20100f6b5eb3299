//! Routes that ask who calls. The function of the test is its own authorizer: what it is
//! asked is in the event.

mod jwt;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use app_model::{
    Api, Authorizer, IdentitySource, JwtAuthorizer, Keys, Parity, PayloadFormat, Period, Quota,
    RequestAuthorizer, RouteDeclaration, RouteOptions, RouteTable, RouterKind, TokenAuthorizer,
    UsagePlan,
};
use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, Request};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RsaKeyPair};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::asynchronous::Events;
use crate::broker::Broker;
use crate::outcome::RuntimeExit;
use crate::server::{Gateway, router};
use crate::testing::{FakeLauncher, FakeRuntime, built, config, within};

const KEY: &str = "0123456789abcdefghij";

/// Authorizes by what it is shown, and answers anything else with its event.
async fn function(runtime: FakeRuntime) -> RuntimeExit {
    let mut asked = 0;
    loop {
        let event = runtime.next().await;
        let parsed: Value = serde_json::from_str(&event.body).unwrap();
        let kind = parsed["type"].as_str().unwrap_or_default();
        if kind.is_empty() {
            let answer = json!({"statusCode": 200, "body": event.body});
            runtime.respond(&event, &answer.to_string()).await;
            continue;
        }
        asked += 1;
        let shown = match (&parsed["authorizationToken"], &parsed["identitySource"]) {
            (Value::String(token), _) => token.split(',').next().unwrap().to_owned(),
            (_, Value::Array(sources)) => sources[0].as_str().unwrap().to_owned(),
            _ => parsed["headers"]["X-Who"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        };
        let arn = parsed["methodArn"].as_str().unwrap_or_default();
        let policy = |effect: &str| {
            json!({
                "principalId": "me",
                "policyDocument": {"Version": "2012-10-17", "Statement": [
                    {"Action": "execute-api:Invoke", "Effect": effect, "Resource": arn},
                ]},
                "context": {"asked": asked, "event": event.body},
            })
        };
        let answer = match shown.as_str() {
            "allow" => policy("Allow"),
            size if size.starts_with("bytes-") => {
                let bytes: usize = size["bytes-".len()..].parse().unwrap();
                let mut answer = policy("Allow");
                answer["context"] = json!({"filler": ""});
                let filler = "x".repeat(bytes - answer.to_string().len());
                answer["context"]["filler"] = json!(filler);
                answer
            }
            "deny" => policy("Deny"),
            "yes" | "no" => json!({
                "isAuthorized": shown == "yes",
                "context": {"asked": asked, "event": parsed},
            }),
            "unauthorized" => {
                let path = format!("invocation/{}/error", event.id());
                let error = r#"{"errorType":"Error","errorMessage":"Unauthorized"}"#;
                runtime.post(&path, None, error.to_owned()).await;
                continue;
            }
            _ => json!("no verdict"),
        };
        runtime.respond(&event, &answer.to_string()).await;
    }
}

fn gateway(api: Api, routes: &[(&str, &str)]) -> (Router, Broker) {
    gateway_of(Parity::Warn, api, routes)
}

fn gateway_of(parity: Parity, api: Api, routes: &[(&str, &str)]) -> (Router, Broker) {
    let mut table = built(1);
    let declarations = routes.iter().map(|(method, resource)| RouteDeclaration {
        resource: (*resource).to_owned(),
        methods: [(*method).to_owned()].into(),
        function: "demo".parse().unwrap(),
    });
    let (routes, problems) = RouteTable::new(declarations);
    assert!(problems.is_empty(), "{problems:?}");
    table.routes = routes.with_api(api);
    let mut config = config();
    config.max_environments = 1;
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

/// A GET with these headers: status, headers, body.
async fn get(router: &Router, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, Value) {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = within("an answer", router.clone().oneshot(request))
        .await
        .unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap();
    (parts.status.as_u16(), parts.headers, body)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

fn authorized_by(name: &str) -> RouteOptions {
    RouteOptions {
        authorizer: Some(name.to_owned()),
        ..RouteOptions::default()
    }
}

#[tokio::test]
async fn an_api_key_is_asked_for_and_counted() {
    let plan = UsagePlan {
        api_keys: [("acme".to_owned(), KEY.to_owned())].into(),
        quota: Some(Quota {
            limit: 2,
            period: Period::Month,
        }),
        ..UsagePlan::default()
    };
    let slow = UsagePlan {
        api_keys: [("slow".to_owned(), "slow-slow-slow-slow-slow".to_owned())].into(),
        rate: Some(0.001),
        burst: Some(1),
        quota: None,
    };
    let options = RouteOptions {
        api_key_required: true,
        ..RouteOptions::default()
    };
    let api = Api {
        functions: [("demo".parse().unwrap(), options)].into(),
        usage_plans: [("basic".to_owned(), plan), ("slow".to_owned(), slow)].into(),
        ..Api::default()
    };
    let (router, broker) = gateway(api, &[]);
    for wrong in [&[][..], &[("x-api-key", "wrong")]] {
        let (status, headers, body) = get(&router, "/lambda/demo/a", wrong).await;
        assert_eq!((status, body), (403, json!({"message": "Forbidden"})));
        assert_eq!(header(&headers, "x-amzn-errortype"), "ForbiddenException");
        assert!(!header(&headers, "x-amzn-requestid").is_empty());
    }
    let mine = [("x-api-key", KEY)];
    for _ in 0..2 {
        let (status, _, event) = get(&router, "/lambda/demo", &mine).await;
        assert_eq!(status, 200, "{event}");
        let identity = &event["requestContext"]["identity"];
        assert_eq!(identity["apiKey"], KEY);
        assert_eq!(identity["apiKeyId"].as_str().map(str::len), Some(10));
    }
    let (status, headers, body) = get(&router, "/lambda/demo", &mine).await;
    assert_eq!((status, body), (429, json!({"message": "Limit Exceeded"})));
    assert_eq!(
        header(&headers, "x-amzn-errortype"),
        "LimitExceededException"
    );
    let slow = [("x-api-key", "slow-slow-slow-slow-slow")];
    assert_eq!(get(&router, "/lambda/demo", &slow).await.0, 200);
    let (status, headers, body) = get(&router, "/lambda/demo", &slow).await;
    assert_eq!(
        (status, body),
        (429, json!({"message": "Too Many Requests"}))
    );
    assert_eq!(
        header(&headers, "x-amzn-errortype"),
        "TooManyRequestsException"
    );
    broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn a_token_authorizer_decides_and_is_asked_once() {
    let by = Authorizer::Token(TokenAuthorizer {
        function: "demo".parse().unwrap(),
        header: "Authorization".to_owned(),
        ttl: 300,
    });
    let api = Api {
        functions: [("demo".parse().unwrap(), authorized_by("tokens"))].into(),
        authorizers: [("tokens".to_owned(), by)].into(),
        ..Api::default()
    };
    let (router, broker) = gateway(api, &[]);
    let path = "/lambda/demo/a";
    for (token, status, body, name) in [
        (
            None,
            401,
            json!({"message": "Unauthorized"}),
            "UnauthorizedException",
        ),
        (
            Some("unauthorized"),
            401,
            json!({"message": "Unauthorized"}),
            "UnauthorizedException",
        ),
        (
            Some("deny"),
            403,
            json!({"Message": "User is not authorized to access this resource with an explicit deny"}),
            "AccessDeniedException",
        ),
        (
            Some("nonsense"),
            500,
            json!({"message": null}),
            "AuthorizerConfigurationException",
        ),
    ] {
        let sent: Vec<_> = token
            .map(|token| ("authorization", token))
            .into_iter()
            .collect();
        let (found, headers, seen) = get(&router, path, &sent).await;
        assert_eq!((found, seen), (status, body), "{token:?}");
        assert_eq!(header(&headers, "x-amzn-errortype"), name, "{token:?}");
    }
    let allow = [("authorization", "allow")];
    let (status, _, event) = get(&router, path, &allow).await;
    assert_eq!(status, 200, "{event}");
    let said = event["requestContext"]["authorizer"].clone();
    assert_eq!(said["principalId"], "me");
    assert!(said["integrationLatency"].is_u64(), "{said}");
    let asked: Value = serde_json::from_str(said["event"].as_str().unwrap()).unwrap();
    let arn = "arn:aws:execute-api:us-east-1:000000000000:longshore0/local/GET/lambda/demo/a";
    let expected = json!({"type": "TOKEN", "methodArn": arn, "authorizationToken": "allow"});
    assert_eq!(asked, expected);
    let (_, _, event) = get(&router, path, &allow).await;
    assert_eq!(
        event["requestContext"]["authorizer"]["asked"], said["asked"],
        "the result was kept"
    );
    // It is kept by token, and read anew for each request: another path is not allowed.
    let (status, headers, body) = get(&router, "/lambda/demo/b", &allow).await;
    let refused = json!({"Message": "User is not authorized to access this resource"});
    assert_eq!((status, body), (403, refused));
    assert_eq!(
        header(&headers, "x-amzn-errortype"),
        "AccessDeniedException"
    );
    broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn an_authorizers_result_of_more_than_8_kb_fails_on_aws() {
    let function: app_model::FunctionName = "demo".parse().unwrap();
    let tokens = Authorizer::Token(TokenAuthorizer {
        function: function.clone(),
        header: "Authorization".to_owned(),
        ttl: 300,
    });
    let requests = Authorizer::Request(RequestAuthorizer {
        function: function.clone(),
        identity_sources: vec![IdentitySource::Header("X-Who".to_owned())],
        payload_format: PayloadFormat::V2,
        simple_responses: false,
        ttl: 0,
    });
    // The test's function allows the ARN that it is asked about, of REST APIs alone.
    let api = Api {
        router: RouterKind::Rest,
        functions: [(function, authorized_by("tokens"))].into(),
        routes: [("GET /requests".to_owned(), authorized_by("requests"))].into(),
        authorizers: [
            ("tokens".to_owned(), tokens),
            ("requests".to_owned(), requests),
        ]
        .into(),
        ..Api::default()
    };
    for (parity, path, bytes, status, is_told) in [
        (Parity::Warn, "/lambda/demo", 8_192, 200, false),
        (Parity::Warn, "/lambda/demo", 8_193, 200, true),
        (Parity::Warn, "/requests", 8_193, 200, true),
        (Parity::Enforce, "/lambda/demo", 8_192, 200, false),
        (Parity::Enforce, "/lambda/demo", 8_193, 500, true),
        (Parity::Enforce, "/requests", 8_193, 500, true),
    ] {
        let case = format!("{parity} {path} {bytes}");
        let (router, broker) = gateway_of(parity, api.clone(), &[("GET", "/requests")]);
        let size = format!("bytes-{bytes}");
        let sent = [("authorization", &*size), ("x-who", &*size)];
        let (found, headers, body) = get(&router, path, &sent).await;
        assert_eq!(found, status, "{case}: {body}");
        let told = header(&headers, "x-longshore-parity");
        assert_eq!(
            told.starts_with("authorizer-result: "),
            is_told,
            "{case}: {told}"
        );
        if is_told {
            assert!(told.contains("8193 bytes"), "{case}: {told}");
        }
        if status == 500 {
            assert_eq!(body, json!({"message": null}), "{case}");
            let name = header(&headers, "x-amzn-errortype");
            assert_eq!(name, "AuthorizerConfigurationException", "{case}");
        } else {
            let said = &body["requestContext"]["authorizer"]["filler"];
            assert!(
                said.as_str().is_some_and(|filler| filler.len() > 7_000),
                "{case}"
            );
        }
        broker.stop(std::future::ready(())).await;
    }
}

#[tokio::test]
async fn request_authorizers_see_the_request_in_each_format() {
    let by = |payload_format, simple_responses, ttl| {
        Authorizer::Request(RequestAuthorizer {
            function: "demo".parse().unwrap(),
            identity_sources: vec![
                IdentitySource::Header("X-Who".to_owned()),
                IdentitySource::Query("key".to_owned()),
            ],
            payload_format,
            simple_responses,
            ttl,
        })
    };
    let mut api = Api {
        authorizers: [
            ("simple".to_owned(), by(PayloadFormat::V2, true, 0)),
            ("policy".to_owned(), by(PayloadFormat::V1, false, 60)),
        ]
        .into(),
        functions: [("demo".parse().unwrap(), authorized_by("policy"))].into(),
        routes: [
            ("GET /simple".to_owned(), authorized_by("simple")),
            ("GET /policy".to_owned(), authorized_by("policy")),
            ("GET /gone".to_owned(), authorized_by("gone")),
        ]
        .into(),
        ..Api::default()
    };
    api.http.stage = "dev".to_owned();
    let (router, broker) = gateway(
        api,
        &[("GET", "/simple"), ("GET", "/policy"), ("GET", "/gone")],
    );
    let who = |who| [("x-who", who)];
    for (path, shown, status, body) in [
        ("/simple", "yes", 401, json!({"message": "Unauthorized"})),
        ("/simple?key=1", "no", 403, json!({"message": "Forbidden"})),
        (
            "/simple?key=1",
            "nonsense",
            500,
            json!({"message": "Internal Server Error"}),
        ),
        (
            "/policy?key=1",
            "deny",
            403,
            json!({"message": "Forbidden"}),
        ),
        (
            "/gone?key=1",
            "yes",
            500,
            json!({"message": "Internal Server Error"}),
        ),
        (
            "/lambda/demo",
            "allow",
            401,
            json!({"message": "Unauthorized"}),
        ),
    ] {
        let (found, headers, seen) = get(&router, path, &who(shown)).await;
        assert_eq!((found, seen), (status, body), "{path} {shown}");
        let explained = !header(&headers, "x-longshore-function-error").is_empty();
        assert_eq!(explained, status == 500, "{path} {shown}");
    }
    let (_, _, event) = get(&router, "/simple?key=1", &who("yes")).await;
    let said = &event["requestContext"]["authorizer"]["lambda"];
    for (pointer, expected) in [
        ("/version", json!("2.0")),
        ("/type", json!("REQUEST")),
        (
            "/routeArn",
            json!("arn:aws:execute-api:us-east-1:000000000000:longshore0/dev/GET/simple"),
        ),
        ("/identitySource", json!(["yes", "1"])),
        ("/routeKey", json!("GET /simple")),
        ("/rawPath", json!("/dev/simple")),
        ("/queryStringParameters/key", json!("1")),
        ("/isBase64Encoded", Value::Null),
    ] {
        let found = said["event"].pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(found, expected, "{pointer} in {said}");
    }
    let (_, _, again) = get(&router, "/simple?key=1", &who("yes")).await;
    let again = &again["requestContext"]["authorizer"]["lambda"];
    assert_ne!(again["asked"], said["asked"], "nothing is kept");
    for (path, pointers) in [
        (
            "/policy?key=1",
            [
                ("/version", json!("1.0")),
                ("/identitySource", json!("allow,1")),
                ("/resource", json!("/policy")),
                ("/path", json!("/dev/policy")),
            ],
        ),
        (
            "/lambda/demo?key=1",
            [
                ("/version", Value::Null),
                ("/identitySource", Value::Null),
                ("/resource", json!("/lambda/demo")),
                ("/path", json!("/lambda/demo")),
            ],
        ),
    ] {
        let (status, _, event) = get(&router, path, &who("allow")).await;
        assert_eq!(status, 200, "{event}");
        let said = &event["requestContext"]["authorizer"]["event"];
        let said = said
            .as_str()
            .or(event["requestContext"]["authorizer"]["lambda"]["event"].as_str());
        let asked: Value = serde_json::from_str(said.unwrap()).unwrap();
        assert_eq!(
            (&asked["type"], asked.get("body")),
            (&json!("REQUEST"), None)
        );
        for (pointer, expected) in pointers {
            let found = asked.pointer(pointer).cloned().unwrap_or_default();
            assert_eq!(found, expected, "{pointer} in {asked}");
        }
    }
    broker.stop(std::future::ready(())).await;
}
