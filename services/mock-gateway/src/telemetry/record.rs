//! One record, and how the two APIs write it.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::subscription::{Api, Subscription};

/// What subscriptions choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Platform,
    Function,
    /// Programs of their own, which print apart from the function.
    Extension,
}

impl Kind {
    pub(super) fn read(text: &str) -> Option<Self> {
        Some(match text {
            "platform" => Self::Platform,
            "function" => Self::Function,
            "extension" => Self::Extension,
            _ => return None,
        })
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Function => "function",
            Self::Extension => "extension",
        }
    }
}

/// A line that the function or an extension printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    /// The function's log is one of JSON.
    pub(crate) is_json: bool,
}

/// What happened.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) kind: Kind,
    at: Timestamp,
    /// Such as `platform.start`.
    name: &'static str,
    record: Value,
    /// A line's text stands for the object that it spells, where the schema has those.
    spells_object: bool,
}

impl Record {
    pub(super) fn platform(at: Timestamp, name: &'static str, record: Value) -> Self {
        Self {
            kind: Kind::Platform,
            at,
            name,
            record,
            spells_object: false,
        }
    }

    pub(super) fn line(at: Timestamp, line: Line<'_>) -> Self {
        Self {
            kind: line.kind,
            at,
            name: line.kind.as_str(),
            record: line.text.into(),
            spells_object: line.is_json,
        }
    }

    /// As this subscriber gets it; nothing if its API does not know it.
    pub(super) fn written(&self, to: &Subscription) -> Option<String> {
        let record = match to.api {
            Api::Telemetry => match self.name {
                "platform.end" | "platform.fault" | "platform.logsSubscription" => return None,
                _ => self.object(to).unwrap_or_else(|| self.record.clone()),
            },
            Api::Logs => self.as_log(to)?,
        };
        // In AWS's order, which people are used to.
        Some(format!(
            r#"{{"time":"{:.3}","type":"{}","record":{record}}}"#,
            self.at, self.name
        ))
    }

    fn object(&self, to: &Subscription) -> Option<Value> {
        let text = self.record.as_str()?;
        if !(self.spells_object && to.schema.has_objects_for_lines()) {
            return None;
        }
        let object: Map<String, Value> = serde_json::from_str(text).ok()?;
        Some(Value::Object(object))
    }

    /// The Logs API has fewer records, with less in them.
    fn as_log(&self, to: &Subscription) -> Option<Value> {
        let only = |fields: &[&str]| {
            let record = self.record.as_object()?;
            let kept = record
                .iter()
                .filter(|(name, _)| fields.contains(&name.as_str()));
            Some(
                kept.map(|(name, value)| (name.clone(), value.clone()))
                    .collect(),
            )
        };
        match self.name {
            "platform.start" => only(&["requestId", "version"]),
            "platform.runtimeDone" if to.schema.has_runtime_done() => {
                let mut record: Value = only(&["requestId", "status"])?;
                if record["status"] == "error" {
                    record["status"] = json!("failure");
                }
                Some(record)
            }
            "platform.report" => only(&["requestId", "metrics"]),
            "platform.end"
            | "platform.fault"
            | "platform.extension"
            | "platform.logsSubscription"
            | "platform.logsDropped"
            | "function"
            | "extension" => Some(self.record.clone()),
            _ => None,
        }
    }
}
