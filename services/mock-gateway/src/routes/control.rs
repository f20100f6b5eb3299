//! What the gateway tells of itself under `/_longshore/`.

use std::time::Duration;

use app_model::FunctionName;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use function_supervisor::Generation;
use journal::Patience;
use serde::{Deserialize, Serialize};
use service_runtime::Problem;
use tokio::time::Instant;

use super::unknown_function;
use crate::asynchronous::WaitingView;
use crate::broker::{EnvironmentView, FunctionView, InvocationRecord};
use crate::server::Gateway;

/// Invocations listed unless said otherwise.
const DEFAULT_LIMIT: usize = 100;

/// `GET /_longshore/functions`.
#[derive(Serialize)]
pub(crate) struct Functions {
    functions: Vec<FunctionView>,
    problems: Vec<String>,
}

/// `GET /_longshore/environments`.
#[derive(Serialize)]
pub(crate) struct Environments {
    environments: Vec<EnvironmentView>,
}

/// `GET /_longshore/invocations`, newest first.
#[derive(Serialize)]
pub(crate) struct Invocations {
    invocations: Vec<InvocationRecord>,
    /// Older ones that the journal let go of.
    evicted: u64,
}

/// `GET /_longshore/events`: accepted events that are not delivered yet.
#[derive(Serialize)]
pub(crate) struct WaitingEvents {
    waiting: usize,
    /// The oldest of them.
    events: Vec<WaitingView>,
}

/// How many.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limit {
    limit: Option<usize>,
}

/// What to wait for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wait {
    wait_generation: Option<u64>,
    timeout: Option<Patience>,
}

/// Which invocations.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Selection {
    limit: Option<usize>,
    function: Option<String>,
}

pub(crate) async fn functions(State(gateway): State<Gateway>) -> Json<Functions> {
    Json(Functions {
        functions: gateway.broker.functions(),
        problems: gateway.broker.problems(),
    })
}

/// One function; with `wait_generation` once that build serves, or when the time is up.
pub(crate) async fn function(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    wait: Result<Query<Wait>, QueryRejection>,
) -> Result<Json<FunctionView>, Problem> {
    let Query(wait) = wait.map_err(|rejected| Problem::bad_request(rejected.body_text()))?;
    let unknown = || Problem::not_found(unknown_function(&name, &gateway.broker));
    let function: FunctionName = name.parse().map_err(|_| unknown())?;
    let view = match wait.wait_generation {
        Some(generation) => {
            let patience = wait.timeout.map_or(Duration::from_secs(10), Patience::get);
            let deadline = Instant::now() + patience;
            gateway
                .broker
                .wait_for_generation(&function, Generation(generation), deadline)
                .await
        }
        None => gateway.broker.function(&function),
    };
    view.map(Json).ok_or_else(unknown)
}

pub(crate) async fn environments(State(gateway): State<Gateway>) -> Json<Environments> {
    let functions = gateway.broker.functions();
    Json(Environments {
        environments: functions
            .into_iter()
            .flat_map(|function| function.environments)
            .collect(),
    })
}

pub(crate) async fn events(
    State(gateway): State<Gateway>,
    limit: Result<Query<Limit>, QueryRejection>,
) -> Result<Json<WaitingEvents>, Problem> {
    let Query(limit) = limit.map_err(|rejected| Problem::bad_request(rejected.body_text()))?;
    let limit = limit.limit.unwrap_or(DEFAULT_LIMIT);
    let (waiting, events) = gateway.events.waiting(limit);
    Ok(Json(WaitingEvents { waiting, events }))
}

pub(crate) async fn invocations(
    State(gateway): State<Gateway>,
    selection: Result<Query<Selection>, QueryRejection>,
) -> Result<Json<Invocations>, Problem> {
    let Query(selection) =
        selection.map_err(|rejected| Problem::bad_request(rejected.body_text()))?;
    let limit = selection.limit.unwrap_or(DEFAULT_LIMIT);
    let snapshot = gateway.broker.invocations().filter(|entry| {
        selection
            .function
            .as_ref()
            .is_none_or(|function| *function == entry.item.function)
    });
    Ok(Json(Invocations {
        invocations: snapshot
            .entries
            .iter()
            .rev()
            .take(limit)
            .map(|entry| entry.item.clone())
            .collect(),
        evicted: snapshot.evicted,
    }))
}
