//! Reserved concurrency: `PutFunctionConcurrency`, `GetFunctionConcurrency`,
//! `DeleteFunctionConcurrency`.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::refusal::Refusal;
use super::target::Target;
use super::{answer, declared, json_body, not_written};
use crate::asynchronous::FunctionOptions;
use crate::server::Gateway;

/// Invocations of all functions of a new account at the same time.
pub(super) const ACCOUNT_CONCURRENCY: u32 = 1_000;
/// What must be left for functions that reserve nothing.
const UNRESERVED_AT_LEAST: u32 = 100;

#[derive(Deserialize)]
struct Put {
    #[serde(rename = "ReservedConcurrentExecutions")]
    reserved: i64,
}

/// `PUT /2017-10-31/functions/{name}/concurrency`.
pub(crate) async fn put(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    let call = async {
        let target = unqualified(&gateway, &name)?;
        let Put { reserved } = json_body(body).await?;
        let reserved = u32::try_from(reserved).map_err(|_| {
            Refusal::validation(
                &reserved.to_string(),
                "reservedConcurrentExecutions",
                "Member must have value greater than or equal to 0",
            )
        })?;
        let others = reserved_in_all(&gateway, Some(&target));
        if others.saturating_add(reserved) > ACCOUNT_CONCURRENCY - UNRESERVED_AT_LEAST {
            return Err(Refusal::invalid_parameter(format!(
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [{UNRESERVED_AT_LEAST}]."
            )));
        }
        set(&gateway, &target, Some(reserved)).await?;
        let body = json!({"ReservedConcurrentExecutions": reserved});
        Ok((StatusCode::OK, Some(body)))
    };
    answer(call.await)
}

/// `GET /2019-09-30/functions/{name}/concurrency`.
pub(crate) async fn get(State(gateway): State<Gateway>, Path(name): Path<String>) -> Response {
    let call = || {
        let target = declared(&gateway, &name, None)?;
        let reserved = gateway.events.options(&target.name).reserved_concurrency;
        let body = match reserved {
            Some(reserved) => json!({"ReservedConcurrentExecutions": reserved}),
            None => json!({}),
        };
        Ok((StatusCode::OK, Some(body)))
    };
    answer(call())
}

/// `DELETE /2017-10-31/functions/{name}/concurrency`.
pub(crate) async fn delete(State(gateway): State<Gateway>, Path(name): Path<String>) -> Response {
    let call = async {
        let target = unqualified(&gateway, &name)?;
        set(&gateway, &target, None).await?;
        Ok((StatusCode::NO_CONTENT, None))
    };
    answer(call.await)
}

/// What all functions reserve together, but for this one.
pub(super) fn reserved_in_all(gateway: &Gateway, but: Option<&Target>) -> u32 {
    let all = gateway.events.all_options();
    all.iter()
        .filter(|(name, _)| but.is_none_or(|target| target.name != **name))
        .filter_map(|(_, options)| options.reserved_concurrency)
        .fold(0, u32::saturating_add)
}

fn unqualified(gateway: &Gateway, name: &str) -> Result<Target, Refusal> {
    let target = declared(gateway, name, None)?;
    if target.qualifier.is_some() {
        return Err(Refusal::invalid_parameter(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN.",
        ));
    }
    Ok(target)
}

async fn set(gateway: &Gateway, target: &Target, reserved: Option<u32>) -> Result<(), Refusal> {
    let options = FunctionOptions {
        reserved_concurrency: reserved,
        ..gateway.events.options(&target.name)
    };
    let set = gateway.events.set_options(&target.name, options).await;
    set.map_err(not_written)
}
