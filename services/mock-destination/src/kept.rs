//! Deliveries on disk, so that a destination that was killed has them when it starts again.

use std::path::Path;

use bytes::Bytes;
use journal::{
    Change, Entry, EntryId, Journal, Key, Ledger, LedgerError, Limits, NotWritten, Place, Writing,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::deliveries::{Total, Totals};
use crate::delivery::{Body, Delivery, KeptBody};

/// Number of a delivery -> what is said about it, and where its body is.
const DELIVERIES: &str = "deliveries";
/// Number of a body -> its bytes.
const BODIES: &str = "bodies";
/// Path -> its total; the empty path is all of them.
const TOTALS: &str = "totals";
/// What numbers go on from where no row says so.
const NUMBERS: &str = "numbers";
const TABLES: &[&str] = &[DELIVERIES, BODIES, TOTALS, NUMBERS];
const ALL: &str = "";

/// A handle on what is on disk.
#[derive(Clone, Debug)]
pub(crate) struct Kept(Ledger);

/// What was there.
pub(crate) struct Restored {
    pub(crate) kept: Kept,
    pub(crate) deliveries: Journal<Delivery>,
    pub(crate) bodies: Journal<KeptBody>,
    pub(crate) totals: Totals,
    pub(crate) writing: Writing,
}

/// A delivery as it goes to disk, before it has its number.
pub(crate) struct Row {
    text: Bytes,
    body: Option<(EntryId, Bytes)>,
}

/// The rest of what a delivery changes: what is kept in memory after it.
pub(crate) struct After<'a> {
    pub(crate) id: EntryId,
    pub(crate) path: &'a str,
    pub(crate) totals: &'a Totals,
    pub(crate) oldest: EntryId,
    pub(crate) oldest_body: EntryId,
}

impl Kept {
    pub(crate) async fn open(
        folder: &Path,
        limits: Limits,
        bodies: Limits,
    ) -> Result<Restored, LedgerError> {
        let mut opened = Ledger::open(&folder.join("deliveries.redb"), TABLES).await?;
        let mut totals = Totals::default();
        for (path, value) in opened.rows.take(TOTALS) {
            let (Some(path), Some(total)) = (path.as_text(), read::<Total>(&value)) else {
                continue;
            };
            if path == ALL {
                totals.all = total;
            } else {
                totals.by_path.insert(path.to_owned(), total);
            }
        }
        let numbers = opened.rows.take(NUMBERS).pop();
        let numbers = numbers.and_then(|(_, value)| read::<(EntryId, EntryId)>(&value));
        let (last, last_body) = numbers.unwrap_or((EntryId::START, EntryId::START));
        let rows = opened.rows.take(DELIVERIES);
        let entries: Vec<_> = numbered(&rows, |value| {
            let (delivery, body) = read::<(Delivery, Body)>(value)?;
            Some(Delivery { body, ..delivery })
        });
        let evicted = totals.all.deliveries.saturating_sub(entries.len() as u64);
        if totals.all.deliveries > 0 {
            tracing::info!(
                deliveries = totals.all.deliveries,
                kept = entries.len(),
                "the deliveries of before are here"
            );
        }
        let rows = opened.rows.take(BODIES);
        let kept_bodies = numbered(&rows, |value| Some(KeptBody(value.clone())));
        Ok(Restored {
            kept: Self(opened.ledger),
            deliveries: Journal::restored(limits, entries, last, evicted),
            bodies: Journal::restored(bodies, kept_bodies, last_body, 0),
            totals,
            writing: opened.writing,
        })
    }

    pub(crate) async fn place(&self) -> Result<Place<'_>, NotWritten> {
        self.0.place().await
    }
}

impl Row {
    pub(crate) fn new(delivery: &Delivery, body: Bytes) -> Result<Self, NotWritten> {
        let id = match delivery.body {
            Body::Absent => None,
            Body::Whole(id) | Body::Beginning(id) => Some(id),
        };
        Ok(Self {
            text: text(&(delivery, delivery.body))?,
            body: id.map(|id| (id, body)),
        })
    }

    /// What to write, and what memory has let go of.
    pub(crate) fn changes(self, after: &After<'_>) -> Result<Vec<Change>, NotWritten> {
        let put = |table, key, value| Change::Put { table, key, value };
        let before = |table, id: EntryId| Change::Remove {
            table,
            keys: Key::numbers(&[0])..number(id),
        };
        let total = |path: &str| {
            let total = after.totals.of(Some(path).filter(|path| *path != ALL));
            Ok(put(TOTALS, Key::text(path), text(&total)?))
        };
        let mut changes = vec![
            put(DELIVERIES, number(after.id), self.text),
            before(DELIVERIES, after.oldest),
            total(ALL)?,
        ];
        if after.totals.by_path.contains_key(after.path) {
            changes.push(total(after.path)?);
        }
        if let Some((id, bytes)) = self.body {
            changes.push(put(BODIES, number(id), bytes));
            changes.push(before(BODIES, after.oldest_body));
        }
        Ok(changes)
    }
}

/// What to write when everything was forgotten: the numbers go on.
pub(crate) fn cleared(last: EntryId, last_body: EntryId) -> Result<Vec<Change>, NotWritten> {
    let mut changes: Vec<_> = [DELIVERIES, BODIES, TOTALS]
        .map(|table| Change::Clear { table })
        .into();
    changes.push(Change::Put {
        table: NUMBERS,
        key: Key::text("last"),
        value: text(&(last, last_body))?,
    });
    Ok(changes)
}

fn number(id: EntryId) -> Key {
    Key::numbers(&[id.get()])
}

fn text(value: &impl Serialize) -> Result<Bytes, NotWritten> {
    let text = serde_json::to_vec(value).map_err(NotWritten::because)?;
    Ok(text.into())
}

fn read<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value)
        .inspect_err(|error| {
            tracing::error!(%error, "another version of Longshore wrote this; it is left out");
        })
        .ok()
}

fn numbered<T>(rows: &[(Key, Bytes)], read: impl Fn(&Bytes) -> Option<T>) -> Vec<Entry<T>> {
    let entry = |(key, value): &(Key, Bytes)| {
        Some(Entry {
            id: key.number(0)?.into(),
            item: read(value)?,
        })
    };
    rows.iter().filter_map(entry).collect()
}
