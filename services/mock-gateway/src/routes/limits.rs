//! What of a request or an answer each front of AWS would not take, and what it says then.

use app_model::parity::{
    ALB_ANSWER_HEADERS, ALB_HEADERS, ALB_LINE_BYTES, HTTP_HEADERS, REST_BINARY_BODIES,
    REST_HEADERS, REST_URL,
};
use app_model::{Api, BinaryMediaTypes, Excess, Parity};
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::target::Front;
use crate::event::GatewayRequest;
use crate::response;

/// What of a request is beyond the front's limits.
pub(super) fn of_request(front: &Front, request: &Request) -> Option<Excess> {
    let headers = request.headers();
    let values = || headers.values().map(|value| value.len()).sum::<usize>();
    match front {
        Front::Rest => {
            let url = request
                .uri()
                .path_and_query()
                .map_or(0, |url| url.as_str().len());
            if url as u64 > REST_URL.most {
                return Some(REST_URL.broken(format!("the URL has {url} characters")));
            }
            let bytes = values();
            (bytes as u64 > REST_HEADERS.most)
                .then(|| REST_HEADERS.broken(format!("the headers' values have {bytes} bytes")))
        }
        Front::Http(_) => {
            let bytes = line(request) + values();
            (bytes as u64 > HTTP_HEADERS.most).then(|| {
                HTTP_HEADERS.broken(format!(
                    "request line and headers' values have {bytes} bytes"
                ))
            })
        }
        Front::LoadBalancer(_) => {
            let (line, (all, longest)) = (line(request), written(headers));
            let beyond =
                line > ALB_LINE_BYTES || longest > ALB_LINE_BYTES || all as u64 > ALB_HEADERS.most;
            beyond.then(|| {
                ALB_HEADERS.broken(format!(
                    "the request line has {line} bytes, the longest header {longest}, all headers {all}"
                ))
            })
        }
        Front::FunctionUrl => None,
    }
}

/// `POST /path HTTP/1.1`.
fn line(request: &Request) -> usize {
    let url = request.uri().path_and_query();
    request.method().as_str().len() + url.map_or(1, |url| url.as_str().len()) + " HTTP/1.1 ".len()
}

/// Bytes of all headers and of the longest, as they are sent.
fn written(headers: &HeaderMap) -> (usize, usize) {
    let sizes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    sizes.fold((0, 0), |(all, longest), size| {
        (all + size, longest.max(size))
    })
}

/// What the front answers to what is beyond its limits.
pub(super) fn refusal(front: &Front, excess: &Excess) -> Response {
    let answer = match front {
        Front::LoadBalancer(_) => response::load_balancer_page(StatusCode::BAD_REQUEST),
        Front::Rest if *excess.rule == REST_URL => {
            response::api_refusal(StatusCode::URI_TOO_LONG, r#"{"message":"URI Too Long"}"#)
        }
        Front::Rest | Front::Http(_) | Front::FunctionUrl => response::api_refusal(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            r#"{"message":"Request Header Fields Too Large"}"#,
        ),
    };
    answer.map(Body::from)
}

/// What of an answer is beyond what a load balancer passes on.
pub(super) fn of_load_balancers_answer(headers: &HeaderMap) -> Option<Excess> {
    let (all, _) = written(headers);
    (all as u64 > ALB_ANSWER_HEADERS.most)
        .then(|| ALB_ANSWER_HEADERS.broken(format!("the answer's headers have {all} bytes")))
}

/// The media types that a REST API takes for binary: on AWS none, unless some are set.
pub(super) fn binary_media_types(api: &Api, parity: Parity) -> Option<BinaryMediaTypes> {
    match (&api.rest.binary_media_types, parity) {
        (None, Parity::Enforce) => Some(BinaryMediaTypes::default()),
        (types, _) => types.clone(),
    }
}

/// A body that arrives otherwise on AWS, where no binary media types are set. Of a body that
/// was taken for text the event says so at its end.
pub(super) fn of_binary_body(
    api: &Api,
    parity: Parity,
    request: &GatewayRequest,
    event: &[u8],
) -> Option<Excess> {
    if api.rest.binary_media_types.is_some() {
        return None;
    }
    let is_binary = match parity {
        Parity::Warn => event.ends_with(br#""isBase64Encoded":true}"#),
        Parity::Enforce => std::str::from_utf8(&request.body).is_err(),
    };
    is_binary
        .then(|| REST_BINARY_BODIES.broken("the request's body is not UTF-8, and none are set"))
}

/// An answer that goes out otherwise on AWS, where no binary media types are set.
pub(super) fn of_binary_answer(api: &Api, response: &Response) -> Option<Excess> {
    let is_base64 = response.extensions().get::<response::Base64>().is_some();
    (is_base64 && api.rest.binary_media_types.is_none())
        .then(|| REST_BINARY_BODIES.broken("the function answers with base64, and none are set"))
}
