//! What functions print and what the platform says of them: bounded in memory, bounded on
//! disk, for whoever asks, follows or reads it as CloudWatch Logs.

mod blocks;
mod files;
mod line;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use app_model::FunctionName;
use journal::EntryId;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use blocks::Snapshot;
use blocks::{Blocks, Bounds};
pub(crate) use line::{LogLine, Numbered, Origin};

/// What is kept of one function's lines in memory.
const BOUNDS: Bounds = Bounds {
    lines: 20_000,
    bytes: 8 * 1024 * 1024,
};

/// The logs of all functions; clones are handles.
#[derive(Clone)]
pub(crate) struct Logs {
    shared: Arc<Shared>,
}

struct Shared {
    groups: RwLock<BTreeMap<FunctionName, FunctionLog>>,
    /// There is something to write down.
    fresh: Notify,
    /// Whoever follows is let go.
    closing: CancellationToken,
    /// What is there is written down, and nothing after it.
    finished: CancellationToken,
}

/// One function's log; clones are handles.
#[derive(Clone)]
pub(crate) struct FunctionLog {
    own: Arc<Own>,
    shared: Arc<Shared>,
}

struct Own {
    /// A plain mutex: held for a copy of a line or of one block, never over an await.
    blocks: Mutex<Blocks>,
    /// Whoever follows is told of more.
    more: Notify,
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").finish_non_exhaustive()
    }
}

impl fmt::Debug for FunctionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionLog").finish_non_exhaustive()
    }
}

impl Logs {
    /// Empty, and in memory only until [`keep`](Self::keep).
    pub(crate) fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                groups: RwLock::default(),
                fresh: Notify::new(),
                closing: CancellationToken::new(),
                finished: CancellationToken::new(),
            }),
        }
    }

    /// Reads what an earlier run wrote into this folder, and writes down what comes. A
    /// folder that cannot be used is reported, and the logs stay in memory.
    pub(crate) async fn keep(&self, folder: &Path, tasks: &mut JoinSet<()>) {
        match files::Files::open(folder, self).await {
            Ok(files) => drop(tasks.spawn(files.write(self.clone()))),
            Err(error) => tracing::warn!(
                folder = %folder.display(),
                %error,
                "the functions' logs are not written down"
            ),
        }
    }

    /// The log of a function, empty if there was none.
    pub(crate) fn function(&self, name: &FunctionName) -> FunctionLog {
        if let Some(log) = self.find(name) {
            return log;
        }
        let mut groups = self
            .shared
            .groups
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let log = groups.entry(name.clone()).or_insert_with(|| FunctionLog {
            own: Arc::new(Own {
                blocks: Mutex::new(Blocks::new(BOUNDS)),
                more: Notify::new(),
            }),
            shared: Arc::clone(&self.shared),
        });
        log.clone()
    }

    /// The log of a function, if there is one.
    pub(crate) fn find(&self, name: &FunctionName) -> Option<FunctionLog> {
        let groups = self.shared.groups.read();
        let groups = groups.unwrap_or_else(PoisonError::into_inner);
        groups.get(name).cloned()
    }

    /// All logs, by the function's name.
    pub(crate) fn all(&self) -> Vec<(FunctionName, FunctionLog)> {
        let groups = self.shared.groups.read();
        let groups = groups.unwrap_or_else(PoisonError::into_inner);
        let all = groups.iter();
        all.map(|(name, log)| (name.clone(), log.clone())).collect()
    }

    /// Lets whoever follows go.
    pub(crate) fn close(&self) {
        self.shared.closing.cancel();
    }

    /// Writes down what is left: no more will come.
    pub(crate) fn finish(&self) {
        self.shared.finished.cancel();
    }
}

impl FunctionLog {
    /// Adds a line, letting go of the oldest.
    pub(crate) fn append(&self, line: LogLine<'_>) {
        self.restore(line);
        self.own.more.notify_waiters();
        self.shared.fresh.notify_one();
    }

    /// Adds a line that is written down.
    fn restore(&self, line: LogLine<'_>) {
        self.blocks().append(line);
    }

    /// The number of the newest line there ever was.
    fn newest(&self) -> EntryId {
        self.blocks().newest()
    }

    /// Whether nothing was ever logged.
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks().is_empty()
    }

    /// The lines that are kept.
    pub(crate) fn lines(&self) -> Snapshot {
        self.after(EntryId::START)
    }

    /// The lines after this one.
    pub(crate) fn after(&self, after: EntryId) -> Snapshot {
        self.blocks().after(after)
    }

    /// Waits for lines after this one; none once the logs close.
    pub(crate) async fn following(&self, after: EntryId) -> Option<Snapshot> {
        loop {
            let mut more = std::pin::pin!(self.own.more.notified());
            // What comes between the look and the wait counts.
            more.as_mut().enable();
            let lines = self.after(after);
            if !lines.is_empty() {
                return Some(lines);
            }
            tokio::select! {
                () = more => {}
                () = self.shared.closing.cancelled() => return None,
            }
        }
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        // Nothing between lock and unlock leaves the lines half changed in a way that matters.
        self.own
            .blocks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
