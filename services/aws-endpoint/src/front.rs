//! The way in: every request that is not for the control API. Finds out for which AWS
//! service and by whom it was signed, hands S3's to s3s, Lambda's and
//! CloudWatch Logs' to the gateway and refuses the rest by name.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use jiff::Timestamp;
use s3s::service::S3Service;
use tower::ServiceExt;

use crate::credential::Credential;
use crate::lambda::{Lambda, is_lambda_path, is_of_logs};
use crate::unverified;

/// An answer in the form of S3's errors.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    #[cfg(test)]
    pub(crate) fn code(&self) -> &str {
        self.code
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let message = escape(&self.message);
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{}</Code><Message>{message}</Message></Error>",
            self.code
        );
        (self.status, [(CONTENT_TYPE, "application/xml")], body).into_response()
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Shared by all requests.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    s3: S3Service,
    /// Signatures made with it are verified.
    access_key: Arc<str>,
    lambda: Option<Lambda>,
    request_ids: Arc<RequestIds>,
}

impl Front {
    pub(crate) fn new(s3: S3Service, access_key: &str, lambda: Option<Lambda>) -> Self {
        Self {
            s3,
            access_key: access_key.into(),
            lambda,
            request_ids: Arc::default(),
        }
    }

    pub(crate) async fn answer(self, request: Request<Body>) -> Response {
        let id = self.request_ids.next();
        let head = request.method() == Method::HEAD;
        let mut response = match self.call(request).await {
            Ok(response) => response,
            Err(refusal) => refusal,
        };
        if head
            && response.status() == StatusCode::OK
            && response.headers().contains_key(CONTENT_RANGE)
        {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        response.headers_mut().insert("x-amz-request-id", id);
        response
    }

    async fn call(self, request: Request<Body>) -> Result<Response, Response> {
        let (parts, body) = request.into_parts();
        let credential = Credential::of(&parts);
        let service = credential.as_ref().and_then(|it| it.service.as_deref());
        if let Some(lambda) = &self.lambda
            && match service {
                Some(service) => service == "lambda",
                None => credential.is_none() && is_lambda_path(parts.uri.path()),
            }
        {
            let request = Request::from_parts(parts, body);
            return Ok(lambda.pass_on(request).await);
        }
        if let Some(gateway) = &self.lambda
            && match service {
                Some(service) => service == "logs",
                None => credential.is_none() && is_of_logs(&parts.headers),
            }
        {
            let request = Request::from_parts(parts, body);
            return Ok(gateway.pass_on_logs(request).await);
        }
        if let Some(service) = service
            && service != "s3"
        {
            return Err(other_service(service, parts.headers.get(CONTENT_TYPE)));
        }
        let verifiable = match &credential {
            Some(credential) => credential.access_key == *self.access_key,
            // Signed in no way we know: s3s says what is wrong with it.
            None => parts.headers.contains_key(http::header::AUTHORIZATION),
        };
        let mut request = Request::from_parts(parts, body);
        if !verifiable {
            let scheme = credential.map(|credential| credential.scheme);
            request = unverified::strip(request, scheme, Timestamp::now())
                .map_err(IntoResponse::into_response)?;
        }
        let response = self.s3.oneshot(request).await.map_err(|error| {
            let error = s3s::StdError::from(error);
            tracing::error!(error = %error, "S3 could not answer");
            Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                error.to_string(),
            )
            .into_response()
        })?;
        Ok(response.map(Body::new))
    }
}

/// A client of another service gets an error that its SDK can read: JSON for the JSON
/// protocols, XML for the others.
fn other_service(service: &str, content_type: Option<&HeaderValue>) -> Response {
    let message = format!(
        "the embedded AWS endpoint serves S3 only, not `{service}`: point this client at an endpoint that serves it (AWS_ENDPOINT_URL_{})",
        service.to_uppercase().replace(['-', '.'], "_")
    );
    let status = StatusCode::NOT_IMPLEMENTED;
    let json =
        content_type.is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-amz-json"));
    if json {
        let body = serde_json::json!({"__type": "NotImplemented", "message": message});
        let kind = content_type.cloned();
        let mut response = (status, body.to_string()).into_response();
        if let Some(kind) = kind {
            response.headers_mut().insert(CONTENT_TYPE, kind);
        }
        return response;
    }
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ErrorResponse><Error><Code>NotImplemented</Code><Message>{}</Message></Error></ErrorResponse>",
        escape(&message)
    );
    (status, [(CONTENT_TYPE, "text/xml")], body).into_response()
}

/// Sixteen capital hex digits, as S3's are, never twice in one process.
#[derive(Debug, Default)]
struct RequestIds {
    seed: RandomState,
    count: AtomicU64,
}

impl RequestIds {
    fn next(&self) -> HeaderValue {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:016X}", self.seed.hash_one(count));
        HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("0000000000000000"))
    }
}
