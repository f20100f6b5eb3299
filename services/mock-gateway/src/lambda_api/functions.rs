//! The functions as Lambda describes them: `ListFunctions`, `GetFunction`,
//! `GetFunctionConfiguration`, `GetAccountSettings`. They are declared in the workspace, so
//! that nothing of them is changed here but the dead-letter queue.

use std::path::Path as FilePath;
use std::time::SystemTime;

use app_model::{FunctionName, LogFormat};
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::concurrency::{ACCOUNT_CONCURRENCY, reserved_in_all};
use super::invoke::Version;
use super::refusal::Refusal;
use super::target::Target;
use super::{answer, declared, json_body, not_written};
use crate::asynchronous::FunctionOptions;
use crate::broker::Declared;
use crate::server::Gateway;

/// Functions on a page.
const PAGE: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Page {
    marker: Option<String>,
    max_items: Option<usize>,
}

/// `GET /2015-03-31/functions/`.
pub(crate) async fn list_functions(
    State(gateway): State<Gateway>,
    Query(page): Query<Page>,
) -> Response {
    let mut names = gateway.broker.function_names();
    names.sort_unstable();
    let limit = page.max_items.unwrap_or(PAGE).clamp(1, PAGE);
    let after = |name: &&String| page.marker.as_ref().is_none_or(|marker| *name > marker);
    let left: Vec<_> = names.iter().filter(after).collect();
    let mut functions = Vec::new();
    for name in left.iter().take(limit) {
        if let Ok(name) = name.parse::<FunctionName>()
            && let Some(declared) = gateway.broker.declared(&name)
        {
            let target = Target {
                name,
                qualifier: None,
            };
            functions.push(configuration(&gateway, &target, declared).await);
        }
    }
    let mut body = json!({"Functions": functions});
    if left.len() > limit
        && let Some(last) = left.get(limit - 1)
    {
        body["NextMarker"] = json!(last);
    }
    answer(Ok((StatusCode::OK, Some(body))))
}

/// `GET /2015-03-31/functions/{name}`.
pub(crate) async fn get_function(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    Query(version): Query<Version>,
) -> Response {
    let call = async {
        let (target, found) = find(&gateway, &name, &version)?;
        let program = found
            .artifact
            .as_ref()
            .and_then(|a| a.argv.first().cloned());
        let mut body = json!({
            "Configuration": configuration(&gateway, &target, found).await,
            "Code": {
                "RepositoryType": "Longshore",
                "Location": program.map(|path| format!("file://{path}")),
            },
            "Tags": {},
        });
        if let Some(reserved) = gateway.events.options(&target.name).reserved_concurrency {
            body["Concurrency"] = json!({"ReservedConcurrentExecutions": reserved});
        }
        Ok((StatusCode::OK, Some(body)))
    };
    answer(call.await)
}

/// `GET /2015-03-31/functions/{name}/configuration`.
pub(crate) async fn get_function_configuration(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    Query(version): Query<Version>,
) -> Response {
    let call = async {
        let (target, found) = find(&gateway, &name, &version)?;
        let body = configuration(&gateway, &target, found).await;
        Ok((StatusCode::OK, Some(body)))
    };
    answer(call.await)
}

/// `PUT /2015-03-31/functions/{name}/configuration`: sets the dead-letter queue, and says
/// where everything else is set.
pub(crate) async fn update_function_configuration(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    let call = async {
        let (target, _) = find(&gateway, &name, &Version::default())?;
        let mut wanted: Map<String, Value> = json_body(body).await?;
        let dead_letters = wanted.remove("DeadLetterConfig");
        if let Some(other) = wanted.keys().next() {
            return Err(Refusal::invalid_parameter(format!(
                "{other} of a function is set in its package: see [package.metadata.lambda] in its Cargo.toml. Longshore takes DeadLetterConfig only"
            )));
        }
        if let Some(wanted) = dead_letters {
            let arn = wanted["TargetArn"].as_str().filter(|arn| !arn.is_empty());
            if let Some(arn) = arn {
                let checked = gateway.events.check_target(arn).await;
                checked.map_err(|why| Refusal::invalid_parameter(why.to_string()))?;
            }
            let options = FunctionOptions {
                dead_letter_target: arn.map(str::to_owned),
                ..gateway.events.options(&target.name)
            };
            let set = gateway.events.set_options(&target.name, options).await;
            set.map_err(not_written)?;
        }
        let (target, found) = find(&gateway, &name, &Version::default())?;
        let body = configuration(&gateway, &target, found).await;
        Ok((StatusCode::OK, Some(body)))
    };
    answer(call.await)
}

