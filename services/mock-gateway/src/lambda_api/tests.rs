//! Lambda's API, with a function that is a task of the test behind it.

mod recursion;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use function_supervisor::FunctionTable;
use http::{HeaderMap, Method, Request};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::asynchronous::Events;
use crate::broker::Broker;
use crate::outcome::RuntimeExit;
use crate::server::{Gateway, router};
use crate::testing::{FakeLauncher, FakeRuntime, artifact, built, config, within};

const INVOKE: &str = "/2015-03-31/functions/demo/invocations";
const STREAM: &str = "/2021-11-15/functions/demo/response-streaming-invocations";
const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:demo";

/// Answers an event with the event, unless the event wants something else.
async fn function(runtime: FakeRuntime) -> RuntimeExit {
    loop {
        let event = runtime.next().await;
        let parsed: Value = serde_json::from_str(&event.body).unwrap();
        match parsed["do"].as_str() {
            Some("crash") => return RuntimeExit::Status(3),
            Some("fail") => {
                let path = format!("invocation/{}/error", event.id());
                let error = r#"{"errorType":"Mine","errorMessage":"no luck"}"#;
                runtime.post(&path, None, error.to_owned()).await;
            }
            Some("never") => std::future::pending().await,
            Some("trace") => {
                let trace = event.header("lambda-runtime-trace-id");
                runtime.respond(&event, &json!(trace).to_string()).await;
            }
            Some("context") => {
                let context = event.header("lambda-runtime-client-context").to_owned();
                runtime.respond(&event, &context).await;
            }
            _ => {
                runtime.print("at work").await;
                runtime.respond(&event, &event.body).await;
            }
        }
    }
}

fn two_functions() -> FunctionTable {
    let mut table = built(1);
    let other = Arc::new(artifact("other", 1));
    let mut entry = table.functions.values().next().unwrap().clone();
    entry.function = other.function.clone();
    entry.artifact = Some(other);
    table.functions.insert(entry.function.name.clone(), entry);
    table
}

fn gateway() -> (Router, Broker) {
    gateway_with(config())
}

