//! What arrived, for people and tests: the control routes over the deliveries.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use journal::{Entry, EntryId, Patience};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use service_runtime::Problem;
use tokio::time::Instant;

use crate::deliveries::{Listing, Wanted};
use crate::delivery::{Body, Delivery};
use crate::routes::{Destination, not_written};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    path: Option<String>,
    limit: Option<usize>,
    since: Option<EntryId>,
    #[serde(default)]
    wait: Patience,
    count: Option<u64>,
    /// `false` leaves the bodies out.
    bodies: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Answer {
    deliveries: Vec<Shown>,
    total: u64,
    records: u64,
    evicted: u64,
    complete: bool,
}

#[derive(Debug, Serialize)]
struct Shown {
    id: EntryId,
    #[serde(flatten)]
    delivery: Delivery,
    /// What became of the body.
    body_state: BodyState,
    /// The body if it is kept whole: as it is if JSON, else as a string.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Box<RawValue>>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum BodyState {
    /// There was none, or it was refused unread.
    Absent,
    /// Kept whole.
    Kept,
    /// Only its beginning is kept.
    Truncated,
    /// Let go of to make room.
    Evicted,
}

pub(crate) async fn list(
    State(destination): State<Destination>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(asked) = asked.map_err(|refused| Problem::bad_request(refused.body_text()))?;
    let limit = asked.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::bad_request(format!(
            "limit={limit} is out of range; use 1 to {MAX_LIMIT}, and since=<id> to page on"
        )));
    }
    let wanted = Wanted {
        path: asked.path,
        since: asked.since,
        limit,
    };
    let count = asked.count.unwrap_or(1);
    if wanted.since.is_some() && count > limit as u64 {
        return Err(Problem::bad_request(format!(
            "count={count} is more than limit={limit} lists; raise limit, or leave since out"
        )));
    }
    let deliveries = &destination.deliveries;
    let listing = tokio::select! {
        listing = deliveries.wait(&wanted, count, Instant::now() + asked.wait.get()) => listing,
        () = destination.closing.cancelled() => deliveries.list(&wanted),
    };
    let Listing {
        entries,
        total,
        evicted,
        complete,
    } = listing;
    let with_bodies = asked.bodies.unwrap_or(true);
    let answer = Answer {
        deliveries: entries
            .iter()
            .map(|entry| show(&destination, entry, with_bodies))
            .collect(),
        total: total.deliveries,
        records: total.records,
        evicted,
        complete,
    };
    Ok(Json(answer).into_response())
}

fn show(destination: &Destination, entry: &Entry<Delivery>, with_body: bool) -> Shown {
    let kept = destination.deliveries.body(entry.item.body);
    let body_state = match (entry.item.body, &kept) {
        (Body::Absent, _) => BodyState::Absent,
        (Body::Whole(_), Some(_)) => BodyState::Kept,
        (Body::Beginning(_), Some(_)) => BodyState::Truncated,
        (Body::Whole(_) | Body::Beginning(_), None) => BodyState::Evicted,
    };
    let body = match (body_state, kept) {
        (BodyState::Kept, Some(body)) if with_body => inline(&body),
        _ => None,
    };
    Shown {
        id: entry.id,
        delivery: entry.item.clone(),
        body_state,
        body,
    }
}

fn inline(body: &Bytes) -> Option<Box<RawValue>> {
    let text = String::from_utf8_lossy(body);
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(json) => Some(json.to_owned()),
        Err(_) => serde_json::value::to_raw_value(&Value::String(text.into_owned())).ok(),
    }
}

/// The kept bytes of one body, under the content type they came with.
pub(crate) async fn body(
    State(destination): State<Destination>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id: EntryId = id
        .parse()
        .map_err(|_| Problem::bad_request(format!("`{id}` is no number of a delivery")))?;
    let entry = destination.deliveries.get(id).ok_or_else(|| {
        Problem::not_found(format!(
            "there is no delivery {id}, or it is no longer kept; see /_longshore/deliveries"
        ))
    })?;
    let Some(body) = destination.deliveries.body(entry.item.body) else {
        return Err(Problem::new(
            StatusCode::GONE,
            format!("the body of delivery {id} was let go of to make room for newer ones"),
        ));
    };
    let truncated = matches!(entry.item.body, Body::Beginning(_));
    let content_type = entry
        .item
        .headers
        .get(CONTENT_TYPE.as_str())
        .map_or("application/octet-stream", String::as_str)
        .to_owned();
    let headers = [
        (CONTENT_TYPE.as_str(), content_type),
        ("x-longshore-truncated", truncated.to_string()),
    ];
    Ok((headers, body).into_response())
}

pub(crate) async fn clear(State(destination): State<Destination>) -> Result<StatusCode, Problem> {
    destination.failures.clear();
    let cleared = destination.deliveries.clear().await;
    cleared.map_err(|why| not_written(&why))?;
    Ok(StatusCode::NO_CONTENT)
}
