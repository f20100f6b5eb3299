//! The fronts of a function: the REST API (`/lambda/<function>`), its function URL
//! (`/lambda-url/<function>`), a load balancer (`/alb/<function>`) and, for every other
//! path, the API of the router table.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use app_model::{Api, Cors, Excess, FunctionName, Parity, PayloadFormat, Route, RouterKind};
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{StatusCode, header};
use jiff::Timestamp;
use service_runtime::Problem;
use uuid::Uuid;

use super::streamed::Streams;
use super::target::{Front, Target};
use super::{
    Hungup, MAX_REQUEST_BYTES, cors, hint, limits, mark, read_body, streamed, unknown_function,
};
use crate::access::Entry;
use crate::broker::Answer;
use crate::event::{self, Caller, EventContext, GatewayRequest, TargetGroup};
use crate::faults::Taken;
use crate::invocation::{Invocation, RequestId, TraceId};
use crate::outcome::Outcome;
use crate::parity;
use crate::response;
use crate::server::Gateway;

/// An API id looks like this; there is one API of each kind.
const API_ID: &str = "longshore0";
const DEFAULT_STAGE: &str = "$default";

/// The largest request that a load balancer passes to a function, in bytes.
const MAX_LOAD_BALANCER_BYTES: usize = 1024 * 1024;

/// Function URLs and load balancers have no limit of their own: they wait for as long as
/// Lambda's longest run takes, and some.
const NO_LIMIT: Duration = Duration::from_secs(960);

/// How long a REST API waits where it passes answers on while they are written.
const STREAM_LIMIT: Duration = Duration::from_secs(900);

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
    let api = api(&gateway);
    let options = api
        .functions
        .iter()
        .find_map(|(name, options)| (name.as_str() == function).then_some(options))
        .cloned();
    let target = Target {
        front: Front::Rest,
        api,
        function: function.to_owned(),
        resource,
        path: path.to_owned(),
        parameters,
        options,
    };
    go_through(&gateway, target, request).await
}

/// `ANY /lambda-url/<function>/…`: below its prefix, the path is the function's own.
pub(crate) async fn function_url(State(gateway): State<Gateway>, request: Request) -> Response {
    let (function, path) = split_function(request.uri().path(), "/lambda-url/");
    let api = api(&gateway);
    let target = Target {
        front: Front::FunctionUrl,
        api: api.clone(),
        function: function.to_owned(),
        resource: DEFAULT_STAGE.to_owned(),
        path: format!("/{path}"),
        parameters: Vec::new(),
        options: None,
    };
    let rules = api
        .urls
        .iter()
        .find_map(|(name, url)| (name.as_str() == function).then_some(url.cors.as_ref())?);
    shared(rules, StatusCode::OK, request, async |request| {
        go_through(&gateway, target, request).await
    })
    .await
}

/// `ANY /alb/<function>/…`: below its prefix, the path is the function's own.
pub(crate) async fn load_balancer(State(gateway): State<Gateway>, request: Request) -> Response {
    let (function, path) = split_function(request.uri().path(), "/alb/");
    let api = api(&gateway);
    let config = &gateway.broker.shared.config;
    let target = Target {
        front: Front::LoadBalancer(TargetGroup {
            arn: format!(
                "arn:aws:elasticloadbalancing:{}:{}:targetgroup/{function}/{:016x}",
                config.region,
                config.account_id,
                event::text_hash(function),
            ),
            multi_value_headers: api.alb.multi_value_headers,
        }),
        api,
        function: function.to_owned(),
        resource: String::new(),
        path: format!("/{path}"),
        parameters: Vec::new(),
        options: None,
    };
    go_through(&gateway, target, request).await
}

/// Every other path: the router table's.
pub(crate) async fn routed(State(gateway): State<Gateway>, request: Request) -> Response {
    let api = api(&gateway);
    match api.router {
        RouterKind::Rest => by_route(&gateway, api, request).await,
        RouterKind::Http => {
            let rules = api.http.cors.as_ref();
            shared(rules, StatusCode::NO_CONTENT, request, async |request| {
                by_route(&gateway, api.clone(), request).await
            })
            .await
        }
    }
}

