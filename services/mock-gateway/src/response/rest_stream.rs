//! The answer of a REST API's route whose response transfer mode is `STREAM`: a JSON head,
//! eight NUL bytes, and what follows as it comes. Whatever has no such head is malformed.

use bytes::Bytes;
use http::Response;
use serde::Deserialize;

use super::answer::{Answer, Malformed, Reserved, not_an_object};
use super::failure::because;
use super::fields::{Object, Scalar, Scalars};
use super::function_url::prelude_end;
use super::rest_v1::{self, identified, internal_server_error};
use crate::event::{EventContext, GatewayRequest};
use crate::outcome::Outcome;

/// The whole answer: of a function that answered at once, or failed before its head.
pub(crate) fn rest_stream(
    outcome: &Outcome,
    request: &GatewayRequest,
    context: &EventContext,
) -> Response<Bytes> {
    let Outcome::Response(function) = outcome else {
        return rest_v1::rest_v1(outcome, request, context);
    };
    let Some((end, payload)) = prelude_end(&function.body) else {
        let malformed = because(internal_server_error(), &Malformed::NoPrelude);
        return identified(malformed, context);
    };
    match rest_stream_head(&function.body.slice(..end), context) {
        Ok(head) => head.map(|_| function.body.slice(payload..)),
        Err(malformed) => *malformed,
    }
}

/// The head of an answer that is still being written. The error is the whole answer.
///
/// # Errors
/// What a caller gets whose function wrote a head that is none.
pub(crate) fn rest_stream_head(
    prelude: &Bytes,
    context: &EventContext,
) -> Result<Response<Bytes>, Box<Response<Bytes>>> {
    match read(prelude) {
        Ok(answer) => Ok(identified(answer.finish("application/json"), context)),
        Err(malformed) => {
            let refused = because(internal_server_error(), &malformed);
            Err(Box::new(identified(refused, context)))
        }
    }
}

/// What a stream begins with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow, default)]
    status_code: Scalar<'a>,
    /// The Rust client writes several values of one name as a list.
    #[serde(borrow, default)]
    headers: Object<'a, Scalars<'a>>,
    #[serde(borrow, default)]
    multi_value_headers: Object<'a, Scalars<'a>>,
    #[serde(borrow, default)]
    cookies: Scalars<'a>,
}

fn read(json: &Bytes) -> Result<Answer, Malformed> {
    if let Some(malformed) = not_an_object(json) {
        return Err(malformed);
    }
    let head: Head<'_> = serde_json::from_slice(json)?;
    let mut answer = Answer::new(Reserved::Remapped);
    answer.status(&head.status_code)?;
    answer.multi_value_headers(&head.headers)?;
    answer.multi_value_headers(&head.multi_value_headers)?;
    answer.cookies(&head.cookies.0)?;
    Ok(answer)
}
