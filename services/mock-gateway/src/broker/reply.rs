//! Who hears how an invocation ended, and answers that are passed on while they are written.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::Answer;
use crate::outcome::Outcome;

/// Pieces of a streamed answer that are not on their way to the caller yet, at most. A
/// function that writes faster than its caller reads waits.
const WAITING_PIECES: usize = 16;

/// Where the answer goes.
pub(crate) struct Reply {
    sender: oneshot::Sender<Answer>,
    takes_streams: bool,
}

impl Reply {
    /// For a caller who takes answers while they are written, or only whole ones.
    pub(crate) fn new(takes_streams: bool) -> (Self, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        let reply = Self {
            sender,
            takes_streams,
        };
        (reply, receiver)
    }

    /// Says how the invocation ended. Gives the answer back if nobody waits for it.
    pub(crate) fn send(self, answer: Answer) -> Result<(), Answer> {
        self.sender.send(answer)
    }

    /// Lets the caller have the answer while it is written, if he takes it so: where to
    /// write it. How the invocation ends is told at the stream's end.
    pub(crate) fn begin_stream(
        &mut self,
        content_type: Option<String>,
        answer: impl FnOnce(Outcome) -> Answer,
    ) -> Option<mpsc::Sender<Bytes>> {
        if !self.takes_streams {
            return None;
        }
        let (feed, pieces) = mpsc::channel(WAITING_PIECES);
        let (at_the_end, end) = Self::new(false);
        let stream = ResponseStream {
            content_type,
            pieces: Arc::new(Mutex::new(Some(Pieces {
                pieces,
                all_taken: false,
                end,
                ended: None,
            }))),
        };
        let caller = std::mem::replace(self, at_the_end);
        if caller.send(answer(Outcome::Streaming(stream))).is_err() {
            tracing::info!("the caller had left before the function began to answer");
        }
        Some(feed)
    }
}

/// An answer that a function is writing.
#[derive(Clone)]
pub struct ResponseStream {
    content_type: Option<String>,
    pieces: Arc<Mutex<Option<Pieces>>>,
}

impl fmt::Debug for ResponseStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseStream")
            .field("content_type", &self.content_type)
            .finish_non_exhaustive()
    }
}

impl ResponseStream {
    /// The content type that it is posted with.
    pub(crate) fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// What is written; the first who asks gets it.
    pub(crate) fn take(&self) -> Option<Pieces> {
        self.pieces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// What a function writes, piece by piece, and how it ends.
pub(crate) struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    all_taken: bool,
    end: oneshot::Receiver<Answer>,
    ended: Option<Answer>,
}

/// A piece, or the end.
pub(crate) enum Next {
    Piece(Bytes),
    End(Answer),
}

impl Pieces {
    /// Waits for what comes next. Cancel-safe; not to be asked after the end.
    pub(crate) async fn next(&mut self) -> Next {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        if !self.all_taken {
            match self.pieces.poll_recv(context) {
                Poll::Ready(Some(piece)) => return Poll::Ready(Next::Piece(piece)),
                Poll::Ready(None) => self.all_taken = true,
                Poll::Pending => {}
            }
        }
        if self.ended.is_none() {
            match Pin::new(&mut self.end).poll(context) {
                Poll::Ready(ended) => {
                    let lost = |_| Answer::refusal(Outcome::ShuttingDown);
                    self.ended = Some(ended.unwrap_or_else(lost));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        // Good ends are told when all is written; a bad one need not wait for a writer who
        // may be gone.
        let good = |answer: &Answer| matches!(answer.outcome, Outcome::Streamed { .. });
        if !self.all_taken && self.ended.as_ref().is_some_and(good) {
            match self.pieces.poll_recv(context) {
                Poll::Ready(Some(piece)) => return Poll::Ready(Next::Piece(piece)),
                Poll::Ready(None) => self.all_taken = true,
                Poll::Pending => return Poll::Pending,
            }
        }
        match self.ended.take() {
            Some(answer) => Poll::Ready(Next::End(answer)),
            None => Poll::Pending,
        }
    }
}

/// Streams without a function.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Where a function would write, where it would say how it ended, and what a caller has
    /// of it.
    pub(crate) fn stream() -> (mpsc::Sender<Bytes>, Reply, Pieces) {
        let (mut reply, mut answer) = Reply::new(true);
        let feed = reply.begin_stream(None, Answer::refusal).unwrap();
        let Outcome::Streaming(stream) = answer.try_recv().unwrap().outcome else {
            panic!("it streams");
        };
        (feed, reply, stream.take().unwrap())
    }
}