/// What a request is answered with where pages of other origins may call, or may not.
async fn shared(
    rules: Option<&Cors>,
    preflight_status: StatusCode,
    request: Request,
    answer: impl AsyncFnOnce(Request) -> Response,
) -> Response {
    let Some(rules) = rules else {
        return answer(request).await;
    };
    let preflight = cors::preflight(rules, request.method(), request.headers(), preflight_status);
    if let Some(preflight) = preflight {
        return preflight;
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = answer(request).await;
    cors::overwrite(rules, origin.as_ref(), response.headers_mut());
    response
}

async fn by_route(gateway: &Gateway, api: Arc<Api>, request: Request) -> Response {
    let table = gateway.functions.borrow().clone();
    let stage = match api.router {
        RouterKind::Http => &api.http.stage,
        RouterKind::Rest => &api.rest.stage,
    };
    let path = within_stage(request.uri().path(), stage).to_owned();
    let method = request.method().as_str();
    let mut route = table.routes.resolve(method, &path);
    if route.is_err() && api.router == RouterKind::Rest && path.len() > 1 {
        // A slash at the end makes no other resource of a REST API.
        route = table.routes.resolve(method, path.trim_end_matches('/'));
    }
    let options = route
        .as_ref()
        .ok()
        .filter(|_| !api.routes.is_empty())
        .and_then(|route| api.route(&route_key(route, method)).cloned());
    let front = match api.router {
        RouterKind::Rest => Front::Rest,
        RouterKind::Http => {
            let own = options.as_ref().and_then(|options| options.payload_format);
            Front::Http(own.unwrap_or(api.http.payload_format))
        }
    };
    match route {
        Ok(route) => {
            let resource = match front {
                Front::Http(PayloadFormat::V2) if route.any_method => route_key(&route, method),
                _ => Cow::Borrowed(route.resource.as_str()),
            };
            let target = Target {
                front,
                resource: resource.into_owned(),
                function: route.function.to_string(),
                path,
                parameters: parameters(&api, route),
                api,
                options,
            };
            go_through(gateway, target, request).await
        }
        Err(no_route) => {
            let text = format!(
                "{no_route}; functions are called at /lambda/<function> and /lambda-url/<function>/, of: {}",
                gateway.broker.function_names().join(", ")
            );
            let target = Target {
                front,
                api,
                function: String::new(),
                resource: DEFAULT_STAGE.to_owned(),
                path,
                parameters: Vec::new(),
                options: None,
            };
            let mut response = refuse(gateway, target, request).await;
            hint(&mut response, &text);
            response
        }
    }
}

/// `GET /orders/{id}`, `ANY /files/{proxy+}` or `$default`, as the route was declared.
fn route_key<'a>(route: &'a Route, method: &str) -> Cow<'a, str> {
    if route.resource == DEFAULT_STAGE {
        return Cow::Borrowed(DEFAULT_STAGE);
    }
    let method = if route.any_method { "ANY" } else { method };
    Cow::Owned(format!("{method} {}", route.resource))
}

/// A REST API leaves the slash at the end to the path.
fn parameters(api: &Api, route: Route) -> Vec<(String, String)> {
    let mut parameters: Vec<_> = route.parameters.into_iter().collect();
    if api.router == RouterKind::Rest {
        for (_, value) in &mut parameters {
            value.truncate(value.trim_end_matches('/').len());
        }
    }
    parameters
}

/// The path within the stage. Clients may leave the stage out, as with a domain name of
/// one's own on AWS.
fn within_stage<'a>(path: &'a str, stage: &str) -> &'a str {
    if stage == DEFAULT_STAGE {
        return path;
    }
    let below = path
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(stage));
    match below {
        Some("") => "/",
        Some(below) if below.starts_with('/') => below,
        _ => path,
    }
}

fn api(gateway: &Gateway) -> Arc<Api> {
    gateway.functions.borrow().routes.api().clone()
}

