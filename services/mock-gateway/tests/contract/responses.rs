//! `cases/response/*.json`: what a function did and what the caller gets from each front.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use mock_gateway::{FunctionResponse, InitFailure, Outcome, RuntimeExit, response};
use serde::Deserialize;
use serde_json::Value;

use crate::given::{Context, Request, cases, target_group};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    request: Request,
    #[serde(default)]
    context: Context,
    outcome: Given,
    #[serde(default)]
    rest_v1: Option<Expected>,
    #[serde(default)]
    http_v1: Option<Expected>,
    #[serde(default)]
    http_v2: Option<Expected>,
    #[serde(default)]
    function_url: Option<Expected>,
    #[serde(default)]
    load_balancer: Option<Expected>,
    /// A target group whose headers are lists.
    #[serde(default)]
    load_balancer_lists: Option<Expected>,
}

/// An outcome. `Answer` is JSON, `Text` the posted bytes as they are.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Given {
    Answer(Value),
    Text(String),
    Stream { content_type: String, body: String },
    FunctionError(Value),
    TimedOutSeconds(u64),
    ExitCode(i32),
    Signal(i32),
    InitError(Value),
    BuildFailed(String),
    Other(Other),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Other {
    ResponseTooLarge,
    RequestTooLarge,
    Throttled,
    IntegrationTimeout,
    UnknownFunction,
    ShuttingDown,
}

impl Given {
    fn build(&self) -> Outcome {
        let json = |value: &Value| Bytes::from(value.to_string());
        match self {
            Self::Answer(value) => answered(json(value), None, false),
            Self::Text(text) => answered(Bytes::from(text.clone()), None, false),
            Self::Stream { content_type, body } => {
                answered(Bytes::from(body.clone()), Some(content_type.clone()), true)
            }
            Self::FunctionError(value) => Outcome::FunctionError(json(value)),
            Self::TimedOutSeconds(seconds) => Outcome::TimedOut {
                timeout: Duration::from_secs(*seconds),
            },
            Self::ExitCode(0) => Outcome::Crashed(RuntimeExit::WithoutReason),
            Self::ExitCode(code) => Outcome::Crashed(RuntimeExit::Status(*code)),
            Self::Signal(number) => Outcome::Crashed(RuntimeExit::Signal(*number)),
            Self::InitError(value) => Outcome::InitFailed(InitFailure::Reported(json(value))),
            Self::BuildFailed(text) => Outcome::BuildFailed {
                diagnostics: Arc::from(text.as_str()),
            },
            Self::Other(Other::ResponseTooLarge) => Outcome::ResponseTooLarge,
            Self::Other(Other::RequestTooLarge) => Outcome::RequestTooLarge,
            Self::Other(Other::Throttled) => Outcome::Throttled,
            Self::Other(Other::IntegrationTimeout) => Outcome::IntegrationTimeout,
            Self::Other(Other::UnknownFunction) => Outcome::UnknownFunction,
            Self::Other(Other::ShuttingDown) => Outcome::ShuttingDown,
        }
    }
}

fn answered(body: Bytes, content_type: Option<String>, streaming: bool) -> Outcome {
    Outcome::Response(FunctionResponse {
        body,
        content_type,
        streaming,
    })
}

/// Header -> its values in order; an empty list means the header must not be there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    status: u16,
    body: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Vec<String>>,
    /// A part of `x-longshore-function-error`; without it the header must not be there.
    #[serde(default)]
    cause: Option<String>,
}

impl Expected {
    fn differences(&self, response: &Response<Bytes>) -> Vec<String> {
        let mut wrong = Vec::new();
        if response.status().as_u16() != self.status {
            wrong.push(format!("the status is {}", response.status()));
        }
        let body = String::from_utf8_lossy(response.body());
        if let Some(expected) = &self.body
            && *expected != body
        {
            wrong.push(format!("the body is {body}"));
        }
        let values = |name: &str| -> Vec<String> {
            let values = response.headers().get_all(name).into_iter();
            values
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .collect()
        };
        for (name, expected) in &self.headers {
            let seen = values(name);
            if seen != *expected {
                wrong.push(format!("{name} is {seen:?}"));
            }
        }
        let cause = values("x-longshore-function-error").concat();
        let explained = match &self.cause {
            Some(part) => cause.contains(part),
            None => cause.is_empty(),
        };
        if !explained {
            wrong.push(format!("the cause is {cause:?}"));
        }
        if !cause.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            wrong.push(format!("the cause is not one line of ASCII: {cause:?}"));
        }
        wrong
    }
}

fn check(file: &str) {
    let mut wrong = Vec::new();
    for case in cases::<Case>(file) {
        let request = case.request.build();
        let context = case.context.build();
        let outcome = case.outcome.build();
        let fronts = [
            (
                "rest_v1",
                &case.rest_v1,
                response::rest_v1 as fn(&_, &_, &_) -> _,
            ),
            ("http_v1", &case.http_v1, response::http_v1),
            ("http_v2", &case.http_v2, response::http_v2),
            ("function_url", &case.function_url, response::function_url),
            (
                "load_balancer",
                &case.load_balancer,
                |outcome, _, context| {
                    response::load_balancer(outcome, context, &target_group(false))
                },
            ),
            (
                "load_balancer_lists",
                &case.load_balancer_lists,
                |outcome, _, context| {
                    response::load_balancer(outcome, context, &target_group(true))
                },
            ),
        ];
        let mut checked = 0;
        for (front, expected, map) in fronts {
            let Some(expected) = expected else { continue };
            checked += 1;
            let response = map(&outcome, &request, &context);
            for difference in expected.differences(&response) {
                wrong.push(format!("{} ({front}): {difference}", case.name));
            }
        }
        assert!(checked > 0, "{}: expects nothing", case.name);
    }
    assert!(wrong.is_empty(), "{file}\n{}", wrong.join("\n"));
}

#[test]
fn answers() {
    check("response/answers.json");
}

#[test]
fn malformed_answers() {
    check("response/malformed.json");
}

#[test]
fn streams() {
    check("response/streams.json");
}

#[test]
fn failures() {
    check("response/failures.json");
}
