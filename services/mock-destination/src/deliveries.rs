//! All deliveries: the journal of what arrived, the bodies that are still kept, and the
//! running totals that outlive both. The one owner of this state; clones are handles.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use journal::{Entry, EntryId, Journal, Limits};
use tokio::time::Instant;

use crate::Config;
use crate::delivery::{Body, Delivery, KeptBody};

/// Paths that have totals of their own; a path is one of the few routes, so this is only
/// met by someone who plays with `/mock/error/<code>:<n>`.
const MAX_PATHS: usize = 1_000;
/// Room for the headers of each delivery, on average.
const BYTES_PER_DELIVERY: usize = 4 << 10;

/// A handle on all deliveries.
#[derive(Clone, Debug)]
pub(crate) struct Deliveries {
    journal: Journal<Delivery>,
    /// Bodies weigh more than what is said about them, so they go first, on their own.
    bodies: Journal<KeptBody>,
    body_kept: usize,
    /// Held while the journal is written or read, so that totals and entries agree.
    /// A plain mutex: never held over an await.
    totals: Arc<Mutex<Totals>>,
}

/// What arrived since the last clear, kept or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) deliveries: u64,
    /// Records in accepted deliveries.
    pub(crate) records: u64,
}

impl Total {
    fn add(&mut self, delivery: &Delivery) {
        self.deliveries += 1;
        if delivery.accepted() {
            self.records += delivery.records.unwrap_or(0);
        }
    }
}

#[derive(Debug, Default)]
struct Totals {
    all: Total,
    by_path: HashMap<String, Total>,
}

impl Totals {
    fn of(&self, path: Option<&str>) -> Total {
        match path {
            None => self.all,
            Some(path) => self.by_path.get(path).copied().unwrap_or_default(),
        }
    }
}

/// Which deliveries are asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) path: Option<String>,
    /// Only those that came later than this one, the earliest first; without it, the latest.
    pub(crate) since: Option<EntryId>,
    pub(crate) limit: usize,
}

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    /// Oldest first.
    pub(crate) entries: Vec<Arc<Entry<Delivery>>>,
    /// On that path since the last clear, listed or not.
    pub(crate) total: Total,
    /// Of those, how many are no longer kept.
    pub(crate) evicted: u64,
    /// Whether `entries` holds everything that was asked for.
    pub(crate) complete: bool,
}