/// The first segment below a prefix, and what follows its slash.
fn split_function<'a>(path: &'a str, prefix: &str) -> (&'a str, &'a str) {
    let below = path.strip_prefix(prefix).unwrap_or_default();
    below.split_once('/').unwrap_or((below, ""))
}

/// Passes a request on, unless it is beyond what its front takes on AWS and that is
/// enforced.
async fn go_through(gateway: &Gateway, target: Target, request: Request) -> Response {
    let Some(excess) = limits::of_request(&target.front, &request) else {
        return pass_on(gateway, target, request).await;
    };
    tell(gateway, &target.function, &excess);
    let mut response = match gateway.broker.shared.config.parity {
        Parity::Warn => pass_on(gateway, target, request).await,
        Parity::Enforce => limits::refusal(&target.front, &excess),
    };
    parity::mark(response.headers_mut(), &excess);
    response
}

/// Tells of what would fail on AWS, of functions that there are.
fn tell(gateway: &Gateway, function: &str, excess: &Excess) {
    if let Ok(function) = function.parse()
        && gateway.broker.is_declared(&function)
    {
        gateway.broker.shared.notices.tell(&function, excess);
    }
}

fn tell_caller(
    gateway: &Gateway,
    target: &Target,
    excesses: &[Option<Excess>],
    response: &mut Response,
) {
    for excess in excesses.iter().flatten() {
        tell(gateway, &target.function, excess);
        parity::mark(response.headers_mut(), excess);
    }
}

