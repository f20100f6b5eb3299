//! `/_longshore/faults`: set, see and clear the rules.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use http::StatusCode;
use service_runtime::Problem;
use uuid::Uuid;

use super::plan::{Plan, PlanView, Wanted};
use crate::server::Gateway;

/// `GET`: the rules, and how often each has struck.
pub(crate) async fn get(State(gateway): State<Gateway>) -> Json<PlanView> {
    Json(gateway.broker.shared.faults.plan().view())
}

/// `PUT`: these rules instead of those that are there; they count from nothing.
pub(crate) async fn put(
    State(gateway): State<Gateway>,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<Json<PlanView>, Problem> {
    let Json(wanted) = wanted.map_err(|rejected| Problem::bad_request(rejected.body_text()))?;
    // A seed that JavaScript and jq read without a loss.
    let random = Uuid::new_v4().as_u64_pair().0 >> 11;
    let plan =
        Plan::new(wanted, random).map_err(|error| Problem::bad_request(error.to_string()))?;
    let view = plan.view();
    gateway.broker.shared.faults.set(plan);
    Ok(Json(view))
}

/// `DELETE`: none.
pub(crate) async fn delete(State(gateway): State<Gateway>) -> StatusCode {
    gateway.broker.shared.faults.set(Plan::default());
    StatusCode::NO_CONTENT
}
