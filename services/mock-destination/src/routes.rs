//! The routes that handlers deliver to.

use axum::body::Body as HttpBody;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use axum::{Json, Router};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use jiff::Timestamp;
use journal::{EntryId, NotWritten};
use serde_json::json;
use service_runtime::Problem;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::deliveries::Deliveries;
use crate::delivery::{Body, Delivery, masked};
use crate::fault::{Failures, Fault};
use crate::forward::Poller;
use crate::{inspect, records};

/// What the routes share.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    pub(crate) deliveries: Deliveries,
    pub(crate) failures: Failures,
    pub(crate) poller: Poller,
    pub(crate) closing: CancellationToken,
}

/// The destination's routes, with nothing delivered yet and nothing kept on disk. Queries that wait end early once
/// `closing` is cancelled.
///
/// # Errors
/// If the client of the callback poller cannot be made.
pub fn router(config: Config, closing: CancellationToken) -> Result<Router, reqwest::Error> {
    over(Deliveries::new(&config), config, closing)
}

/// The routes over these deliveries.
pub(crate) fn over(
    deliveries: Deliveries,
    config: Config,
    closing: CancellationToken,
) -> Result<Router, reqwest::Error> {
    let destination = Destination {
        deliveries,
        failures: Failures::default(),
        poller: Poller::new(config.poller)?,
        closing,
    };
    Ok(Router::new()
        .route("/mock/destination", post(take_any_json))
        .route("/mock/rudderstack", post(take_rudderstack))
        .route("/mock/poll/{*webhook_id}", put(hand_on))
        .route("/mock/error/{code}", any(fail))
        .route("/health", get(health))
        .route(
            "/_longshore/deliveries",
            get(inspect::list).delete(inspect::clear),
        )
        .route("/_longshore/deliveries/{id}/body", get(inspect::body))
        .layer(DefaultBodyLimit::max(config.body_limit))
        .with_state(destination)
        .merge(service_runtime::control_routes("mock-destination"))
        .fallback(no_such_route)
        .method_not_allowed_fallback(wrong_method))
}

/// A request with its body read, or the reason why it was not.
type Received = Result<Bytes, BytesRejection>;

impl Destination {
    /// Records the delivery with what `judge` makes of it, and answers accordingly.
    async fn judge(
        &self,
        request: &Parts,
        body: Received,
        judge: impl FnOnce(&str) -> Result<u64, String>,
    ) -> Response {
        let (bytes, verdict) = match body {
            Ok(bytes) => {
                let verdict = text(request, &bytes)
                    .and_then(judge)
                    .map_err(|why| (StatusCode::BAD_REQUEST, why));
                (bytes, verdict)
            }
            Err(refused) => (Bytes::new(), Err((refused.status(), refused.body_text()))),
        };
        let (status, records, problem) = match verdict {
            Ok(records) => (StatusCode::OK, Some(records), None),
            Err((status, why)) => (status, None, Some(why)),
        };
        let recorded = self.record(request, &bytes, status, records, problem.clone());
        let id = match recorded.await {
            Ok(id) => id,
            Err(why) => return not_written(&why).into_response(),
        };
        match problem {
            None => Json(json!({"status": "ok", "records": records, "id": id})).into_response(),
            Some(why) => Problem::new(status, why)
                .with("id", id.get())
                .into_response(),
        }
    }

    /// Answers as the code in the path says, whatever the body is.
    async fn fail(&self, code: &str, request: &Parts, body: &[u8]) -> Response {
        let records = std::str::from_utf8(body)
            .ok()
            .and_then(|text| records::count(text).ok());
        let (status, problem) = match code.parse::<Fault>() {
            Ok(fault) => {
                let address = request.uri.path_and_query();
                let address = address.map_or("", |address| address.as_str());
                (self.failures.answer(fault, address), None)
            }
            Err(why) => (StatusCode::BAD_REQUEST, Some(why.to_string())),
        };
        let recorded = self.record(request, body, status, records, problem.clone());
        match (recorded.await, problem) {
            (Err(why), _) => not_written(&why).into_response(),
            (Ok(_), Some(why)) => Problem::bad_request(why).into_response(),
            (Ok(_), None) => answer(status, request),
        }
    }

