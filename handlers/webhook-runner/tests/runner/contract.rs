//! The reference runner's own test cases, and what it must answer to each.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use crate::upstream::{Upstream, rows, timeline};
use serde_json::{Value, json};
use webhook_runner::{
    Deadline, Ending, HttpClient, Outcome, RateLimit, Response, Runner, RunnerSettings,
};
use wiremock::matchers::method;
use wiremock::{Mock, Request, ResponseTemplate};

fn batches_of(size: usize) -> RunnerSettings {
    RunnerSettings {
        batch_size: NonZeroUsize::new(size).unwrap(),
        ..RunnerSettings::REFERENCE
    }
}

async fn run(upstream: &Upstream, data_url: &str, batch_size: usize) -> Outcome {
    let client = HttpClient::new().unwrap();
    Runner::new(client.clone())
        .settings(batches_of(batch_size))
        .run(
            &upstream.payload(data_url),
            &mut upstream.api(&client),
            Deadline::NONE,
        )
        .await
        .unwrap()
}

fn answer(outcome: Outcome) -> (u16, Value) {
    let response = Response::from(Ok(outcome));
    (
        response.status_code,
        serde_json::from_str(&response.body).unwrap(),
    )
}

#[tokio::test]
async fn the_happy_path() {
    let upstream = Upstream::start().await;
    let url = upstream.text(&rows(5)).await;
    let outcome = run(&upstream, &url, 2).await;
    assert_eq!((outcome.batch_offset, outcome.delivered), (5, 5));
    assert_eq!(
        answer(outcome),
        (200, json!({"status": "succeeded", "message": []}))
    );
    assert_eq!(
        upstream.deliveries().await,
        [
            json!([{"n": 100}, {"n": 101}]),
            json!([{"n": 102}, {"n": 103}]),
            json!([{"n": 104}]),
        ]
    );
    assert_eq!(
        upstream.reports().await,
        [
            json!({"state": "running", "progress": 0.0, "errors": [], "reason": ""}),
            json!({"state": "running", "progress": 0.4, "errors": [], "reason": ""}),
            json!({"state": "running", "progress": 0.8, "errors": [], "reason": ""}),
            json!({"state": "succeeded", "progress": 1.0, "errors": [], "reason": ""}),
        ]
    );
    for put in upstream.requests("PUT").await {
        assert_eq!(put.url.path(), "/poll/wh-1");
        assert_eq!(put.headers["content-type"], "application/json");
        assert_eq!(put.headers["x-amperity-tenant"], "tenant-1");
        assert_eq!(put.headers["authorization"], "Bearer 2:some:token");
    }
}

#[tokio::test]
async fn an_empty_file_succeeds_without_a_batch() {
    for text in ["", "\n\n"] {
        let upstream = Upstream::start().await;
        let url = upstream.text(text).await;
        let outcome = run(&upstream, &url, 2).await;
        assert_eq!((outcome.batch_offset, outcome.batches), (0, 0));
        assert_eq!(outcome.status_code(), 200);
        let reports = timeline(&upstream.reports().await);
        assert_eq!(
            reports,
            [("running".into(), 0.0), ("succeeded".into(), 1.0)]
        );
    }
}

#[tokio::test]
async fn a_download_that_is_refused_is_reported_as_failed() {
    for status in [403, 404, 500, 204] {
        let upstream = Upstream::start().await;
        let url = upstream.source(ResponseTemplate::new(status)).await;
        let outcome = run(&upstream, &url, 2).await;
        assert_eq!(
            answer(outcome),
            (
                500,
                json!({"status": "failed", "message": "Failed to download file."})
            )
        );
        let last = upstream.reports().await.pop().unwrap();
        assert_eq!(last["state"], "failed");
        assert_eq!(last["progress"], 0.0);
        assert_eq!(last["reason"], "Failed to download file.");
        let why = last["errors"][0].as_str().unwrap();
        assert!(why.contains(&status.to_string()), "{why}");
        assert!(upstream.deliveries().await.is_empty());
    }
}

#[tokio::test]
async fn an_unreachable_source_is_reported_as_failed() {
    let upstream = Upstream::start().await;
    let outcome = run(&upstream, "http://127.0.0.1:1/data", 2).await;
    assert_eq!(
        outcome.ending,
        Ending::Failed("Failed to download file.".into())
    );
    assert_eq!(upstream.reports().await.pop().unwrap()["state"], "failed");
}

