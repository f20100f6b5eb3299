//! Where accepted events and what was set for functions are written down, in one redb file.
//!
//! One thread writes. It takes whatever waits and commits it together, so that a thousand
//! callers share an fsync, and nobody is answered before his part is on disk. What is
//! stored is also listed in memory, without its bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use super::entry::{Entry, Sequence};

const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
const PAYLOADS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("payloads");
const SETTINGS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("settings");

/// Changes that wait for the writer, at most; then callers wait.
const WAITING: usize = 4_096;
/// Changes of one commit, at most.
const BATCH: usize = 1_024;

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
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
        "another Longshore keeps its events in {}: stop it, or give this one another state folder",
        .0.display()
    )]
    InUse(PathBuf),
    /// It cannot be read.
    #[error("cannot read the events in {}: {reason}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// A change was not written down: what the disk or the store says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event could not be written down: {0}")]
pub(crate) struct NotWritten(pub(crate) String);

/// What the file held when it was opened.
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) writer: Writer,
    pub(crate) settings: BTreeMap<String, Vec<u8>>,
}

/// A handle; clones are the same store.
#[derive(Clone)]
pub(crate) struct Store {
    database: Arc<Database>,
    changes: mpsc::Sender<Change>,
    index: Arc<Mutex<BTreeMap<Sequence, Entry>>>,
    last: Arc<AtomicU64>,
}

/// The one thread that writes: [`Writer::run`] on a thread that may block.
pub(crate) struct Writer {
    database: Arc<Database>,
    changes: mpsc::Receiver<Change>,
}

enum What {
    Put(Sequence, Entry, Bytes),
    Update(Sequence, Entry),
    Remove(Sequence),
    Set(String, Option<Vec<u8>>),
    Close,
}

struct Change {
    what: Vec<What>,
    done: Option<oneshot::Sender<Result<(), NotWritten>>>,
}

impl Store {
    /// Opens the store in this folder, and repairs it if it was not closed.
    pub(crate) fn open(folder: &Path) -> Result<Opened, StoreError> {
        std::fs::create_dir_all(folder).map_err(|source| StoreError::Folder {
            folder: folder.to_owned(),
            source,
        })?;
        let file = folder.join("events.redb");
        let unreadable = |reason: String| StoreError::Unreadable {
            file: file.clone(),
            reason,
        };
        let database = Database::create(&file).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(folder.to_owned()),
            other => unreadable(other.to_string()),
        })?;
        let (entries, settings) =
            read_all(&database).map_err(|error| unreadable(error.to_string()))?;
        let last = entries.keys().next_back().copied().unwrap_or_default();
        let database = Arc::new(database);
        let (sender, receiver) = mpsc::channel(WAITING);
        Ok(Opened {
            store: Self {
                database: database.clone(),
                changes: sender,
                index: Arc::new(Mutex::new(entries)),
                last: Arc::new(AtomicU64::new(last)),
            },
            writer: Writer {
                database,
                changes: receiver,
            },
            settings,
        })
    }

    /// Writes an entry down; once this returns, it outlives the process.
    pub(crate) async fn put(&self, entry: Entry, bytes: Bytes) -> Result<Sequence, NotWritten> {
        let sequence = self.next_sequence();
        self.write(vec![What::Put(sequence, entry.clone(), bytes)])
            .await?;
        self.lock().insert(sequence, entry);
        Ok(sequence)
    }

    /// Writes what has become of an entry. Not waited for: were it lost, the entry would
    /// be tried once more.
    pub(crate) async fn update(&self, sequence: Sequence, entry: Entry) {
        self.lock().insert(sequence, entry.clone());
        self.send(vec![What::Update(sequence, entry)], None).await;
    }

    /// Replaces an entry that is done by what follows from it, in one step.
    pub(crate) async fn replace(
        &self,
        sequence: Sequence,
        follow: Vec<(Entry, Bytes)>,
    ) -> Result<Vec<Sequence>, NotWritten> {
        let mut what = vec![What::Remove(sequence)];
        let mut fresh = Vec::with_capacity(follow.len());
        for (entry, bytes) in follow {
            let next = self.next_sequence();
            fresh.push((next, entry.clone()));
            what.push(What::Put(next, entry, bytes));
        }
        if fresh.is_empty() {
            // Were this lost, the event would come once more: at least once is what is
            // promised.
            self.send(what, None).await;
            self.lock().remove(&sequence);
            return Ok(Vec::new());
        }
        self.write(what).await?;
        let mut index = self.lock();
        index.remove(&sequence);
        let sequences = fresh.iter().map(|(sequence, _)| *sequence).collect();
        index.extend(fresh);
        Ok(sequences)
    }

    /// Writes, or with `None` forgets, what is set for a function.
    pub(crate) async fn set(
        &self,
        function: &str,
        value: Option<Vec<u8>>,
    ) -> Result<(), NotWritten> {
        self.write(vec![What::Set(function.to_owned(), value)])
            .await
    }

    /// The bytes of an entry; none if it is gone.
    pub(crate) async fn bytes(&self, sequence: Sequence) -> Result<Option<Bytes>, NotWritten> {
        let database = self.database.clone();
        let read = move || -> Result<Option<Bytes>, redb::Error> {
            let table = database.begin_read()?.open_table(PAYLOADS)?;
            let found = table.get(sequence)?;
            Ok(found.map(|bytes| Bytes::copy_from_slice(bytes.value())))
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(NotWritten(error.to_string())),
            Err(error) => Err(NotWritten(error.to_string())),
        }
    }

    /// An entry; none if it is gone.
    pub(crate) fn entry(&self, sequence: Sequence) -> Option<Entry> {
        self.lock().get(&sequence).cloned()
    }

    /// All of them, oldest first.
    pub(crate) fn entries(&self) -> Vec<(Sequence, Entry)> {
        let index = self.lock();
        index.iter().map(|(n, entry)| (*n, entry.clone())).collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Ends the writer once everything before this is written.
    pub(crate) async fn close(&self) {
        if self.write(vec![What::Close]).await.is_err() {
            tracing::debug!("the writer of events had ended already");
        }
    }

    fn next_sequence(&self) -> Sequence {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    async fn write(&self, what: Vec<What>) -> Result<(), NotWritten> {
        let (done, written) = oneshot::channel();
        self.send(what, Some(done)).await;
        written
            .await
            .unwrap_or_else(|_| Err(NotWritten("the gateway is stopping".to_owned())))
    }

    async fn send(&self, what: Vec<What>, done: Option<oneshot::Sender<Result<(), NotWritten>>>) {
        if self.changes.send(Change { what, done }).await.is_err() {
            tracing::warn!("a change of the events came too late to be written");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Sequence, Entry>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Writes until the store is closed. Blocks.
    pub(crate) fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            if self.changes.blocking_recv_many(&mut batch, BATCH) == 0 {
                return;
            }
            let closing = batch
                .iter()
                .any(|change| change.what.iter().any(|what| matches!(what, What::Close)));
            let result = self
                .commit(&batch)
                .map_err(|error| NotWritten(error.to_string()));
            if let Err(error) = &result {
                tracing::error!(%error, changes = batch.len(), "events were not written");
            }
            for done in batch.drain(..).filter_map(|change| change.done) {
                if done.send(result.clone()).is_err() {
                    tracing::debug!("a caller left before his event was written");
                }
            }
            if closing {
                return;
            }
        }
    }

    fn commit(&self, batch: &[Change]) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut entries = transaction.open_table(ENTRIES)?;
            let mut payloads = transaction.open_table(PAYLOADS)?;
            let mut settings = transaction.open_table(SETTINGS)?;
            for what in batch.iter().flat_map(|change| &change.what) {
                match what {
                    What::Put(sequence, entry, bytes) => {
                        entries.insert(sequence, json(entry)?.as_slice())?;
                        payloads.insert(sequence, &**bytes)?;
                    }
                    What::Update(sequence, entry) => {
                        entries.insert(sequence, json(entry)?.as_slice())?;
                    }
                    What::Remove(sequence) => {
                        entries.remove(sequence)?;
                        payloads.remove(sequence)?;
                    }
                    What::Set(function, Some(value)) => {
                        settings.insert(function.as_str(), value.as_slice())?;
                    }
                    What::Set(function, None) => {
                        settings.remove(function.as_str())?;
                    }
                    What::Close => {}
                }
            }
        }
        Ok(transaction.commit()?)
    }
}

