//! The body of an answer that a function is still writing: its bytes as they stand, or in
//! the frames of `InvokeWithResponseStream`.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::Frame;
use tokio::time::{Instant, Sleep};

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
    silence: Option<Silence>,
}

/// How long nothing may come, and until when.
struct Silence {
    most: Duration,
    until: Pin<Box<Sleep>>,
}

impl LiveBody {
    /// `first` was taken from the pieces already. A stream that is silent for `idle` breaks
    /// off, if that is set.
    pub(crate) fn body(
        first: Bytes,
        pieces: Pieces,
        framing: Framing,
        idle: Option<Duration>,
    ) -> Body {
        Body::new(Self {
            first: (!first.is_empty()).then_some(first),
            pieces: Some(pieces),
            framing,
            silence: idle.map(|most| Silence {
                most,
                until: Box::pin(tokio::time::sleep(most)),
            }),
        })
    }

    /// Something came.
    fn heard(&mut self) {
        if let Some(Silence { most, until }) = &mut self.silence {
            until.as_mut().reset(Instant::now() + *most);
        }
    }

    /// Nothing came: whether that has been so for too long.
    fn is_silent(&mut self, context: &mut Context<'_>) -> bool {
        let silence = self.silence.as_mut();
        silence.is_some_and(|silence| silence.until.as_mut().poll(context).is_ready())
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
            Poll::Pending if self.is_silent(context) => {
                self.pieces = None;
                let silent = io::Error::new(io::ErrorKind::TimedOut, "the function fell silent");
                tracing::warn!("a streamed answer broke off: {silent}");
                Poll::Ready(Some(Err(silent)))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(Next::Piece(piece)) => {
                self.heard();
                Poll::Ready(Some(Ok(self.piece(piece))))
            }
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::broker::BuildNote;
    use crate::broker::testing::stream;

    /// Time itself is what is tested here, so that it has to pass.
    const IDLE: Duration = Duration::from_millis(400);

    async fn text(body: &mut Body) -> String {
        let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
        String::from_utf8(piece.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_stream_that_falls_silent_breaks_off() {
        let (feed, end, pieces) = stream();
        let first = Bytes::from_static(b"one");
        let mut body = LiveBody::body(first, pieces, Framing::Plain, Some(IDLE));
        assert_eq!(text(&mut body).await, "one");
        for _ in 0..3 {
            // Each piece in time, all of them together not.
            tokio::time::sleep(IDLE / 2).await;
            feed.send(Bytes::from_static(b"more")).await.unwrap();
            assert_eq!(text(&mut body).await, "more");
        }
        let asked = Instant::now();
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(error.to_string().contains("silent"), "{error}");
        assert!(asked.elapsed() >= IDLE);
        assert!(body.frame().await.is_none());
        drop((feed, end));
    }

    #[tokio::test]
    async fn a_stream_without_a_limit_may_be_silent() {
        let (feed, end, pieces) = stream();
        let mut body = LiveBody::body(Bytes::new(), pieces, Framing::Plain, None);
        let silent = tokio::time::timeout(IDLE * 2, body.frame()).await;
        assert!(silent.is_err(), "{silent:?}");
        drop(feed);
        let answer = Answer {
            outcome: Outcome::Streamed { bytes: 0 },
            served_by: None,
            build: BuildNote::Current,
            log_tail: None,
            parity: None,
        };
        end.send(answer).unwrap();
        assert!(body.frame().await.is_none());
    }
}
