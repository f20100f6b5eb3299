//! Makes a plain request of one whose signature cannot be verified, because it was made
//! with a secret we do not know or not at all: what can be checked without the secret (a
//! presigned URL's expiry) is checked, the signature is taken off, and the body's
//! transfer framing with it.

use axum::body::Body;
use futures::TryStreamExt;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderValue, Request, StatusCode, Uri};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use tokio_util::codec::FramedRead;
use tokio_util::io::StreamReader;

use crate::aws_chunked::AwsChunked;
use crate::credential::Scheme;
use crate::front::Refusal;
use crate::s3::Trailers;

const CONTENT_SHA256: &str = "x-amz-content-sha256";
const DECODED_LENGTH: &str = "x-amz-decoded-content-length";

/// Query parameters that are signature and nothing else.
const SIGNATURE_PARAMETERS: [&str; 9] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
    "AWSAccessKeyId",
    "Signature",
];

/// Takes the signature off.
///
/// # Errors
/// A [`Refusal`] if the URL has expired or says no sensible time.
pub(crate) fn strip(
    request: Request<Body>,
    scheme: Option<Scheme>,
    now: Timestamp,
) -> Result<Request<Body>, Refusal> {
    let (mut parts, body) = request.into_parts();
    match scheme {
        Some(Scheme::PresignedV4) => check_v4(&parts, now)?,
        Some(Scheme::PresignedV2) => check_v2(&parts, now)?,
        Some(Scheme::Header) => {
            parts.headers.remove(AUTHORIZATION);
        }
        None => {}
    }
    if matches!(scheme, Some(Scheme::PresignedV4 | Scheme::PresignedV2)) {
        parts.uri = without_signature(&parts.uri, scheme == Some(Scheme::PresignedV2))?;
    }
    let framed = parts
        .headers
        .get(CONTENT_SHA256)
        .is_some_and(|value| value.as_bytes().starts_with(b"STREAMING-"));
    let body = if framed {
        unframe(&mut parts, body)?
    } else {
        body
    };
    Ok(Request::from_parts(parts, body))
}

fn parameter(parts: &Parts, wanted: &str) -> Option<String> {
    let query = parts.uri.query()?;
    form_urlencoded::parse(query.as_bytes())
        .find_map(|(name, value)| (name == wanted).then(|| value.into_owned()))
}

fn malformed(message: &'static str) -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "AuthorizationQueryParametersError",
        message,
    )
}

fn expired() -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "AccessDenied", "Request has expired")
}

fn check_v4(parts: &Parts, now: Timestamp) -> Result<(), Refusal> {
    let signed = parameter(parts, "X-Amz-Date")
        .and_then(|date| DateTime::strptime("%Y%m%dT%H%M%SZ", &date).ok())
        .and_then(|date| date.to_zoned(TimeZone::UTC).ok())
        .ok_or_else(|| {
            malformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
        })?
        .timestamp();
    let seconds = parameter(parts, "X-Amz-Expires")
        .and_then(|seconds| seconds.parse::<i64>().ok())
        .filter(|seconds| (0..=604_800).contains(seconds))
        .ok_or_else(|| {
            malformed("X-Amz-Expires must be a number of seconds, at most a week (604800)")
        })?;
    if now.duration_since(signed) > SignedDuration::from_secs(seconds) {
        return Err(expired());
    }
    Ok(())
}

fn check_v2(parts: &Parts, now: Timestamp) -> Result<(), Refusal> {
    let until = parameter(parts, "Expires")
        .and_then(|expires| expires.parse::<i64>().ok())
        .ok_or_else(|| malformed("Expires must be a number of seconds since 1970"))?;
    if now.as_second() > until {
        return Err(expired());
    }
    Ok(())
}

/// The same URI without its signature. `Expires` is one only in version 2.
fn without_signature(uri: &Uri, version2: bool) -> Result<Uri, Refusal> {
    let kept: Vec<&str> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            !(SIGNATURE_PARAMETERS.contains(&name) || version2 && name == "Expires")
        })
        .collect();
    let query = if kept.is_empty() {
        String::new()
    } else {
        format!("?{}", kept.join("&"))
    };
    format!("{}{query}", uri.path())
        .parse()
        .map_err(|_| malformed("The query string cannot be read"))
}

/// Takes the aws-chunked framing off the body and what speaks of it off the headers.
fn unframe(parts: &mut Parts, body: Body) -> Result<Body, Refusal> {
    let length = parts.headers.remove(DECODED_LENGTH).ok_or_else(|| {
        Refusal::new(
            StatusCode::LENGTH_REQUIRED,
            "MissingContentLength",
            "You must provide the x-amz-decoded-content-length HTTP header.",
        )
    })?;
    parts.headers.insert(CONTENT_LENGTH, length);
    parts.headers.remove(CONTENT_SHA256);
    let codings = parts.headers.get(CONTENT_ENCODING).cloned();
    if let Some(Ok(codings)) = codings.as_ref().map(HeaderValue::to_str) {
        let kept: Vec<&str> = codings
            .split(',')
            .map(str::trim)
            .filter(|coding| !coding.eq_ignore_ascii_case("aws-chunked"))
            .collect();
        parts.headers.remove(CONTENT_ENCODING);
        if !kept.is_empty()
            && let Ok(value) = kept.join(",").parse()
        {
            parts.headers.insert(CONTENT_ENCODING, value);
        }
    }
    let trailers = Trailers::default();
    parts.extensions.insert(trailers.clone());
    let bytes = body.into_data_stream().map_err(std::io::Error::other);
    let framed = FramedRead::with_capacity(
        StreamReader::new(bytes),
        AwsChunked::new(trailers),
        64 << 10,
    );
    Ok(Body::from_stream(framed))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:10:00Z";

    fn strip_at_now(uri: &str, scheme: Scheme) -> Result<String, String> {
        let request = Request::get(uri).body(Body::empty()).unwrap();
        strip(request, Some(scheme), NOW.parse().unwrap())
            .map(|request| request.uri().to_string())
            .map_err(|refusal| refusal.code().to_owned())
    }

    #[test]
    fn a_presigned_url_is_good_until_it_expires() {
        let v4 = |date: &str, seconds: &str| {
            format!(
                "/b/k?x-id=GetObject&X-Amz-Algorithm=A&X-Amz-Credential=C&X-Amz-Date={date}&X-Amz-Expires={seconds}&X-Amz-SignedHeaders=host&X-Amz-Signature=s"
            )
        };
        let ok = Ok("/b/k?x-id=GetObject".to_owned());
        let error = |code: &str| Err(code.to_owned());
        let cases = [
            (v4("20260101T000000Z", "601"), ok.clone()),
            (v4("20260101T000000Z", "599"), error("AccessDenied")),
            (
                v4("yesterday", "60"),
                error("AuthorizationQueryParametersError"),
            ),
            (
                v4("20260101T000000Z", "604801"),
                error("AuthorizationQueryParametersError"),
            ),
        ];
        for (uri, expected) in cases {
            assert_eq!(strip_at_now(&uri, Scheme::PresignedV4), expected, "{uri}");
        }
        let now = NOW.parse::<Timestamp>().unwrap().as_second();
        for (expires, expected) in [
            (now, Ok("/b/k".to_owned())),
            (now - 1, error("AccessDenied")),
        ] {
            let uri = format!("/b/k?AWSAccessKeyId=AK&Signature=s&Expires={expires}");
            assert_eq!(strip_at_now(&uri, Scheme::PresignedV2), expected, "{uri}");
        }
    }
}
