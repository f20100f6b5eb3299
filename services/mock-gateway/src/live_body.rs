//! The body of an answer that a function is still writing: its bytes as they stand, or in
//! the frames of `InvokeWithResponseStream`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::Frame;

use crate::broker::{Answer, Next, Pieces};
use crate::outcome::Outcome;

/// How a piece, and the end, are written.
pub(crate) enum Framing {
    /// As they stand. A bad end breaks the connection off: that is all HTTP has for it.
    Plain,
    /// Each in a frame, the end too.
    Framed {
        piece: fn(&Bytes) -> Bytes,
        end: Box<dyn Fn(&Answer) -> Bytes + Send>,
    },
}

/// A body that is still being written.
pub(crate) struct LiveBody {
    first: Option<Bytes>,
    /// None after the end.
    pieces: Option<Pieces>,
    framing: Framing,
}

impl LiveBody {
    /// `first` was taken from the pieces already.
    pub(crate) fn body(first: Bytes, pieces: Pieces, framing: Framing) -> Body {
        Body::new(Self {
            first: (!first.is_empty()).then_some(first),
            pieces: Some(pieces),
            framing,
        })
    }

    fn piece(&self, piece: Bytes) -> Frame<Bytes> {
        Frame::data(match &self.framing {
            Framing::Plain => piece,
            Framing::Framed { piece: framed, .. } => framed(&piece),
        })
    }
}

impl HttpBody for LiveBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(self.piece(first))));
        }
        let Some(pieces) = &mut self.pieces else {
            return Poll::Ready(None);
        };
        match pieces.poll_next(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Next::Piece(piece)) => Poll::Ready(Some(Ok(self.piece(piece)))),
            Poll::Ready(Next::End(answer)) => {
                self.pieces = None;
                match (&self.framing, &answer.outcome) {
                    (Framing::Framed { end, .. }, _) => {
                        Poll::Ready(Some(Ok(Frame::data(end(&answer)))))
                    }
                    (Framing::Plain, Outcome::Streamed { .. }) => Poll::Ready(None),
                    (Framing::Plain, failure) => {
                        tracing::warn!(outcome = ?failure, "a streamed answer broke off");
                        let error = io::Error::other("the function failed while it answered");
                        Poll::Ready(Some(Err(error)))
                    }
                }
            }
        }
    }
}
