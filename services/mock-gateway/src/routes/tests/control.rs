//! The control routes.

use super::*;

#[tokio::test]
async fn the_control_routes_show_what_is_so() {
    let (router, broker) = gateway(built(1));
    let asks = async |path: &str| {
        let (status, _, text) = send(&router, get(path)).await;
        (
            status.as_u16(),
            serde_json::from_str::<Value>(&text).unwrap(),
        )
    };
    assert_eq!(
        asks("/_longshore/health").await.1["service"],
        "mock-gateway"
    );
    let (_, functions) = asks("/_longshore/functions").await;
    assert_eq!(functions["functions"][0]["name"], "demo");
    assert_eq!(functions["functions"][0]["generation"], 1);
    send(&router, post("/lambda/demo", "x")).await;
    broker.take_in(&built(2));
    let (status, function) = asks("/_longshore/functions/demo?wait_generation=2&timeout=10s").await;
    assert_eq!((status, &function["generation"]), (200, &json!(2)));
    let (status, function) =
        asks("/_longshore/functions/demo?wait_generation=9&timeout=10ms").await;
    assert_eq!(
        (status, &function["generation"]),
        (200, &json!(2)),
        "time was up"
    );
    let (_, environments) = asks("/_longshore/environments").await;
    let newest = environments["environments"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(
        (&newest["generation"], &newest["state"]),
        (&json!(2), &json!("idle"))
    );
    let (_, invocations) = asks("/_longshore/invocations?limit=1&function=demo").await;
    let invocation = &invocations["invocations"][0];
    assert_eq!(invocation["outcome"], "succeeded", "{invocations}");
    assert_eq!(
        asks("/_longshore/invocations?function=other").await.1["invocations"],
        json!([])
    );
    for (path, status) in [
        ("/_longshore/functions/nobody", 404),
        ("/_longshore/functions/demo?wait_generation=soon", 400),
        ("/_longshore/invocations?unknown=1", 400),
    ] {
        assert_eq!(asks(path).await.0, status, "{path}");
    }
    broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn a_functions_log_is_told_line_by_line_and_followed() {
    let (router, broker) = gateway(built(1));
    let lines = |text: &str| -> Vec<Value> {
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let messages = |lines: &[Value]| -> Vec<String> {
        let lines = lines.iter();
        lines
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .collect()
    };
    let get = |query: &str| {
        let uri = format!("/_longshore/logs/demo{query}");
        Request::get(uri).body(Body::empty()).unwrap()
    };
    let mut ids = Vec::new();
    for _ in 0..2 {
        let request = Request::post("/lambda/demo").body(Body::from("x")).unwrap();
        assert_eq!(send(&router, request).await.0, StatusCode::CREATED);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        let ended = broker.invocations().wait_for(deadline, |journal| {
            let ended = journal.snapshot().entries;
            (ended.len() > ids.len()).then(|| ended.last().unwrap().item.request_id.clone())
        });
        ids.push(ended.await.unwrap());
    }

    let (status, headers, body) = send(&router, get("")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["content-type"], "application/x-ndjson");
    let all = lines(&body);
    assert!(
        all[0]["message"]
            .as_str()
            .unwrap()
            .starts_with("INIT_START ")
    );
    assert_eq!(all.len(), 9, "{body}");
    let (_, _, body) = send(&router, get(&format!("?request_id={}", ids[1]))).await;
    let of_one = lines(&body);
    assert_eq!(
        messages(&of_one)[..3],
        [
            format!("START RequestId: {} Version: $LATEST", ids[1]),
            "at work".to_owned(),
            format!("END RequestId: {}", ids[1]),
        ]
    );
    assert_eq!(of_one[1]["origin"], "stdout");
    assert_eq!(of_one[1]["stream"], all[0]["stream"]);
    assert!(
        messages(&of_one)[3].starts_with("REPORT RequestId: "),
        "{body}"
    );
    let (_, _, body) = send(&router, get("?limit=1")).await;
    assert_eq!(lines(&body), all[8..]);

    // Somebody who follows hears of what comes, until the gateway stops.
    let request = get("?limit=1&follow=true");
    let followed = within("the start", router.clone().oneshot(request)).await;
    let mut body = followed.unwrap().into_body();
    let mut frame = async || {
        let frame = within("a frame", http_body_util::BodyExt::frame(&mut body)).await;
        frame.map(|frame| String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
    };
    assert_eq!(lines(&frame().await.unwrap()), all[8..]);
    let request = Request::post("/lambda/demo").body(Body::from("x")).unwrap();
    send(&router, request).await;
    let mut heard = String::new();
    while !heard.contains("REPORT RequestId: ") {
        heard += &frame().await.unwrap();
    }
    assert_eq!(lines(&heard).len(), 4, "{heard}");
    broker.shared.logs.close();
    assert_eq!(frame().await, None);

    for (uri, status) in [
        ("/_longshore/logs/nobody", StatusCode::NOT_FOUND),
        (
            "/_longshore/logs/demo?request_id=x",
            StatusCode::BAD_REQUEST,
        ),
        ("/_longshore/logs/demo?folow=true", StatusCode::BAD_REQUEST),
    ] {
        let request = Request::get(uri).body(Body::empty()).unwrap();
        assert_eq!(send(&router, request).await.0, status, "{uri}");
    }
}