    async fn record(
        &self,
        request: &Parts,
        body: &[u8],
        status: StatusCode,
        records: Option<u64>,
        problem: Option<String>,
    ) -> Result<EntryId, NotWritten> {
        let refused_unread = status == StatusCode::PAYLOAD_TOO_LARGE && body.is_empty();
        let size = if refused_unread {
            let said = request.headers.get(CONTENT_LENGTH);
            said.and_then(|length| length.to_str().ok()?.parse().ok())
        } else {
            Some(body.len() as u64)
        };
        let path = request.uri.path();
        match &problem {
            None => tracing::debug!(%path, %status, size, records, "delivery"),
            Some(problem) => tracing::warn!(%path, %status, %problem, "refused a delivery"),
        }
        let delivery = Delivery {
            received_at: Timestamp::now(),
            method: request.method.to_string(),
            path: path.to_owned(),
            query: request.uri.query().map(str::to_owned),
            headers: masked(&request.headers),
            status: status.as_u16(),
            size,
            records,
            problem,
            body: Body::Absent,
        };
        self.deliveries.record(delivery, body).await
    }
}

/// What was not written down was not accepted: whoever sent it may send it again.
pub(crate) fn not_written(why: &NotWritten) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("not accepted: {why}; is there room in the state folder?"),
    )
}

fn text<'a>(request: &Parts, body: &'a [u8]) -> Result<&'a str, String> {
    std::str::from_utf8(body).map_err(|why| match request.headers.get(CONTENT_ENCODING) {
        Some(encoding) => {
            format!("the body is not JSON: it has content-encoding {encoding:?}; send it plain")
        }
        None => format!("the body is not JSON: {why}"),
    })
}

async fn take_any_json(
    State(destination): State<Destination>,
    request: Parts,
    body: Received,
) -> Response {
    let judge =
        |json: &str| records::count(json).map_err(|why| format!("the body is not JSON: {why}"));
    destination.judge(&request, body, judge).await
}

async fn take_rudderstack(
    State(destination): State<Destination>,
    request: Parts,
    body: Received,
) -> Response {
    let judge = |json: &str| records::count_rudderstack(json).map_err(|why| why.to_string());
    destination.judge(&request, body, judge).await
}

async fn hand_on(
    State(destination): State<Destination>,
    request: Parts,
    body: Received,
) -> Result<Response, Problem> {
    let body = body.map_err(|refused| Problem::new(refused.status(), refused.body_text()))?;
    destination
        .poller
        .report(request.uri.path(), request.headers, body)
        .await
}

async fn fail(
    State(destination): State<Destination>,
    Path(code): Path<String>,
    request: Parts,
    body: Received,
) -> Response {
    match body {
        Ok(bytes) => destination.fail(&code, &request, &bytes).await,
        Err(_) => destination.judge(&request, body, |_| Ok(0)).await,
    }
}

/// An answer with this status; `?retry_after=2` becomes its `Retry-After`.
fn answer(status: StatusCode, request: &Parts) -> Response {
    let without_body = [
        StatusCode::NO_CONTENT,
        StatusCode::RESET_CONTENT,
        StatusCode::NOT_MODIFIED,
    ];
    let mut response = if without_body.contains(&status) {
        (status, HttpBody::empty()).into_response()
    } else {
        let word = if status.is_client_error() || status.is_server_error() {
            "error"
        } else {
            "ok"
        };
        let message = status.canonical_reason().unwrap_or("no reason");
        let body = json!({"status": word, "code": status.as_u16(), "message": message});
        (status, Json(body)).into_response()
    };
    let query = request.uri.query().unwrap_or_default();
    let retry_after = url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "retry_after")
        .and_then(|(_, value)| HeaderValue::from_str(&value).ok());
    if let Some(retry_after) = retry_after
        && !status.is_success()
    {
        response.headers_mut().insert(RETRY_AFTER, retry_after);
    }
    response
}

async fn health() -> Response {
    Json(json!({"status": "ok"})).into_response()
}

async fn no_such_route(method: Method, uri: Uri) -> Problem {
    let path = uri.path();
    let hint = if path.starts_with("/mock/poll") {
        "reports go to /mock/poll/<webhook id>: the webhook id is appended to callback_url as it stands, so callback_url must end with a slash"
    } else if path.starts_with("/mock/error") {
        "name the code to fail with, as in /mock/error/503"
    } else {
        "deliveries go to /mock/destination, /mock/rudderstack or /mock/error/<code>; see /_longshore/openapi.json for the rest"
    };
    Problem::not_found(format!("no route for {method} {path}; {hint}"))
}

async fn wrong_method(request: Request<HttpBody>) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!(
            "{} does not take {}; see /_longshore/openapi.json",
            request.uri().path(),
            request.method()
        ),
    )
}
