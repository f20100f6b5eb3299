//! `cases/event/*.json`: an HTTP request and what the event must say.

use std::collections::BTreeMap;

use mock_gateway::event::{self, EventContext, GatewayRequest};
use serde::Deserialize;
use serde_json::Value;

use crate::given::{Context, Request, cases, target_group};

/// `event` is the whole event; `at` are values by JSON pointer, and `absent` pointers that
/// lead nowhere (a `null` is somewhere).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    request: Request,
    #[serde(default)]
    context: Context,
    #[serde(default)]
    event: Option<Value>,
    #[serde(default)]
    at: BTreeMap<String, Value>,
    #[serde(default)]
    absent: Vec<String>,
}

fn check(file: &str, build: fn(&GatewayRequest, &EventContext) -> Vec<u8>) {
    let mut wrong = Vec::new();
    for case in cases::<Case>(file) {
        let json = build(&case.request.build(), &case.context.build());
        let event: Value = serde_json::from_slice(&json).unwrap();
        if let Some(expected) = &case.event
            && *expected != event
        {
            wrong.push(format!("{}: the event is {event:#}", case.name));
        }
        for (pointer, expected) in &case.at {
            let seen = event.pointer(pointer);
            if seen != Some(expected) {
                wrong.push(format!("{}: {pointer} is {seen:?}", case.name));
            }
        }
        for pointer in &case.absent {
            if let Some(seen) = event.pointer(pointer) {
                wrong.push(format!("{}: {pointer} is {seen}", case.name));
            }
        }
        assert!(
            case.event.is_some() || !case.at.is_empty() || !case.absent.is_empty(),
            "{}: expects nothing",
            case.name
        );
    }
    assert!(wrong.is_empty(), "{file}\n{}", wrong.join("\n"));
}

#[test]
fn rest_v1() {
    check("event/rest_v1.json", event::rest_v1);
}

#[test]
fn http_v1() {
    check("event/http_v1.json", event::http_v1);
}

#[test]
fn load_balancer() {
    check("event/load_balancer.json", |request, context| {
        event::load_balancer(request, context, &target_group(false))
    });
}

#[test]
fn load_balancer_with_lists() {
    check("event/load_balancer_lists.json", |request, context| {
        event::load_balancer(request, context, &target_group(true))
    });
}

#[test]
fn http_v2() {
    check("event/http_v2.json", event::http_v2);
}

#[test]
fn function_url() {
    check("event/function_url.json", event::function_url);
}
