//! One line of a function's log.

use std::sync::Arc;

use jiff::Timestamp;
use journal::Weigh;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::invocation::RequestId;

/// One line, as it is kept and as it is written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogLine {
    /// Milliseconds since the epoch.
    pub(crate) timestamp: i64,
    /// The environment's: `YYYY/MM/DD/[$LATEST]<32 hex digits>`.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub(crate) stream: Arc<str>,
    /// The invocation it belongs to, if it does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) request_id: Option<RequestId>,
    pub(crate) origin: Origin,
    /// Without its end.
    pub(crate) message: String,
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

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    String::deserialize(deserializer).map(Arc::from)
}

impl LogLine {
    /// When it was written.
    pub(crate) fn time(&self) -> Timestamp {
        Timestamp::from_millisecond(self.timestamp).unwrap_or_default()
    }
}

impl Weigh for LogLine {
    fn weight(&self) -> usize {
        // The stream's name is shared by all its lines.
        size_of::<Self>() + self.message.len()
    }
}