#[tokio::test]
async fn without_the_first_report_nothing_is_read() {
    for (status, attempts) in [(502, 4), (400, 1)] {
        let upstream = Upstream::silent().await;
        upstream.callback(ResponseTemplate::new(status)).await;
        upstream.destination(ResponseTemplate::new(200)).await;
        let url = upstream.text(&rows(5)).await;
        let outcome = run(&upstream, &url, 2).await;
        assert_eq!(
            answer(outcome),
            (
                500,
                json!({"status": "error",
                         "message": "Error reporting status to Amperity. Ending Lambda."})
            )
        );
        assert_eq!(upstream.requests("PUT").await.len(), attempts);
        assert!(upstream.requests("GET").await.is_empty());
        assert!(upstream.deliveries().await.is_empty());
    }
}

#[tokio::test]
async fn an_unreachable_callback_ends_the_run_before_it_begins() {
    let upstream = Upstream::start().await;
    let url = upstream.text(&rows(5)).await;
    let mut payload = upstream.payload(&url);
    payload.callback_url = "http://127.0.0.1:1/".to_owned();
    let client = HttpClient::new().unwrap();
    let outcome = Runner::new(client.clone())
        .run(&payload, &mut upstream.api(&client), Deadline::NONE)
        .await
        .unwrap();
    assert_eq!(outcome.ending, Ending::Unreported);
    assert!(upstream.requests("GET").await.is_empty());
}

#[tokio::test]
async fn a_resumed_run_skips_and_counts_what_it_skipped() {
    let upstream = Upstream::start().await;
    let url = upstream.text(&rows(2)).await;
    let mut payload = upstream.payload(&url);
    payload.batch_offset = Some(1);
    let client = HttpClient::new().unwrap();
    let outcome = Runner::new(client.clone())
        .settings(batches_of(1))
        .run(&payload, &mut upstream.api(&client), Deadline::NONE)
        .await
        .unwrap();
    assert_eq!((outcome.batch_offset, outcome.delivered), (2, 1));
    assert_eq!(upstream.deliveries().await, [json!([{"n": 101}])]);
    assert_eq!(
        timeline(&upstream.reports().await),
        [
            ("running".into(), 0.0),
            ("running".into(), 1.0),
            ("succeeded".into(), 1.0)
        ]
    );
}

#[tokio::test]
async fn over_the_rate_limit_the_next_request_waits_for_the_rest_of_the_window() {
    let upstream = Upstream::start().await;
    let url = upstream.text(&rows(2)).await;
    let window = Duration::from_millis(300);
    let client = HttpClient::new().unwrap();
    let mut api = upstream
        .api(&client)
        .rate_limit(RateLimit::new(1.try_into().unwrap(), window));
    let started = Instant::now();
    let outcome = Runner::new(client)
        .settings(batches_of(1))
        .run(&upstream.payload(&url), &mut api, Deadline::NONE)
        .await
        .unwrap();
    assert_eq!(outcome.delivered, 2);
    let took = started.elapsed();
    assert!(took >= window && took < 2 * window, "one wait: {took:?}");
}