async fn pass_on(gateway: &Gateway, target: Target, request: Request) -> Response {
    let Ok(function) = target.function.parse::<FunctionName>() else {
        let text = unknown_function(&target.function, &gateway.broker);
        let mut response = refuse(gateway, target, request).await;
        hint(&mut response, &text);
        return response;
    };
    let injected = match gateway
        .broker
        .shared
        .faults
        .of(request.headers(), &function)
    {
        Ok(injected) => injected,
        Err(invalid) => return Problem::bad_request(invalid.to_string()).into_response(),
    };
    if let Some(refused) = injected.refused() {
        let mut response = refused.answer(target.front.speaker());
        injected.mark(&mut response);
        return response;
    }
    let request_id = RequestId::random();
    let Ok((request, mut context, mut trace_id)) =
        take_apart(gateway, &target, request, request_id).await
    else {
        return hungup();
    };
    let mut excesses: [Option<Excess>; 3] = [None, None, None];
    if let Some(options) = &target.options {
        let kind = match target.front {
            Front::Http(_) => RouterKind::Http,
            Front::Rest | Front::FunctionUrl | Front::LoadBalancer(_) => RouterKind::Rest,
        };
        let entry = Entry {
            broker: &gateway.broker,
            api: &target.api,
            kind,
            options,
            request: &request,
            context: &context,
            trace_id: &trace_id,
        };
        let admission = gateway.access.admit(&entry).await;
        excesses[2] = admission.excess;
        match admission.caller {
            Ok(caller) => context.caller = caller,
            Err(refusal) => {
                let mut response = response::refused(&refusal, kind, &context).map(Body::from);
                tell_caller(gateway, &target, &excesses, &mut response);
                return response;
            }
        }
    }
    trace_id.enter(&function);
    trace_id.as_str().clone_into(&mut context.trace_id);
    let config = &gateway.broker.shared.config;
    let limit = match target.front {
        Front::LoadBalancer(_) => MAX_LOAD_BALANCER_BYTES,
        Front::Rest | Front::Http(_) | Front::FunctionUrl => MAX_REQUEST_BYTES,
    };
    let streams = target.streams();
    let answer = if request.body.len() > limit {
        Answer::refusal(Outcome::RequestTooLarge)
    } else {
        let (payload, patience) = match &target.front {
            Front::Rest => (
                event::rest_v1(&request, &context),
                if streams == Some(Streams::Rest) {
                    STREAM_LIMIT
                } else {
                    config.rest_integration_timeout
                },
            ),
            Front::Http(PayloadFormat::V1) => (
                event::http_v1(&request, &context),
                config.http_integration_timeout,
            ),
            Front::Http(PayloadFormat::V2) => (
                event::http_v2(&request, &context),
                config.http_integration_timeout,
            ),
            Front::FunctionUrl => (event::function_url(&request, &context), NO_LIMIT),
            Front::LoadBalancer(group) => {
                (event::load_balancer(&request, &context, group), NO_LIMIT)
            }
        };
        if let Front::Rest = &target.front {
            excesses[0] = limits::of_binary_body(&target.api, config.parity, &request, &payload);
        }
        let invocation = Invocation {
            request_id,
            function,
            payload: Bytes::from(payload),
            trace_id,
            qualified: false,
            tenant: None,
            client_context: None,
            wants_log_tail: false,
        };
        let taken = match streams {
            Some(_) => Taken::AsWritten,
            None => Taken::Whole,
        };
        gateway
            .broker
            .invoke_with(invocation, patience, &injected, taken)
            .await
    };
    if let (Outcome::Streaming(stream), Some(of)) = (&answer.outcome, streams) {
        let mut response = streamed::answer(of, stream, &request, &context).await;
        tell_caller(gateway, &target, &excesses, &mut response);
        mark(&mut response, &answer);
        injected.mark(&mut response);
        return response;
    }
    let mut response = match streams {
        Some(Streams::Rest) => {
            response::rest_stream(&answer.outcome, &request, &context).map(Body::from)
        }
        _ => put_together(&target.front, &answer.outcome, &request, &context),
    };
    match &target.front {
        Front::Rest => excesses[1] = limits::of_binary_answer(&target.api, &response),
        Front::LoadBalancer(_) => {
            excesses[1] = limits::of_load_balancers_answer(response.headers());
            if excesses[1].is_some() && config.parity == Parity::Enforce {
                response = response::load_balancer_page(StatusCode::BAD_GATEWAY).map(Body::from);
            }
        }
        Front::Http(_) | Front::FunctionUrl => {}
    }
    tell_caller(gateway, &target, &excesses, &mut response);
    mark(&mut response, &answer);
    injected.mark(&mut response);
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
    if gateway.broker.shared.config.parity == Parity::Enforce
        && let Some(excess) = limits::of_request(&target.front, &request)
    {
        return limits::refusal(&target.front, &excess);
    }
    match take_apart(gateway, &target, request, RequestId::random()).await {
        Ok((request, context, _)) => {
            put_together(&target.front, &Outcome::UnknownFunction, &request, &context)
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
        .map(TraceId::of_a_new_chain)
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
            Front::Rest => &target.api.rest.stage,
            Front::Http(_) => &target.api.http.stage,
            Front::FunctionUrl | Front::LoadBalancer(_) => DEFAULT_STAGE,
        }
        .to_owned(),
        request_id: request_id.to_string(),
        extended_request_id: BASE64.encode(&Uuid::new_v4().as_bytes()[..11]),
        trace_id: trace_id.to_text(),
        resource: target.resource.clone(),
        path: target.path.clone(),
        path_parameters: target.parameters.clone(),
        stage_variables: match target.front {
            Front::Rest => target.api.rest.stage_variables.clone(),
            Front::Http(_) => target.api.http.stage_variables.clone(),
            Front::FunctionUrl | Front::LoadBalancer(_) => BTreeMap::new(),
        },
        binary_media_types: limits::binary_media_types(
            &target.api,
            gateway.broker.shared.config.parity,
        ),
        caller: Caller::default(),
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
    front: &Front,
    outcome: &Outcome,
    request: &GatewayRequest,
    context: &EventContext,
) -> Response {
    let response = match front {
        Front::Rest => response::rest_v1(outcome, request, context),
        Front::Http(PayloadFormat::V1) => response::http_v1(outcome, request, context),
        Front::Http(PayloadFormat::V2) => response::http_v2(outcome, request, context),
        Front::FunctionUrl => response::function_url(outcome, request, context),
        Front::LoadBalancer(group) => response::load_balancer(outcome, context, group),
    };
    response.map(Body::from)
}

/// The sender of a request left in the middle of it.
fn hungup() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}
