//! Lambda's own API, as SDKs speak it: invocations, and the part of the control plane that
//! a local sandbox can answer for.

mod concurrency;
mod event_invoke_config;
mod event_stream;
mod functions;
mod invoke;
mod recursion_config;
mod refusal;
mod target;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post, put};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::invocation::RequestId;
use crate::routes::read_body;
use crate::server::Gateway;
use refusal::Refusal;
use target::Target;

/// The routes. SDKs end some of their paths in a slash.
pub(crate) fn routes() -> Router<Gateway> {
    let function_configuration =
        get(functions::get_function_configuration).put(functions::update_function_configuration);
    let event_invoke_config = get(event_invoke_config::get)
        .put(event_invoke_config::put)
        .post(event_invoke_config::update)
        .delete(event_invoke_config::delete);
    Router::new()
        .route(
            "/2015-03-31/functions/{name}/invocations",
            post(invoke::invoke),
        )
        .route(
            "/2014-11-13/functions/{name}/invoke-async/",
            post(invoke::invoke_async),
        )
        .route(
            "/2014-11-13/functions/{name}/invoke-async",
            post(invoke::invoke_async),
        )
        .route(
            "/2021-11-15/functions/{name}/response-streaming-invocations",
            post(invoke::invoke_with_response_stream),
        )
        .route("/2015-03-31/functions/", get(functions::list_functions))
        .route("/2015-03-31/functions", get(functions::list_functions))
        .route("/2015-03-31/functions/{name}", get(functions::get_function))
        .route(
            "/2015-03-31/functions/{name}/configuration",
            function_configuration,
        )
        .route(
            "/2016-08-19/account-settings/",
            get(functions::get_account_settings),
        )
        .route(
            "/2016-08-19/account-settings",
            get(functions::get_account_settings),
        )
        .route(
            "/2017-10-31/functions/{name}/concurrency",
            put(concurrency::put).delete(concurrency::delete),
        )
        .route(
            "/2019-09-30/functions/{name}/concurrency",
            get(concurrency::get),
        )
        .route(
            "/2019-09-25/functions/{name}/event-invoke-config",
            event_invoke_config,
        )
        .route(
            "/2019-09-25/functions/{name}/event-invoke-config/list",
            get(event_invoke_config::list),
        )
        .route(
            "/2024-08-31/functions/{name}/recursion-config",
            get(recursion_config::get).put(recursion_config::put),
        )
}

/// The function that a control call names, whichever qualifier it has.
fn declared(gateway: &Gateway, name: &str, qualifier: Option<&str>) -> Result<Target, Refusal> {
    let config = &gateway.broker.shared.config;
    let target = Target::read(name, qualifier, config)?;
    if target.is_latest() && gateway.broker.is_declared(&target.name) {
        Ok(target)
    } else {
        let arn = target.arn(config);
        Err(Refusal::not_found(format!("Function not found: {arn}")))
    }
}

/// A body of JSON.
async fn json_body<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let body: Bytes = read_body(body)
        .await
        .map_err(|_| Refusal::serialization("the body was cut short"))?;
    serde_json::from_slice(&body).map_err(|error| Refusal::serialization(error.to_string()))
}

/// An answer of the control plane.
fn answer(result: Result<(StatusCode, Option<Value>), Refusal>) -> Response<Body> {
    let mut response = match result {
        Ok((status, body)) => {
            let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
            let mut response = Response::new(body);
            *response.status_mut() = status;
            let kind = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        Err(refusal) => axum::response::IntoResponse::into_response(refusal),
    };
    if let Ok(id) = HeaderValue::from_str(&RequestId::random().to_string()) {
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static("x-amzn-requestid"), id);
    }
    response
}

/// What was set could not be written down.
fn not_written(error: impl std::fmt::Display) -> Refusal {
    Refusal::of_service(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}