impl Deliveries {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            journal: Journal::new(Limits {
                entries: config.deliveries,
                bytes: config.deliveries.saturating_mul(BYTES_PER_DELIVERY),
            }),
            bodies: Journal::new(config.bodies),
            body_kept: config.body_kept,
            totals: Arc::default(),
        }
    }

    /// Records a delivery and the bounded part of its body.
    pub(crate) fn record(&self, mut delivery: Delivery, body: &[u8]) -> EntryId {
        delivery.body = if body.is_empty() {
            Body::Absent
        } else if body.len() <= self.body_kept {
            Body::Whole(self.keep(body))
        } else {
            Body::Beginning(self.keep(&body[..self.body_kept]))
        };
        let mut totals = self.lock();
        totals.all.add(&delivery);
        if let Some(total) = totals.by_path.get_mut(&delivery.path) {
            total.add(&delivery);
        } else if totals.by_path.len() < MAX_PATHS {
            let mut total = Total::default();
            total.add(&delivery);
            totals.by_path.insert(delivery.path.clone(), total);
        }
        self.journal.append(delivery)
    }

    /// A copy: a slice of the request would keep the whole of its buffer alive.
    fn keep(&self, body: &[u8]) -> EntryId {
        self.bodies.append(KeptBody(Bytes::copy_from_slice(body)))
    }

    /// The delivery of this number.
    pub(crate) fn get(&self, id: EntryId) -> Option<Arc<Entry<Delivery>>> {
        self.journal.get(id)
    }

    /// The kept bytes of a body.
    pub(crate) fn body(&self, body: Body) -> Option<Bytes> {
        match body {
            Body::Absent => Some(Bytes::new()),
            Body::Whole(id) | Body::Beginning(id) => {
                self.bodies.get(id).map(|entry| entry.item.0.clone())
            }
        }
    }

    /// The deliveries asked for.
    pub(crate) fn list(&self, wanted: &Wanted) -> Listing {
        let (total, kept) = {
            let totals = self.lock();
            let kept = self.journal.filter(|entry| {
                wanted
                    .path
                    .as_deref()
                    .is_none_or(|path| entry.item.path == path)
            });
            (totals.of(wanted.path.as_deref()), kept)
        };
        let evicted = total.deliveries.saturating_sub(kept.entries.len() as u64);
        // Entries go oldest first, so one at or before `since` means that all after it are
        // still here.
        let gap = !kept.complete()
            && wanted
                .since
                .is_none_or(|since| kept.entries.first().is_none_or(|oldest| oldest.id > since));
        let mut entries = kept.entries;
        if let Some(since) = wanted.since {
            entries.retain(|entry| entry.id > since);
        }
        let cut = entries.len() > wanted.limit;
        if cut && wanted.since.is_some() {
            entries.truncate(wanted.limit);
        } else if cut {
            entries.drain(..entries.len() - wanted.limit);
        }
        Listing {
            entries,
            total,
            evicted,
            complete: !gap && !cut,
        }
    }

    /// The deliveries asked for, once there are `count` of them or at `until`. Cancel-safe.
    pub(crate) async fn wait(&self, wanted: &Wanted, count: u64, until: Instant) -> Listing {
        let enough = |_: &Journal<Delivery>| {
            let there = match wanted.since {
                None => self.lock().of(wanted.path.as_deref()).deliveries,
                Some(_) => self.list(wanted).entries.len() as u64,
            };
            (there >= count).then_some(())
        };
        // The answer is what there is, whether or not the wait was long enough.
        let _waited: Option<()> = self.journal.wait_for(until, enough).await;
        self.list(wanted)
    }

    /// Forgets everything, on request. Numbers go on.
    pub(crate) fn clear(&self) {
        let mut totals = self.lock();
        *totals = Totals::default();
        self.journal.clear();
        self.bodies.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Totals> {
        // Sums stay sums whoever panicked.
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;

    fn deliveries() -> Deliveries {
        Deliveries::new(&Config {
            poller: "http://localhost:5006".parse().unwrap(),
            body_limit: Config::DEFAULT_BODY_LIMIT,
            deliveries: 4,
            bodies: Limits {
                entries: 10,
                bytes: 10,
            },
            body_kept: 6,
            drain: Duration::from_secs(1),
        })
    }

    fn record(deliveries: &Deliveries, path: &str, status: u16, body: &[u8]) -> EntryId {
        let delivery = Delivery {
            received_at: Timestamp::now(),
            method: "POST".to_owned(),
            path: path.to_owned(),
            query: None,
            headers: BTreeMap::new(),
            status,
            size: Some(body.len() as u64),
            records: Some(2),
            problem: None,
            body: Body::Absent,
        };
        deliveries.record(delivery, body)
    }

    fn wanted(path: Option<&str>, since: Option<u64>, limit: usize) -> Wanted {
        Wanted {
            path: path.map(str::to_owned),
            since: since.map(|id| id.to_string().parse().unwrap()),
            limit,
        }
    }

    #[test]
    fn totals_outlive_what_is_kept() {
        let deliveries = deliveries();
        for (path, status) in [
            ("/a", 200),
            ("/a", 503),
            ("/b", 200),
            ("/a", 204),
            ("/a", 200),
        ] {
            record(&deliveries, path, status, b"");
        }
        // wanted -> ids, deliveries, records, evicted, complete
        let cases = [
            (wanted(None, None, 9), vec![2, 3, 4, 5], (5, 8), 1, false),
            (wanted(Some("/a"), None, 9), vec![2, 4, 5], (4, 6), 1, false),
            (wanted(Some("/a"), None, 2), vec![4, 5], (4, 6), 1, false),
            (wanted(Some("/a"), Some(2), 9), vec![4, 5], (4, 6), 1, true),
            (wanted(Some("/a"), Some(2), 1), vec![4], (4, 6), 1, false),
            (wanted(None, Some(0), 9), vec![2, 3, 4, 5], (5, 8), 1, false),
            (wanted(Some("/c"), None, 9), vec![], (0, 0), 0, false),
        ];
        for (wanted, ids, (count, records), evicted, complete) in cases {
            let listing = deliveries.list(&wanted);
            let listed: Vec<_> = listing.entries.iter().map(|e| e.id.get()).collect();
            assert_eq!(listed, ids, "{wanted:?}");
            let total = Total {
                deliveries: count,
                records,
            };
            assert_eq!(listing.total, total, "{wanted:?}");
            assert_eq!(listing.evicted, evicted, "{wanted:?}");
            assert_eq!(listing.complete, complete, "{wanted:?}");
        }
        deliveries.clear();
        let listing = deliveries.list(&wanted(None, None, 9));
        assert_eq!((listing.total, listing.evicted), (Total::default(), 0));
        assert!(listing.complete);
    }

    #[test]
    fn bodies_are_kept_in_bounds() {
        let deliveries = deliveries();
        let body_of = |id| {
            let body = deliveries.get(id).unwrap().item.body;
            (body, deliveries.body(body))
        };
        let first = record(&deliveries, "/a", 200, b"123456");
        assert!(matches!(body_of(first), (Body::Whole(_), Some(body)) if body == "123456"));
        let long = record(&deliveries, "/a", 200, b"1234567");
        assert!(matches!(body_of(long), (Body::Beginning(_), Some(body)) if body == "123456"));
        // Together they are too heavy: the first body went, the delivery stayed.
        assert!(matches!(body_of(first), (Body::Whole(_), None)));
        let none = record(&deliveries, "/a", 200, b"");
        assert!(matches!(body_of(none), (Body::Absent, Some(body)) if body.is_empty()));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_counts_what_was_evicted_too() {
        let deliveries = deliveries();
        let until = Instant::now() + Duration::from_secs(10);
        let everything = wanted(None, None, 9);
        let writer = async {
            for _ in 0..6 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                record(&deliveries, "/a", 200, b"");
            }
        };
        let (listing, ()) = tokio::join!(deliveries.wait(&everything, 6, until), writer);
        assert_eq!(listing.total.deliveries, 6);
        assert!(Instant::now() < until);

        let listing = deliveries.wait(&everything, 7, until).await;
        assert_eq!(listing.total.deliveries, 6);
        assert!(Instant::now() >= until);
    }
}