fn gateway_with(config: crate::Config) -> (Router, Broker) {
    let broker = Broker::new(config, FakeLauncher::new(function));
    let table = two_functions();
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

struct Answered {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answered {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

async fn call(
    router: &Router,
    method: Method,
    path: &str,
    headers: &[(&'static str, &str)],
    body: impl Into<Body>,
) -> Answered {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body.into()).unwrap();
    let response = within("an answer", router.clone().oneshot(request)).await;
    let (parts, body) = response.unwrap().into_parts();
    Answered {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: axum::body::to_bytes(body, 64 << 20).await.unwrap().to_vec(),
    }
}

#[tokio::test]
async fn an_invocation_is_answered_as_lambda_answers_it() {
    let (router, broker) = gateway();
    let by = |name: &str| format!("/2015-03-31/functions/{name}/invocations");
    let encoded_arn = ARN.replace(':', "%3A");
    for (path, kind, body, status, error_type, function_error) in [
        (
            INVOKE.to_owned(),
            "RequestResponse",
            r#"{"n":1}"#,
            200,
            "",
            "",
        ),
        (INVOKE.to_owned(), "RequestResponse", "", 200, "", ""),
        (by(ARN), "RequestResponse", "{}", 200, "", ""),
        (by(&encoded_arn), "RequestResponse", "{}", 200, "", ""),
        (by("demo:$LATEST"), "RequestResponse", "{}", 200, "", ""),
        (
            by("000000000000:function:demo"),
            "RequestResponse",
            "{}",
            200,
            "",
            "",
        ),
        (
            format!("{INVOKE}?Qualifier=$LATEST"),
            "RequestResponse",
            "{}",
            200,
            "",
            "",
        ),
        (INVOKE.to_owned(), "DryRun", "{}", 204, "", ""),
        (
            INVOKE.to_owned(),
            "RequestResponse",
            r#"{"do":"fail"}"#,
            200,
            "",
            "Unhandled",
        ),
        (
            INVOKE.to_owned(),
            "RequestResponse",
            r#"{"do":"crash"}"#,
            200,
            "",
            "Unhandled",
        ),
        (
            INVOKE.to_owned(),
            "RequestResponse",
            "{no",
            400,
            "InvalidRequestContentException",
            "",
        ),
        (
            INVOKE.to_owned(),
            "Event",
            "{no",
            400,
            "InvalidRequestContentException",
            "",
        ),
        (
            INVOKE.to_owned(),
            "Event",
            "{}",
            500,
            "ServiceException",
            "",
        ),
        (
            INVOKE.to_owned(),
            "Maybe",
            "{}",
            400,
            "ValidationException",
            "",
        ),
        (
            by("nobody"),
            "RequestResponse",
            "{}",
            404,
            "ResourceNotFoundException",
            "",
        ),
        (
            by("demo:7"),
            "RequestResponse",
            "{}",
            404,
            "ResourceNotFoundException",
            "",
        ),
        (
            format!("{INVOKE}?Qualifier=live"),
            "Event",
            "{}",
            404,
            "ResourceNotFoundException",
            "",
        ),
    ] {
        let headers = [("x-amz-invocation-type", kind), ("x-amz-log-type", "Tail")];
        let answer = call(&router, Method::POST, &path, &headers, body).await;
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, status, "{path} {kind} {body}: {text}");
        assert_eq!(
            answer.header("x-amzn-errortype"),
            error_type,
            "{path} {kind} {body}"
        );
        assert_eq!(
            answer.header("x-amz-function-error"),
            function_error,
            "{body}"
        );
        assert_eq!(answer.header("x-amzn-requestid").len(), 36);
        if status == 200 {
            assert_eq!(answer.header("x-amz-executed-version"), "$LATEST");
            assert!(!answer.header("x-amz-log-result").is_empty(), "{body}");
        }
        if !error_type.is_empty() {
            assert!(answer.json()["message"].is_string(), "{text}");
        }
    }
    let answer = call(&router, Method::POST, &by("demo:live"), &[], "{}").await;
    assert_eq!(
        answer.json()["Message"],
        format!("Function not found: {ARN}:live")
    );
    // {"custom":{"a":"b"}}
    let context = [("x-amz-client-context", "eyJjdXN0b20iOnsiYSI6ImIifX0=")];
    let answer = call(
        &router,
        Method::POST,
        INVOKE,
        &context,
        r#"{"do":"context"}"#,
    )
    .await;
    assert_eq!(answer.json(), json!({"custom": {"a": "b"}}));
    broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn a_payload_beyond_its_limit_is_refused() {
    let (router, broker) = gateway();
    for (kind, length, status) in [
        ("RequestResponse", 6_291_557, 413),
        ("Event", 1_048_577, 413),
        ("RequestResponse", 6_291_556, 200),
    ] {
        let body = format!("\"{}\"", "x".repeat(length - 2));
        let headers = [("x-amz-invocation-type", kind)];
        let answer = call(&router, Method::POST, INVOKE, &headers, body).await;
        assert_eq!(answer.status, status, "{kind} {length}");
        if status == 413 {
            assert_eq!(
                answer.header("x-amzn-errortype"),
                "RequestTooLargeException"
            );
            let message = answer.json()["message"].as_str().unwrap().to_owned();
            let start = format!("{length} byte payload is too large for the {kind} invocation");
            assert!(message.starts_with(&start), "{message}");
        }
    }
    broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn a_streamed_answer_comes_in_frames() {
    let (router, broker) = gateway();
    let answer = call(&router, Method::POST, STREAM, &[], r#"{"n":1}"#).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/vnd.amazon.eventstream")
    );
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(
        text.contains("PayloadChunk") && text.contains(r#"{"n":1}"#),
        "{text}"
    );
    assert!(text.contains("InvokeComplete"), "{text}");
    let answer = call(&router, Method::POST, STREAM, &[], r#"{"do":"fail"}"#).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(text.contains(r#""ErrorCode":"Mine""#), "{text}");
    let nobody = STREAM.replace("demo", "nobody");
    assert_eq!(
        call(&router, Method::POST, &nobody, &[], "{}").await.status,
        404
    );
    broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn functions_are_described_as_lambda_describes_them() {
    let (router, _) = gateway();
    let get = async |path: &str| call(&router, Method::GET, path, &[], "").await;
    let listed = get("/2015-03-31/functions/").await.json();
    let names: Vec<_> = listed["Functions"].as_array().unwrap().iter().collect();
    assert_eq!(names.len(), 2);
    assert_eq!(names[0]["FunctionArn"], ARN);
    let first = get("/2015-03-31/functions/?MaxItems=1").await.json();
    assert_eq!(first["NextMarker"], "demo");
    let second = get("/2015-03-31/functions/?MaxItems=1&Marker=demo")
        .await
        .json();
    assert_eq!(second["Functions"][0]["FunctionName"], "other");
    assert_eq!(second.get("NextMarker"), None);

    let function = get("/2015-03-31/functions/demo").await.json();
    let configuration = get("/2015-03-31/functions/demo/configuration").await.json();
    assert_eq!(function["Configuration"], configuration);
    for (field, expected) in [
        ("Runtime", json!("provided.al2023")),
        ("Timeout", json!(20)),
        ("MemorySize", json!(128)),
        ("State", json!("Active")),
        ("LastUpdateStatus", json!("Successful")),
        ("Version", json!("$LATEST")),
    ] {
        assert_eq!(configuration[field], expected, "{field}");
    }
    let latest = get("/2015-03-31/functions/demo?Qualifier=$LATEST")
        .await
        .json();
    assert_eq!(
        latest["Configuration"]["FunctionArn"],
        format!("{ARN}:$LATEST")
    );
    let nobody = get("/2015-03-31/functions/nobody").await;
    assert_eq!(
        (nobody.status, nobody.header("x-amzn-errortype")),
        (404, "ResourceNotFoundException")
    );
    let account = get("/2016-08-19/account-settings/").await.json();
    assert_eq!(
        account["AccountLimit"]["UnreservedConcurrentExecutions"],
        1_000
    );
    assert_eq!(account["AccountUsage"]["FunctionCount"], 2);
}

#[tokio::test]
async fn reserved_concurrency_throttles_until_it_is_taken_away() {
    let (router, broker) = gateway();
    let put = "/2017-10-31/functions/demo/concurrency";
    let get = "/2019-09-30/functions/demo/concurrency";
    let body = |count: i64| json!({"ReservedConcurrentExecutions": count}).to_string();

    let answer = call(&router, Method::PUT, put, &[], body(1)).await;
    assert_eq!(
        (
            answer.status,
            &answer.json()["ReservedConcurrentExecutions"]
        ),
        (200, &json!(1))
    );
    let busy = {
        let router = router.clone();
        tokio::spawn(
            async move { call(&router, Method::POST, INVOKE, &[], r#"{"do":"never"}"#).await },
        )
    };
    within("the first invocation has begun", async {
        while !broker.functions()[0]
            .environments
            .iter()
            .any(|e| e.state == "busy")
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let answer = call(&router, Method::POST, INVOKE, &[], "{}").await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "1"));
    assert_eq!(
        answer.header("x-amzn-errortype"),
        "TooManyRequestsException"
    );
    assert_eq!(
        answer.json(),
        json!({
            "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
            "Type": "User",
            "message": "Rate Exceeded.",
        })
    );
    busy.abort();

    for (count, status) in [(-1, 400), (901, 400), (900, 200)] {
        let answer = call(&router, Method::PUT, put, &[], body(count)).await;
        assert_eq!(answer.status, status, "{count}: {}", answer.json());
    }
    let settings = call(
        &router,
        Method::GET,
        "/2016-08-19/account-settings/",
        &[],
        "",
    )
    .await;
    assert_eq!(
        settings.json()["AccountLimit"]["UnreservedConcurrentExecutions"],
        100
    );
    assert_eq!(
        call(&router, Method::GET, get, &[], "").await.json(),
        json!({"ReservedConcurrentExecutions": 900})
    );
    assert_eq!(
        call(&router, Method::DELETE, put, &[], "").await.status,
        204
    );
    assert_eq!(
        call(&router, Method::GET, get, &[], "").await.json(),
        json!({})
    );
    let answer = call(&router, Method::POST, INVOKE, &[], r#"{"n":1}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let live = "/2017-10-31/functions/demo:live/concurrency";
    assert_eq!(
        call(&router, Method::PUT, live, &[], body(1)).await.status,
        404
    );
    broker.kill();
    broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn an_event_invoke_config_is_put_changed_listed_and_deleted() {
    let (router, _) = gateway();
    let path = "/2019-09-25/functions/demo/event-invoke-config";
    let call = async |method: Method, path: &str, body: Value| {
        let answer = call(&router, method, path, &[], body.to_string()).await;
        (answer.status, answer.json())
    };
    let other = format!("{}other", ARN.strip_suffix("demo").unwrap());

    let (status, body) = call(Method::GET, path, Value::Null).await;
    assert_eq!(
        (status, body["message"].as_str().unwrap()),
        (
            404,
            format!("The function {ARN}:$LATEST doesn't have an EventInvokeConfig").as_str()
        )
    );
    let put = json!({
        "MaximumRetryAttempts": 1,
        "DestinationConfig": {"OnSuccess": {"Destination": other}},
    });
    let (status, body) = call(Method::PUT, path, put).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["FunctionArn"], format!("{ARN}:$LATEST"));
    assert_eq!(body["MaximumRetryAttempts"], 1);
    assert_eq!(body.get("MaximumEventAgeInSeconds"), None);
    assert_eq!(
        body["DestinationConfig"],
        json!({"OnSuccess": {"Destination": other}, "OnFailure": {}})
    );
    let (status, body) = call(Method::POST, path, json!({"MaximumEventAgeInSeconds": 60})).await;
    assert_eq!(
        (
            status,
            &body["MaximumRetryAttempts"],
            &body["MaximumEventAgeInSeconds"]
        ),
        (200, &json!(1), &json!(60))
    );
    let (_, listed) = call(Method::GET, &format!("{path}/list"), Value::Null).await;
    assert_eq!(listed["FunctionEventInvokeConfigs"], json!([body]));

    let to = |arn: &str| json!({"DestinationConfig": {"OnFailure": {"Destination": arn}}});
    for (wanted, why) in [
        (json!({}), "at least one"),
        (
            json!({"MaximumRetryAttempts": 3}),
            "less than or equal to 2",
        ),
        (
            json!({"MaximumEventAgeInSeconds": 59}),
            "greater than or equal to 60",
        ),
        (to(ARN), "as a destination for itself"),
        (to(&format!("{ARN}-not")), "no such function"),
        (
            to("arn:aws:events:us-east-1:000000000000:event-bus/b"),
            "Longshore delivers to those",
        ),
        (
            to("arn:aws:sqs:us-east-1:000000000000:q"),
            "no AWS endpoint",
        ),
    ] {
        let (status, body) = call(Method::PUT, path, wanted.clone()).await;
        assert_eq!(status, 400, "{wanted}");
        let message = body["message"].as_str().unwrap();
        assert!(message.contains(why), "{wanted}: {message}");
    }
    assert_eq!(call(Method::DELETE, path, Value::Null).await.0, 204);
    assert_eq!(call(Method::DELETE, path, Value::Null).await.0, 404);
}
