//! Delivers what is owed: when it is due, in order, as many at once as a function may have
//! environments. Every attempt is a task of the dispatcher's; nothing is forgotten before
//! the store says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Events;
use super::entry::{Entry, Event, Message, Sequence, Task, now_ms};
use super::record::Ended;
use super::store::Store;
use super::verdict::{self, Condition, Verdict};
use crate::broker::Answer;
use crate::faults::Taken;
use crate::invocation::Invocation;
use crate::outcome::Outcome;
use crate::recursion;

/// Longer than any function runs.
const PATIENCE: Duration = Duration::from_secs(960);
/// Messages to one queue or topic under way at the same time.
pub(crate) const MESSAGES_AT_ONCE: usize = 4;
/// A message that is refused is tried this often.
const MESSAGE_ATTEMPTS: u32 = 5;
/// The store could not be read or written: how long until it is asked again.
const STORE_TROUBLE: Duration = Duration::from_secs(5);
/// New entries taken in at once.
const INTAKE: usize = 1_024;

/// An entry and when it is due.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    pub(crate) sequence: Sequence,
    pub(crate) lane: String,
    pub(crate) due_ms: u64,
}

impl Due {
    pub(crate) fn of(sequence: Sequence, entry: &Entry) -> Self {
        Self {
            sequence,
            lane: entry.lane().to_owned(),
            due_ms: entry.due_ms,
        }
    }
}

#[derive(Default)]
struct Lane {
    ready: VecDeque<Sequence>,
    running: usize,
}

/// What an attempt leaves to do.
struct Tried {
    lane: String,
    then: Vec<Due>,
}

/// Delivers until the gateway closes.
pub(crate) struct Dispatcher {
    events: Events,
    store: Store,
    inbox: mpsc::Receiver<Due>,
    lanes: BTreeMap<String, Lane>,
    later: BTreeMap<(u64, Sequence), String>,
    attempts: JoinSet<Tried>,
}

impl Dispatcher {
    pub(crate) fn new(events: Events, store: Store, inbox: mpsc::Receiver<Due>) -> Self {
        Self {
            events,
            store,
            inbox,
            lanes: BTreeMap::new(),
            later: BTreeMap::new(),
            attempts: JoinSet::new(),
        }
    }

    /// Takes up what an earlier process left, then whatever comes. Returns once the
    /// gateway closes and the attempts under way have ended.
    pub(crate) async fn run(mut self) {
        let left = self.store.entries();
        if !left.is_empty() {
            tracing::info!(
                events = left.len(),
                "delivering what an earlier run had accepted"
            );
        }
        for (sequence, entry) in left {
            self.take(Due::of(sequence, &entry));
        }
        let closing = self.events.closing();
        let mut fresh = Vec::with_capacity(INTAKE);
        loop {
            self.start_what_is_due();
            let wait = self.until_next();
            tokio::select! {
                () = closing.cancelled() => break,
                taken = self.inbox.recv_many(&mut fresh, INTAKE) => {
                    if taken == 0 {
                        break;
                    }
                    for due in fresh.drain(..) {
                        self.take(due);
                    }
                }
                Some(tried) = self.attempts.join_next() => self.settle(tried),
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
        }
        while let Some(tried) = self.attempts.join_next().await {
            self.settle(tried);
        }
        let left = self.store.len();
        if left > 0 {
            tracing::info!(events = left, "kept for the next start");
        }
        // Nothing is changed from here on: the writer may end.
        self.store.close().await;
    }

    fn take(&mut self, due: Due) {
        if due.due_ms <= now_ms() {
            let lane = self.lanes.entry(due.lane).or_default();
            lane.ready.push_back(due.sequence);
        } else {
            self.later.insert((due.due_ms, due.sequence), due.lane);
        }
    }

    fn settle(&mut self, tried: Result<Tried, tokio::task::JoinError>) {
        match tried {
            Ok(tried) => {
                if let Some(lane) = self.lanes.get_mut(&tried.lane) {
                    lane.running -= 1;
                    if lane.running == 0 && lane.ready.is_empty() {
                        self.lanes.remove(&tried.lane);
                    }
                }
                for due in tried.then {
                    self.take(due);
                }
            }
            // Its event stays in the store, and comes again with the next start.
            Err(error) => tracing::error!(%error, "an attempt to deliver an event broke off"),
        }
    }

    fn start_what_is_due(&mut self) {
        let now = now_ms();
        while let Some(first) = self.later.first_entry() {
            if first.key().0 > now {
                break;
            }
            let ((_, sequence), lane) = first.remove_entry();
            self.lanes
                .entry(lane)
                .or_default()
                .ready
                .push_back(sequence);
        }
        let mut done = BTreeSet::new();
        for (name, lane) in &mut self.lanes {
            let limit = self.events.at_once(name);
            while lane.running < limit
                && let Some(sequence) = lane.ready.pop_front()
            {
                if let Some(entry) = self.store.entry(sequence) {
                    lane.running += 1;
                    let attempt = Attempt {
                        events: self.events.clone(),
                        store: self.store.clone(),
                        sequence,
                        entry,
                    };
                    self.attempts.spawn(attempt.run());
                }
            }
            if lane.running == 0 && lane.ready.is_empty() {
                done.insert(name.clone());
            }
        }
        for name in done {
            self.lanes.remove(&name);
        }
    }

    fn until_next(&self) -> Option<Duration> {
        let ((due_ms, _), _) = self.later.first_key_value()?;
        Some(Duration::from_millis(due_ms.saturating_sub(now_ms())))
    }
}

/// One attempt at one entry, and the writing down of what became of it.
struct Attempt {
    events: Events,
    store: Store,
    sequence: Sequence,
    entry: Entry,
}

impl Attempt {
    async fn run(self) -> Tried {
        let bytes = match self.store.bytes(self.sequence).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return self.done(Vec::new()),
            Err(error) => {
                tracing::error!(%error, "an event cannot be read; it is tried again");
                return self.after_trouble();
            }
        };
        match &self.entry.task {
            Task::Invoke(event) => self.invoke(event, bytes).await,
            Task::Send(message) => self.send(message, bytes).await,
        }
    }

