//! Whether a body travels in the event as text or as base64.

use std::borrow::Cow;

use app_model::BinaryMediaTypes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};

/// A body as the event carries it.
#[derive(Debug, Default)]
pub(super) struct EventBody<'a> {
    /// None for an empty body.
    pub(super) text: Option<Cow<'a, str>>,
    /// Whether `text` is base64.
    pub(super) is_base64: bool,
}

/// A REST API without `binaryMediaTypes` passes text on. AWS garbles a body that is not
/// UTF-8; here it comes as base64, as it does once its type is declared binary.
pub(super) fn utf8_or_base64(body: &[u8]) -> EventBody<'_> {
    if body.is_empty() {
        return EventBody::default();
    }
    match std::str::from_utf8(body) {
        Ok(text) => EventBody {
            text: Some(Cow::Borrowed(text)),
            is_base64: false,
        },
        Err(_) => base64(body),
    }
}

/// A REST API that has `binaryMediaTypes` passes on as base64 what has such a type, and
/// anything else as text, garbled if it is none. A body without a type counts as JSON.
pub(super) fn by_binary_type<'a>(
    body: &'a [u8],
    headers: &HeaderMap,
    types: &BinaryMediaTypes,
) -> EventBody<'a> {
    if body.is_empty() {
        return EventBody::default();
    }
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if types.contains(content_type.unwrap_or("application/json")) {
        base64(body)
    } else {
        EventBody {
            text: Some(String::from_utf8_lossy(body)),
            is_base64: false,
        }
    }
}

/// A load balancer passes on four kinds of uncompressed text; all else is base64.
pub(super) fn of_load_balancer<'a>(body: &'a [u8], headers: &HeaderMap) -> EventBody<'a> {
    let value = |name| {
        headers
            .get(name)
            .and_then(|value: &http::HeaderValue| value.to_str().ok())
    };
    let essence = value(header::CONTENT_TYPE)
        .and_then(|content_type| content_type.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let text = essence.starts_with("text/")
        || matches!(
            essence.as_str(),
            "application/json" | "application/javascript" | "application/xml"
        );
    if body.is_empty() || (text && !headers.contains_key(header::CONTENT_ENCODING)) {
        utf8_or_base64(body)
    } else {
        base64(body)
    }
}

/// HTTP APIs and function URLs pass on as text only what its type says is text: forms,
/// multipart and bodies without a type come as base64.
pub(super) fn by_content_type<'a>(body: &'a [u8], headers: &HeaderMap) -> EventBody<'a> {
    if body.is_empty() || is_text(headers) {
        utf8_or_base64(body)
    } else {
        base64(body)
    }
}

fn base64(body: &[u8]) -> EventBody<'_> {
    EventBody {
        text: Some(Cow::Owned(STANDARD.encode(body))),
        is_base64: true,
    }
}

fn is_text(headers: &HeaderMap) -> bool {
    // A compressed body is binary, whatever it holds.
    let compressed = headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if compressed {
        return false;
    }
    let Some(content_type) = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || matches!(
            essence.as_str(),
            "application/json"
                | "application/javascript"
                | "application/xml"
                | "application/x-ndjson"
                | "application/graphql"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_says_whether_a_body_is_text() {
        for (content_type, text) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/csv", true),
            ("application/vnd.api+json", true),
            ("application/soap+xml", true),
            ("application/x-www-form-urlencoded", false),
            ("multipart/form-data; boundary=x", false),
            ("application/octet-stream", false),
            ("image/png", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
            assert_eq!(is_text(&headers), text, "{content_type}");
        }
        assert!(!is_text(&HeaderMap::new()));
    }
}
