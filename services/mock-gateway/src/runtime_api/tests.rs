//! The Runtime and Extensions APIs as a process meets them.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::broker::{Answer, Broker};
use crate::invocation::Invocation;
use crate::outcome::RuntimeExit;
use crate::testing::{FakeLauncher, FakeRuntime, built, config, invocation, text, within};

/// Runs one invocation against a scripted function. A script that panics shows as a crash.
async fn invoke<F>(
    invocation: Invocation,
    script: impl Fn(FakeRuntime) -> F + Send + Sync + 'static,
) -> Answer
where
    F: Future<Output = RuntimeExit> + Send + 'static,
{
    let broker = Broker::new(config(), FakeLauncher::new(script));
    broker.take_in(&built(1));
    let patience = Duration::from_secs(20);
    let answer = within("an answer", broker.invoke(invocation, patience)).await;
    within("the end", broker.stop(std::future::pending())).await;
    answer
}

async fn idle() -> RuntimeExit {
    std::future::pending().await
}

#[tokio::test]
async fn next_carries_the_headers_that_runtimes_insist_on() {
    let mut asked = invocation(r#"{"n":1}"#);
    asked.client_context = Some(r#"{"custom":{"a":"b"}}"#.to_owned());
    let (id, trace) = (asked.request_id.to_string(), asked.trace_id.clone());
    let answer = invoke(asked, async |runtime| {
        let event = runtime.next().await;
        assert_eq!(event.body, r#"{"n":1}"#);
        assert_eq!(event.header("content-type"), "application/json");
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        let deadline: u128 = event.header("lambda-runtime-deadline-ms").parse().unwrap();
        let left = deadline - now.as_millis();
        assert!((15_000..=20_000).contains(&left), "{left} ms left of 20 s");
        let said = json!({
            "id": event.id(),
            "arn": event.header("lambda-runtime-invoked-function-arn"),
            "trace": event.header("lambda-runtime-trace-id"),
            "context": event.header("lambda-runtime-client-context"),
        });
        runtime.respond(&event, &said.to_string()).await;
        idle().await
    })
    .await;
    assert_eq!(
        serde_json::from_str::<Value>(&text(&answer)).unwrap(),
        json!({
            "id": id,
            "arn": "arn:aws:lambda:us-east-1:000000000000:function:demo",
            "trace": trace.as_str(),
            "context": r#"{"custom":{"a":"b"}}"#,
        })
    );
}

#[tokio::test]
async fn calls_out_of_turn_are_refused_as_aws_refuses_them() {
    let answer = invoke(invocation("1"), async |runtime| {
        let refused = |error: &str, status| (status, error.to_owned());
        let foreign = "invocation/6bc28136-95fa-4ebe-87b2-8f8d9a2f6c3e/response";
        let early = runtime.post(foreign, None, String::new()).await;
        assert_eq!(early, refused("InvalidStateTransition", 403));

        let event = runtime.next().await;
        let path = format!("invocation/{}/response", event.id());
        let nonce = Some(event.header("lambda-runtime-invocation-id"));
        let stale = Some("6bc28136-95fa-4ebe-87b2-8f8d9a2f6c3e");
        for (path, nonce, expected) in [
            (foreign, None, refused("InvalidRequestID", 400)),
            (foreign, nonce, refused("InvalidRequestID", 400)),
            (&path, stale, refused("ErrorRuntimeInvokeTimeout", 410)),
            ("init/error", None, refused("InvalidStateTransition", 403)),
        ] {
            assert_eq!(
                runtime.post(path, nonce, "{}".to_owned()).await,
                expected,
                "{path}"
            );
        }
        let url = format!("{}/2018-06-01/runtime/invocation/next", runtime.base);
        let busy = runtime.client.get(url).send().await.unwrap();
        assert_eq!(busy.status(), 403);

        runtime.respond(&event, "\"right\"").await;
        let twice = runtime.post(&path, nonce, "\"wrong\"".to_owned()).await;
        assert_eq!(twice, refused("InvalidStateTransition", 403));
        idle().await
    })
    .await;
    assert_eq!(text(&answer), "\"right\"");
}

#[tokio::test]
async fn an_answer_of_six_megabytes_goes_through_and_one_byte_more_does_not() {
    for (length, expected) in [
        (MAX_PAYLOAD_BYTES, (202, String::new())),
        (
            MAX_PAYLOAD_BYTES + 1,
            (413, "RequestEntityTooLarge".to_owned()),
        ),
    ] {
        let fits = length == MAX_PAYLOAD_BYTES;
        let answer = invoke(invocation("1"), move |runtime: FakeRuntime| {
            let expected = expected.clone();
            async move {
                let event = runtime.next().await;
                let path = format!("invocation/{}/response", event.id());
                let answer = runtime.post(&path, None, "1".repeat(length)).await;
                assert_eq!(answer, expected);
                runtime.echo().await
            }
        })
        .await;
        match answer.outcome {
            Outcome::Response(response) => assert!(fits && response.body.len() == length),
            Outcome::ResponseTooLarge => assert!(!fits),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_error_of_the_function_is_passed_on_as_it_is() {
    let answer = invoke(invocation("1"), async |runtime| {
        let event = runtime.next().await;
        let path = format!("invocation/{}/error", event.id());
        let error = r#"{"errorType":"Mine","errorMessage":"no"}"#;
        let answer = runtime.post(&path, None, error.to_owned()).await;
        assert_eq!(answer, (202, String::new()));
        runtime.echo().await
    })
    .await;
    match answer.outcome {
        Outcome::FunctionError(body) => {
            assert_eq!(&body[..], br#"{"errorType":"Mine","errorMessage":"no"}"#);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_streamed_answer_keeps_its_prelude_and_an_unknown_mode_is_refused() {
    for mode in ["streaming", "buffering"] {
        let answer = invoke(invocation("1"), move |runtime: FakeRuntime| async move {
            let event = runtime.next().await;
            let url = format!(
                "{}/2018-06-01/runtime/invocation/{}/response",
                runtime.base,
                event.id()
            );
            let response = runtime
                .client
                .post(url)
                .header("lambda-runtime-function-response-mode", mode)
                .header(
                    "content-type",
                    "application/vnd.awslambda.http-integration-response",
                )
                .body("{}\0\0\0\0\0\0\0\0data")
                .send()
                .await
                .unwrap();
            assert_eq!(
                response.status(),
                if mode == "streaming" { 202 } else { 400 }
            );
            runtime.echo().await
        })
        .await;
        match answer.outcome {
            Outcome::Response(response) => {
                assert_eq!(mode, "streaming");
                assert!(response.streaming && response.body.ends_with(b"data"));
                assert_eq!(
                    response.content_type.as_deref(),
                    Some("application/vnd.awslambda.http-integration-response")
                );
            }
            Outcome::FunctionError(body) => {
                assert_eq!(mode, "buffering");
                assert!(body.starts_with(br#"{"errorMessage"#), "{body:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_invocation_ends_once_the_extension_is_done_too() {
    let (done, is_done) = (CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
    let (told, events) = (done.clone(), is_done.clone());
    let launcher = FakeLauncher::new(move |runtime: FakeRuntime| {
        let (done, events) = (told.clone(), events.clone());
        async move {
            if runtime.number > 1 {
                panic!("a second environment was started");
            }
            let id = runtime.register(r#""INVOKE""#).await;
            let extension = async {
                for _ in 0..2 {
                    let event = runtime.extension_next(&id).await;
                    assert_eq!(event["eventType"], "INVOKE");
                    assert_eq!(
                        event["invokedFunctionArn"],
                        "arn:aws:lambda:us-east-1:000000000000:function:demo"
                    );
                    events.lock().unwrap().push(event["requestId"].clone());
                }
                done.cancel();
                idle().await
            };
            tokio::select! {
                exit = extension => exit,
                exit = runtime.clone().echo() => exit,
            }
        }
    });
    let mut config = config();
    // The second request waits for the extension: no other environment may take it.
    config.max_environments = 1;
    let broker = Broker::new(config, launcher);
    broker.take_in(&built(1));
    let mut ids = Vec::new();
    for _ in 0..2 {
        let asked = invocation("1");
        ids.push(Value::from(asked.request_id.to_string()));
        let patience = Duration::from_secs(20);
        let answer = within("an answer", broker.invoke(asked, patience)).await;
        assert_eq!(text(&answer), "1:1");
    }
    within("both events", done.cancelled()).await;
    assert_eq!(*is_done.lock().unwrap(), ids);
    within("the end", broker.stop(std::future::pending())).await;
}

#[tokio::test]
async fn a_function_with_an_extension_is_asked_to_end_and_one_without_is_not() {
    for graceful in [true, false] {
        let ended = CancellationToken::new();
        let seen = ended.clone();
        let answer = invoke(invocation("1"), move |runtime: FakeRuntime| {
            let seen = seen.clone();
            async move {
                // As the Rust client's graceful shutdown does it: no events at all.
                let id = match graceful {
                    true => Some(runtime.register("").await),
                    false => None,
                };
                let extension = async {
                    if let Some(id) = id {
                        runtime.extension_next(&id).await;
                    }
                    idle().await
                };
                tokio::select! {
                    () = runtime.terminated.cancelled() => {
                        seen.cancel();
                        RuntimeExit::WithoutReason
                    }
                    exit = extension => exit,
                    exit = runtime.clone().echo() => exit,
                }
            }
        })
        .await;
        assert_eq!(text(&answer), "1:1");
        assert_eq!(ended.is_cancelled(), graceful);
    }
}

#[tokio::test]
async fn extensions_out_of_turn_are_refused_as_aws_refuses_them() {
    let answer = invoke(invocation("1"), async |runtime| {
        let url = |path: &str| format!("{}/2020-01-01/extension/{path}", runtime.base);
        let error = async |request: reqwest::RequestBuilder| {
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 403);
            let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
            body["errorType"].as_str().unwrap().to_owned()
        };
        let client = &runtime.client;
        let register = |name: &'static str, body: &'static str| {
            let request = client.post(url("register")).body(body);
            request.header("lambda-extension-name", name)
        };
        for (request, expected) in [
            (
                client.post(url("register")),
                "Extension.InvalidExtensionName",
            ),
            (register("a", "nonsense"), "InvalidRequestFormat"),
            (
                register("a", r#"{"events":["SLEEP"]}"#),
                "Extension.InvalidEventType",
            ),
            (
                register("a", r#"{"events":["SHUTDOWN"]}"#),
                "Extension.InvalidEventType",
            ),
            (
                client.get(url("event/next")),
                "Extension.MissingExtensionIdentifier",
            ),
            (
                client.get(url("event/next")).header(
                    "lambda-extension-identifier",
                    "6bc28136-95fa-4ebe-87b2-8f8d9a2f6c3e",
                ),
                "Extension.UnknownExtensionIdentifier",
            ),
        ] {
            assert_eq!(error(request).await, expected);
        }
        let event = runtime.next().await;
        let late = register("late", r#"{"events":[]}"#);
        assert_eq!(error(late).await, "Extension.RegistrationClosed");
        runtime.respond(&event, "1").await;
        idle().await
    })
    .await;
    assert_eq!(text(&answer), "1");
}

#[test]
fn the_error_that_breaks_a_stream_off_is_found() {
    let encoded = BASE64.encode("no more data");
    let text = format!(
        "{{}}\0\0\0\0\0\0\0\0some dataLambda-Runtime-Function-Error-Type: Runtime.StreamError\r\nLambda-Runtime-Function-Error-Body: {encoded}\r\n"
    );
    let body = |text: &str| ReadBody {
        bytes: Bytes::from(text.to_owned()),
        trailers: None,
    };
    let found = stream_error(&body(&text)).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&found).unwrap(),
        json!({"errorType": "Runtime.StreamError", "errorMessage": "no more data"})
    );
    assert_eq!(stream_error(&body("all is well\r\n")), None);
}
