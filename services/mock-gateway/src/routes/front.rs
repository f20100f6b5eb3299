//! The three fronts of a function: the REST API (`/lambda/<function>`), its function URL
//! (`/lambda-url/<function>`) and, for every other path, the HTTP API of the router table.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use app_model::FunctionName;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{StatusCode, header};
use jiff::Timestamp;
use uuid::Uuid;

use super::{Hungup, MAX_REQUEST_BYTES, hint, mark, read_body, unknown_function};
use crate::broker::Answer;
use crate::event::{self, EventContext, GatewayRequest};
use crate::invocation::{Invocation, RequestId, TraceId};
use crate::outcome::Outcome;
use crate::response;
use crate::server::Gateway;

/// An API id looks like this; there is one API of each kind.
const API_ID: &str = "longshore0";
/// The REST API's stage.
const REST_STAGE: &str = "local";
const DEFAULT_STAGE: &str = "$default";

/// Which front a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Front {
    Rest,
    HttpApi,
    FunctionUrl,
}

/// Where a request goes.
struct Target {
    front: Front,
    function: String,
    resource: String,
    path: String,
    parameters: Vec<(String, String)>,
}

/// `ANY /lambda/<function>` and `/lambda/<function>/{proxy+}`.
pub(crate) async fn rest_api(State(gateway): State<Gateway>, request: Request) -> Response {
    let path = request.uri().path();
    let (function, proxy) = split_function(path, "/lambda/");
    let (resource, parameters) = match proxy.trim_end_matches('/') {
        "" => (format!("/lambda/{function}"), Vec::new()),
        proxy => (
            format!("/lambda/{function}/{{proxy+}}"),
            vec![("proxy".to_owned(), proxy.to_owned())],
        ),
    };
    let target = Target {
        front: Front::Rest,
        function: function.to_owned(),
        resource,
        path: path.to_owned(),
        parameters,
    };
    go_through(&gateway, target, request).await
}

/// `ANY /lambda-url/<function>/…`: below its prefix, the path is the function's own.
pub(crate) async fn function_url(State(gateway): State<Gateway>, request: Request) -> Response {
    let (function, path) = split_function(request.uri().path(), "/lambda-url/");
    let target = Target {
        front: Front::FunctionUrl,
        function: function.to_owned(),
        resource: DEFAULT_STAGE.to_owned(),
        path: format!("/{path}"),
        parameters: Vec::new(),
    };
    go_through(&gateway, target, request).await
}

/// Every other path: the router table's.
pub(crate) async fn http_api(State(gateway): State<Gateway>, request: Request) -> Response {
    let routes = gateway.functions.borrow().clone();
    let path = request.uri().path();
    match routes.routes.resolve(request.method().as_str(), path) {
        Ok(route) => {
            let target = Target {
                front: Front::HttpApi,
                function: route.function.to_string(),
                resource: route.resource,
                path: path.to_owned(),
                parameters: route.parameters.into_iter().collect(),
            };
            go_through(&gateway, target, request).await
        }
        Err(no_route) => {
            let text = format!(
                "{no_route}; functions are called at /lambda/<function> and /lambda-url/<function>/, of: {}",
                gateway.broker.function_names().join(", ")
            );
            let target = Target {
                front: Front::HttpApi,
                function: String::new(),
                resource: DEFAULT_STAGE.to_owned(),
                path: path.to_owned(),
                parameters: Vec::new(),
            };
            let mut response = refuse(&gateway, target, request).await;
            hint(&mut response, &text);
            response
        }
    }
}

/// The first segment below a prefix, and what follows its slash.
fn split_function<'a>(path: &'a str, prefix: &str) -> (&'a str, &'a str) {
    let below = path.strip_prefix(prefix).unwrap_or_default();
    below.split_once('/').unwrap_or((below, ""))
}

