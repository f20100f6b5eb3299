//! A record on disk: tables of rows in one redb file, written by one thread.
//!
//! The thread takes whatever waits and commits it together, so that many callers share an
//! fsync, and nobody is told that something is written before it is. A commit that a crash
//! cut short counts as not made.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Once;

use bytes::Bytes;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError,
    TableDefinition,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::Key;

/// Groups that wait for the writer, at most; then callers wait.
const WAITING: usize = 1_024;
/// Groups of one commit, at most.
const BATCH: usize = 512;
/// Pages that redb keeps in memory: what is read is in memory anyway.
const CACHE_BYTES: usize = 8 << 20;

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// A ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Its folder cannot be made.
    #[error("cannot create {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error(
        "another Longshore has {}: stop it, or give this one another state folder",
        .0.display()
    )]
    InUse(PathBuf),
    /// It cannot be read.
    #[error("cannot use {}: {reason}; mend that, or start with --ephemeral to keep nothing", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// A change was not written: what the disk says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it could not be written down: {0}")]
pub struct NotWritten(String);

impl NotWritten {
    /// Not written because it could not even be put in words.
    #[must_use]
    pub fn because(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }
}

/// One change of a ledger.
#[derive(Clone, Debug)]
pub enum Change {
    /// Writes a row, over what may have been there.
    Put {
        /// The table.
        table: &'static str,
        /// The row's key.
        key: Key,
        /// Its value.
        value: Bytes,
    },
    /// Removes all rows whose keys are in the range.
    Remove {
        /// The table.
        table: &'static str,
        /// From the first, up to but without the second.
        keys: Range<Key>,
    },
    /// Removes all rows.
    Clear {
        /// The table.
        table: &'static str,
    },
}

/// A handle; clones are the same ledger.
#[derive(Clone, Debug)]
pub struct Ledger {
    groups: mpsc::Sender<Group>,
}

/// What the file held when it was opened, by table.
#[derive(Debug, Default)]
pub struct Rows(BTreeMap<&'static str, Vec<(Key, Bytes)>>);

/// A ledger that was opened.
#[derive(Debug)]
pub struct Opened {
    /// Where changes go.
    pub ledger: Ledger,
    /// What was there.
    pub rows: Rows,
    /// The thread that writes.
    pub writing: Writing,
}

/// The thread that writes, until [`Writing::finish`].
#[derive(Debug)]
pub struct Writing {
    ledger: Ledger,
    thread: JoinHandle<()>,
}

/// Room for one group of changes. Once there is, handing them in takes no wait: it can be
/// done under the lock that orders the same changes in memory.
#[derive(Debug)]
pub struct Place<'a>(mpsc::Permit<'a, Group>);

/// Changes that were handed in.
#[derive(Debug)]
pub struct Written(oneshot::Receiver<Result<(), NotWritten>>);

/// Changes that are made all or none.
#[derive(Debug)]
struct Group {
    changes: Vec<Change>,
    done: oneshot::Sender<Result<(), NotWritten>>,
    /// Whether it is the last.
    closes: bool,
}

impl Rows {
    /// The rows of a table in the order of their keys; a second time there are none.
    pub fn take(&mut self, table: &'static str) -> Vec<(Key, Bytes)> {
        self.0.remove(table).unwrap_or_default()
    }
}

impl Ledger {
    /// Opens the ledger in this file, or makes one. A file that is damaged is set aside
    /// under another name, and said so.
    ///
    /// # Errors
    /// [`LedgerError`] if the file cannot be used.
    pub async fn open(file: &Path, tables: &'static [&'static str]) -> Result<Opened, LedgerError> {
        let file = file.to_owned();
        let opening = tokio::task::spawn_blocking(move || open(&file, tables));
        let (database, rows) = match opening.await {
            Ok(opened) => opened?,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let (groups, waiting) = mpsc::channel(WAITING);
        let thread = tokio::task::spawn_blocking(move || write(&database, waiting));
        let ledger = Self { groups };
        Ok(Opened {
            ledger: ledger.clone(),
            rows,
            writing: Writing { ledger, thread },
        })
    }

    /// Waits for room for one group of changes.
    ///
    /// # Errors
    /// [`NotWritten`] once the ledger is closed.
    pub async fn place(&self) -> Result<Place<'_>, NotWritten> {
        let permit = self.groups.reserve().await;
        permit.map(Place).map_err(|_| stopping())
    }
}

