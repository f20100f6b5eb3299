//! Reads `[workspace.metadata.longshore.api]` and says what is wrong with it. These keys
//! are Longshore's own: one it does not know is a mistake.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use crate::api::{
    Api, Cors, PayloadFormat, RestApi, RouteOptions, RouterKind, TransferMode, UsagePlan,
};
use crate::authorizer::Authorizer;
use crate::authorizer_settings::authorizers;
use crate::section::{Problems, Section};
use crate::{DEFAULT_ROUTE, FunctionName, RouteTable};

const KEYS: [&str; 9] = [
    "router",
    "http",
    "rest",
    "alb",
    "url",
    "route",
    "function",
    "authorizer",
    "usage_plan",
];

/// Reads the table. What is wrong is reported and counts as not set.
pub(crate) fn declared_api(
    api: &Section<'_>,
    functions: &BTreeSet<FunctionName>,
    routes: &RouteTable,
    problems: &mut Problems,
) -> Api {
    for name in api.names().filter(|name| !KEYS.contains(name)) {
        let known = KEYS.join("`, `");
        problems.push(api.problem(
            name,
            &format!("unknown key: Longshore knows `{known}` here"),
        ));
    }
    let mut declared = Api {
        router: api.get("router", problems).unwrap_or_default(),
        http: api.get("http", problems).unwrap_or_default(),
        rest: api.get("rest", problems).unwrap_or_default(),
        alb: api.get("alb", problems).unwrap_or_default(),
        urls: of_functions(api, "url", functions, problems),
        routes: BTreeMap::new(),
        functions: of_functions(api, "function", functions, problems),
        authorizers: authorizers(api, functions, problems),
        usage_plans: usage_plans(api, problems),
    };
    check_stage(api, "http", &mut declared.http.stage, problems);
    check_stage(api, "rest", &mut declared.rest.stage, problems);
    if declared.rest.stage == DEFAULT_ROUTE {
        problems.push(api.problem("rest.stage", "a REST API has no `$default` stage: name one"));
        declared.rest.stage = RestApi::default().stage;
    }
    for (at, cors) in std::iter::once(("http".to_owned(), &mut declared.http.cors)).chain(
        declared
            .urls
            .iter_mut()
            .map(|(name, url)| (format!("url.{name}"), &mut url.cors)),
    ) {
        if let Some(wrong) = cors.as_ref().and_then(wrong_cors) {
            problems.push(api.problem(&format!("{at}.cors"), wrong));
            *cors = None;
        }
    }
    route_options(api, &mut declared, routes, problems);
    for (name, options) in &declared.functions {
        let key = format!("function.{name}");
        check_options(api, &key, options, RouterKind::Rest, &declared, problems);
    }
    declared
}

/// The tables below `name`, each named after a function.
fn of_functions<T: DeserializeOwned>(
    api: &Section<'_>,
    name: &str,
    functions: &BTreeSet<FunctionName>,
    problems: &mut Problems,
) -> BTreeMap<FunctionName, T> {
    let section = api.section(name, problems);
    let mut tables = BTreeMap::new();
    for function in section.names() {
        let known = function
            .parse::<FunctionName>()
            .ok()
            .filter(|function| functions.contains(function));
        let Some(known) = known else {
            problems.push(section.problem(function, "there is no such function"));
            continue;
        };
        if let Some(table) = section.get(function, problems) {
            tables.insert(known, table);
        }
    }
    tables
}

fn check_stage(api: &Section<'_>, of: &str, stage: &mut String, problems: &mut Problems) {
    let plain = !stage.is_empty()
        && stage
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !plain && stage != DEFAULT_ROUTE {
        problems.push(api.problem(
            &format!("{of}.stage"),
            &format!("{stage:?} is no stage name: letters, digits, `-` and `_` are"),
        ));
        *stage = if of == "http" {
            DEFAULT_ROUTE.to_owned()
        } else {
            RestApi::default().stage
        };
    }
}

/// What AWS would refuse.
fn wrong_cors(cors: &Cors) -> Option<&'static str> {
    if cors.allow_credentials && cors.allow_origins.iter().any(|origin| origin == "*") {
        return Some("credentials are not allowed together with the origin `*`: name the origins");
    }
    let is_origin = |origin: &String| {
        origin == "*" || origin.starts_with("http://") || origin.starts_with("https://")
    };
    if !cors.allow_origins.iter().all(is_origin) {
        return Some("an origin begins with `http://` or `https://`, or is `*`");
    }
    cors.max_age
        .filter(|seconds| *seconds > 86_400)
        .map(|_| "`max_age` is at most 86400 seconds")
}