async fn go_through(gateway: &Gateway, target: Target, request: Request) -> Response {
    let Ok(function) = target.function.parse::<FunctionName>() else {
        let text = unknown_function(&target.function, &gateway.broker);
        let mut response = refuse(gateway, target, request).await;
        hint(&mut response, &text);
        return response;
    };
    let request_id = RequestId::random();
    let Ok((request, context, trace_id)) = take_apart(gateway, &target, request, request_id).await
    else {
        return hungup();
    };
    let config = &gateway.broker.shared.config;
    let answer = if request.body.len() > MAX_REQUEST_BYTES {
        Answer::refusal(Outcome::RequestTooLarge)
    } else {
        let (payload, patience) = match target.front {
            Front::Rest => (
                event::rest_v1(&request, &context),
                config.rest_integration_timeout,
            ),
            Front::HttpApi => (
                event::http_v2(&request, &context),
                config.http_integration_timeout,
            ),
            Front::FunctionUrl => (
                event::function_url(&request, &context),
                config.http_integration_timeout,
            ),
        };
        let invocation = Invocation {
            request_id,
            function,
            payload: Bytes::from(payload),
            trace_id,
            client_context: None,
            wants_log_tail: false,
        };
        gateway.broker.invoke(invocation, patience).await
    };
    let mut response = put_together(target.front, &answer.outcome, &request, &context);
    mark(&mut response, &answer);
    if matches!(answer.outcome, Outcome::UnknownFunction) {
        hint(
            &mut response,
            &unknown_function(&target.function, &gateway.broker),
        );
    }
    response
}

/// Answers for what leads to no function.
async fn refuse(gateway: &Gateway, target: Target, request: Request) -> Response {
    match take_apart(gateway, &target, request, RequestId::random()).await {
        Ok((request, context, _)) => {
            put_together(target.front, &Outcome::UnknownFunction, &request, &context)
        }
        Err(Hungup) => hungup(),
    }
}

async fn take_apart(
    gateway: &Gateway,
    target: &Target,
    request: Request,
    request_id: RequestId,
) -> Result<(GatewayRequest, EventContext, TraceId), Hungup> {
    let received_at = Timestamp::now();
    let (parts, body) = request.into_parts();
    let body = read_body(body).await?;
    let source_ip = parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.0.ip());
    let text = |name: header::HeaderName| parts.headers.get(name).and_then(|v| v.to_str().ok());
    let trace_id = text(header::HeaderName::from_static("x-amzn-trace-id"))
        .and_then(TraceId::from_header)
        .unwrap_or_else(|| {
            TraceId::random(u64::try_from(received_at.as_second()).unwrap_or_default())
        });
    let domain_name = text(header::HOST)
        .and_then(|host| host.parse::<http::uri::Authority>().ok())
        .map_or_else(|| "localhost".to_owned(), |host| host.host().to_owned());
    let context = EventContext {
        account_id: gateway.broker.shared.config.account_id.clone(),
        api_id: API_ID.to_owned(),
        domain_name,
        stage: match target.front {
            Front::Rest => REST_STAGE,
            Front::HttpApi | Front::FunctionUrl => DEFAULT_STAGE,
        }
        .to_owned(),
        request_id: request_id.to_string(),
        extended_request_id: BASE64.encode(&Uuid::new_v4().as_bytes()[..11]),
        trace_id: trace_id.as_str().to_owned(),
        resource: target.resource.clone(),
        path: target.path.clone(),
        path_parameters: target.parameters.clone(),
        stage_variables: BTreeMap::new(),
    };
    let request = GatewayRequest {
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        body,
        source_ip,
        received_at,
        http_version: parts.version,
    };
    Ok((request, context, trace_id))
}

fn put_together(
    front: Front,
    outcome: &Outcome,
    request: &GatewayRequest,
    context: &EventContext,
) -> Response {
    let response = match front {
        Front::Rest => response::rest_v1(outcome, request, context),
        Front::HttpApi => response::http_v2(outcome, request, context),
        Front::FunctionUrl => response::function_url(outcome, request, context),
    };
    response.map(Body::from)
}

/// The sender of a request left in the middle of it.
fn hungup() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}
