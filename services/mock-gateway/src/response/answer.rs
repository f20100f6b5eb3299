//! An answer while it is put together: status, headers and body, each checked as it comes.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::fields::{Object, Scalar, Scalars};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a function's answer is none that the front understands; words for a person.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    #[error("the function answered nothing: an object with `statusCode` and `body` is expected")]
    Empty,
    #[error("the function answered {0}: an object with `statusCode` and `body` is expected")]
    NotAnObject(&'static str),
    #[error("the function's answer is not in the proxy format: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the function's `{field}` is not in the proxy format: {source}")]
    Field {
        field: &'static str,
        source: serde_json::Error,
    },
    #[error("the function's answer has no `statusCode`: this front wants one")]
    NoStatus,
    #[error("the function's answer is larger than a load balancer's {0} bytes")]
    TooLargeForLoadBalancer(usize),
    #[error("the function's `statusCode` is {0:?}: an integer from 200 to 599 is expected")]
    Status(String),
    #[error("the function's header name {0:?} is not one that HTTP allows")]
    HeaderName(String),
    #[error("the function's header `{name}` has the value {value:?}, which HTTP does not allow")]
    HeaderValue { name: String, value: String },
    #[error("the function's `isBase64Encoded` is {0:?}: true or false is expected")]
    Base64Flag(String),
    #[error("the function's `body` is not base64 though `isBase64Encoded` is true: {0}")]
    Base64(#[from] base64::DecodeError),
    #[error(
        "the function streams its answer, which this route does not pass on: answer with an \
         object, set `response_transfer_mode = \"STREAM\"` of a REST API's route, or call the \
         function by its URL, /lambda-url/<function>/"
    )]
    Streamed,
    #[error("the function's stream has no eight NUL bytes after its JSON prelude")]
    NoPrelude,
}

/// What becomes of a header that a function sets although it is the gateway's to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reserved {
    /// It is renamed to `x-amzn-Remapped-…`.
    Remapped,
    /// It is left out.
    Dropped,
}

/// Status, headers and body so far.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    reserved: Reserved,
    decodes_base64: bool,
}

impl Answer {
    /// An empty answer, 200.
    pub(super) fn new(reserved: Reserved) -> Self {
        Self {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            reserved,
            decodes_base64: true,
        }
    }

    /// Whether a body that is base64 is decoded; it is unless this says otherwise.
    pub(super) fn decodes_base64(&mut self, decodes: bool) {
        self.decodes_base64 = decodes;
    }

    /// The content type that the function named, so far.
    pub(super) fn content_type(&self) -> Option<&str> {
        self.headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
    }

    /// Sets the status; none leaves 200.
    pub(super) fn status(&mut self, code: &Scalar<'_>) -> Result<(), Malformed> {
        if let Some(text) = code.as_deref() {
            self.status =
                status_code(text).ok_or_else(|| Malformed::Status(excerpt(text).into_owned()))?;
        }
        Ok(())
    }

    /// Sets headers; of names that differ in case alone the last counts.
    pub(super) fn headers(&mut self, headers: &Object<'_, Scalar<'_>>) -> Result<(), Malformed> {
        for (name, value) in &headers.0 {
            if let (Some(name), Some(value)) = (self.name(name)?, value.as_deref()) {
                let value = header_value(name.as_str(), value)?;
                self.headers.insert(name, value);
            }
        }
        Ok(())
    }

    /// Adds values to what `headers` set. A pair that stands in both is sent once.
    pub(super) fn multi_value_headers(
        &mut self,
        headers: &Object<'_, Scalars<'_>>,
    ) -> Result<(), Malformed> {
        let mut added = HeaderMap::new();
        for (name, values) in &headers.0 {
            let Some(name) = self.name(name)? else {
                continue;
            };
            for value in values.0.iter().filter_map(Scalar::as_deref) {
                added.append(&name, header_value(name.as_str(), value)?);
            }
        }
        for name in added.keys() {
            let twice = self
                .headers
                .get(name)
                .is_some_and(|single| added.get_all(name).iter().any(|value| value == single));
            if twice {
                self.headers.remove(name);
            }
        }
        for (name, value) in &added {
            self.headers.append(name, value.clone());
        }
        Ok(())
    }

