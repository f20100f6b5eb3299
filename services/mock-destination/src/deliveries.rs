//! All deliveries: the journal of what arrived, the bodies that are still kept, and the
//! running totals that outlive both. The one owner of this state; clones are handles.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use journal::{Entry, EntryId, Journal, LedgerError, Limits, NotWritten, Place, Writing, Written};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::Config;
use crate::delivery::{Body, Delivery, KeptBody};
use crate::kept::{After, Kept, Row, cleared};

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
    /// The same on disk, if it is to outlive the process.
    kept: Option<Kept>,
}

/// What arrived since the last clear, kept or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
pub(crate) struct Totals {
    pub(crate) all: Total,
    pub(crate) by_path: HashMap<String, Total>,
}

impl Totals {
    fn add(&mut self, delivery: &Delivery) {
        self.all.add(delivery);
        if let Some(total) = self.by_path.get_mut(&delivery.path) {
            total.add(delivery);
        } else if self.by_path.len() < MAX_PATHS {
            let mut total = Total::default();
            total.add(delivery);
            self.by_path.insert(delivery.path.clone(), total);
        }
    }

    pub(crate) fn of(&self, path: Option<&str>) -> Total {
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
    /// None yet, and none that outlive the process.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            journal: Journal::new(Self::limits(config)),
            bodies: Journal::new(config.bodies),
            body_kept: config.body_kept,
            totals: Arc::default(),
            kept: None,
        }
    }

    /// Those that are in the state folder, if there is one, and the thread that writes
    /// there.
    pub(crate) async fn open(config: &Config) -> Result<(Self, Option<Writing>), LedgerError> {
        let Some(folder) = &config.state_dir else {
            return Ok((Self::new(config), None));
        };
        let restored = match Kept::open(folder, Self::limits(config), config.bodies).await {
            Ok(restored) => restored,
            Err(LedgerError::InUse(file)) => {
                tracing::warn!(file = %file.display(), "another Longshore keeps its deliveries there: those of this one end with it");
                return Ok((Self::new(config), None));
            }
            Err(error) => return Err(error),
        };
        let deliveries = Self {
            journal: restored.deliveries,
            bodies: restored.bodies,
            body_kept: config.body_kept,
            totals: Arc::new(Mutex::new(restored.totals)),
            kept: Some(restored.kept),
        };
        Ok((deliveries, Some(restored.writing)))
    }

    fn limits(config: &Config) -> Limits {
        Limits {
            entries: config.deliveries,
            bytes: config.deliveries.saturating_mul(BYTES_PER_DELIVERY),
        }
    }

    /// Records a delivery and the bounded part of its body. Once this returns, both outlive
    /// the process, if they are to.
    pub(crate) async fn record(
        &self,
        delivery: Delivery,
        body: &[u8],
    ) -> Result<EntryId, NotWritten> {
        let Some(kept) = &self.kept else {
            return Ok(self.take(delivery, body, None)?.0);
        };
        let place = kept.place().await?;
        let (id, written) = self.take(delivery, body, Some(place))?;
        if let Some(written) = written {
            written.on_disk().await?;
        }
        Ok(id)
    }

    fn take(
        &self,
        mut delivery: Delivery,
        body: &[u8],
        place: Option<Place<'_>>,
    ) -> Result<(EntryId, Option<Written>), NotWritten> {
        let whole = body.len() <= self.body_kept;
        // A copy: a slice of the request would keep the whole of its buffer alive.
        let body = Bytes::copy_from_slice(&body[..body.len().min(self.body_kept)]);
        let mut totals = self.lock();
        if !body.is_empty() {
            let id = self.bodies.append(KeptBody(body.clone()));
            delivery.body = if whole {
                Body::Whole(id)
            } else {
                Body::Beginning(id)
            };
        }
        totals.add(&delivery);
        let Some(place) = place else {
            return Ok((self.journal.append(delivery), None));
        };
        let (row, path) = (Row::new(&delivery, body)?, delivery.path.clone());
        let id = self.journal.append(delivery);
        let changes = row.changes(&After {
            id,
            path: &path,
            totals: &totals,
            oldest: self.journal.oldest(),
            oldest_body: self.bodies.oldest(),
        })?;
        // Under the lock, so that the disk sees changes in the order of memory.
        Ok((id, Some(place.write(changes))))
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
    pub(crate) async fn clear(&self) -> Result<(), NotWritten> {
        let place = match &self.kept {
            Some(kept) => Some(kept.place().await?),
            None => None,
        };
        let written = {
            let mut totals = self.lock();
            *totals = Totals::default();
            self.journal.clear();
            self.bodies.clear();
            let last = (self.journal.newest(), self.bodies.newest());
            place
                .map(|place| cleared(last.0, last.1).map(|changes| place.write(changes)))
                .transpose()?
        };
        match written {
            Some(written) => written.on_disk().await,
            None => Ok(()),
        }
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
        Deliveries::new(&config())
    }

    fn config() -> Config {
        Config {
            poller: "http://localhost:5006".parse().unwrap(),
            body_limit: Config::DEFAULT_BODY_LIMIT,
            deliveries: 4,
            bodies: Limits {
                entries: 10,
                bytes: 10,
            },
            body_kept: 6,
            state_dir: None,
            drain: Duration::from_secs(1),
        }
    }

    async fn record(deliveries: &Deliveries, path: &str, status: u16, body: &[u8]) -> EntryId {
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
        deliveries.record(delivery, body).await.unwrap()
    }

    fn wanted(path: Option<&str>, since: Option<u64>, limit: usize) -> Wanted {
        Wanted {
            path: path.map(str::to_owned),
            since: since.map(|id| id.to_string().parse().unwrap()),
            limit,
        }
    }

    #[tokio::test]
    async fn totals_outlive_what_is_kept() {
        let deliveries = deliveries();
        for (path, status) in [
            ("/a", 200),
            ("/a", 503),
            ("/b", 200),
            ("/a", 204),
            ("/a", 200),
        ] {
            record(&deliveries, path, status, b"").await;
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
        deliveries.clear().await.unwrap();
        let listing = deliveries.list(&wanted(None, None, 9));
        assert_eq!((listing.total, listing.evicted), (Total::default(), 0));
        assert!(listing.complete);
    }

    #[tokio::test]
    async fn bodies_are_kept_in_bounds() {
        let deliveries = deliveries();
        let body_of = |id| {
            let body = deliveries.get(id).unwrap().item.body;
            (body, deliveries.body(body))
        };
        let first = record(&deliveries, "/a", 200, b"123456").await;
        assert!(matches!(body_of(first), (Body::Whole(_), Some(body)) if body == "123456"));
        let long = record(&deliveries, "/a", 200, b"1234567").await;
        assert!(matches!(body_of(long), (Body::Beginning(_), Some(body)) if body == "123456"));
        // Together they are too heavy: the first body went, the delivery stayed.
        assert!(matches!(body_of(first), (Body::Whole(_), None)));
        let none = record(&deliveries, "/a", 200, b"").await;
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
                record(&deliveries, "/a", 200, b"").await;
            }
        };
        let (listing, ()) = tokio::join!(deliveries.wait(&everything, 6, until), writer);
        assert_eq!(listing.total.deliveries, 6);
        assert!(Instant::now() < until);

        let listing = deliveries.wait(&everything, 7, until).await;
        assert_eq!(listing.total.deliveries, 6);
        assert!(Instant::now() >= until);
    }

    async fn reopened(
        config: &Config,
        before: (Deliveries, Option<Writing>),
    ) -> (Deliveries, Option<Writing>) {
        before.1.unwrap().finish().await;
        Deliveries::open(config).await.unwrap()
    }

    #[tokio::test]
    async fn what_was_recorded_is_there_after_a_start() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            state_dir: Some(folder.path().to_owned()),
            ..config()
        };
        let (deliveries, writing) = Deliveries::open(&config).await.unwrap();
        for (path, body) in [
            ("/a", "1"),
            ("/b", "22"),
            ("/a", "333"),
            ("/a", "4444"),
            ("/a", "longer than is kept"),
        ] {
            record(&deliveries, path, 200, body.as_bytes()).await;
        }
        let seen = |deliveries: &Deliveries| {
            let listing = deliveries.list(&wanted(None, None, 9));
            let entries = listing.entries.iter();
            let entries: Vec<_> = entries
                .map(|entry| {
                    let text = serde_json::to_string(&entry.item).unwrap();
                    (entry.id.get(), text, deliveries.body(entry.item.body))
                })
                .collect();
            let of_b = deliveries.list(&wanted(Some("/b"), None, 9)).total;
            (
                entries,
                listing.total,
                listing.evicted,
                listing.complete,
                of_b,
            )
        };
        let before = seen(&deliveries);
        assert_eq!((before.0.len(), before.2), (4, 1));

        let (deliveries, writing) = reopened(&config, (deliveries, writing)).await;
        assert_eq!(seen(&deliveries), before);
        assert_eq!(record(&deliveries, "/b", 200, b"6").await.get(), 6);
        let after = seen(&deliveries);
        assert_eq!(after.1.deliveries, 6);

        // Nobody else gets the same folder; what is delivered to him ends with him.
        let (other, none) = Deliveries::open(&config).await.unwrap();
        assert!(none.is_none() && other.list(&wanted(None, None, 9)).entries.is_empty());

        let (deliveries, writing) = reopened(&config, (deliveries, writing)).await;
        assert_eq!(seen(&deliveries), after);
        deliveries.clear().await.unwrap();
        let (deliveries, writing) = reopened(&config, (deliveries, writing)).await;
        assert!(deliveries.list(&wanted(None, None, 9)).complete);
        assert_eq!(record(&deliveries, "/a", 200, b"7").await.get(), 7);
        writing.unwrap().finish().await;
    }
}
