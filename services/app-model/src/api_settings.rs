//! Reads `[workspace.metadata.longshore.api]` and says what is wrong with it. These keys
//! are Longshore's own: one it does not know is a mistake.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::api::{Api, Cors, PayloadFormat, RestApi, RouterKind};
use crate::section::{Problems, Section};
use crate::{DEFAULT_ROUTE, Function, FunctionName, RouteTable};

const KEYS: [&str; 6] = ["router", "http", "rest", "alb", "url", "route"];

/// Reads the table. What is wrong is reported and counts as not set.
pub(crate) fn declared_api(
    api: &Section<'_>,
    functions: &BTreeMap<FunctionName, Function>,
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
    declared
}

/// The tables below `name`, each named after a function.
fn of_functions<T: DeserializeOwned>(
    api: &Section<'_>,
    name: &str,
    functions: &BTreeMap<FunctionName, Function>,
    problems: &mut Problems,
) -> BTreeMap<FunctionName, T> {
    let section = api.section(name, problems);
    let mut tables = BTreeMap::new();
    for function in section.names() {
        let known = function
            .parse::<FunctionName>()
            .ok()
            .filter(|function| functions.contains_key(function));
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
        let Some(options) = section.get::<crate::RouteOptions>(key, problems) else {
            continue;
        };
        if options.payload_format == Some(PayloadFormat::V2) && declared.router == RouterKind::Rest
        {
            problems.push(section.problem(
                &quoted,
                "a REST API has payload format 1.0 only: leave `payload_format` out",
            ));
        }
        declared.routes.insert(key.to_owned(), options);
    }
}
