//! An invocation on its way through an environment: its time begins, a runtime has it, it is
//! answered, it has ended.

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use uuid::Uuid;

use super::Answer;
use super::environment_state::Environment;
use super::pool::Pending;
use super::reply::Reply;
use crate::invocation::{Invocation, RequestId, TraceId};
use crate::logs::{LogTail, RuntimeDone, Span, Status};
use crate::outcome::{ExtensionFailure, Outcome};
use crate::platform_event::PlatformEvent;
use crate::sandbox::Sandbox;

/// An invocation whose time has begun before a runtime can take it.
pub(crate) struct Claim {
    pub(crate) pending: Pending,
    pub(crate) started: Instant,
    pub(crate) started_at: SystemTime,
    pub(crate) deadline: Instant,
    pub(crate) tail: LogTail,
}

/// An invocation that a runtime has.
pub(crate) struct InFlight {
    pub(crate) request_id: RequestId,
    pub(crate) nonce: Uuid,
    pub(crate) reply: Reply,
    pub(crate) wants_log_tail: bool,
    pub(crate) started: Instant,
    pub(crate) started_at: SystemTime,
    pub(crate) deadline: Instant,
    pub(crate) payload_bytes: usize,
    pub(crate) tail: LogTail,
    /// Where there are extensions.
    pub(crate) watched: Option<Box<Watched>>,
}

/// What extensions and their subscriptions want to know of an invocation.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) trace: Option<TraceId>,
    /// When a streamed answer began.
    pub(crate) began: Option<Instant>,
    /// How long the answer took, to its first byte and to its end, if there was one.
    pub(crate) answered: Option<(Duration, Duration)>,
    /// How long it took until the runtime was done with it.
    pub(crate) runtime: Option<Duration>,
    /// How long extensions went on after that.
    pub(crate) extension_overhead: Option<Span>,
    /// The environment was lost to an extension after the answer.
    pub(crate) lost_to: Option<ExtensionFailure>,
}

impl Watched {
    /// For an invocation in this environment, if anybody watches.
    pub(crate) fn new(environment: &Environment, invocation: &Invocation) -> Option<Box<Self>> {
        (!environment.extensions.is_empty()).then(|| {
            let is_on = environment.sandbox.telemetry().is_on();
            Box::new(Self {
                trace: is_on.then(|| invocation.trace_id.clone()),
                ..Self::default()
            })
        })
    }
}

/// An answered invocation that has not ended yet.
pub(crate) struct Ending {
    pub(crate) in_flight: Finished,
    pub(crate) deadline: Instant,
}

/// An invocation that ended, for the log and the journal.
pub(crate) struct Finished {
    pub(crate) request_id: RequestId,
    pub(crate) started: Instant,
    pub(crate) started_at: SystemTime,
    pub(crate) duration: Duration,
    pub(crate) watched: Option<Box<Watched>>,
    pub(crate) init: Option<Duration>,
    pub(crate) payload_bytes: usize,
    pub(crate) outcome: Outcome,
    pub(crate) tail: LogTail,
    /// A caller who waits for the log's tail, and what to answer.
    pub(crate) waiting: Option<(Reply, Answer)>,
}

impl Finished {
    /// Tells subscribers, once, that the runtime is done with it; extensions may not be.
    pub(crate) fn runtime_is_done(&mut self, sandbox: &Sandbox) {
        let Some(watched) = &mut self.watched else {
            return;
        };
        if watched.runtime.is_some() {
            return;
        }
        let duration = self.started.elapsed();
        watched.runtime = Some(duration);
        let mut spans = Vec::new();
        if let Some((first, last)) = watched.answered {
            let mut span = |name, from, to: Duration| {
                let start = self.started_at + from;
                let duration = to.saturating_sub(from);
                spans.push((name, Span { start, duration }));
            };
            span("responseLatency", Duration::ZERO, first);
            span("responseDuration", first, last);
            span("runtimeOverhead", last, duration);
        }
        sandbox.tell(&PlatformEvent::RuntimeDone(&RuntimeDone {
            request_id: self.request_id,
            status: Status::of_runtime(&self.outcome),
            duration,
            produced_bytes: match &self.outcome {
                Outcome::Response(response) => response.body.len(),
                Outcome::Streamed { bytes } => *bytes,
                _ => 0,
            },
            spans,
            trace: watched.trace.as_ref(),
        }));
    }

    /// It has ended, extensions and all.
    pub(crate) fn all_are_done(&mut self) {
        self.duration = self.started.elapsed();
        if let Some(watched) = &mut self.watched {
            let runtime = watched.runtime.unwrap_or(self.duration);
            watched.extension_overhead = Some(Span {
                start: self.started_at + runtime,
                duration: self.duration.saturating_sub(runtime),
            });
        }
    }
}

impl Claim {
    /// Begins an invocation's time.
    pub(crate) fn new(pending: Pending, now: Instant, environment: &Environment) -> Self {
        let mut tail = LogTail::default();
        if pending.invocation.wants_log_tail {
            let start = PlatformEvent::Start {
                request_id: pending.invocation.request_id,
                trace: Some(&pending.invocation.trace_id),
            };
            let line = environment.sandbox.rendered(&start, Timestamp::now());
            tail.push_line(&line.unwrap_or_default());
        }
        Self {
            pending,
            started: now,
            started_at: SystemTime::now(),
            deadline: now + environment.timeout(),
            tail,
        }
    }

    /// As one that a runtime has, to be ended.
    pub(super) fn into_in_flight(self, environment: &Environment) -> InFlight {
        let watched = Watched::new(environment, &self.pending.invocation);
        let Pending {
            invocation, reply, ..
        } = self.pending;
        InFlight {
            request_id: invocation.request_id,
            nonce: Uuid::new_v4(),
            reply,
            wants_log_tail: invocation.wants_log_tail,
            started: self.started,
            started_at: self.started_at,
            deadline: self.deadline,
            payload_bytes: invocation.payload.len(),
            tail: self.tail,
            watched,
        }
    }
}

impl InFlight {
    /// Tells subscribers that it begins.
    pub(crate) fn tell_start(&self, sandbox: &Sandbox) {
        sandbox.tell(&PlatformEvent::Start {
            request_id: self.request_id,
            trace: self
                .watched
                .as_ref()
                .and_then(|watched| watched.trace.as_ref()),
        });
    }

    /// Ends it with this outcome. The caller hears at once unless he wants the log too.
    pub(crate) fn end(self, answer: Answer, init: Option<Duration>) -> Finished {
        let duration = self.started.elapsed();
        let mut watched = self.watched;
        if let Some(watched) = &mut watched {
            let first = watched.began.map_or(duration, |began| began - self.started);
            watched.answered = Some((first, duration));
        }
        let outcome = answer.outcome.clone();
        let waiting = if self.wants_log_tail {
            Some((self.reply, answer))
        } else {
            if self.reply.send(answer).is_err() {
                tracing::info!(
                    request_id = %self.request_id,
                    "the caller had left before the function answered; the answer is dropped"
                );
            }
            None
        };
        Finished {
            request_id: self.request_id,
            started: self.started,
            started_at: self.started_at,
            duration,
            watched,
            init,
            payload_bytes: self.payload_bytes,
            outcome,
            tail: self.tail,
            waiting,
        }
    }
}