fn json(entry: &Entry) -> Result<Vec<u8>, redb::Error> {
    serde_json::to_vec(entry).map_err(|error| redb::Error::Io(error.into()))
}

type Everything = (BTreeMap<Sequence, Entry>, BTreeMap<String, Vec<u8>>);

fn read_all(database: &Database) -> Result<Everything, redb::Error> {
    // The tables are made by the first writer; a file without them is a new one.
    let transaction = database.begin_write()?;
    transaction.open_table(ENTRIES)?;
    transaction.open_table(PAYLOADS)?;
    transaction.open_table(SETTINGS)?;
    transaction.commit()?;

    let transaction = database.begin_read()?;
    let mut entries = BTreeMap::new();
    for row in transaction.open_table(ENTRIES)?.iter()? {
        let (sequence, entry) = row?;
        match serde_json::from_slice(entry.value()) {
            Ok(entry) => drop(entries.insert(sequence.value(), entry)),
            Err(error) => tracing::error!(
                sequence = sequence.value(),
                %error,
                "an event was stored by another version of Longshore; it is left alone"
            ),
        }
    }
    let mut settings = BTreeMap::new();
    for row in transaction.open_table(SETTINGS)?.iter()? {
        let (function, value) = row?;
        settings.insert(function.value().to_owned(), value.value().to_vec());
    }
    Ok((entries, settings))
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Event, Task};
    use super::*;

    fn entry(n: usize) -> Entry {
        Entry::now(Task::Invoke(Event {
            request_id: format!("{n}"),
            function: "demo".to_owned(),
            trace_id: String::new(),
            qualified: false,
            tenant: None,
            client_context: None,
            faults: Vec::new(),
        }))
    }

    #[tokio::test]
    async fn what_was_written_is_there_when_the_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let Opened { store, writer, .. } = Store::open(folder.path()).unwrap();
        let writing = tokio::task::spawn_blocking(|| writer.run());
        let first = store.put(entry(1), Bytes::from("one")).await.unwrap();
        let second = store.put(entry(2), Bytes::from("two")).await.unwrap();
        let follow = vec![(entry(3), Bytes::from("three"))];
        let followed = store.replace(first, follow).await.unwrap();
        store.set("demo", Some(b"{}".to_vec())).await.unwrap();
        assert!(matches!(
            Store::open(folder.path()),
            Err(StoreError::InUse(_))
        ));
        store.close().await;
        writing.await.unwrap();
        drop(store);

        let Opened {
            store, settings, ..
        } = Store::open(folder.path()).unwrap();
        let left: Vec<_> = store.entries().into_iter().map(|(n, _)| n).collect();
        assert_eq!(left, [second, followed[0]]);
        assert_eq!(
            store.bytes(second).await.unwrap().as_deref(),
            Some(&b"two"[..])
        );
        assert_eq!(store.bytes(first).await.unwrap(), None);
        assert_eq!(settings["demo"], b"{}");
        assert_eq!(store.next_sequence(), followed[0] + 1, "numbers go on");
    }
}
