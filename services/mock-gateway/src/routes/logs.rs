//! `GET /_longshore/logs/{function}`: a function's log as lines of JSON, and what comes.

use app_model::FunctionName;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::stream;
use http::header::CONTENT_TYPE;
use journal::EntryId;
use serde::{Deserialize, Serialize};
use service_runtime::Problem;

use super::unknown_function;
use crate::function_logs::{FunctionLog, LogLine, Numbered};
use crate::invocation::RequestId;
use crate::server::Gateway;

/// Which lines.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Selection {
    request_id: Option<RequestId>,
    /// The newest so many.
    limit: Option<usize>,
    #[serde(default)]
    follow: bool,
}

/// A line as it is told.
#[derive(Serialize)]
struct Told<'a> {
    id: EntryId,
    /// RFC 3339.
    time: String,
    #[serde(flatten)]
    line: LogLine<'a>,
}

pub(crate) async fn lines(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    selection: Result<Query<Selection>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(selection) =
        selection.map_err(|rejected| Problem::bad_request(rejected.body_text()))?;
    let unknown = || Problem::not_found(unknown_function(&name, &gateway.broker));
    let function: FunctionName = name.parse().map_err(|_| unknown())?;
    // One that is declared no more may still be asked what it said.
    let log = gateway
        .broker
        .shared
        .logs
        .find(&function)
        .ok_or_else(unknown)?;
    let wanted = selection.request_id;
    let is_wanted =
        move |numbered: &Numbered<'_>| wanted.is_none() || numbered.line.request_id == wanted;

    let all = log.lines();
    let mut lines: Vec<_> = all.lines().filter(is_wanted).collect();
    let limit = selection.limit.unwrap_or(usize::MAX);
    lines.drain(..lines.len().saturating_sub(limit));
    let first = told(lines.into_iter());
    let body = if selection.follow {
        let state = Following {
            log,
            after: all.newest(),
            first: Some(first),
        };
        Body::from_stream(stream::unfold(state, move |mut state| async move {
            let mut more = state.first.take().unwrap_or_default();
            while more.is_empty() {
                let lines = state.log.following(state.after).await?;
                state.after = lines.newest();
                more = told(lines.lines().filter(is_wanted));
            }
            Some((Ok::<_, std::convert::Infallible>(more), state))
        }))
    } else {
        Body::from(first)
    };
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

struct Following {
    log: FunctionLog,
    after: EntryId,
    first: Option<Bytes>,
}

fn told<'a>(lines: impl Iterator<Item = Numbered<'a>>) -> Bytes {
    let mut text = Vec::new();
    for Numbered { id, line } in lines {
        let told = Told {
            id,
            time: format!("{:.3}", line.time()),
            line,
        };
        match serde_json::to_writer(&mut text, &told) {
            Ok(()) => text.push(b'\n'),
            Err(error) => tracing::error!(%error, "a line of a log cannot be told"),
        }
    }
    text.into()
}
