//! CloudWatch Logs over the logs of functions that ran.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use function_supervisor::FunctionTable;
use http::Request;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::asynchronous::Events;
use crate::broker::Broker;
use crate::function_logs::{LogLine, Origin};
use crate::server::{Gateway, router};
use crate::testing::{FakeLauncher, FakeRuntime, config, within};

const GROUP: &str = "/aws/lambda/demo";

/// Lines of two environments, in turns: `0`, `1`, … a millisecond apart.
fn gateway(lines: u32) -> Router {
    let broker = Broker::new(config(), FakeLauncher::new(FakeRuntime::echo));
    let log = broker.shared.logs.function(&"demo".parse().unwrap());
    let streams: [Arc<str>; 2] = ["b".into(), "a".into()];
    for number in 0..lines {
        log.append(LogLine {
            timestamp: 1_000 + i64::from(number),
            stream: &streams[number as usize % 2],
            request_id: None,
            origin: Origin::Stdout,
            message: &number.to_string(),
        });
    }
    // Declared, and never started.
    drop(broker.shared.logs.function(&"silent".parse().unwrap()));
    let (_, functions) = watch::channel(Arc::new(FunctionTable::default()));
    router(Gateway {
        broker: broker.clone(),
        functions,
        events: Events::unavailable(broker, "a test without a store"),
        access: Arc::default(),
    })
}

async fn call(router: &Router, operation: &str, body: &Value) -> (u16, Value) {
    let request = Request::post("/_longshore/cloudwatch-logs")
        .header("x-amz-target", format!("Logs_20140328.{operation}"))
        .header("content-type", "application/x-amz-json-1.1")
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = within("an answer", router.clone().oneshot(request)).await;
    let (parts, body) = response.unwrap().into_parts();
    assert_eq!(parts.headers["content-type"], "application/x-amz-json-1.1");
    assert!(parts.headers.contains_key("x-amzn-requestid"));
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    (
        parts.status.as_u16(),
        serde_json::from_slice(&body).unwrap(),
    )
}

