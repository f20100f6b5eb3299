//! One delivery: what arrived, what it was answered, and how much of it is kept.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use jiff::Timestamp;
use journal::{EntryId, Weigh};
use serde::{Deserialize, Serialize};

/// A request that was delivered here, without its body.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Delivery {
    pub(crate) received_at: Timestamp,
    pub(crate) method: String,
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) query: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    /// What it was answered.
    pub(crate) status: u16,
    /// Bytes of the body; absent if it was refused unread and did not say.
    pub(crate) size: Option<u64>,
    /// Records in the body; absent if it is not JSON.
    pub(crate) records: Option<u64>,
    /// Why it was refused, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
    #[serde(skip)]
    pub(crate) body: Body,
}

/// Where a delivery's body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Body {
    /// There is none, or it was refused unread.
    #[default]
    Absent,
    /// Recorded under this number, whole.
    Whole(EntryId),
    /// The beginning is recorded under this number.
    Beginning(EntryId),
}

impl Delivery {
    /// Whether the sender may take the records for delivered.
    pub(crate) fn accepted(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Weigh for Delivery {
    fn weight(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(n, v)| n.len() + v.len()).sum();
        size_of::<Self>()
            + headers
            + self.path.len()
            + self.query.as_ref().map_or(0, String::len)
            + self.problem.as_ref().map_or(0, String::len)
    }
}

/// The kept bytes of a body, in memory of their own.
#[derive(Clone, Debug)]
pub(crate) struct KeptBody(pub(crate) Bytes);

impl Weigh for KeptBody {
    fn weight(&self) -> usize {
        self.0.len()
    }
}

/// The headers as they came, but for credentials: of `Authorization` only the scheme is
/// kept, of the others nothing.
pub(crate) fn masked(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut shown = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let text = String::from_utf8_lossy(value.as_bytes());
        let text = if [AUTHORIZATION, PROXY_AUTHORIZATION].contains(name) {
            match text.split_once(' ') {
                Some((scheme, _)) => format!("{scheme} ***"),
                None => "***".to_owned(),
            }
        } else if *name == COOKIE || name == "x-api-key" {
            "***".to_owned()
        } else {
            text.into_owned()
        };
        shown
            .entry(name.as_str().to_owned())
            .and_modify(|before| {
                before.push_str(", ");
                before.push_str(&text);
            })
            .or_insert(text);
    }
    shown
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn credentials_are_masked() {
        let headers: HeaderMap = [
            ("authorization", "Basic d3JpdGU6a2V5"),
            ("cookie", "session=secret"),
            ("x-api-key", "secret"),
            ("x-trace", "a"),
        ]
        .into_iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .collect();
        let shown: Vec<_> = masked(&headers).into_iter().collect();
        let expected = [
            ("authorization", "Basic ***"),
            ("cookie", "***"),
            ("x-api-key", "***"),
            ("x-trace", "a"),
        ];
        assert_eq!(shown, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn a_token_without_a_scheme_is_masked_whole_and_repeated_headers_are_joined() {
        let mut headers = HeaderMap::new();
        headers.append("authorization", HeaderValue::from_static("secret"));
        headers.append("x-tag", HeaderValue::from_static("a"));
        headers.append("x-tag", HeaderValue::from_static("b"));
        let shown = masked(&headers);
        assert_eq!(shown["authorization"], "***");
        assert_eq!(shown["x-tag"], "a, b");
    }
}
