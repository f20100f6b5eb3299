//! What waits for one subscriber: as much as two deliveries. More is dropped and counted,
//! so that a subscriber that hangs costs no more memory than one that does not.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::record::Record;
use super::subscription::Subscription;

/// Records that wait for one subscriber.
#[derive(Debug)]
pub(super) struct Buffer {
    max_items: usize,
    max_bytes: usize,
    timeout: Duration,
    state: Mutex<Held>,
    /// There is a first record, or enough of them, or no reason to wait.
    changed: Notify,
    /// Some were delivered, or given up.
    settled: Notify,
    closed: CancellationToken,
}

#[derive(Debug, Default)]
struct Held {
    /// As they are written.
    records: VecDeque<String>,
    bytes: usize,
    /// Not taken in, or given up, since the subscriber was told.
    dropped: Dropped,
    /// How many were ever taken in, and how many of those were done with.
    taken_in: u64,
    done_with: u64,
    /// Deliver at once.
    flush: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Dropped {
    records: u64,
    bytes: u64,
}

/// What is delivered at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) records: Vec<String>,
    bytes: u64,
    /// Of the records, those that were taken in; the rest tells what was dropped.
    taken_in: u64,
    tells: Dropped,
}

impl Buffer {
    pub(super) fn new(of: &Subscription) -> Self {
        Self {
            max_items: of.max_items,
            max_bytes: of.max_bytes,
            timeout: of.timeout,
            state: Mutex::default(),
            changed: Notify::new(),
            settled: Notify::new(),
            closed: CancellationToken::new(),
        }
    }

    /// Takes a record in, or counts it as dropped.
    pub(super) fn push(&self, record: String) {
        let mut held = self.lock();
        let bytes = held.bytes + record.len();
        if held.records.len() >= 2 * self.max_items || bytes > 2 * self.max_bytes {
            held.dropped.records += 1;
            // A length fits.
            held.dropped.bytes += record.len() as u64;
            return;
        }
        held.records.push_back(record);
        held.bytes = bytes;
        held.taken_in += 1;
        if held.records.len() == 1 || self.is_full(&held) {
            self.changed.notify_one();
        }
    }

    /// Has what is there delivered at once; returns what to wait for with
    /// [`Buffer::settled`].
    pub(super) fn flush(&self) -> u64 {
        let mut held = self.lock();
        if !held.records.is_empty() {
            held.flush = true;
            self.changed.notify_one();
        }
        held.taken_in
    }

