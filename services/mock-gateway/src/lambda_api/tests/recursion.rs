//! Loops, as callers of Lambda's API see them.

use app_model::Parity;

use super::*;

const CONFIG: &str = "/2024-08-31/functions/demo/recursion-config";
const ROOT: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0";
const AWS: &str = "https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html";

/// The header that the function gets, which it sends along with what it calls.
async fn hop(router: &Router, path: &str, trace: &str) -> Answered {
    let headers = [("x-amzn-trace-id", trace)];
    let event = r#"{"do":"trace"}"#;
    call(router, Method::POST, path, &headers, event).await
}

/// A chain that has invoked `demo` so often.
async fn chain(router: &Router, times: usize) -> String {
    let mut trace = ROOT.to_owned();
    for n in 1..=times {
        let answer = hop(router, INVOKE, &trace).await;
        assert_eq!(answer.status, 200, "{n}");
        assert_eq!(answer.header("x-longshore-parity"), "", "{n}");
        trace = answer.json().as_str().unwrap().to_owned();
        assert!(
            trace.starts_with(&format!("{ROOT};Lineage={n}:")),
            "{trace}"
        );
    }
    trace
}

fn enforcing() -> Router {
    let (router, _) = gateway_with(crate::Config {
        parity: Parity::Enforce,
        ..config()
    });
    router
}

async fn allow(router: &Router, wanted: &str) -> Answered {
    let body = json!({"RecursiveLoop": wanted}).to_string();
    call(router, Method::PUT, CONFIG, &[], body).await
}

#[tokio::test]
async fn the_seventeenth_invocation_of_a_chain_is_told_of_and_made() {
    let (router, _) = gateway();
    let trace = chain(&router, 16).await;
    for path in [INVOKE, STREAM] {
        let answer = hop(&router, path, &trace).await;
        assert_eq!(answer.status, 200);
        let told = answer.header("x-longshore-parity");
        for part in ["recursive-loop: ", "`demo`", "17th", "\"Allow\"", AWS] {
            assert!(told.contains(part), "{part} is not in: {told}");
        }
        let body = String::from_utf8_lossy(&answer.body);
        assert!(body.contains(";Lineage=17:"), "{body}");
    }
    // Another chain, another function.
    assert_eq!(
        hop(&router, INVOKE, ROOT)
            .await
            .header("x-longshore-parity"),
        ""
    );
    let other = INVOKE.replace("demo", "other");
    assert_eq!(
        hop(&router, &other, &trace)
            .await
            .header("x-longshore-parity"),
        ""
    );
}

#[tokio::test]
async fn the_seventeenth_invocation_of_a_chain_is_refused_where_parity_is_enforced() {
    let router = enforcing();
    let trace = chain(&router, 16).await;
    for path in [INVOKE, STREAM] {
        let answer = hop(&router, path, &trace).await;
        assert_eq!(answer.status, 400);
        assert_eq!(
            answer.header("x-amzn-errortype"),
            "RecursiveInvocationException"
        );
        assert!(
            answer
                .header("x-longshore-parity")
                .starts_with("recursive-loop: ")
        );
        assert_eq!(answer.json()["Type"], "User");
        assert_eq!(answer.json()["Message"], crate::recursion::MESSAGE);
    }
    let dry = [
        ("x-amz-invocation-type", "DryRun"),
        ("x-amzn-trace-id", &*trace),
    ];
    assert_eq!(
        call(&router, Method::POST, INVOKE, &dry, "{}").await.status,
        204
    );
    assert_eq!(hop(&router, INVOKE, ROOT).await.status, 200);

    assert_eq!(allow(&router, "Allow").await.status, 200);
    let answer = hop(&router, INVOKE, &trace).await;
    assert_eq!(
        (answer.status, answer.header("x-longshore-parity")),
        (200, "")
    );
    assert_eq!(allow(&router, "Terminate").await.status, 200);
    assert_eq!(hop(&router, INVOKE, &trace).await.status, 400);
}

#[tokio::test]
async fn a_request_to_an_api_begins_a_chain_of_its_own() {
    let router = enforcing();
    let trace = chain(&router, 16).await;
    let headers = [("x-amzn-trace-id", &*trace)];
    let url = "/lambda-url/demo/";
    let answer = call(&router, Method::GET, url, &headers, "").await;
    assert_eq!(
        answer.status,
        200,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    assert!(answer.header("x-amzn-trace-id").contains(";Lineage=1:"));
}

#[tokio::test]
async fn what_becomes_of_loops_is_set_and_shown() {
    let (router, _) = gateway();
    let shown = async || call(&router, Method::GET, CONFIG, &[], "").await.json();
    assert_eq!(shown().await, json!({"RecursiveLoop": "Terminate"}));
    for wanted in ["Allow", "Terminate", "Allow"] {
        let answer = allow(&router, wanted).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json(), json!({"RecursiveLoop": wanted}));
        assert_eq!(shown().await, json!({"RecursiveLoop": wanted}));
    }
    let by = |name: &str| CONFIG.replace("demo", name);
    for (path, body, status, error_type, part) in [
        (by(ARN), r#"{"RecursiveLoop":"Allow"}"#, 200, "", ""),
        (
            by("nobody"),
            r#"{"RecursiveLoop":"Allow"}"#,
            404,
            "ResourceNotFoundException",
            "",
        ),
        (
            by("demo:$LATEST"),
            r#"{"RecursiveLoop":"Allow"}"#,
            400,
            "ValidationException",
            "'functionName'",
        ),
        (
            by("demo"),
            r#"{"RecursiveLoop":"allow"}"#,
            400,
            "ValidationException",
            "[Terminate, Allow]",
        ),
        (
            by("demo"),
            "{}",
            400,
            "ValidationException",
            "Value null at 'recursiveLoop'",
        ),
        (by("demo"), "no", 400, "SerializationException", ""),
    ] {
        let answer = call(&router, Method::PUT, &path, &[], body).await;
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (status, error_type),
            "{path} {body}"
        );
        let message = answer.json()["message"].to_string();
        assert!(message.contains(part), "{message}");
    }
    let nobody = call(&router, Method::GET, &by("nobody"), &[], "").await;
    assert_eq!(
        nobody.header("x-amzn-errortype"),
        "ResourceNotFoundException"
    );
}

#[tokio::test]
async fn a_declaration_counts_until_the_api_says_otherwise() {
    let (router, broker) = gateway();
    let mut table = two_functions();
    for entry in table.functions.values_mut() {
        entry.function.settings.recursive_loop = app_model::RecursiveLoop::Allow;
    }
    broker.take_in(&table);
    let shown = async || call(&router, Method::GET, CONFIG, &[], "").await.json();
    assert_eq!(shown().await, json!({"RecursiveLoop": "Allow"}));
    let trace = chain(&router, 16).await;
    assert_eq!(
        hop(&router, INVOKE, &trace)
            .await
            .header("x-longshore-parity"),
        ""
    );
    assert_eq!(allow(&router, "Terminate").await.status, 200);
    assert_eq!(shown().await, json!({"RecursiveLoop": "Terminate"}));
    assert_ne!(
        hop(&router, INVOKE, &trace)
            .await
            .header("x-longshore-parity"),
        ""
    );
}
