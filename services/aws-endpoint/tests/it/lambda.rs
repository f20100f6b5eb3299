//! What is for Lambda reaches the gateway as it was sent, and nothing else does.

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::response::IntoResponse;
use http::StatusCode;
use tokio::net::TcpListener;

use crate::harness::Endpoint;

const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=test/20251121/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=00";

/// Tells what it was sent; knows `/2015-03-31/…` only.
async fn gateway(request: Request) -> axum::response::Response {
    let (parts, body) = request.into_parts();
    let known = ["/2015-03-31/", "/_longshore/cloudwatch-logs"];
    if !known.iter().any(|path| parts.uri.path().starts_with(path)) {
        return (StatusCode::NOT_FOUND, "not found").into_response();
    }
    let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let kind = parts.headers.get("x-amz-invocation-type");
    let kind = kind.or(parts.headers.get("x-amz-target"));
    let told = format!(
        "{} {} {} {}",
        parts.method,
        parts.uri,
        kind.map_or("", |kind| kind.to_str().unwrap()),
        String::from_utf8_lossy(&body)
    );
    let headers = [
        ("x-amzn-requestid", "7"),
        ("x-amz-executed-version", "$LATEST"),
    ];
    (StatusCode::ACCEPTED, headers, told).into_response()
}

#[tokio::test]
async fn lambdas_requests_go_to_the_gateway_and_s3s_do_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(gateway);
    let served = tokio::spawn(async move { axum::serve(listener, router).await });
    let endpoint = Endpoint::start_with_lambda(address).await;
    let url = |path: &str| format!("http://{}{path}", endpoint.address);
    // Escaped as boto3 escapes an ARN.
    let path = "/2015-03-31/functions/arn%3Aaws%3Alambda/invocations?Qualifier=%24LATEST";
    for authorization in [Some(SIGNED), None] {
        let mut request = endpoint
            .http
            .post(url(path))
            .header("x-amz-invocation-type", "Event")
            .body("{\"n\":1}");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 202);
        assert_eq!(answer.headers()["x-amz-executed-version"], "$LATEST");
        assert_eq!(
            answer.text().await.unwrap(),
            format!("POST {path} Event {{\"n\":1}}")
        );
    }

    let unknown = endpoint.http.post(url("/2018-10-31/layers"));
    let answer = unknown
        .header("authorization", SIGNED)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 501);
    assert_eq!(
        answer.headers()["x-amzn-errortype"],
        "NotImplementedException"
    );
    let text = answer.text().await.unwrap();
    assert!(text.contains("POST /2018-10-31/layers"), "{text}");

    let buckets = endpoint.http.get(url("/")).send().await.unwrap();
    assert!(
        buckets
            .text()
            .await
            .unwrap()
            .contains("ListAllMyBucketsResult")
    );

    endpoint.stop().await;
    served.abort();
}

#[tokio::test]
async fn reads_of_logs_go_to_the_gateway_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(gateway);
    let served = tokio::spawn(async move { axum::serve(listener, router).await });
    let endpoint = Endpoint::start_with_lambda(address).await;
    let signed = SIGNED.replace("/lambda/", "/logs/");
    for authorization in [Some(&signed), None] {
        let mut request = endpoint
            .http
            .post(format!("http://{}/", endpoint.address))
            .header("x-amz-target", "Logs_20140328.FilterLogEvents")
            .body("{}");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 202);
        assert_eq!(
            answer.text().await.unwrap(),
            "POST /_longshore/cloudwatch-logs Logs_20140328.FilterLogEvents {}"
        );
    }
    endpoint.stop().await;
    served.abort();
}
