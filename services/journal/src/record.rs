//! The journal itself: the newest entries, what was let go of, and who waits for more.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::{Entry, EntryId, Limits, Weigh};

/// A bounded record of what happened. Clones are handles on the same record.
pub struct Journal<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    limits: Limits,
    /// A plain mutex: held for a push or a copy of pointers, never over an await.
    kept: Mutex<Kept<T>>,
    /// The newest id; readers who wait are woken by it.
    newest: watch::Sender<EntryId>,
}

struct Kept<T> {
    entries: VecDeque<Arc<Entry<T>>>,
    bytes: usize,
    last_id: EntryId,
    evicted: u64,
}

impl<T: Weigh> Kept<T> {
    /// Lets go of the oldest until the rest is within these bounds.
    fn fit(&mut self, limits: Limits) {
        while self.entries.len() > limits.entries || self.bytes > limits.bytes {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(oldest.item.weight());
            self.evicted += 1;
        }
    }
}

/// What a journal held at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot<T> {
    /// The entries asked for, oldest first.
    pub entries: Vec<Arc<Entry<T>>>,
    /// How many entries the journal let go of to stay within its limits since it was last
    /// cleared, whether or not they would have matched.
    pub evicted: u64,
}

impl<T> Snapshot<T> {
    /// Whether nothing was let go of: `entries` holds everything that matches.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.evicted == 0
    }
}

