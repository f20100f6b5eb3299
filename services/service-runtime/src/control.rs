//! The control routes that every service answers under `/_longshore/`.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use serde::Serialize;

/// The prefix of every control route. No Lambda route, destination or bucket can have it:
/// a bucket name may not begin with an underscore.
pub const CONTROL_PREFIX: &str = "/_longshore";

/// The document that describes the control routes of all services, OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("../../../docs/openapi.json");

#[derive(Serialize)]
struct Health {
    status: &'static str,
    service: &'static str,
    version: &'static str,
}

/// `GET /_longshore/health` and `GET /_longshore/openapi.json` for the service of this name.
///
/// A service merges these into its router last thing before it serves, so that a healthy
/// answer means that it is ready.
pub fn control_routes<S: Clone + Send + Sync + 'static>(service: &'static str) -> Router<S> {
    let health = move || async move {
        axum::Json(Health {
            status: "ok",
            service,
            version: env!("CARGO_PKG_VERSION"),
        })
    };
    Router::new()
        .route("/_longshore/health", get(health))
        .route("/_longshore/openapi.json", get(openapi))
}

async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], OPENAPI)
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use http::{Request, StatusCode};
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn every_service_answers_health_and_openapi() {
        for (path, field, expected) in [
            ("/_longshore/health", "service", "mock-destination"),
            ("/_longshore/openapi.json", "openapi", "3.1.0"),
        ] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = control_routes("mock-destination")
                .oneshot(request)
                .await
                .unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body[field], expected, "{path}");
        }
    }
}
