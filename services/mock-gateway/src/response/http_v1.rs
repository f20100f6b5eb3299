//! The answer of an HTTP API to a function that speaks format 1.0: an object with a
//! `statusCode`, or the failure that HTTP APIs have for everything.

use bytes::Bytes;
use http::Response;
use serde::Deserialize;

use super::answer::{Answer, Malformed, Reserved, not_an_object};
use super::fields::{Object, Scalar, Scalars};
use super::http_v2::answered;
use crate::event::{EventContext, GatewayRequest};
use crate::outcome::{FunctionResponse, Outcome};

/// The answer as an HTTP API gives it.
#[must_use]
pub fn http_v1(
    outcome: &Outcome,
    request: &GatewayRequest,
    context: &EventContext,
) -> Response<Bytes> {
    answered(outcome, request, context, read)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProxyAnswer<'a> {
    #[serde(borrow, default)]
    status_code: Scalar<'a>,
    #[serde(borrow, default)]
    headers: Object<'a, Scalar<'a>>,
    #[serde(borrow, default)]
    multi_value_headers: Object<'a, Scalars<'a>>,
    #[serde(borrow, default)]
    body: Scalar<'a>,
    #[serde(borrow, default)]
    is_base64_encoded: Scalar<'a>,
}

fn read(function: &FunctionResponse) -> Result<Response<Bytes>, Malformed> {
    read_object(&function.body).map_err(|malformed| {
        if function.streaming {
            Malformed::Streamed
        } else {
            malformed
        }
    })
}

fn read_object(source: &Bytes) -> Result<Response<Bytes>, Malformed> {
    if let Some(malformed) = not_an_object(source) {
        return Err(malformed);
    }
    let read: ProxyAnswer<'_> = serde_json::from_slice(source)?;
    if read.status_code.as_deref().is_none() {
        return Err(Malformed::NoStatus);
    }
    let mut answer = Answer::new(Reserved::Dropped);
    answer.status(&read.status_code)?;
    answer.headers(&read.headers)?;
    answer.multi_value_headers(&read.multi_value_headers)?;
    answer.text_body(read.body, &read.is_base64_encoded, source)?;
    Ok(answer.finish("text/plain;charset=UTF-8"))
}