async fn ok(router: &Router, operation: &str, body: Value) -> Value {
    let (status, answer) = call(router, operation, &body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

fn messages(answer: &Value) -> String {
    let events = answer["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| event["message"].as_str().unwrap().trim_end())
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::test]
async fn groups_and_streams_are_those_of_functions_that_ran() {
    let router = gateway(4);
    let groups = ok(&router, "DescribeLogGroups", json!({})).await;
    assert_eq!(
        groups,
        json!({"logGroups": [{
            "logGroupName": GROUP,
            "creationTime": 1_000,
            "metricFilterCount": 0,
            "arn": "arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/demo:*",
            "logGroupArn": "arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/demo",
            "storedBytes": 8,
            "logGroupClass": "STANDARD",
        }]})
    );
    let none = json!({"logGroupNamePrefix": "/aws/other"});
    assert_eq!(
        ok(&router, "DescribeLogGroups", none).await,
        json!({"logGroups": []})
    );

    let names = |answer: &Value| {
        let streams = answer["logStreams"].as_array().unwrap();
        let names = streams.iter().map(|s| s["logStreamName"].as_str().unwrap());
        names.collect::<Vec<_>>().join(" ")
    };
    for (asked, expected) in [
        (json!({}), "a b"),
        (json!({"descending": true}), "b a"),
        (json!({"orderBy": "LastEventTime"}), "b a"),
        (
            json!({"orderBy": "LastEventTime", "descending": true, "limit": 1}),
            "a",
        ),
        (json!({"logStreamNamePrefix": "b"}), "b"),
        (json!({"limit": 1, "nextToken": "1"}), "b"),
    ] {
        let mut body = json!({"logGroupIdentifier": "arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/demo:*"});
        body.as_object_mut()
            .unwrap()
            .extend(asked.as_object().unwrap().clone());
        let answer = ok(&router, "DescribeLogStreams", body).await;
        assert_eq!(names(&answer), expected, "{asked}");
    }
}

#[tokio::test]
async fn events_are_filtered_and_come_in_pages() {
    let router = gateway(12);
    for (asked, expected, more) in [
        (json!({}), "0 1 2 3 4 5 6 7 8 9 10 11", None),
        (json!({"limit": 2}), "0 1", Some("2")),
        (json!({"limit": 2, "nextToken": "2"}), "2 3", Some("4")),
        (
            json!({"limit": 10, "nextToken": "2"}),
            "2 3 4 5 6 7 8 9 10 11",
            None,
        ),
        (json!({"startTime": 1_003, "endTime": 1_006}), "3 4 5", None),
        (json!({"logStreamNames": ["a"]}), "1 3 5 7 9 11", None),
        (
            json!({"logStreamNamePrefix": "b", "endTime": 1_004}),
            "0 2",
            None,
        ),
        (json!({"filterPattern": "1 -10"}), "1 11", None),
    ] {
        let mut body = json!({"logGroupName": GROUP});
        body.as_object_mut()
            .unwrap()
            .extend(asked.as_object().unwrap().clone());
        let answer = ok(&router, "FilterLogEvents", body).await;
        assert_eq!(messages(&answer), expected, "{asked}");
        assert_eq!(answer["nextToken"].as_str(), more, "{asked}");
        let first = &answer["events"][0];
        assert_eq!(first["ingestionTime"], first["timestamp"]);
        assert_eq!(first["eventId"].as_str().unwrap().len(), 56);
    }
}

#[tokio::test]
async fn one_stream_is_read_forth_and_back_until_the_token_stays() {
    let router = gateway(12);
    let get = async |token: Option<&str>, from_head: bool| {
        let mut body = json!({"logGroupName": GROUP, "logStreamName": "a", "limit": 4, "startFromHead": from_head});
        if let Some(token) = token {
            body["nextToken"] = json!(token);
        }
        ok(&router, "GetLogEvents", body).await
    };
    let token = |answer: &Value, name: &str| answer[name].as_str().unwrap().to_owned();
    let newest = get(None, false).await;
    assert_eq!(messages(&newest), "5 7 9 11");
    let older = get(Some(&token(&newest, "nextBackwardToken")), false).await;
    assert_eq!(messages(&older), "1 3");
    let none = get(Some(&token(&older, "nextBackwardToken")), false).await;
    assert_eq!(messages(&none), "");
    assert_eq!(
        token(&none, "nextBackwardToken"),
        token(&older, "nextBackwardToken")
    );

    let oldest = get(None, true).await;
    assert_eq!(messages(&oldest), "1 3 5 7");
    let newer = get(Some(&token(&oldest, "nextForwardToken")), true).await;
    assert_eq!(messages(&newer), "9 11");
    let none = get(Some(&token(&newer, "nextForwardToken")), true).await;
    assert_eq!(messages(&none), "");
    assert_eq!(
        token(&none, "nextForwardToken"),
        token(&newer, "nextForwardToken")
    );
}

#[tokio::test]
async fn what_is_not_there_or_not_meant_is_refused() {
    let router = gateway(2);
    let at = |group: &str| json!({"logGroupName": group});
    let mut stream = at(GROUP);
    stream["logStreamName"] = json!("c");
    let mut token = stream.clone();
    token["logStreamName"] = json!("a");
    token["nextToken"] = json!("x/1");
    let mut limit = at(GROUP);
    limit["limit"] = json!(0);
    for (operation, body, expected) in [
        (
            "FilterLogEvents",
            at("/aws/lambda/silent"),
            "ResourceNotFoundException",
        ),
        (
            "DescribeLogStreams",
            at("/aws/lambda/none"),
            "ResourceNotFoundException",
        ),
        (
            "FilterLogEvents",
            at("elsewhere"),
            "ResourceNotFoundException",
        ),
        ("FilterLogEvents", json!({}), "InvalidParameterException"),
        ("FilterLogEvents", limit, "InvalidParameterException"),
        ("GetLogEvents", stream, "ResourceNotFoundException"),
        ("GetLogEvents", token, "InvalidParameterException"),
        ("GetLogEvents", at(GROUP), "SerializationException"),
        ("PutLogEvents", at(GROUP), "UnknownOperationException"),
    ] {
        let (status, answer) = call(&router, operation, &body).await;
        assert!(status >= 400, "{operation} {body}");
        assert_eq!(answer["__type"], expected, "{operation} {body}: {answer}");
    }
}
