//! Word of how an event ended, in AWS's shapes: the destination record and the dead
//! letter.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::entry::{Entry, Event, Message, Task};
use super::function_options::FunctionOptions;
use super::verdict::Condition;
use crate::invocation::{RequestId, TraceId};
use crate::outcome::Outcome;
use crate::recursion;

/// A dead letter tells at most this many bytes of the error.
const ERROR_MESSAGE_BYTES: usize = 1_024;

/// An event that ended.
pub(crate) struct Ended<'a> {
    pub(crate) event: &'a Event,
    pub(crate) payload: &'a Bytes,
    /// Unqualified.
    pub(crate) function_arn: &'a str,
    pub(crate) condition: Condition,
    /// How often the function had it.
    pub(crate) attempts: u32,
    /// How the last attempt ended; none if there was none.
    pub(crate) outcome: Option<&'a Outcome>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    version: &'static str,
    timestamp: String,
    request_context: RequestContext<'a>,
    request_payload: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_context: Option<ResponseContext>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_payload: Option<Box<RawValue>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    request_id: &'a str,
    function_arn: String,
    condition: &'static str,
    approximate_invoke_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseContext {
    status_code: u16,
    executed_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_error: Option<&'static str>,
}

impl Ended<'_> {
    /// What is owed now: to the destination, and to the dead-letter queue.
    pub(crate) fn follow_ups(&self, options: &FunctionOptions) -> Vec<(Entry, Bytes)> {
        let set = options.event_invoke.as_ref();
        let is_success = self.condition == Condition::Success;
        let destination = if is_success {
            set.and_then(|config| config.on_success.as_ref())
        } else {
            set.and_then(|config| config.on_failure.as_ref())
        };
        let to_destination = destination.and_then(|arn| {
            let record = serde_json::to_vec(&self.record()).ok()?;
            Some((
                Entry::now(self.addressed_to(arn, Vec::new())),
                record.into(),
            ))
        });
        let dead_letter = options.dead_letter_target.as_ref().filter(|_| !is_success);
        let to_dead_letters = dead_letter.map(|arn| {
            let task = self.addressed_to(arn, self.dead_letter_attributes());
            (Entry::now(task), self.payload.clone())
        });
        to_destination.into_iter().chain(to_dead_letters).collect()
    }

    fn record(&self) -> Record<'_> {
        let body = self.outcome.and_then(|outcome| match outcome {
            Outcome::Response(response) => Some(response.body.clone()),
            failed => failed.error_body(self.request_id()),
        });
        let is_success = self.condition == Condition::Success;
        Record {
            version: "1.0",
            timestamp: timestamp(),
            request_context: RequestContext {
                request_id: &self.event.request_id,
                function_arn: format!("{}:$LATEST", self.function_arn),
                condition: self.condition.as_str(),
                approximate_invoke_count: self.attempts,
            },
            request_payload: serde_json::from_slice(self.payload).unwrap_or(RawValue::NULL),
            response_context: body.as_ref().map(|_| ResponseContext {
                status_code: 200,
                executed_version: "$LATEST",
                function_error: (!is_success).then_some("Unhandled"),
            }),
            response_payload: body.map(|body| as_json(&body)),
        }
    }

    fn addressed_to(&self, arn: &str, attributes: Vec<(String, String, String)>) -> Task {
        match function_of(arn) {
            Some(function) => Task::Invoke(Event {
                request_id: RequestId::random().to_string(),
                function: function.to_owned(),
                trace_id: self.trace_of(function),
                qualified: false,
                tenant: None,
                client_context: None,
                faults: Vec::new(),
            }),
            None => Task::Send(Message {
                request_id: self.event.request_id.clone(),
                target: arn.to_owned(),
                attributes,
            }),
        }
    }

    /// Word of an event is a request of the same chain.
    fn trace_of(&self, function: &str) -> String {
        let trace = TraceId::from_header(&self.event.trace_id);
        let (Some(mut trace), Ok(function)) = (trace, function.parse()) else {
            return String::new();
        };
        trace.enter(&function);
        trace.as_str().to_owned()
    }

    fn dead_letter_attributes(&self) -> Vec<(String, String, String)> {
        let body = self
            .outcome
            .and_then(|outcome| outcome.error_body(self.request_id()));
        let error: serde_json::Value = body
            .as_ref()
            .and_then(|body| serde_json::from_slice(body).ok())
            .unwrap_or_default();
        let is_loop = self.condition == Condition::RecursiveInvocation;
        let message = error["errorMessage"].as_str().unwrap_or(if is_loop {
            recursion::MESSAGE
        } else {
            self.condition.as_str()
        });
        let end = message.floor_char_boundary(ERROR_MESSAGE_BYTES);
        // The status that Lambda's Invoke would have had.
        let code = match body {
            Some(_) => "200",
            None if is_loop => "400",
            None => "429",
        };
        [
            ("RequestID", "String", self.event.request_id.as_str()),
            ("ErrorCode", "Number", code),
            ("ErrorMessage", "String", &message[..end]),
        ]
        .map(|(name, kind, value)| (name.to_owned(), kind.to_owned(), value.to_owned()))
        .to_vec()
    }

    fn request_id(&self) -> RequestId {
        let parsed = self.event.request_id.parse();
        parsed.unwrap_or_else(|_| RequestId::random())
    }
}