impl<T: Weigh> Journal<T> {
    /// An empty journal with these bounds.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            shared: Arc::new(Shared {
                limits,
                kept: Mutex::new(Kept {
                    entries: VecDeque::new(),
                    bytes: 0,
                    last_id: EntryId::START,
                    evicted: 0,
                }),
                newest: watch::Sender::new(EntryId::START),
            }),
        }
    }

    /// What a journal held that was kept elsewhere meanwhile: these entries, `last` being
    /// the newest number ever given, and so many let go of. If its bounds are narrower now,
    /// the oldest go.
    #[must_use]
    pub fn restored(limits: Limits, entries: Vec<Entry<T>>, last: EntryId, evicted: u64) -> Self {
        let journal = Self::new(limits);
        {
            let mut kept = journal.lock();
            kept.bytes = entries.iter().map(|entry| entry.item.weight()).sum();
            kept.entries = entries.into_iter().map(Arc::new).collect();
            kept.last_id = kept.entries.back().map_or(last, |entry| entry.id.max(last));
            kept.evicted = evicted;
            kept.fit(limits);
            journal.shared.newest.send_replace(kept.last_id);
        }
        journal
    }

    /// Records one item, letting go of the oldest entries if it does not fit beside them.
    /// An item that is larger than the whole journal is counted as evicted at once.
    pub fn append(&self, item: T) -> EntryId {
        let weight = item.weight();
        let mut kept = self.lock();
        let id = kept.last_id.next();
        kept.last_id = id;
        kept.bytes = kept.bytes.saturating_add(weight);
        kept.entries.push_back(Arc::new(Entry { id, item }));
        kept.fit(self.shared.limits);
        // Under the lock, so that ids are announced in order.
        self.shared.newest.send_replace(id);
        id
    }

    /// The entry of this number, if it is still kept.
    #[must_use]
    pub fn get(&self, id: EntryId) -> Option<Arc<Entry<T>>> {
        let kept = self.lock();
        let index = kept.entries.binary_search_by_key(&id, |entry| entry.id);
        index
            .ok()
            .and_then(|index| kept.entries.get(index).cloned())
    }

    /// The lowest number that is kept; if none is, the next that will be given.
    #[must_use]
    pub fn oldest(&self) -> EntryId {
        let kept = self.lock();
        let first = kept.entries.front();
        first.map_or_else(|| kept.last_id.next(), |entry| entry.id)
    }

    /// The newest number that was given, kept or not.
    #[must_use]
    pub fn newest(&self) -> EntryId {
        self.lock().last_id
    }

    /// Everything kept, oldest first.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<T> {
        self.filter(|_| true)
    }

    /// Everything kept for which `wanted` holds, oldest first.
    pub fn filter(&self, mut wanted: impl FnMut(&Entry<T>) -> bool) -> Snapshot<T> {
        let kept = self.lock();
        Snapshot {
            entries: kept
                .entries
                .iter()
                .filter(|entry| wanted(entry))
                .cloned()
                .collect(),
            evicted: kept.evicted,
        }
    }

    /// Forgets everything, on request: this is not counted as eviction. Numbers go on.
    pub fn clear(&self) {
        let mut kept = self.lock();
        kept.entries.clear();
        kept.bytes = 0;
        kept.evicted = 0;
    }

    /// Waits until `found` answers something, asking it now and after each new entry, until
    /// `deadline`. `None` if the time was up first.
    ///
    /// Level triggered: what is there already is found at once. Cancel-safe.
    pub async fn wait_for<R>(
        &self,
        deadline: Instant,
        mut found: impl FnMut(&Self) -> Option<R>,
    ) -> Option<R> {
        let mut newest = self.shared.newest.subscribe();
        loop {
            newest.mark_unchanged();
            if let Some(answer) = found(self) {
                return Some(answer);
            }
            match timeout_at(deadline, newest.changed()).await {
                Ok(Ok(())) => {}
                // The sender lives as long as `self`; if it is gone there is nothing to wait for.
                Ok(Err(_)) => return None,
                Err(_) => return found(self),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept<T>> {
        // Nothing between lock and unlock leaves the record half changed in a way that
        // matters, so a panic of another holder is no reason to lose the journal.
        self.shared
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Journal<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> fmt::Debug for Journal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("limits", &self.shared.limits)
            .field("newest", &*self.shared.newest.borrow())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn journal(entries: usize, bytes: usize) -> Journal<Vec<u8>> {
        Journal::new(Limits { entries, bytes })
    }

    fn ids(snapshot: &Snapshot<Vec<u8>>) -> Vec<u64> {
        snapshot
            .entries
            .iter()
            .map(|entry| entry.id.get())
            .collect()
    }

    #[test]
    fn the_oldest_go_first_and_are_counted() {
        struct Case {
            limits: (usize, usize),
            weights: &'static [usize],
            kept: &'static [u64],
        }
        let case = |limits, weights, kept| Case {
            limits,
            weights,
            kept,
        };
        for Case {
            limits: (entries, bytes),
            weights,
            kept,
        } in [
            case((3, 100), &[1, 1, 1], &[1, 2, 3]),
            case((3, 100), &[1, 1, 1, 1], &[2, 3, 4]),
            case((9, 10), &[4, 4, 4], &[2, 3]),
            case((9, 10), &[4, 4, 10], &[3]),
            case((9, 10), &[4, 11], &[]),
            case((0, 10), &[1], &[]),
        ] {
            let journal = journal(entries, bytes);
            for weight in weights {
                journal.append(vec![0; *weight]);
            }
            let snapshot = journal.snapshot();
            let evicted = (weights.len() - kept.len()) as u64;
            assert_eq!(ids(&snapshot), kept, "{weights:?}");
            assert_eq!(snapshot.evicted, evicted, "{weights:?}");
            assert_eq!(snapshot.complete(), evicted == 0);
        }
    }

    #[test]
    fn entries_are_found_by_id_and_by_predicate() {
        let journal = journal(2, 100);
        let gone = journal.append(b"a".to_vec());
        journal.append(b"b".to_vec());
        let kept = journal.append(b"c".to_vec());
        assert_eq!(journal.get(gone), None);
        assert_eq!(journal.get(kept).unwrap().item, b"c");
        assert_eq!(ids(&journal.filter(|entry| entry.item == b"b")), [2]);
    }

    #[test]
    fn clearing_is_no_eviction_and_ids_go_on() {
        let journal = journal(1, 100);
        journal.append(b"a".to_vec());
        journal.append(b"b".to_vec());
        journal.clear();
        assert!(journal.snapshot().complete());
        assert_eq!(journal.append(b"c".to_vec()).get(), 3);
        assert_eq!(ids(&journal.snapshot()), [3]);
    }

    #[test]
    fn a_journal_goes_on_where_it_was() {
        let before = journal(3, 100);
        for item in [b"a", b"b", b"c", b"d"] {
            before.append(item.to_vec());
        }
        assert_eq!((before.oldest().get(), before.newest().get()), (2, 4));
        let entries = || {
            let kept = before.snapshot().entries.into_iter();
            kept.map(|entry| Entry::clone(&entry)).collect::<Vec<_>>()
        };
        let limits = |entries| Limits {
            entries,
            bytes: 100,
        };

        let after = Journal::restored(limits(3), entries(), EntryId::START, 1);
        assert_eq!(ids(&after.snapshot()), [2, 3, 4]);
        assert_eq!(after.snapshot().evicted, 1);
        assert_eq!(after.append(b"e".to_vec()).get(), 5);
        assert_eq!(ids(&after.snapshot()), [3, 4, 5]);

        let narrower = Journal::restored(limits(1), entries(), EntryId::START, 1);
        assert_eq!(ids(&narrower.snapshot()), [4]);
        assert_eq!(narrower.snapshot().evicted, 3);

        // Cleared: nothing is kept, and numbers go on all the same.
        let cleared = Journal::restored(limits(3), Vec::new(), before.newest(), 0);
        assert_eq!(cleared.oldest().get(), 5);
        assert_eq!(cleared.append(b"e".to_vec()).get(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_finds_what_is_there_and_what_comes() {
        let journal = journal(10, 100);
        let three = |journal: &Journal<Vec<u8>>| {
            Some(journal.snapshot().entries.len()).filter(|&count| count >= 3)
        };
        let within = |seconds| Instant::now() + Duration::from_secs(seconds);

        journal.append(b"a".to_vec());
        assert_eq!(journal.wait_for(within(5), three).await, None);

        let writer = journal.clone();
        let (found, ()) = tokio::join!(journal.wait_for(within(5), three), async move {
            writer.append(b"b".to_vec());
            tokio::time::sleep(Duration::from_secs(1)).await;
            writer.append(b"c".to_vec());
        });
        assert_eq!(found, Some(3));
        // Already there: found at once, even with no time left.
        assert_eq!(journal.wait_for(Instant::now(), three).await, Some(3));
    }
}