    /// Resolves once so many records were delivered or given up.
    pub(super) async fn settled(&self, records: u64) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if self.lock().done_with >= records {
                return;
            }
            settled.await;
        }
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// Resolves once nothing more will come.
    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Gathers until there is enough, or the first has waited long enough. None: closed,
    /// and nothing is left.
    pub(super) async fn next_batch(&self, tells_dropped: Option<&Subscription>) -> Option<Batch> {
        while self.lock().records.is_empty() {
            if self.is_closed() {
                return None;
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = self.closed() => {}
            }
        }
        let until = Instant::now() + self.timeout;
        while !self.is_due() {
            tokio::select! {
                () = self.changed.notified() => {}
                () = self.closed() => {}
                () = tokio::time::sleep_until(until) => break,
            }
        }
        Some(self.take(tells_dropped))
    }

    fn is_due(&self) -> bool {
        let held = self.lock();
        held.flush || self.is_full(&held) || self.is_closed()
    }

    fn is_full(&self, held: &Held) -> bool {
        held.records.len() >= self.max_items || held.bytes >= self.max_bytes
    }

    fn take(&self, tells_dropped: Option<&Subscription>) -> Batch {
        let mut held = self.lock();
        let mut records = Vec::new();
        let mut bytes = 0;
        while records.len() < self.max_items
            && bytes < self.max_bytes
            && let Some(record) = held.records.pop_front()
        {
            bytes += record.len();
            records.push(record);
        }
        held.bytes -= bytes;
        held.flush &= !held.records.is_empty();
        let mut batch = Batch {
            // Lengths fit.
            taken_in: records.len() as u64,
            bytes: bytes as u64,
            records,
            tells: Dropped::default(),
        };
        if let Some(subscription) = tells_dropped
            && held.dropped != Dropped::default()
        {
            batch.tells = std::mem::take(&mut held.dropped);
            batch
                .records
                .extend(batch.tells.record().written(subscription));
        }
        batch
    }

    /// A batch was delivered, or was not and will not be.
    pub(super) fn settle(&self, batch: &Batch, delivered: bool) {
        let mut held = self.lock();
        held.done_with += batch.taken_in;
        if !delivered {
            held.dropped.records += batch.taken_in + batch.tells.records;
            held.dropped.bytes += batch.bytes + batch.tells.bytes;
        }
        self.settled.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Every change is complete before the lock is released.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dropped {
    fn record(self) -> Record {
        Record::platform(
            Timestamp::now(),
            "platform.logsDropped",
            json!({
                "reason": "Consumer seems to have fallen behind as it has not acknowledged receipt of logs.",
                "droppedRecords": self.records,
                "droppedBytes": self.bytes,
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::super::Api;
    use super::*;
    use crate::testing::within;

    fn subscription(max_items: usize) -> Subscription {
        let body = json!({
            "schemaVersion": "2022-12-13",
            "destination": {"protocol": "TCP", "port": 1},
            "types": ["platform"],
        });
        let body = body.to_string();
        let read = Subscription::read(Api::Telemetry, "x".to_owned(), body.as_bytes());
        Subscription {
            max_items,
            max_bytes: 100,
            timeout: Duration::from_secs(30),
            ..read.unwrap()
        }
    }

    #[tokio::test]
    async fn enough_records_or_bytes_wait_for_no_clock() {
        let of = subscription(2);
        let buffer = Buffer::new(&of);
        for record in ["1", "2", "3"] {
            buffer.push(record.to_owned());
        }
        let batch = within("two records", buffer.next_batch(Some(&of))).await;
        assert_eq!(batch.unwrap().records, ["1", "2"]);
        buffer.push("x".repeat(100));
        let batch = within("100 bytes", buffer.next_batch(Some(&of))).await;
        assert_eq!(batch.unwrap().records.len(), 2);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_counted_and_told_with_the_next_delivery() {
        let of = subscription(2);
        let buffer = Buffer::new(&of);
        for _ in 0..7 {
            buffer.push("record".to_owned());
        }
        let batch = buffer.next_batch(Some(&of)).await.unwrap();
        assert_eq!(batch.records.len(), 3);
        let told: Value = serde_json::from_str(&batch.records[2]).unwrap();
        assert_eq!(told["type"], "platform.logsDropped");
        assert_eq!(told["record"]["droppedRecords"], 3);
        assert_eq!(told["record"]["droppedBytes"], 18);
        // That one is lost too: the next tells of all of it.
        buffer.settle(&batch, false);
        let batch = buffer.next_batch(Some(&of)).await.unwrap();
        let told: Value = serde_json::from_str(&batch.records[2]).unwrap();
        assert_eq!(told["record"]["droppedRecords"], 5);
        buffer.settle(&batch, true);
        buffer.close();
        assert_eq!(buffer.next_batch(Some(&of)).await, None);
    }

    #[tokio::test]
    async fn a_flush_is_over_once_all_before_it_is_done_with() {
        let of = subscription(10);
        let buffer = Arc::new(Buffer::new(&of));
        buffer.push("1".to_owned());
        let until = buffer.flush();
        let batch = within("at once", buffer.next_batch(None)).await.unwrap();
        let waits = tokio::spawn({
            let buffer = buffer.clone();
            async move { buffer.settled(until).await }
        });
        assert!(!waits.is_finished());
        buffer.settle(&batch, true);
        within("the flush", waits).await.unwrap();
    }
}
