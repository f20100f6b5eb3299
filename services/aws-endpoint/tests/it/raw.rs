//! Requests that no SDK sends, or not in this form.

use http::header::{CONTENT_TYPE, HOST, RANGE};
use reqwest::{Body, Method, Response, StatusCode};

use crate::harness::{BUCKET, Endpoint};

async fn text(response: Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.unwrap())
}

/// A signature by a key that nobody knows.
fn authorization(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKIASOMEONE/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=00"
    )
}

#[tokio::test]
async fn plain_http_reads_with_ranges_and_head() {
    let endpoint = Endpoint::start().await;
    let url = endpoint.url("test-bucket/k.txt");
    let put = endpoint.http.put(&url).header(CONTENT_TYPE, "text/plain");
    assert_eq!(put.body("0123456789").send().await.unwrap().status(), 200);

    let cases = [
        (Method::GET, None, 200, "0123456789", None),
        (
            Method::GET,
            Some("bytes=2-4"),
            206,
            "234",
            Some("bytes 2-4/10"),
        ),
        (
            Method::GET,
            Some("bytes=7-"),
            206,
            "789",
            Some("bytes 7-9/10"),
        ),
        (
            Method::GET,
            Some("bytes=-3"),
            206,
            "789",
            Some("bytes 7-9/10"),
        ),
        (
            Method::GET,
            Some("bytes=8-99"),
            206,
            "89",
            Some("bytes 8-9/10"),
        ),
        (Method::HEAD, None, 200, "", None),
        (
            Method::HEAD,
            Some("bytes=2-4"),
            206,
            "",
            Some("bytes 2-4/10"),
        ),
    ];
    for (method, range, status, body, content_range) in cases {
        let mut request = endpoint.http.request(method.clone(), &url);
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        let response = request.send().await.unwrap();
        let header = |name: &str| {
            let value = response.headers().get(name);
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(response.status(), status, "{method} {range:?}");
        assert_eq!(header("content-range").as_deref(), content_range);
        assert_eq!(header("content-type").as_deref(), Some("text/plain"));
        assert_eq!(header("accept-ranges").as_deref(), Some("bytes"));
        assert!(header("x-amz-request-id").is_some());
        if method == Method::HEAD {
            let length = if range.is_some() { "3" } else { "10" };
            assert_eq!(header("content-length").as_deref(), Some(length));
        }
        assert_eq!(response.text().await.unwrap(), body);
    }
    let request = endpoint.http.get(&url).header(RANGE, "bytes=10-");
    let (status, body) = text(request.send().await.unwrap()).await;
    assert_eq!(status, 416);
    assert!(body.contains("<Code>InvalidRange</Code>"), "{body}");
    endpoint.stop().await;
}

#[tokio::test]
async fn a_bucket_can_be_named_by_the_host() {
    let endpoint = Endpoint::start().await;
    for host in ["test-bucket.localhost:4566", "test-bucket.s3.localhost"] {
        let put = endpoint.http.put(endpoint.url("dir/k")).header(HOST, host);
        assert_eq!(put.body(host).send().await.unwrap().status(), 200, "{host}");
        let read = endpoint.body("test-bucket/dir/k").await;
        assert_eq!(read.as_deref(), Some(host));
        let list = endpoint
            .http
            .get(endpoint.url("?list-type=2"))
            .header(HOST, host);
        let (_, body) = text(list.send().await.unwrap()).await;
        assert!(body.contains("<Key>dir/k</Key>"), "{body}");
    }
    endpoint.stop().await;
}

#[tokio::test]
async fn aws_chunked_framing_is_never_part_of_the_object() {
    let endpoint = Endpoint::start().await;
    let unsigned = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    let signed = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    let good = "5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n";
    let bad = "5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
    let short = "5\r\nhello\r\n0\r\n\r\n";
    let cut = "5\r\nhel";
    let chunks = "b;chunk-signature=00\r\nhello world\r\n0;chunk-signature=00\r\n\r\n";
    let cases = [
        (unsigned, good, true, "200", Some("hello world")),
        (unsigned, good, false, "200", Some("hello world")),
        (signed, chunks, true, "200", Some("hello world")),
        (unsigned, bad, true, "BadDigest", None),
        (unsigned, short, true, "IncompleteBody", None),
        (unsigned, cut, true, "IncompleteBody", None),
        (unsigned, "no framing", true, "IncompleteBody", None),
    ];
    for (at, (kind, body, authorized, answer, stored)) in cases.into_iter().enumerate() {
        let path = format!("test-bucket/k{at}");
        let mut put = endpoint
            .http
            .put(endpoint.url(&path))
            .header("x-amz-content-sha256", kind)
            .header("x-amz-decoded-content-length", "11")
            .header("x-amz-trailer", "x-amz-checksum-crc32")
            .header("content-encoding", "aws-chunked")
            .body(body);
        if authorized {
            put = put.header("authorization", authorization("s3"));
        }
        let (status, said) = text(put.send().await.unwrap()).await;
        assert!(
            status.to_string() == answer || said.contains(answer),
            "{at}: {status} {said}"
        );
        assert_eq!(endpoint.body(&path).await.as_deref(), stored, "{at}");
        if stored.is_some() {
            let got = endpoint.http.get(endpoint.url(&path)).send().await.unwrap();
            assert_eq!(got.headers().get("content-encoding"), None, "{at}");
        }
    }
    endpoint.stop().await;
}

#[tokio::test]
async fn a_body_of_unknown_length_is_refused_as_s3_does() {
    let endpoint = Endpoint::start().await;
    let chunks = futures::stream::iter([Ok::<_, std::io::Error>("hello")]);
    let put = endpoint.http.put(endpoint.url("test-bucket/k"));
    let answer = put.body(Body::wrap_stream(chunks)).send().await.unwrap();
    let (status, body) = text(answer).await;
    assert_eq!(status, 411, "{body}");
    assert!(body.contains("<Code>MissingContentLength</Code>"), "{body}");
    assert_eq!(endpoint.body("test-bucket/k").await, None);
    endpoint.stop().await;
}

#[tokio::test]
async fn bad_requests_get_s3s_errors() {
    let endpoint = Endpoint::start().await;
    let cors = "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>";
    let unsigned = "test-bucket/k?X-Amz-Credential=A%2F1%2Fr%2Fs3%2Faws4_request&X-Amz-Signature=0";
    let listing = |query: &str| format!("test-bucket?list-type=2&{query}");
    let cases = [
        (
            Method::GET,
            "No_Bucket/k".to_owned(),
            "",
            400,
            "InvalidBucketName",
        ),
        (
            Method::GET,
            "test-bucket/%ff".to_owned(),
            "",
            400,
            "InvalidURI",
        ),
        (
            Method::GET,
            listing("max-keys=x"),
            "",
            400,
            "InvalidArgument",
        ),
        (
            Method::GET,
            listing("max-keys=-1"),
            "",
            400,
            "InvalidArgument",
        ),
        (
            Method::GET,
            listing("encoding-type=x"),
            "",
            400,
            "InvalidArgument",
        ),
        (
            Method::POST,
            "test-bucket?delete".to_owned(),
            "<Delete",
            400,
            "MalformedXML",
        ),
        (
            Method::PUT,
            "test-bucket?cors".to_owned(),
            cors,
            501,
            "NotImplemented",
        ),
        (
            Method::GET,
            unsigned.to_owned(),
            "",
            400,
            "AuthorizationQueryParametersError",
        ),
    ];
    for (method, path, body, status, code) in cases {
        let request = endpoint.http.request(method.clone(), endpoint.url(&path));
        let (got, said) = text(request.body(body).send().await.unwrap()).await;
        assert_eq!(got, status, "{method} {path}: {said}");
        assert!(
            said.contains(&format!("<Code>{code}</Code>")),
            "{path}: {said}"
        );
    }
    let owner = endpoint
        .http
        .get(endpoint.url("test-bucket/k"))
        .header("x-amz-expected-bucket-owner", "111122223333");
    assert_eq!(owner.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    endpoint.stop().await;
}

#[tokio::test]
async fn clients_of_other_services_are_told_so() {
    let endpoint = Endpoint::start().await;
    let call = |service: &str, content_type: &str| {
        endpoint
            .http
            .post(endpoint.url(""))
            .header("authorization", authorization(service))
            .header(CONTENT_TYPE, content_type)
            .body("{}")
            .send()
    };
    let (status, body) = text(call("sqs", "application/x-amz-json-1.0").await.unwrap()).await;
    let said: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 501);
    assert_eq!(said["__type"], "NotImplemented");
    assert!(
        said["message"]
            .as_str()
            .unwrap()
            .contains("serves S3 only, not `sqs`")
    );
    let answer = call("sns", "application/x-www-form-urlencoded").await;
    let (status, body) = text(answer.unwrap()).await;
    assert_eq!(status, 501);
    assert!(body.contains("serves S3 only, not `sns`"), "{body}");
    endpoint.stop().await;
}

#[tokio::test]
async fn control_routes_are_no_bucket() {
    let endpoint = Endpoint::start().await;
    let health = endpoint.body("_longshore/health").await.unwrap();
    assert!(health.contains("\"service\":\"aws-endpoint\""), "{health}");
    assert!(endpoint.body("_longshore/openapi.json").await.is_some());
    let form = endpoint.url(BUCKET);
    assert_eq!(endpoint.http.get(form).send().await.unwrap().status(), 200);
    endpoint.stop().await;
}