impl Place<'_> {
    /// Hands the changes in: they are made all or none, after those handed in before.
    #[must_use = "they are not on disk yet"]
    pub fn write(self, changes: Vec<Change>) -> Written {
        let (done, written) = oneshot::channel();
        self.0.send(Group {
            changes,
            done,
            closes: false,
        });
        Written(written)
    }
}

impl Written {
    /// Waits until the changes are on disk. They get there without being waited for, too.
    ///
    /// # Errors
    /// [`NotWritten`] if they do not.
    pub async fn on_disk(self) -> Result<(), NotWritten> {
        self.0.await.unwrap_or_else(|_| Err(stopping()))
    }
}

impl Writing {
    /// Writes what was handed in until now, and closes the file.
    pub async fn finish(self) {
        let (done, written) = oneshot::channel();
        let last = Group {
            changes: Vec::new(),
            done,
            closes: true,
        };
        if self.ledger.groups.send(last).await.is_ok() {
            // How the last commit went has been logged.
            written.await.ok();
        }
        drop(self.ledger);
        if let Err(error) = self.thread.await {
            tracing::error!(%error, "the thread that writes panicked");
        }
    }
}

fn stopping() -> NotWritten {
    NotWritten("the service is stopping".to_owned())
}

fn open(file: &Path, tables: &[&'static str]) -> Result<(Database, Rows), LedgerError> {
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|source| LedgerError::Folder {
        folder: folder.to_owned(),
        source,
    })?;
    match open_file(file, tables) {
        Err(Refusal::Damaged(reason)) => {
            let aside = file.with_extension("damaged");
            tracing::error!(file = %file.display(), aside = %aside.display(), %reason, "what was kept is damaged: set aside, and begun anew");
            std::fs::rename(file, &aside).map_err(|error| LedgerError::Unusable {
                file: file.to_owned(),
                reason: error.to_string(),
            })?;
            open_file(file, tables)
        }
        opened => opened,
    }
    .map_err(|refusal| match refusal {
        Refusal::InUse => LedgerError::InUse(file.to_owned()),
        Refusal::Damaged(reason) | Refusal::Other(reason) => LedgerError::Unusable {
            file: file.to_owned(),
            reason,
        },
    })
}

enum Refusal {
    InUse,
    Damaged(String),
    Other(String),
}

impl From<redb::Error> for Refusal {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen => Self::InUse,
            redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted => Self::Damaged(error.to_string()),
            other => Self::Other(other.to_string()),
        }
    }
}

fn open_file(file: &Path, tables: &[&'static str]) -> Result<(Database, Rows), Refusal> {
    let shown = file.display().to_string();
    let said = Once::new();
    let database = Builder::new()
        .set_cache_size(CACHE_BYTES)
        .set_repair_callback(move |_| {
            said.call_once(|| {
                tracing::warn!(file = %shown, "was not closed: what was being written then is dropped");
            });
        })
        .create(file)
        .map_err(|error| match error {
            // What is no database at all says so as an input error.
            DatabaseError::Storage(StorageError::Io(error))
                if error.kind() == std::io::ErrorKind::InvalidData =>
            {
                Refusal::Damaged(error.to_string())
            }
            other => redb::Error::from(other).into(),
        })?;
    let rows = read(&database, tables)?;
    Ok((database, rows))
}

fn read(database: &Database, tables: &[&'static str]) -> Result<Rows, redb::Error> {
    // Made here, so that a new file has them too.
    let making = database.begin_write()?;
    for table in tables {
        making.open_table(Definition::new(table))?;
    }
    making.commit()?;
    let reading = database.begin_read()?;
    let mut rows = Rows::default();
    for table in tables {
        let mut of_table = Vec::new();
        for row in reading.open_table(Definition::new(table))?.iter()? {
            let (key, value) = row?;
            let value = Bytes::copy_from_slice(value.value());
            of_table.push((Key::from_bytes(key.value()), value));
        }
        rows.0.insert(table, of_table);
    }
    Ok(rows)
}

/// Commits until the last group, or until nobody can hand one in. Blocks.
fn write(database: &Database, mut waiting: mpsc::Receiver<Group>) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        if waiting.blocking_recv_many(&mut batch, BATCH) == 0 {
            return;
        }
        let closes = batch.iter().any(|group| group.closes);
        let result = commit(database, &batch).map_err(|error| NotWritten(error.to_string()));
        if let Err(error) = &result {
            tracing::error!(%error, groups = batch.len(), "a commit failed");
        }
        for group in batch.drain(..) {
            // Who left meanwhile has nobody to tell.
            group.done.send(result.clone()).ok();
        }
        if closes {
            return;
        }
    }
}

