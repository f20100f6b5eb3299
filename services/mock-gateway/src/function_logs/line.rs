//! One line of a function's log.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use journal::EntryId;
use serde::{Deserialize, Serialize, Serializer};

use crate::invocation::RequestId;

/// One line, as it comes and as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogLine<'a> {
    /// Milliseconds since the epoch.
    pub(crate) timestamp: i64,
    /// The environment's: `YYYY/MM/DD/[$LATEST]<32 hex digits>`.
    #[serde(serialize_with = "as_text")]
    pub(crate) stream: &'a Arc<str>,
    /// The invocation it belongs to, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<RequestId>,
    pub(crate) origin: Origin,
    /// Without its end.
    pub(crate) message: &'a str,
}

/// A line and the number it goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Numbered<'a> {
    pub(crate) id: EntryId,
    pub(crate) line: LogLine<'a>,
}

/// A line as it is read back.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenLine<'a> {
    pub(super) timestamp: i64,
    #[serde(borrow)]
    pub(super) stream: Cow<'a, str>,
    #[serde(default)]
    pub(super) request_id: Option<RequestId>,
    pub(super) origin: Origin,
    #[serde(borrow)]
    pub(super) message: Cow<'a, str>,
}

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    /// Lambda.
    Platform,
    /// The function, or an extension.
    Stdout,
    /// The same, on the other stream.
    Stderr,
}

fn as_text<S: Serializer>(stream: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(stream)
}

impl LogLine<'_> {
    /// When it was written.
    pub(crate) fn time(&self) -> Timestamp {
        Timestamp::from_millisecond(self.timestamp).unwrap_or_default()
    }
}
