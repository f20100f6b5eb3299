//! What extensions subscribe to: the platform's records and the printed lines of one
//! environment, over the Telemetry API (2022-07-01) or the older Logs API (2020-08-15).

mod api;
mod buffer;
mod delivery;
mod record;
mod subscription;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

pub(crate) use api::{called, subscribe};
use buffer::Buffer;
use record::Record;
pub(crate) use record::{Kind, Line};
pub(crate) use subscription::Api;
use subscription::Subscription;

/// Records that wait for the first subscription, at most.
const EARLY: usize = 1_000;

/// The subscriptions of one environment, from its start to its end.
#[derive(Debug)]
pub(crate) struct Telemetry {
    /// Whether anybody could want a record: asked without the lock.
    is_on: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What was said before anybody could subscribe: only while it initialises.
    early: Option<Vec<Record>>,
    subscribers: Vec<Subscriber>,
}

/// A subscription and what waits for its delivery.
#[derive(Debug)]
struct Subscriber {
    subscription: Subscription,
    buffer: Arc<Buffer>,
}

/// Why a subscription is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotTaken {
    /// The environment has initialised.
    Closed,
    /// The extension has subscribed over this other API.
    Other(Api),
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            is_on: AtomicBool::new(true),
            state: Mutex::new(State {
                early: Some(Vec::new()),
                subscribers: Vec::new(),
            }),
        }
    }
}

impl Telemetry {
    /// The initialisation has ended: nobody subscribes any more.
    pub(crate) fn initialised(&self) {
        let mut state = self.lock();
        state.early = None;
        self.is_on
            .store(!state.subscribers.is_empty(), Ordering::Relaxed);
    }

    /// The environment has ended: what is left has one last try.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.early = None;
        for subscriber in state.subscribers.drain(..) {
            subscriber.buffer.close();
        }
        self.is_on.store(false, Ordering::Relaxed);
    }

    /// Has what is gathered delivered at once. Resolves when it is, or was given up.
    pub(crate) fn flush(&self) -> impl Future<Output = ()> + use<> {
        let state = self.lock();
        let buffers = state.subscribers.iter().map(|subscriber| {
            let until = subscriber.buffer.flush();
            (subscriber.buffer.clone(), until)
        });
        let buffers: Vec<_> = buffers.collect();
        drop(state);
        async move {
            for (buffer, until) in buffers {
                buffer.settled(until).await;
            }
        }
    }

    /// Whether records are wanted.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Tells whoever wants it of something that the platform did. `make` is not called if
    /// nobody could.
    pub(crate) fn tell(&self, make: impl FnOnce() -> (&'static str, Value)) {
        if self.is_on() {
            let (name, record) = make();
            self.spread(Record::platform(Timestamp::now(), name, record));
        }
    }

    /// Tells whoever wants it of a printed line.
    pub(crate) fn print(&self, at: Timestamp, line: Line<'_>) {
        if self.is_on() {
            self.spread(Record::line(at, line));
        }
    }

    fn spread(&self, record: Record) {
        let mut state = self.lock();
        for subscriber in &state.subscribers {
            subscriber.tell(&record);
        }
        if let Some(early) = &mut state.early
            && early.len() < EARLY
        {
            early.push(record);
        }
    }

    /// Takes a subscription; returns what delivers to it, to be run. Asking for the same
    /// again changes nothing; another one of the same extension replaces what it had.
    fn add(
        &self,
        subscription: Subscription,
    ) -> Result<Option<impl Future<Output = ()> + use<>>, NotTaken> {
        let mut state = self.lock();
        let Some(early) = &state.early else {
            return Err(NotTaken::Closed);
        };
        let of_it = |other: &&Subscriber| other.subscription.name == subscription.name;
        if let Some(other) = state.subscribers.iter().find(of_it) {
            if other.subscription.api != subscription.api {
                return Err(NotTaken::Other(other.subscription.api));
            }
            if other.subscription == subscription {
                return Ok(None);
            }
        }
        let buffer = Arc::new(Buffer::new(&subscription));
        let subscriber = Subscriber {
            subscription: subscription.clone(),
            buffer: buffer.clone(),
        };
        for record in early {
            subscriber.tell(record);
        }
        state.subscribers.retain(|other| {
            let stays = other.subscription.name != subscription.name;
            if !stays {
                other.buffer.close();
            }
            stays
        });
        state.subscribers.push(subscriber);
        Ok(Some(delivery::deliver(subscription, buffer)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was held would lose a record at worst.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber {
    /// Keeps a record for it, if it wants such.
    fn tell(&self, record: &Record) {
        if self.subscription.kinds.contains(&record.kind)
            && let Some(written) = record.written(&self.subscription)
        {
            self.buffer.push(written);
        }
    }
}
