//! How a function's asynchronous invocations are treated: the operations on
//! `FunctionEventInvokeConfig`.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::invoke::Version;
use super::refusal::Refusal;
use super::target::Target;
use super::{answer, declared, json_body, not_written};
use crate::asynchronous::{EventInvokeConfig, FunctionOptions, function_of};
use crate::server::Gateway;

const RETRIES: std::ops::RangeInclusive<i64> = 0..=2;
const AGE_SECONDS: std::ops::RangeInclusive<i64> = 60..=21_600;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wanted {
    maximum_retry_attempts: Option<i64>,
    maximum_event_age_in_seconds: Option<i64>,
    destination_config: Option<DestinationConfig>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DestinationConfig {
    on_success: Option<Destination>,
    on_failure: Option<Destination>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Destination {
    destination: Option<String>,
}

impl DestinationConfig {
    fn arns(&self) -> [Option<String>; 2] {
        [&self.on_success, &self.on_failure].map(|side| {
            let arn = side.as_ref().and_then(|side| side.destination.clone());
            arn.filter(|arn| !arn.is_empty())
        })
    }

    /// As AWS prints it in its refusals.
    fn print(&self) -> String {
        let [success, failure] = self
            .arns()
            .map(|arn| arn.unwrap_or_else(|| "null".to_owned()));
        format!(
            "DestinationConfig(onSuccess=OnSuccess(destination={success}), onFailure=OnFailure(destination={failure}))"
        )
    }
}

/// `PUT /2019-09-25/functions/{name}/event-invoke-config`: replaces all of it.
pub(crate) async fn put(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    Query(version): Query<Version>,
    body: Body,
) -> Response {
    let call = async {
        let target = declared(&gateway, &name, version.qualifier.as_deref())?;
        let wanted = json_body(body).await?;
        configure(&gateway, &target, &wanted, EventInvokeConfig::default()).await
    };
    answer(call.await)
}

/// `POST …/event-invoke-config`: changes what is given.
pub(crate) async fn update(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    Query(version): Query<Version>,
    body: Body,
) -> Response {
    let call = async {
        let target = declared(&gateway, &name, version.qualifier.as_deref())?;
        let present = present(&gateway, &target)?;
        let wanted = json_body(body).await?;
        configure(&gateway, &target, &wanted, present).await
    };
    answer(call.await)
}

/// `GET …/event-invoke-config`.
pub(crate) async fn get(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    Query(version): Query<Version>,
) -> Response {
    let call = || {
        let target = declared(&gateway, &name, version.qualifier.as_deref())?;
        let config = present(&gateway, &target)?;
        Ok((StatusCode::OK, Some(shown(&gateway, &target, &config))))
    };
    answer(call())
}

/// `DELETE …/event-invoke-config`.
pub(crate) async fn delete(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    Query(version): Query<Version>,
) -> Response {
    let call = async {
        let target = declared(&gateway, &name, version.qualifier.as_deref())?;
        present(&gateway, &target)?;
        set(&gateway, &target, None).await?;
        Ok((StatusCode::NO_CONTENT, None))
    };
    answer(call.await)
}

/// `GET …/event-invoke-config/list`: one or none, since there is one version.
pub(crate) async fn list(State(gateway): State<Gateway>, Path(name): Path<String>) -> Response {
    let call = || {
        let target = declared(&gateway, &name, None)?;
        let config = gateway.events.options(&target.name).event_invoke;
        let all: Vec<_> = config
            .iter()
            .map(|config| shown(&gateway, &target, config))
            .collect();
        let body = json!({"FunctionEventInvokeConfigs": all});
        Ok((StatusCode::OK, Some(body)))
    };
    answer(call())
}

async fn configure(
    gateway: &Gateway,
    target: &Target,
    wanted: &Wanted,
    before: EventInvokeConfig,
) -> Result<(StatusCode, Option<Value>), Refusal> {
    let retries = bounded(
        wanted.maximum_retry_attempts,
        "maximumRetryAttempts",
        &RETRIES,
    )?;
    let age = bounded(
        wanted.maximum_event_age_in_seconds,
        "maximumEventAgeInSeconds",
        &AGE_SECONDS,
    )?;
    if retries.is_none() && age.is_none() && wanted.destination_config.is_none() {
        return Err(Refusal::invalid_parameter(
            "You must specify at least one of error handling or destination setting.",
        ));
    }
    let mut config = EventInvokeConfig {
        maximum_retry_attempts: retries.or(before.maximum_retry_attempts),
        maximum_event_age_seconds: age.or(before.maximum_event_age_seconds),
        last_modified: seconds_now(),
        ..before
    };
    if let Some(destinations) = &wanted.destination_config {
        let [on_success, on_failure] = destinations.arns();
        for arn in [&on_success, &on_failure].into_iter().flatten() {
            check(gateway, target, arn, destinations).await?;
        }
        // A side that is given replaces what was there, an empty one clears it.
        if destinations.on_success.is_some() {
            config.on_success = on_success;
        }
        if destinations.on_failure.is_some() {
            config.on_failure = on_failure;
        }
    }
    let body = shown(gateway, target, &config);
    set(gateway, target, Some(config)).await?;
    Ok((StatusCode::OK, Some(body)))
}

/// Whether word can be sent there: a function that is declared, or a queue or topic that
/// the AWS endpoint knows.
async fn check(
    gateway: &Gateway,
    target: &Target,
    arn: &str,
    destinations: &DestinationConfig,
) -> Result<(), Refusal> {
    let invalid = |why: &str| {
        Refusal::invalid_parameter(format!(
            "The provided destination config {} is invalid. ({why})",
            destinations.print()
        ))
    };
    if function_of(arn).is_some() {
        let config = &gateway.broker.shared.config;
        let other = Target::read(arn, None, config).map_err(|_| invalid("no such function"))?;
        if other.name == target.name {
            return Err(Refusal::invalid_parameter(
                "You can't specify the function as a destination for itself.",
            ));
        }
        if !other.is_latest() || !gateway.broker.is_declared(&other.name) {
            return Err(invalid("no such function"));
        }
        return Ok(());
    }
    let checked = gateway.events.check_target(arn).await;
    checked.map_err(|why| invalid(&why.to_string()))
}

fn bounded(
    value: Option<i64>,
    field: &str,
    bounds: &std::ops::RangeInclusive<i64>,
) -> Result<Option<u32>, Refusal> {
    let Some(value) = value else {
        return Ok(None);
    };
    let constraint = if value < *bounds.start() {
        format!(
            "Member must have value greater than or equal to {}",
            bounds.start()
        )
    } else if value > *bounds.end() {
        format!(
            "Member must have value less than or equal to {}",
            bounds.end()
        )
    } else {
        return Ok(u32::try_from(value).ok());
    };
    Err(Refusal::validation(&value.to_string(), field, &constraint))
}

fn present(gateway: &Gateway, target: &Target) -> Result<EventInvokeConfig, Refusal> {
    let options = gateway.events.options(&target.name);
    options.event_invoke.ok_or_else(|| {
        let arn = target.invoked_arn(&gateway.broker.shared.config);
        Refusal::not_found(format!(
            "The function {arn} doesn't have an EventInvokeConfig"
        ))
    })
}

async fn set(
    gateway: &Gateway,
    target: &Target,
    config: Option<EventInvokeConfig>,
) -> Result<(), Refusal> {
    let options = FunctionOptions {
        event_invoke: config,
        ..gateway.events.options(&target.name)
    };
    let set = gateway.events.set_options(&target.name, options).await;
    set.map_err(not_written)
}

fn shown(gateway: &Gateway, target: &Target, config: &EventInvokeConfig) -> Value {
    let side = |arn: &Option<String>| match arn {
        Some(arn) => json!({"Destination": arn}),
        None => json!({}),
    };
    let mut body = json!({
        "LastModified": config.last_modified,
        "FunctionArn": target.invoked_arn(&gateway.broker.shared.config),
        "DestinationConfig": {
            "OnSuccess": side(&config.on_success),
            "OnFailure": side(&config.on_failure),
        },
    });
    if let Some(retries) = config.maximum_retry_attempts {
        body["MaximumRetryAttempts"] = json!(retries);
    }
    if let Some(age) = config.maximum_event_age_seconds {
        body["MaximumEventAgeInSeconds"] = json!(age);
    }
    body
}

/// Seconds since 1970, with milliseconds.
fn seconds_now() -> f64 {
    jiff::Timestamp::now().as_duration().as_secs_f64()
}