#[tokio::test]
async fn a_wait_that_would_outlast_the_invocation_ends_it_with_an_offset() {
    let upstream = Upstream::start().await;
    let url = upstream.text(&rows(5)).await;
    let client = HttpClient::new().unwrap();
    let mut api = upstream
        .api(&client)
        .requests_per_minute(1.try_into().unwrap());
    let deadline = Deadline::after(Duration::from_secs(30));
    let outcome = Runner::new(client)
        .settings(batches_of(2))
        .run(&upstream.payload(&url), &mut api, deadline)
        .await
        .unwrap();
    assert_eq!((outcome.batch_offset, outcome.delivered), (2, 2));
    let last = upstream.reports().await.pop().unwrap();
    assert_eq!(
        (&last["state"], &last["progress"]),
        (&json!("failed"), &json!(0.4))
    );
    let reason = last["reason"].as_str().unwrap();
    assert!(reason.contains(r#""batch_offset": 2"#), "{reason}");
}

#[tokio::test]
async fn a_mapping_and_a_key_shape_the_request() {
    let upstream = Upstream::start().await;
    let url = upstream.text(&rows(2)).await;
    let client = HttpClient::new().unwrap();
    let mut api = upstream
        .api(&client)
        .data_key("a \"key\"")
        .basic_auth("user", "pass")
        .map(|batch| {
            let records: Vec<Value> = batch.parse()?;
            Ok(records
                .iter()
                .map(|record| record["n"].clone())
                .collect::<Vec<_>>())
        });
    Runner::new(client)
        .run(&upstream.payload(&url), &mut api, Deadline::NONE)
        .await
        .unwrap();
    assert_eq!(
        upstream.deliveries().await,
        [json!({"a \"key\"": [100, 101]})]
    );
    let post = &upstream.requests("POST").await[0];
    assert_eq!(post.headers["authorization"], "Basic dXNlcjpwYXNz");
    assert_eq!(post.headers["content-type"], "application/json");
}

#[tokio::test]
async fn a_mapping_that_fails_is_an_error_of_its_batch() {
    let upstream = Upstream::start().await;
    let url = upstream.text("{\"n\":1}\n{\"n\":\"x\"}\n").await;
    let client = HttpClient::new().unwrap();
    let mut api = upstream.api(&client).map(|batch| {
        let numbers: Vec<std::collections::BTreeMap<String, u64>> = batch.parse()?;
        Ok(numbers)
    });
    let outcome = Runner::new(client)
        .settings(batches_of(1))
        .run(&upstream.payload(&url), &mut api, Deadline::NONE)
        .await
        .unwrap();
    assert_eq!((outcome.delivered, outcome.refused), (1, 1));
    assert!(outcome.errors[0].starts_with("batch 2 (records 2 to 2): not mapped: invalid type"));
}

#[tokio::test]
async fn a_refused_batch_is_an_error_and_the_others_go_on() {
    let upstream = Upstream::silent().await;
    upstream.callback(ResponseTemplate::new(200)).await;
    let refuse_second = |request: &Request| {
        if request.body.starts_with(b"[{\"n\":102}") {
            ResponseTemplate::new(422).set_body_string("n must not be 102")
        } else {
            ResponseTemplate::new(201)
        }
    };
    Mock::given(method("POST"))
        .respond_with(refuse_second)
        .mount(&upstream.server)
        .await;
    let url = upstream.text(&rows(6)).await;
    let outcome = run(&upstream, &url, 2).await;
    let error = "batch 2 (records 3 to 4): 422 Unprocessable Entity: n must not be 102";
    assert_eq!(
        (outcome.batches, outcome.refused, outcome.delivered),
        (3, 1, 4)
    );
    assert_eq!(
        answer(outcome),
        (200, json!({"status": "succeeded", "message": [error]}))
    );
    let reports = upstream.reports().await;
    let errors: Vec<_> = reports.iter().map(|report| &report["errors"]).collect();
    assert_eq!(
        errors,
        [
            &json!([]),
            &json!([]),
            &json!([error]),
            &json!([]),
            &json!([])
        ],
        "told once, with the report on its batch"
    );
}

#[tokio::test]
async fn every_batch_refused_is_failed_and_ten_errors_go_into_a_report() {
    let upstream = Upstream::silent().await;
    upstream.callback(ResponseTemplate::new(200)).await;
    upstream.destination(ResponseTemplate::new(500)).await;
    let url = upstream.text(&rows(3)).await;
    let outcome = run(&upstream, &url, 1).await;
    assert_eq!(outcome.batch_offset, 3);
    let reason = "the destination refused every batch (3)";
    assert_eq!(
        answer(outcome),
        (500, json!({"status": "failed", "message": reason}))
    );
    let last = upstream.reports().await.pop().unwrap();
    assert_eq!(
        (&last["state"], &last["reason"]),
        (&json!("failed"), &json!(reason))
    );
}

#[tokio::test]
async fn a_batch_is_repeated_as_the_answer_asks() {
    // (status, Retry-After, attempts, shortest time)
    for (status, after, attempts, least) in [
        (503, None, 4, 700),
        (429, Some("0"), 4, 0),
        (429, Some("0.3"), 4, 900),
        (429, None, 1, 0),
        (500, None, 1, 0),
    ] {
        let upstream = Upstream::silent().await;
        upstream.callback(ResponseTemplate::new(200)).await;
        let mut refusal = ResponseTemplate::new(status);
        if let Some(after) = after {
            refusal = refusal.insert_header("retry-after", after);
        }
        upstream.destination(refusal).await;
        let url = upstream.text(&rows(1)).await;
        let started = Instant::now();
        let outcome = run(&upstream, &url, 1).await;
        assert_eq!(outcome.refused, 1);
        assert_eq!(
            upstream.requests("POST").await.len(),
            attempts,
            "{status} {after:?}"
        );
        assert!(
            started.elapsed() >= Duration::from_millis(least),
            "{status} {after:?}"
        );
    }
}

#[tokio::test]
async fn a_passing_failure_of_callback_and_destination_loses_nothing() {
    let upstream = Upstream::silent().await;
    for route in ["PUT", "POST"] {
        Mock::given(method(route))
            .respond_with(ResponseTemplate::new(503))
            .up_to_n_times(2)
            .with_priority(1)
            .mount(&upstream.server)
            .await;
    }
    upstream.callback(ResponseTemplate::new(200)).await;
    upstream.destination(ResponseTemplate::new(200)).await;
    let url = upstream.text(&rows(2)).await;
    let outcome = run(&upstream, &url, 2).await;
    assert_eq!((outcome.status_code(), outcome.delivered), (200, 2));
    assert_eq!(outcome.errors, Vec::<String>::new());
}

#[tokio::test]
async fn the_last_report_s_status_is_the_answer_s() {
    let upstream = Upstream::silent().await;
    let by_state = |request: &Request| {
        let report: Value = serde_json::from_slice(&request.body).unwrap();
        ResponseTemplate::new(if report["state"] == "succeeded" {
            409
        } else {
            200
        })
    };
    Mock::given(method("PUT"))
        .respond_with(by_state)
        .mount(&upstream.server)
        .await;
    upstream.destination(ResponseTemplate::new(200)).await;
    let url = upstream.text(&rows(1)).await;
    assert_eq!(run(&upstream, &url, 1).await.status_code(), 409);
}

#[tokio::test]
async fn a_report_that_is_refused_leaves_its_errors_to_the_next() {
    let upstream = Upstream::silent().await;
    let refuse_second = |request: &Request| {
        let report: Value = serde_json::from_slice(&request.body).unwrap();
        ResponseTemplate::new(if report["progress"] == 0.5 { 400 } else { 200 })
    };
    Mock::given(method("PUT"))
        .respond_with(refuse_second)
        .mount(&upstream.server)
        .await;
    upstream.destination(ResponseTemplate::new(200)).await;
    let url = upstream.text("{oops!}\n{\"n\":1}\n").await;
    let outcome = run(&upstream, &url, 1).await;
    assert_eq!(outcome.status_code(), 200);
    let told: Vec<_> = upstream
        .reports()
        .await
        .iter()
        .map(|report| report["errors"].as_array().unwrap().len())
        .collect();
    assert_eq!(
        told.iter().sum::<usize>(),
        2,
        "refused, then again: {told:?}"
    );
}

#[tokio::test]
async fn a_payload_that_cannot_be_used_is_refused_before_anything_is_sent() {
    let upstream = Upstream::start().await;
    let client = HttpClient::new().unwrap();
    let good = upstream.payload("http://127.0.0.1:1/x");
    let mut cases = vec![good; 4];
    cases[0].data_url = "file:///etc/passwd".to_owned();
    cases[1].callback_url = "no url ".to_owned();
    cases[2].access_token = Some("line\nbreak".to_owned());
    cases[3].tenant_id = Some("nul\0".to_owned());
    for (payload, field) in cases.iter().zip([
        "`data_url`",
        "`callback_url`",
        "`access_token`",
        "`tenant_id`",
    ]) {
        let bad = Runner::new(client.clone())
            .run(payload, &mut upstream.api(&client), Deadline::NONE)
            .await
            .unwrap_err();
        assert!(bad.to_string().starts_with(field), "{bad}");
    }
    assert!(
        upstream
            .server
            .received_requests()
            .await
            .unwrap()
            .is_empty()
    );
}
