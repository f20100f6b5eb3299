//! The gateway's routes: each takes a request apart, asks the broker once and puts the
//! answer together.

pub(crate) mod control;
mod cors;
pub(crate) mod front;
mod limits;
pub(crate) mod logs;
mod streamed;
mod target;
#[cfg(test)]
mod tests;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::header::{HeaderName, HeaderValue};
use http_body_util::BodyExt as _;

use crate::broker::{Answer, Broker};
use crate::outcome::header_text;
use crate::parity;

const GENERATION: HeaderName = HeaderName::from_static("x-longshore-generation");
const BUILD: HeaderName = HeaderName::from_static("x-longshore-build");
const HINT: HeaderName = HeaderName::from_static("x-longshore-error");

/// The largest body that API Gateway takes, in bytes.
const MAX_REQUEST_BYTES: usize = 10 * 1024 * 1024;

/// How much of a body that is too large is still read, so that its sender hears why.
const MAX_DRAINED_BYTES: usize = 128 * 1024 * 1024;

/// A body was cut short by its sender, who is gone: nobody reads the answer.
pub(crate) struct Hungup;

/// Reads a body. Of one that is larger than the gateway takes, one byte more than that is
/// kept, to tell.
pub(crate) async fn read_body(mut body: Body) -> Result<Bytes, Hungup> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Hungup)?.into_data() else {
            continue;
        };
        let room = (MAX_REQUEST_BYTES + 1).saturating_sub(length);
        length = length.saturating_add(data.len());
        let kept = data.slice(..data.len().min(room));
        if first.is_empty() {
            first = kept;
        } else if !kept.is_empty() {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&kept);
        }
        if length > MAX_DRAINED_BYTES {
            break;
        }
    }
    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}

/// Says which build served, and how the newest is doing.
pub(crate) fn mark(response: &mut Response, answer: &Answer) {
    let headers = response.headers_mut();
    if let Some(generation) = answer.served_by {
        headers.insert(GENERATION, HeaderValue::from(generation.0));
    }
    if let Some(note) = answer.build.header() {
        headers.insert(BUILD, HeaderValue::from_static(note));
    }
    if let Some(excesses) = &answer.parity {
        parity::mark_with(headers, excesses);
    }
}

/// Adds a line for the person who wonders.
fn hint(response: &mut Response, text: &str) {
    if let Ok(value) = HeaderValue::from_str(&header_text(text)) {
        response.headers_mut().insert(HINT, value);
    }
}

/// What to say to somebody who names a function that is not there.
pub(crate) fn unknown_function(name: &str, broker: &Broker) -> String {
    let known = broker.function_names();
    let problems = broker.problems();
    match (known.as_slice(), problems.first()) {
        ([], None) => format!("no function `{name}`; there is none at all yet"),
        ([], Some(problem)) => format!("no function `{name}`; there is none at all: {problem}"),
        (known, _) => format!("no function `{name}`; there are: {}", known.join(", ")),
    }
}
