//! An invocation: one event for one function, and the identifiers it carries.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use app_model::FunctionName;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::lineage;

/// Lambda's request id: the same for every attempt of one invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Uuid);

impl RequestId {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for RequestId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::from_str(text).map(Self)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An X-Ray trace header, `Root=1-<8 hex>-<24 hex>;Parent=<16 hex>;Sampled=0|1`, and
/// `;Lineage=…` once a function was invoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceId(String);

impl TraceId {
    /// Of one that is new, in bytes.
    const LENGTH: usize =
        "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0".len();

    /// A new trace that began at this time (seconds since the epoch).
    #[must_use]
    pub fn random(epoch_seconds: u64) -> Self {
        let mut buffers = [Uuid::encode_buffer(); 2];
        let [random, parent] = &mut buffers;
        let random = &*Uuid::new_v4().simple().encode_lower(random);
        let parent = &*Uuid::new_v4().simple().encode_lower(parent);
        let (random, parent) = (&random[..24], &parent[..16]);
        let mut text = String::with_capacity(Self::LENGTH + lineage::ROOM);
        text.push_str(&format!("Root=1-{epoch_seconds:08x}-"));
        for part in [random, ";Parent=", parent, ";Sampled=0"] {
            text.push_str(part);
        }
        Self(text)
    }

    /// The trace that a caller sent in `X-Amzn-Trace-Id`; none if it holds no root.
    #[must_use]
    pub fn from_header(text: &str) -> Option<Self> {
        if !text.contains("Root=1-") || !text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            return None;
        }
        let mut held = String::with_capacity(text.len() + lineage::ROOM);
        held.push_str(text);
        Some(Self(held))
    }

    /// Counts one more invocation of this function by the chain of requests.
    pub fn enter(&mut self, function: &FunctionName) {
        lineage::enter(&mut self.0, function.as_str());
    }

    /// How often the chain of requests has invoked this function.
    #[must_use]
    pub fn times(&self, function: &FunctionName) -> u32 {
        lineage::times(&self.0, function.as_str())
    }

    /// The same trace, and no chain of requests yet.
    #[must_use]
    pub fn of_a_new_chain(mut self) -> Self {
        lineage::forget(&mut self.0);
        self
    }

    /// The header's text, with room for a chain's first function.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.0.len() + lineage::ROOM);
        text.push_str(&self.0);
        text
    }

    /// The header's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whose invocation it is: environments that have worked for one tenant work for no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// What AWS says that one must look like.
    pub const PATTERN: &str = r"[a-zA-Z0-9\._:\/=+\-@ ]+";

    /// The text; none if it is no tenant's id: 1 to 256 of the pattern's characters.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/=+-@ ".contains(&byte);
        let is_one = (1..=256).contains(&text.len()) && text.bytes().all(allowed);
        is_one.then(|| Self(text.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One event for one function.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Its id.
    pub request_id: RequestId,
    /// The function.
    pub function: FunctionName,
    /// The event, JSON.
    pub payload: Bytes,
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Whether the caller named the version, `$LATEST`; the function's ARN has it then.
    pub qualified: bool,
    /// Whose it is, if the caller said so.
    pub tenant: Option<TenantId>,
    /// The caller's client context: raw JSON, one line of ASCII.
    pub client_context: Option<String>,
    /// Whether the caller wants the last 4 KB of log. The answer then waits for the
    /// report line.
    pub wants_log_tail: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_id_has_the_characters_that_aws_takes() {
        for (text, is_one) in [
            ("blue", true),
            ("a.b_c:d/e=f+g-h@i j", true),
            (&*"t".repeat(256), true),
            (&*"t".repeat(257), false),
            ("", false),
            ("bl\u{fc}e", false),
            ("a,b", false),
        ] {
            let read = TenantId::read(text);
            assert_eq!(read.is_some(), is_one, "{text:?}");
            assert!(read.is_none_or(|tenant| tenant.as_str() == text));
        }
    }

    #[test]
    fn a_trace_id_has_the_lengths_of_xray() {
        let trace = TraceId::random(0x5759_e988);
        let text = trace.as_str();
        assert!(text.starts_with("Root=1-5759e988-"), "{text}");
        assert_eq!(text.len(), TraceId::LENGTH);
        assert_eq!(TraceId::from_header(text), Some(trace));
        assert_eq!(TraceId::from_header("nonsense"), None);
    }

    #[test]
    fn counting_an_invocation_needs_no_memory_of_its_own() {
        let demo: FunctionName = "demo".parse().unwrap();
        let random = TraceId::random(0x5759_e988);
        let sent = TraceId::from_header(random.as_str()).unwrap();
        for mut trace in [random, sent] {
            let (place, capacity) = (trace.0.as_ptr(), trace.0.capacity());
            trace.enter(&demo);
            assert_eq!(trace.times(&demo), 1);
            assert_eq!((trace.0.as_ptr(), trace.0.capacity()), (place, capacity));
            assert_eq!(trace.of_a_new_chain().times(&demo), 0);
        }
    }
}