/// Says what of a route's options its API does not have. They stay set: a request to a
/// route whose authorizer is not there is refused, not let through.
fn check_options(
    api: &Section<'_>,
    at: &str,
    options: &RouteOptions,
    of: RouterKind,
    declared: &Api,
    problems: &mut Problems,
) {
    let mut wrong = |what: &str| problems.push(api.problem(at, what));
    if of == RouterKind::Rest && options.payload_format == Some(PayloadFormat::V2) {
        wrong("a REST API has payload format 1.0 only: leave `payload_format` out");
    }
    if of == RouterKind::Http && options.api_key_required {
        wrong("API keys are a REST API's: leave `api_key_required` out or set `router = \"rest\"`");
    }
    if of == RouterKind::Http && options.response_transfer_mode == TransferMode::Stream {
        wrong(
            "response streaming is a REST API's: leave `response_transfer_mode` out or set `router = \"rest\"`",
        );
    }
    let authorizer = options.authorizer.as_ref().map(|name| {
        let found = declared.authorizers.get(name);
        (name, found)
    });
    match (of, authorizer) {
        (_, Some((name, None))) => wrong(&format!(
            "there is no authorizer `{name}`: every request is refused until \
             `workspace.metadata.longshore.api.authorizer.{name}` declares it"
        )),
        (RouterKind::Rest, Some((name, Some(Authorizer::Jwt(_))))) => wrong(&format!(
            "`{name}` is a JWT authorizer, which only HTTP APIs have: every request is refused"
        )),
        (RouterKind::Http, Some((name, Some(Authorizer::Token(_))))) => wrong(&format!(
            "`{name}` is a token authorizer, which only REST APIs have: every request is refused"
        )),
        (_, found) => {
            let is_jwt = matches!(found, Some((_, Some(Authorizer::Jwt(_)))));
            if !options.authorization_scopes.is_empty() && !is_jwt {
                wrong("`authorization_scopes` need a JWT authorizer");
            }
        }
    }
}

fn usage_plans(api: &Section<'_>, problems: &mut Problems) -> BTreeMap<String, UsagePlan> {
    let section = api.section("usage_plan", problems);
    let mut plans = BTreeMap::new();
    let mut values = BTreeSet::new();
    for name in section.names() {
        let Some(mut plan) = section.get::<UsagePlan>(name, problems) else {
            continue;
        };
        let mut wrong = |what: &str| problems.push(section.problem(name, what));
        if plan
            .rate
            .is_some_and(|rate| !rate.is_finite() || rate <= 0.0)
        {
            wrong("`rate` is a number of requests a second, above 0");
            plan.rate = None;
        }
        if plan.burst.is_some() && plan.rate.is_none() {
            wrong("`burst` needs a `rate`");
        }
        plan.api_keys.retain(|key, value| {
            if !(20..=128).contains(&value.len()) {
                wrong(&format!(
                    "the API key `{key}` has {} characters: AWS takes 20 to 128",
                    value.len()
                ));
                return false;
            }
            let first = values.insert(value.clone());
            if !first {
                wrong(&format!("the API key `{key}` has the value of another one"));
            }
            first
        });
        plans.insert(name.to_owned(), plan);
    }
    plans
}

fn route_options(
    api: &Section<'_>,
    declared: &mut Api,
    routes: &RouteTable,
    problems: &mut Problems,
) {
    let section = api.section("route", problems);
    for key in section.names() {
        let is_declared = match key.split_once(' ') {
            None => key == DEFAULT_ROUTE && routes.has_route("ANY", DEFAULT_ROUTE),
            Some((method, resource)) => routes.has_route(method, resource),
        };
        let quoted = format!("{key:?}");
        if !is_declared {
            problems.push(section.problem(
                &quoted,
                "no route has this key: write it as it was declared, `GET /orders/{id}`, \
                 `ANY /files/{proxy+}` for every method, or `$default`",
            ));
            continue;
        }
        let Some(options) = section.get::<RouteOptions>(key, problems) else {
            continue;
        };
        let (key_path, of) = (format!("route.{quoted}"), declared.router);
        check_options(api, &key_path, &options, of, declared, problems);
        declared.routes.insert(key.to_owned(), options);
    }
}
