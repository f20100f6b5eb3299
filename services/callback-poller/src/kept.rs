//! Jobs on disk, so that a poller that was killed has them when it starts again.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use journal::{
    Change, Entry, EntryId, Key, Ledger, LedgerError, NotWritten, Place, Weigh, Writing,
};
use pipeline_contract::WebhookId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Config;
use crate::job::{Job, Outline};
use crate::jobs::{Known, Numbered};

/// Number of a job -> its id and what it is beside its records.
const JOBS: &str = "jobs";
/// Number of a job, number of a report -> the report.
const REPORTS: &str = "reports";
/// The same for reports that were refused.
const REJECTED: &str = "rejected";
/// How many jobs were let go of.
const EVICTED: &str = "evicted";
const TABLES: &[&str] = &[JOBS, REPORTS, REJECTED, EVICTED];

/// A handle on what is on disk.
#[derive(Clone, Debug)]
pub(crate) struct Kept(Ledger);

/// Where a job's records stood before a change.
pub(crate) struct Marks {
    report: EntryId,
    rejected: EntryId,
}

impl Marks {
    pub(crate) fn of(job: &Job) -> Self {
        Self {
            report: job.reports.newest(),
            rejected: job.rejected.newest(),
        }
    }
}

impl Kept {
    /// What is there, and the jobs of it.
    pub(crate) async fn open(
        folder: &Path,
        config: &Config,
    ) -> Result<(Self, Known, Writing), LedgerError> {
        let mut opened = Ledger::open(&folder.join("jobs.redb"), TABLES).await?;
        let evicted = opened.rows.take(EVICTED).pop();
        let mut known = Known {
            evicted: evicted
                .and_then(|(_, value)| read(&value))
                .unwrap_or_default(),
            ..Known::default()
        };
        let jobs = opened.rows.take(JOBS);
        let mut reports = opened.rows.take(REPORTS).into_iter().peekable();
        let mut rejected = opened.rows.take(REJECTED).into_iter().peekable();
        for (key, value) in jobs {
            let Some(number) = key.number(0) else {
                continue;
            };
            let reports = of_job(&mut reports, number);
            let rejected = of_job(&mut rejected, number);
            known.last = number;
            let Some((id, outline)) = read::<(WebhookId, Outline)>(&value) else {
                continue;
            };
            let (patience, max_reports) = (config.patience(), config.max_reports_per_job);
            let job = Job::restored(&outline, reports, rejected, patience, max_reports);
            known.order.push_back(id.clone());
            known.by_id.insert(id, Numbered { number, job });
        }
        if !known.order.is_empty() {
            tracing::info!(jobs = known.order.len(), "the jobs of before are here");
        }
        Ok((Self(opened.ledger), known, opened.writing))
    }

    pub(crate) async fn place(&self) -> Result<Place<'_>, NotWritten> {
        self.0.place().await
    }
}

/// What to write of a job that has changed, and of those that had to go for it.
pub(crate) fn changed(
    id: &WebhookId,
    numbered: &Numbered,
    before: &Marks,
    gone: &[u64],
) -> Result<Vec<Change>, NotWritten> {
    let Numbered { number, job } = numbered;
    let mut changes: Vec<_> = gone.iter().flat_map(|number| without(*number)).collect();
    changes.push(put(JOBS, Key::numbers(&[*number]), &(id, job.outline()))?);
    let newest = job.reports.newest();
    if newest > before.report {
        changes.extend(record(REPORTS, *number, newest, &job.reports)?);
    }
    let newest = job.rejected.newest();
    if newest > before.rejected {
        changes.extend(record(REJECTED, *number, newest, &job.rejected)?);
    }
    Ok(changes)
}

/// The newest entry, and what the record has let go of for it.
fn record<T: Weigh + Serialize>(
    table: &'static str,
    number: u64,
    newest: EntryId,
    record: &journal::Journal<T>,
) -> Result<Vec<Change>, NotWritten> {
    let mut changes = Vec::with_capacity(2);
    // One that is larger than all that is kept is gone already.
    if let Some(entry) = record.get(newest) {
        let key = Key::numbers(&[number, newest.get()]);
        changes.push(put(table, key, &entry.item)?);
    }
    let oldest = Key::numbers(&[number, record.oldest().get()]);
    changes.push(Change::Remove {
        table,
        keys: Key::numbers(&[number])..oldest,
    });
    Ok(changes)
}

/// What to write so that this job is gone.
pub(crate) fn without(number: u64) -> [Change; 3] {
    let keys: Range<Key> = Key::numbers(&[number])..Key::numbers(&[number + 1]);
    [JOBS, REPORTS, REJECTED].map(|table| Change::Remove {
        table,
        keys: keys.clone(),
    })
}

/// What to write so that all jobs are gone.
pub(crate) fn cleared() -> Vec<Change> {
    TABLES.iter().map(|table| Change::Clear { table }).collect()
}

/// What to write so that it is known how many were let go of.
pub(crate) fn evicted(jobs: u64) -> Change {
    Change::Put {
        table: EVICTED,
        key: Key::text("jobs"),
        value: jobs.to_string().into(),
    }
}

fn put(table: &'static str, key: Key, value: &impl Serialize) -> Result<Change, NotWritten> {
    let value = serde_json::to_vec(value).map_err(NotWritten::because)?;
    Ok(Change::Put {
        table,
        key,
        value: value.into(),
    })
}

fn read<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value)
        .inspect_err(|error| {
            tracing::error!(%error, "another version of Longshore wrote this; it is left out");
        })
        .ok()
}

/// The rows of this job, off the front of rows that are in order.
fn of_job<T: DeserializeOwned>(
    rows: &mut std::iter::Peekable<impl Iterator<Item = (Key, Bytes)>>,
    number: u64,
) -> Vec<Entry<T>> {
    let mut entries = Vec::new();
    while let Some((key, value)) = rows.next_if(|(key, _)| key.number(0) <= Some(number)) {
        if let (Some(of), Some(id)) = (key.number(0), key.number(1))
            && of == number
            && let Some(item) = read(&value)
        {
            entries.push(Entry {
                id: id.into(),
                item,
            });
        }
    }
    entries
}
