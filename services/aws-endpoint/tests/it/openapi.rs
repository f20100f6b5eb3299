//! The document describes this service as it is: every operation it lists is answered, and
//! what it says of Lambda's reaches the gateway.

use axum::Router;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::harness::Endpoint;

const SERVICE: &str = "aws-endpoint";

fn has_server(path: &Value, port: &str) -> bool {
    let servers = path["servers"].as_array().into_iter().flatten();
    servers.into_iter().any(|server| {
        server["url"]
            .as_str()
            .is_some_and(|url| url.ends_with(port))
    })
}

#[tokio::test]
async fn every_operation_of_this_service_is_routed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gateway = Router::new().fallback(async || {
        let headers = [("x-amzn-requestid", "7")];
        (http::StatusCode::ACCEPTED, headers, "the gateway")
    });
    let served = tokio::spawn(async move { axum::serve(listener, gateway).await });
    let endpoint = Endpoint::start_with_lambda(address).await;
    let document: Value = serde_json::from_str(service_runtime::OPENAPI).unwrap();
    let (mut own, mut passed_on) = (0, 0);
    for (path, methods) in document["paths"].as_object().unwrap() {
        let is_here = has_server(methods, ":4566");
        for (method, operation) in methods.as_object().unwrap() {
            let tags = operation["tags"].as_array().into_iter().flatten();
            let is_own = tags.into_iter().any(|tag| tag == SERVICE);
            if !operation.is_object() || !(is_own || is_here) {
                continue;
            }
            let url = format!(
                "http://{}{}",
                endpoint.address,
                path.replace("{name}", "demo")
            );
            let method: http::Method = method.to_uppercase().parse().unwrap();
            let answer = endpoint
                .http
                .request(method.clone(), url)
                .send()
                .await
                .unwrap();
            let status = answer.status();
            let body = answer.text().await.unwrap();
            assert!(status.is_success(), "{method} {path}: {status} {body}");
            if is_own {
                own += 1;
            } else {
                assert_eq!(body, "the gateway", "{method} {path}");
                passed_on += 1;
            }
        }
    }
    assert!(
        own >= 2 && passed_on >= 15,
        "{own} and {passed_on} operations"
    );
    endpoint.stop().await;
    served.abort();
}