/// `GET /2016-08-19/account-settings/`.
pub(crate) async fn get_account_settings(State(gateway): State<Gateway>) -> Response {
    let mut size = 0;
    let names = gateway.broker.function_names();
    for name in names.iter().filter_map(|name| name.parse().ok()) {
        if let Some(program) = gateway.broker.declared(&name).and_then(|it| program(&it)) {
            size += code(&program).await.0;
        }
    }
    let unreserved = ACCOUNT_CONCURRENCY.saturating_sub(reserved_in_all(&gateway, None));
    let body = json!({
        "AccountLimit": {
            "TotalCodeSize": 80_530_636_800_u64,
            "CodeSizeUnzipped": 262_144_000,
            "CodeSizeZipped": 52_428_800,
            "ConcurrentExecutions": ACCOUNT_CONCURRENCY,
            "UnreservedConcurrentExecutions": unreserved,
        },
        "AccountUsage": {"TotalCodeSize": size, "FunctionCount": names.len()},
    });
    answer(Ok((StatusCode::OK, Some(body))))
}

fn find(gateway: &Gateway, name: &str, version: &Version) -> Result<(Target, Declared), Refusal> {
    let target = declared(gateway, name, version.qualifier.as_deref())?;
    let found = gateway.broker.declared(&target.name).ok_or_else(|| {
        let arn = target.arn(&gateway.broker.shared.config);
        Refusal::not_found(format!("Function not found: {arn}"))
    })?;
    Ok((target, found))
}

fn program(declared: &Declared) -> Option<String> {
    declared.artifact.as_ref()?.argv.first().cloned()
}

/// Size and time of the program that runs; zero and none if it is no file, or not built.
async fn code(program: &str) -> (u64, Option<SystemTime>) {
    match tokio::fs::metadata(FilePath::new(program)).await {
        Ok(file) => (file.len(), file.modified().ok()),
        Err(error) => {
            tracing::debug!(program, %error, "a function's program is no file");
            (0, None)
        }
    }
}

async fn configuration(gateway: &Gateway, target: &Target, declared: Declared) -> Value {
    let config = &gateway.broker.shared.config;
    let name = target.name.as_str();
    let settings = &declared.function.settings;
    let (size, modified) = match program(&declared) {
        Some(program) => code(&program).await,
        None => (0, None),
    };
    let mut body = json!({
        "FunctionName": name,
        "FunctionArn": target.arn(config),
        "Runtime": "provided.al2023",
        "Role": format!("arn:aws:iam::{}:role/longshore", config.account_id),
        "Handler": settings.handler,
        "CodeSize": size,
        "Description": "",
        // A whole number, as SDKs read it.
        "Timeout": settings.timeout.as_secs() + u64::from(settings.timeout.subsec_nanos() > 0),
        "MemorySize": settings.memory_mb,
        "Version": "$LATEST",
        "TracingConfig": {"Mode": "PassThrough"},
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "Architectures": [architecture()],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": format!("/aws/lambda/{name}")},
    });
    if settings.log_format == LogFormat::Json {
        let logging = &mut body["LoggingConfig"];
        logging["LogFormat"] = json!("JSON");
        logging["ApplicationLogLevel"] = json!("INFO");
        logging["SystemLogLevel"] = json!("INFO");
    }
    if let Some(modified) = modified.and_then(|time| jiff::Timestamp::try_from(time).ok()) {
        let text = modified.strftime("%Y-%m-%dT%H:%M:%S.%3f+0000");
        body["LastModified"] = json!(text.to_string());
    }
    if declared.is_failed {
        let why = "the newest source does not build: see GET /_longshore/functions";
        if declared.artifact.is_none() {
            body["State"] = json!("Failed");
            body["StateReason"] = json!(why);
            body["StateReasonCode"] = json!("InternalError");
        }
        body["LastUpdateStatus"] = json!("Failed");
        body["LastUpdateStatusReason"] = json!(why);
        body["LastUpdateStatusReasonCode"] = json!("InternalError");
    }
    if !settings.env.is_empty() {
        body["Environment"] = json!({"Variables": settings.env});
    }
    if let Some(arn) = gateway.events.options(&target.name).dead_letter_target {
        body["DeadLetterConfig"] = json!({"TargetArn": arn});
    }
    body
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "x86_64",
    }
}
