//! Reading what was sent as a status report: taken if its meaning is clear, with every
//! breach of the contract named.

use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use jiff::Timestamp;
use journal::Weigh;
use pipeline_contract::{JobState, StatusReport};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The header that names the tenant.
const TENANT: &str = "x-amperity-tenant";

/// A report that was taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "KeptReport")]
pub(crate) struct ReceivedReport {
    pub(crate) received_at: Timestamp,
    /// A `progress` that is no number is kept as NaN, which JSON shows as null.
    #[serde(flatten)]
    pub(crate) report: StatusReport,
    pub(crate) violations: Vec<String>,
    pub(crate) tenant: Option<String>,
    /// Whether a bearer token came with it; the token itself is not kept.
    pub(crate) authorized: bool,
}

/// The same as it was written down: JSON has no NaN.
#[derive(Deserialize)]
struct KeptReport {
    received_at: Timestamp,
    state: JobState,
    progress: Option<f64>,
    errors: Vec<Value>,
    reason: String,
    violations: Vec<String>,
    tenant: Option<String>,
    authorized: bool,
}

impl From<KeptReport> for ReceivedReport {
    fn from(kept: KeptReport) -> Self {
        Self {
            received_at: kept.received_at,
            report: StatusReport {
                state: kept.state,
                progress: kept.progress.unwrap_or(f64::NAN),
                errors: kept.errors,
                reason: kept.reason,
            },
            violations: kept.violations,
            tenant: kept.tenant,
            authorized: kept.authorized,
        }
    }
}

/// A report that cannot be understood. The text goes to the sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejection {
    #[error("the report is not JSON: {0}")]
    NotJson(String),
    #[error("the report must be a JSON object with state, progress, errors and reason")]
    NotAnObject,
    #[error("the report has no state; it is one of running, succeeded, failed")]
    NoState,
    #[error("state {0} is unknown; it is one of running, succeeded, failed")]
    UnknownState(String),
}

impl ReceivedReport {
    /// Reads the request as a report received now.
    pub(crate) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Rejection> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (report, mut violations) = read_body(body)?;
        let media_type = text(CONTENT_TYPE.as_str()).unwrap_or_default();
        if !media_type.starts_with("application/json") {
            violations.push("content-type must be application/json".to_owned());
        }
        let authorized = text(AUTHORIZATION.as_str()).is_some_and(|value| {
            value
                .strip_prefix("Bearer ")
                .is_some_and(|token| !token.trim().is_empty())
        });
        Ok(Self {
            received_at: Timestamp::now(),
            report,
            violations,
            tenant: text(TENANT).map(str::to_owned),
            authorized,
        })
    }
}

impl Weigh for ReceivedReport {
    fn weight(&self) -> usize {
        let errors: usize = self.report.errors.iter().map(json_weight).sum();
        let violations: usize = self.violations.iter().map(String::len).sum();
        size_of::<Self>() + errors + violations + self.report.reason.len()
    }
}

/// Bytes that a JSON value holds on to, roughly.
pub(crate) fn json_weight(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(json_weight).sum(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| name.len() + json_weight(value))
                .sum(),
        }
}

fn read_body(body: &[u8]) -> Result<(StatusReport, Vec<String>), Rejection> {
    let value: Value =
        serde_json::from_slice(body).map_err(|why| Rejection::NotJson(why.to_string()))?;
    let Value::Object(mut fields) = value else {
        return Err(Rejection::NotAnObject);
    };
    let state = fields.remove("state").unwrap_or_default();
    if state.is_null() {
        return Err(Rejection::NoState);
    }
    let state = serde_json::from_value::<JobState>(state.clone())
        .map_err(|_| Rejection::UnknownState(state.to_string()))?;

    let mut violations = Vec::new();
    let progress = fields.remove("progress").unwrap_or_default();
    // Not a number: NaN, which the contract's own check then names.
    let progress = progress.as_f64().unwrap_or(f64::NAN);
    let errors = match fields.remove("errors") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(errors)) => errors,
        Some(other) => {
            violations.push("errors must be a list".to_owned());
            vec![other]
        }
    };
    let reason = match fields.remove("reason") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(reason)) => reason,
        Some(other) => {
            violations.push("reason must be a string".to_owned());
            other.to_string()
        }
    };
    let report = StatusReport {
        state,
        progress,
        errors,
        reason,
    };
    violations.extend(report.violations().iter().map(ToString::to_string));
    Ok((report, violations))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    fn read(body: &str) -> Result<ReceivedReport, Rejection> {
        ReceivedReport::read(
            &headers(&[("content-type", "application/json")]),
            body.as_bytes(),
        )
    }

    #[test]
    fn breaches_are_named_and_the_report_is_taken() {
        let cases: &[(&str, &[&str])] = &[
            (
                r#"{"state":"running","progress":0.0,"errors":[],"reason":""}"#,
                &[],
            ),
            (
                r#"{"state":"running","progress":7}"#,
                &["progress must be a number from 0 to 1"],
            ),
            (
                r#"{"state":"running"}"#,
                &["progress must be a number from 0 to 1"],
            ),
            (
                r#"{"state":"running","progress":"half"}"#,
                &["progress must be a number from 0 to 1"],
            ),
            (
                r#"{"state":"failed","progress":0,"errors":"x","reason":4}"#,
                &["errors must be a list", "reason must be a string"],
            ),
            (
                r#"{"state":"running","progress":0,"errors":["a",{"b":1}]}"#,
                &["errors[1] is not a string"],
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(read(body).unwrap().violations, *expected, "{body}");
        }
    }

    #[test]
    fn what_has_no_clear_meaning_is_rejected_in_words() {
        let cases = [
            ("", "not JSON"),
            ("{oops", "not JSON"),
            ("[1]", "JSON object"),
            ("{}", "no state"),
            (r#"{"state":null}"#, "no state"),
            (r#"{"state":"banana"}"#, r#""banana" is unknown"#),
            (r#"{"state":3}"#, "3 is unknown"),
        ];
        for (body, expected) in cases {
            let why = read(body).unwrap_err().to_string();
            assert!(why.contains(expected), "{body}: {why}");
        }
    }

    #[test]
    fn the_headers_say_who_reports() {
        let body = br#"{"state":"running","progress":0}"#;
        let report = |pairs| ReceivedReport::read(&headers(pairs), body).unwrap();
        let full = report(&[
            ("content-type", "application/json; charset=utf-8"),
            ("x-amperity-tenant", "acme"),
            ("authorization", "Bearer 2:secret:token"),
        ]);
        assert_eq!(
            (full.tenant.as_deref(), full.authorized),
            (Some("acme"), true)
        );
        assert!(full.violations.is_empty());
        assert!(!serde_json::to_string(&full).unwrap().contains("secret"));

        let bare = report(&[("authorization", "Bearer ")]);
        assert_eq!((bare.tenant, bare.authorized), (None, false));
        assert_eq!(bare.violations, ["content-type must be application/json"]);
    }
}