    /// Sets one cookie each.
    pub(super) fn cookies(&mut self, cookies: &[Scalar<'_>]) -> Result<(), Malformed> {
        for cookie in cookies.iter().filter_map(Scalar::as_deref) {
            let value = header_value("set-cookie", cookie)?;
            self.headers.append(header::SET_COOKIE, value);
        }
        Ok(())
    }

    /// Sets the body. `source` is what the text was read from: text that still lies in it
    /// is shared, not copied.
    pub(super) fn text_body(
        &mut self,
        body: Scalar<'_>,
        is_base64: &Scalar<'_>,
        source: &Bytes,
    ) -> Result<(), Malformed> {
        let is_base64 = match is_base64.as_deref() {
            None => false,
            Some(flag) if flag.eq_ignore_ascii_case("false") => false,
            Some(flag) if flag.eq_ignore_ascii_case("true") => true,
            Some(flag) => return Err(Malformed::Base64Flag(excerpt(flag).into_owned())),
        };
        self.body = match body.0 {
            None => Bytes::new(),
            Some(text) if is_base64 && self.decodes_base64 => {
                Bytes::from(BASE64.decode(text.as_bytes())?)
            }
            Some(Cow::Borrowed(text)) => source.slice_ref(text.as_bytes()),
            Some(Cow::Owned(text)) => Bytes::from(text),
        };
        Ok(())
    }

    /// Sets the body as it stands.
    pub(super) fn raw_body(&mut self, body: Bytes) {
        self.body = body;
    }

    /// The answer; this content type if the function named none.
    pub(super) fn finish(mut self, default_content_type: &'static str) -> Response<Bytes> {
        if !self.headers.contains_key(header::CONTENT_TYPE) {
            let value = HeaderValue::from_static(default_content_type);
            self.headers.insert(header::CONTENT_TYPE, value);
        }
        // HTTP gives these no body; a body sent nevertheless would be read as the start of
        // the next answer.
        if matches!(
            self.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        ) {
            self.body = Bytes::new();
        }
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }

    /// The name under which a header is sent; none if it is not sent at all.
    fn name(&self, name: &str) -> Result<Option<HeaderName>, Malformed> {
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Malformed::HeaderName(excerpt(name).into_owned()))?;
        Ok(match parsed.as_str() {
            "expect" | "host" | "keep-alive" | "proxy-authenticate" | "te" | "trailer"
            | "transfer-encoding" | "upgrade" => None,
            // Their values describe this connection; a wrong one breaks it.
            "connection" | "content-length" | "date" | "server" => self.reserved(&parsed),
            "authorization" | "content-md5" | "max-forwards" | "user-agent"
            | "www-authenticate"
                if self.reserved == Reserved::Remapped =>
            {
                self.reserved(&parsed)
            }
            _ => Some(parsed),
        })
    }

    fn reserved(&self, name: &HeaderName) -> Option<HeaderName> {
        match self.reserved {
            Reserved::Remapped => {
                HeaderName::from_bytes(format!("x-amzn-remapped-{name}").as_bytes()).ok()
            }
            Reserved::Dropped => None,
        }
    }
}

/// What kind of JSON text begins like this; none for an object.
pub(super) fn not_an_object(json: &[u8]) -> Option<Malformed> {
    Some(match json.trim_ascii_start().first() {
        Some(b'{') => return None,
        None => Malformed::Empty,
        Some(b'"') => Malformed::NotAnObject("a JSON string"),
        Some(b'[') => Malformed::NotAnObject("a JSON array"),
        Some(b'n') => Malformed::NotAnObject("null"),
        Some(b't' | b'f') => Malformed::NotAnObject("a boolean"),
        Some(b'-' | b'0'..=b'9') => Malformed::NotAnObject("a number"),
        Some(_) => Malformed::NotAnObject("something that is not JSON"),
    })
}

/// 200 to 599, also written as text or with a zero fraction.
fn status_code(text: &str) -> Option<StatusCode> {
    let text = text.trim();
    let whole = match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole,
        _ => text,
    };
    let code: u16 = whole.parse().ok()?;
    (200..=599)
        .contains(&code)
        .then(|| StatusCode::from_u16(code).ok())
        .flatten()
}

fn header_value(name: &str, value: &str) -> Result<HeaderValue, Malformed> {
    // UTF-8 passes, control characters do not.
    HeaderValue::from_bytes(value.as_bytes()).map_err(|_| Malformed::HeaderValue {
        name: name.to_owned(),
        value: excerpt(value).into_owned(),
    })
}

/// Enough of a text to recognise it.
fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(80) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_final_one() {
        for (text, code) in [
            ("200", Some(200)),
            (" 404 ", Some(404)),
            ("200.0", Some(200)),
            ("599", Some(599)),
            ("600", None),
            ("199", None),
            ("101", None),
            ("200.5", None),
            ("-200", None),
            ("OK", None),
            ("", None),
            ("99999999", None),
        ] {
            assert_eq!(
                status_code(text).map(|code| code.as_u16()),
                code,
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_plain_body_shares_the_answers_memory() {
        let source = Bytes::from_static(br#"{"body":"plain"}"#);
        let text = std::str::from_utf8(&source[9..14]).unwrap();
        let mut answer = Answer::new(Reserved::Dropped);
        let body = Scalar(Some(Cow::Borrowed(text)));
        answer.text_body(body, &Scalar(None), &source).unwrap();
        let response = answer.finish("text/plain");
        assert_eq!(response.body().as_ptr(), source[9..].as_ptr());
        assert_eq!(&response.body()[..], b"plain");
    }
}