    async fn invoke(&self, event: &Event, payload: Bytes) -> Tried {
        let options = self.events.options_of(&event.function);
        let pace = self.events.pace();
        if let Some(condition) = verdict::before(&self.entry, &options, pace) {
            let attempts = self.entry.attempts;
            return self.end(event, &payload, condition, attempts, None).await;
        }
        let Some(invocation) = event.invocation(payload.clone()) else {
            tracing::error!(function = event.function, "a stored event makes no sense");
            return self.replace(Vec::new()).await;
        };
        if let recursion::Verdict::Stopped(_) = recursion::judge(&self.events, &invocation) {
            let (condition, attempts) = (Condition::RecursiveInvocation, self.entry.attempts);
            return self.end(event, &payload, condition, attempts, None).await;
        }
        let answer = self.deliver(invocation, &event.faults).await;
        let stopping = self.events.closing().is_cancelled();
        match verdict::after(&self.entry, &answer.outcome, &options, pace, stopping) {
            Verdict::Ended(condition) => {
                let had_it = condition != Condition::EventAgeExceeded
                    || answer
                        .outcome
                        .error_body(crate::RequestId::random())
                        .is_some();
                let attempts = self.entry.attempts + u32::from(had_it);
                let outcome = Some(&answer.outcome);
                self.end(event, &payload, condition, attempts, outcome)
                    .await
            }
            Verdict::Retry(wait) => {
                tracing::warn!(
                    function = event.function,
                    request_id = event.request_id,
                    attempt = self.entry.attempts + 1,
                    again_in = ?wait,
                    "an asynchronous invocation failed"
                );
                self.again(self.entry.tried_again_in(wait)).await
            }
            Verdict::PutOff(wait) => {
                tracing::debug!(
                    function = event.function,
                    request_id = event.request_id,
                    again_in = ?wait,
                    "an asynchronous invocation was put off"
                );
                self.again(self.entry.put_off_for(wait)).await
            }
            Verdict::Keep => self.done(Vec::new()),
        }
    }

    /// Hands an event to its function, or does to it what rules and its sender want.
    async fn deliver(&self, invocation: Invocation, asked: &[String]) -> Answer {
        let broker = self.events.broker();
        let number = self.entry.deliveries + 1;
        let faults = &broker.shared.faults;
        let injected = faults.of_delivery(&invocation.function, number, asked);
        if injected.refused().is_some() {
            // Whichever refusal: Lambda puts an event off for its own errors as well.
            return Answer::refusal(Outcome::Throttled);
        }
        let answer = broker.invoke_with(invocation, PATIENCE, &injected, Taken::Whole);
        answer.await
    }

    async fn end(
        &self,
        event: &Event,
        payload: &Bytes,
        condition: Condition,
        attempts: u32,
        outcome: Option<&Outcome>,
    ) -> Tried {
        if condition != Condition::Success {
            tracing::error!(
                function = event.function,
                request_id = event.request_id,
                attempts,
                condition = condition.as_str(),
                "an asynchronous invocation was given up"
            );
        }
        let ended = Ended {
            event,
            payload,
            function_arn: &self.events.arn_of(&event.function),
            condition,
            attempts,
            outcome,
        };
        let options = self.events.options_of(&event.function);
        self.replace(ended.follow_ups(&options)).await
    }

    async fn send(&self, message: &Message, body: Bytes) -> Tried {
        let stopping: CancellationToken = self.events.stopping();
        let sent = tokio::select! {
            sent = self.events.aws().send(message, &body) => sent,
            () = stopping.cancelled() => return self.done(Vec::new()),
        };
        let Err(error) = sent else {
            return self.replace(Vec::new()).await;
        };
        let tried = self.entry.attempts + 1;
        tracing::error!(
            target_arn = message.target,
            request_id = message.request_id,
            attempt = tried,
            of = MESSAGE_ATTEMPTS,
            %error,
            "word of an asynchronous invocation could not be delivered"
        );
        if tried >= MESSAGE_ATTEMPTS {
            return self.replace(Vec::new()).await;
        }
        let wait = Duration::from_secs(1 << tried.min(6));
        self.again(self.entry.tried_again_in(wait)).await
    }

    async fn replace(&self, follow: Vec<(Entry, Bytes)>) -> Tried {
        match self.store.replace(self.sequence, follow).await {
            Ok(sequences) => {
                let due = |sequence| {
                    let entry = self.store.entry(sequence)?;
                    Some(Due::of(sequence, &entry))
                };
                self.done(sequences.into_iter().filter_map(due).collect())
            }
            Err(error) => {
                tracing::error!(%error, "the end of an event could not be written down");
                self.after_trouble()
            }
        }
    }

    async fn again(&self, entry: Entry) -> Tried {
        let due = Due::of(self.sequence, &entry);
        self.store.update(self.sequence, entry).await;
        self.done(vec![due])
    }

    fn after_trouble(&self) -> Tried {
        let mut due = Due::of(self.sequence, &self.entry);
        due.due_ms = self.entry.put_off_for(STORE_TROUBLE).due_ms;
        self.done(vec![due])
    }

    fn done(&self, then: Vec<Due>) -> Tried {
        Tried {
            lane: self.entry.lane().to_owned(),
            then,
        }
    }
}