fn commit(database: &Database, batch: &[Group]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut tables = BTreeMap::new();
        for change in batch.iter().flat_map(|group| &group.changes) {
            let (Change::Put { table: name, .. }
            | Change::Remove { table: name, .. }
            | Change::Clear { table: name }) = change;
            if !tables.contains_key(name) {
                tables.insert(*name, transaction.open_table(Definition::new(name))?);
            }
            let Some(table) = tables.get_mut(name) else {
                continue;
            };
            match change {
                Change::Put { key, value, .. } => {
                    table.insert(key.bytes(), &**value)?;
                }
                Change::Remove { keys, .. } => {
                    table.retain_in(keys.start.bytes()..keys.end.bytes(), |_, _| false)?;
                }
                Change::Clear { .. } => table.retain(|_, _| false)?,
            }
        }
    }
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = "rows";
    const OTHER: &str = "other";
    const TABLES: &[&str] = &[ROWS, OTHER];

    fn put(table: &'static str, key: u64, value: &'static str) -> Change {
        Change::Put {
            table,
            key: Key::numbers(&[key]),
            value: Bytes::from(value),
        }
    }

    async fn write(ledger: &Ledger, changes: Vec<Change>) -> Result<(), NotWritten> {
        ledger.place().await?.write(changes).on_disk().await
    }

    fn numbers(rows: &mut Rows, table: &'static str) -> Vec<u64> {
        let rows = rows.take(table).into_iter();
        rows.map(|(key, _)| key.number(0).unwrap()).collect()
    }

    #[tokio::test]
    async fn what_was_written_is_there_when_the_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("made/a.redb");
        let opened = Ledger::open(&file, TABLES).await.unwrap();
        let ledger = opened.ledger;
        write(&ledger, vec![put(ROWS, 1, "a"), put(OTHER, 9, "z")])
            .await
            .unwrap();
        write(&ledger, (2..300).map(|n| put(ROWS, n, "b")).collect())
            .await
            .unwrap();
        let keys = Key::numbers(&[0])..Key::numbers(&[298]);
        let remove = Change::Remove { table: ROWS, keys };
        write(&ledger, vec![remove, Change::Clear { table: OTHER }])
            .await
            .unwrap();
        assert!(matches!(
            Ledger::open(&file, TABLES).await,
            Err(LedgerError::InUse(_))
        ));
        // Handed in and not waited for: closing writes it.
        let unwaited = ledger.place().await.unwrap();
        drop(unwaited.write(vec![put(ROWS, 300, "c")]));
        opened.writing.finish().await;
        assert!(write(&ledger, vec![put(ROWS, 7, "late")]).await.is_err());

        let mut again = Ledger::open(&file, TABLES).await.unwrap();
        assert_eq!(numbers(&mut again.rows, ROWS), [298, 299, 300]);
        assert!(numbers(&mut again.rows, OTHER).is_empty());
        again.writing.finish().await;
    }

    #[tokio::test]
    async fn a_damaged_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.redb");
        std::fs::write(&file, vec![7; 8_192]).unwrap();
        let opened = Ledger::open(&file, TABLES).await.unwrap();
        write(&opened.ledger, vec![put(ROWS, 1, "a")])
            .await
            .unwrap();
        opened.writing.finish().await;
        let aside = std::fs::read(folder.path().join("a.damaged")).unwrap();
        assert_eq!(aside, vec![7; 8_192]);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let file = folder.path().join("file/a.redb");
        let error = Ledger::open(&file, TABLES).await.unwrap_err();
        assert!(matches!(error, LedgerError::Folder { .. }), "{error}");
    }
}
