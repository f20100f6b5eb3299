//! What is owed: an event that waits to be delivered to a function, or the word of how one
//! ended that waits to be delivered to a destination. Written down before anybody is told
//! that it was accepted.

use std::time::{Duration, SystemTime};

use app_model::FunctionName;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::invocation::{RequestId, TenantId, TraceId};

/// An entry's number: they are taken in this order.
pub(crate) type Sequence = u64;

/// Milliseconds since 1970: what is stored must outlive the process and its clock.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

/// Something owed. Its bytes (the event, or the message) are stored beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// What is to be done.
    pub(crate) task: Task,
    /// When it was accepted.
    pub(crate) accepted_ms: u64,
    /// Not before this.
    pub(crate) due_ms: u64,
    /// How often it was tried and counted.
    pub(crate) attempts: u32,
    /// How often it was put off for reasons that are not its own: throttles, a build that
    /// fails.
    #[serde(default)]
    pub(crate) put_off: u32,
    /// How often it was delivered, counted or not.
    #[serde(default)]
    pub(crate) deliveries: u32,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Task {
    /// Invoke a function.
    Invoke(Event),
    /// Send a message to a queue or a topic.
    Send(Message),
}

/// An event as it was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) request_id: String,
    pub(crate) function: String,
    pub(crate) trace_id: String,
    #[serde(default)]
    pub(crate) qualified: bool,
    #[serde(default)]
    pub(crate) tenant: Option<String>,
    pub(crate) client_context: Option<String>,
    /// What its sender asked to go wrong with the first delivery.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) faults: Vec<String>,
}

/// A message to a queue or a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    /// Whose end it tells of.
    pub(crate) request_id: String,
    /// The queue's or topic's ARN.
    pub(crate) target: String,
    /// Message attributes: name, type, value.
    pub(crate) attributes: Vec<(String, String, String)>,
}

impl Entry {
    /// A fresh one, due at once.
    pub(crate) fn now(task: Task) -> Self {
        let now = now_ms();
        Self {
            task,
            accepted_ms: now,
            due_ms: now,
            attempts: 0,
            put_off: 0,
            deliveries: 0,
        }
    }

    /// The same one, counted once more and due after this long.
    pub(crate) fn tried_again_in(&self, delay: Duration) -> Self {
        Self {
            attempts: self.attempts + 1,
            put_off: 0,
            deliveries: self.deliveries + 1,
            due_ms: after(delay),
            ..self.clone()
        }
    }

    /// The same one, not counted, due after this long.
    pub(crate) fn put_off_for(&self, delay: Duration) -> Self {
        Self {
            put_off: self.put_off + 1,
            deliveries: self.deliveries + 1,
            due_ms: after(delay),
            ..self.clone()
        }
    }

    /// What it queues for: entries of one lane wait for one another.
    pub(crate) fn lane(&self) -> &str {
        match &self.task {
            Task::Invoke(event) => &event.function,
            Task::Send(message) => &message.target,
        }
    }

    /// How long it has been owed, on the wall.
    pub(crate) fn age(&self) -> Duration {
        Duration::from_millis(now_ms().saturating_sub(self.accepted_ms))
    }
}

impl Event {
    /// The invocation that delivers it: the same request id every time.
    pub(crate) fn invocation(&self, payload: Bytes) -> Option<crate::invocation::Invocation> {
        let request_id: RequestId = self.request_id.parse().ok()?;
        let function: FunctionName = self.function.parse().ok()?;
        Some(crate::invocation::Invocation {
            request_id,
            function,
            payload,
            trace_id: TraceId::from_header(&self.trace_id)
                .unwrap_or_else(|| TraceId::random(now_ms() / 1_000)),
            qualified: self.qualified,
            tenant: self.tenant.as_deref().and_then(TenantId::read),
            client_context: self.client_context.clone(),
            wants_log_tail: false,
        })
    }
}

fn after(delay: Duration) -> u64 {
    now_ms().saturating_add(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))
}