/// The function of a function's ARN; none of any other ARN.
pub(crate) fn function_of(arn: &str) -> Option<&str> {
    let (head, function) = arn.split_once(":function:")?;
    let name = function.split_once(':').map_or(function, |(name, _)| name);
    head.contains(":lambda:").then_some(name)
}

/// What a function answered, as JSON: as it stands if it is JSON, else as a string.
fn as_json(body: &Bytes) -> Box<RawValue> {
    serde_json::from_slice(body)
        .or_else(|_| serde_json::value::to_raw_value(&String::from_utf8_lossy(body)))
        .unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Milliseconds and `Z`, as AWS writes it.
fn timestamp() -> String {
    let now = jiff::Timestamp::now();
    format!("{now:.3}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::function_options::EventInvokeConfig;
    use super::*;

    const ID: &str = "6bc28136-95fa-4ebe-87b2-8f8d9a2f6c3e";
    const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:demo";
    const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:dead";

    fn event() -> Event {
        Event {
            request_id: ID.to_owned(),
            function: "demo".to_owned(),
            trace_id: String::new(),
            qualified: false,
            tenant: None,
            client_context: None,
            faults: Vec::new(),
        }
    }

    fn options() -> FunctionOptions {
        FunctionOptions {
            reserved_concurrency: None,
            event_invoke: Some(EventInvokeConfig {
                on_success: Some(format!("{ARN}-after:$LATEST")),
                on_failure: Some("arn:aws:sns:us-east-1:000000000000:failed".to_owned()),
                ..EventInvokeConfig::default()
            }),
            dead_letter_target: Some(QUEUE.to_owned()),
            recursive_loop: None,
        }
    }

    fn ended(condition: Condition, outcome: Option<&Outcome>) -> Vec<(Entry, Bytes)> {
        let (event, payload) = (event(), Bytes::from(r#"{"b":1,"a":1.50}"#));
        Ended {
            event: &event,
            payload: &payload,
            function_arn: ARN,
            condition,
            attempts: 3,
            outcome,
        }
        .follow_ups(&options())
    }

    #[test]
    fn a_failure_is_told_in_awss_shape_and_its_event_becomes_a_dead_letter() {
        let error =
            Outcome::FunctionError(r#"{"errorType":"Mine","errorMessage":"no luck"}"#.into());
        let owed = ended(Condition::RetriesExhausted, Some(&error));
        assert_eq!(owed.len(), 2);
        let mut record: Value = serde_json::from_slice(&owed[0].1).unwrap();
        let written = record["timestamp"].take();
        assert_eq!(
            written.as_str().unwrap().len(),
            "2019-11-14T18:16:05.568Z".len()
        );
        assert_eq!(
            record,
            json!({
                "version": "1.0",
                "timestamp": null,
                "requestContext": {
                    "requestId": ID,
                    "functionArn": format!("{ARN}:$LATEST"),
                    "condition": "RetriesExhausted",
                    "approximateInvokeCount": 3,
                },
                "requestPayload": {"b": 1, "a": 1.5},
                "responseContext": {
                    "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled",
                },
                "responsePayload": {"errorType": "Mine", "errorMessage": "no luck"},
            })
        );
        let Task::Send(letter) = &owed[1].0.task else {
            panic!("{owed:?}");
        };
        assert_eq!(letter.target, QUEUE);
        assert_eq!(
            owed[1].1, r#"{"b":1,"a":1.50}"#,
            "the event itself, untouched"
        );
        let attribute = |n: usize| {
            let (name, kind, value) = &letter.attributes[n];
            (name.as_str(), kind.as_str(), value.as_str())
        };
        assert_eq!(attribute(0), ("RequestID", "String", ID));
        assert_eq!(attribute(1), ("ErrorCode", "Number", "200"));
        assert_eq!(attribute(2), ("ErrorMessage", "String", "no luck"));
    }

    #[test]
    fn a_success_goes_to_the_other_function_only() {
        let answer = Outcome::Response(crate::FunctionResponse {
            body: "plain text".into(),
            content_type: None,
            streaming: false,
        });
        let owed = ended(Condition::Success, Some(&answer));
        let [(entry, bytes)] = owed.as_slice() else {
            panic!("{owed:?}");
        };
        let Task::Invoke(next) = &entry.task else {
            panic!("{entry:?}");
        };
        assert_eq!(next.function, "demo-after");
        assert_ne!(next.request_id, ID, "an invocation of its own");
        let record: Value = serde_json::from_slice(bytes).unwrap();
        assert_eq!(record["responsePayload"], "plain text");
        assert_eq!(
            record["responseContext"],
            json!({"statusCode": 200, "executedVersion": "$LATEST"})
        );
    }

    #[test]
    fn an_event_that_no_function_had_has_no_response() {
        let owed = ended(Condition::ZeroReservedConcurrency, None);
        let record: Value = serde_json::from_slice(&owed[0].1).unwrap();
        assert_eq!(record.get("responseContext"), None);
        assert_eq!(record.get("responsePayload"), None);
        let Task::Send(letter) = &owed[1].0.task else {
            panic!("{owed:?}");
        };
        assert_eq!(letter.attributes[1].2, "429");
    }

    #[test]
    fn an_event_that_a_loop_ended_goes_where_failures_go() {
        let owed = ended(Condition::RecursiveInvocation, None);
        let record: Value = serde_json::from_slice(&owed[0].1).unwrap();
        let condition = &record["requestContext"]["condition"];
        assert_eq!(condition, "RecursiveInvocationException");
        assert_eq!(record.get("responsePayload"), None);
        let Task::Send(letter) = &owed[1].0.task else {
            panic!("{owed:?}");
        };
        assert_eq!(letter.attributes[1].2, "400");
        assert_eq!(letter.attributes[2].2, recursion::MESSAGE);
    }

    #[test]
    fn the_functions_that_word_goes_to_are_of_the_same_chain() {
        let mut trace = TraceId::random(0);
        let [demo, after] = ["demo", "demo-after"].map(|name| name.parse().unwrap());
        trace.enter(&demo);
        let (event, payload) = (
            Event {
                trace_id: trace.as_str().to_owned(),
                ..event()
            },
            Bytes::from_static(b"1"),
        );
        let ended = Ended {
            event: &event,
            payload: &payload,
            function_arn: ARN,
            condition: Condition::Success,
            attempts: 1,
            outcome: None,
        };
        let owed = ended.follow_ups(&options());
        let Task::Invoke(next) = &owed[0].0.task else {
            panic!("{owed:?}");
        };
        let next = TraceId::from_header(&next.trace_id).unwrap();
        assert_eq!((next.times(&demo), next.times(&after)), (1, 1));
    }
}
