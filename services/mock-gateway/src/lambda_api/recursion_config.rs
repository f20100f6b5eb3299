//! What becomes of a function in a loop: `GetFunctionRecursionConfig`,
//! `PutFunctionRecursionConfig`.

use app_model::RecursiveLoop;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::target::Target;
use super::{answer, declared, json_body, not_written};
use crate::asynchronous::FunctionOptions;
use crate::server::Gateway;

/// Like other operations' but for the qualifier, which there is none of.
const PATTERN: &str = r"Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)";

#[derive(Deserialize)]
struct Put {
    #[serde(rename = "RecursiveLoop")]
    recursive_loop: Option<String>,
}

/// `GET /2024-08-31/functions/{name}/recursion-config`.
pub(crate) async fn get(State(gateway): State<Gateway>, Path(name): Path<String>) -> Response {
    let call = || {
        let target = unqualified(&gateway, &name)?;
        Ok(shown(gateway.events.recursive_loop(&target.name)))
    };
    answer(call())
}

/// `PUT /2024-08-31/functions/{name}/recursion-config`.
pub(crate) async fn put(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    let call = async {
        let target = unqualified(&gateway, &name)?;
        let Put { recursive_loop } = json_body(body).await?;
        let text = recursive_loop.ok_or_else(|| Refusal::missing("recursiveLoop"))?;
        let wanted = match text.as_str() {
            "Allow" => RecursiveLoop::Allow,
            "Terminate" => RecursiveLoop::Terminate,
            other => {
                return Err(Refusal::validation(
                    other,
                    "recursiveLoop",
                    "Member must satisfy enum value set: [Terminate, Allow]",
                ));
            }
        };
        let options = FunctionOptions {
            recursive_loop: Some(wanted),
            ..gateway.events.options(&target.name)
        };
        let set = gateway.events.set_options(&target.name, options).await;
        set.map_err(not_written)?;
        Ok(shown(wanted))
    };
    answer(call.await)
}

fn unqualified(gateway: &Gateway, name: &str) -> Result<Target, Refusal> {
    let target = declared(gateway, name, None)?;
    match target.qualifier {
        None => Ok(target),
        Some(_) => Err(Refusal::validation(name, "functionName", PATTERN)),
    }
}

fn shown(recursive_loop: RecursiveLoop) -> (StatusCode, Option<Value>) {
    let body = json!({"RecursiveLoop": recursive_loop});
    (StatusCode::OK, Some(body))
}
