//! An answer while the function writes it, of a function URL or a REST API's route that
//! streams: the head as soon as it is known, then the bytes as they come.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::StatusCode;

use crate::broker::{Next, Pieces, ResponseStream};
use crate::event::{EventContext, GatewayRequest};
use crate::live_body::{Framing, LiveBody};
use crate::outcome::{FunctionResponse, Outcome};
use crate::response;

/// The longest prelude, in bytes: what is longer is none.
const MAX_PRELUDE_BYTES: usize = 1024 * 1024;

/// A REST API gives up on a stream that is silent for so long (AWS: regional APIs).
const REST_IDLE: Duration = Duration::from_secs(300);

/// Whose answers are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    FunctionUrl,
    Rest,
}

/// What was written so far of an answer whose head is known.
struct Begun {
    prelude: Option<Bytes>,
    rest: Bytes,
}

/// The answer. Until its head is known, a failure is answered as any other.
pub(crate) async fn answer(
    of: Streams,
    stream: &ResponseStream,
    request: &GatewayRequest,
    context: &EventContext,
) -> Response {
    let whole = |outcome: &Outcome| {
        let whole = match of {
            Streams::FunctionUrl => response::function_url(outcome, request, context),
            Streams::Rest => response::rest_stream(outcome, request, context),
        };
        whole.map(Body::from)
    };
    let Some(mut pieces) = stream.take() else {
        return whole(&Outcome::ShuttingDown);
    };
    let has_prelude = of == Streams::Rest || response::has_prelude(stream.content_type());
    let begun = match begin(&mut pieces, stream.content_type(), has_prelude).await {
        Ok(begun) => begun,
        Err(outcome) => return whole(&outcome),
    };
    let head = match (of, &begun.prelude) {
        (Streams::Rest, Some(prelude)) => response::rest_stream_head(prelude, context),
        (_, prelude) => response::stream_head(prelude.as_ref(), context),
    };
    let idle = (of == Streams::Rest).then_some(REST_IDLE);
    match head {
        Ok(head) => {
            let has_body = !matches!(
                head.status(),
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
            head.map(|_| {
                if has_body {
                    LiveBody::body(begun.rest, pieces, Framing::Plain, idle)
                } else {
                    Body::empty()
                }
            })
        }
        Err(malformed) => (*malformed).map(Body::from),
    }
}

/// Reads until the head is known, or all is over before.
async fn begin(
    pieces: &mut Pieces,
    content_type: Option<&str>,
    has_prelude: bool,
) -> Result<Begun, Outcome> {
    let mut written = BytesMut::new();
    loop {
        match pieces.next().await {
            Next::Piece(piece) if !has_prelude => {
                return Ok(Begun {
                    prelude: None,
                    rest: piece,
                });
            }
            Next::Piece(piece) => {
                written.extend_from_slice(&piece);
                if let Some((end, payload)) = response::prelude_end(&written) {
                    let written = written.freeze();
                    return Ok(Begun {
                        prelude: Some(written.slice(..end)),
                        rest: written.slice(payload..),
                    });
                }
                if written.len() > MAX_PRELUDE_BYTES {
                    return Err(as_a_whole(written.freeze(), content_type));
                }
            }
            Next::End(end) => {
                return Err(match end.outcome {
                    Outcome::Streamed { .. } => as_a_whole(written.freeze(), content_type),
                    failure => failure,
                });
            }
        }
    }
}

fn as_a_whole(body: Bytes, content_type: Option<&str>) -> Outcome {
    Outcome::Response(FunctionResponse {
        body,
        content_type: content_type.map(str::to_owned),
        streaming: true,
    })
}

#[cfg(test)]
mod tests;
