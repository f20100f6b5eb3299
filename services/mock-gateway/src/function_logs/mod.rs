//! What functions print and what the platform says of them: bounded in memory, bounded on
//! disk, for whoever asks, follows or reads it as CloudWatch Logs.

mod files;
mod line;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use app_model::FunctionName;
use journal::{Entry, EntryId, Journal, Limits};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use line::{LogLine, Origin};

/// Lines of one function that are kept in memory.
const LINES: usize = 20_000;
/// Bytes of one function's lines that are kept in memory.
const BYTES: usize = 8 * 1024 * 1024;

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
    lines: Journal<LogLine>,
    shared: Arc<Shared>,
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
            lines: Journal::new(Limits {
                entries: LINES,
                bytes: BYTES,
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
    pub(crate) fn append(&self, line: LogLine) {
        self.lines.append(line);
        self.shared.fresh.notify_one();
    }

    /// Whether nothing was ever logged, or all of it is forgotten.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.snapshot().entries.is_empty()
    }

    /// The lines for which `wanted` holds, oldest first.
    pub(crate) fn lines(
        &self,
        wanted: impl FnMut(&Entry<LogLine>) -> bool,
    ) -> Vec<Arc<Entry<LogLine>>> {
        self.lines.filter(wanted).entries
    }

    /// Waits for lines after this one for which `wanted` holds; none once the logs close.
    pub(crate) async fn following(
        &self,
        after: EntryId,
        mut wanted: impl FnMut(&Entry<LogLine>) -> bool,
    ) -> Option<Vec<Arc<Entry<LogLine>>>> {
        // Longer than anybody follows; then it is asked for again.
        const A_DAY: std::time::Duration = std::time::Duration::from_secs(86_400);
        let deadline = tokio::time::Instant::now() + A_DAY;
        let more = self.lines.wait_for(deadline, |_| {
            let lines = self.lines(|line| line.id > after && wanted(line));
            (!lines.is_empty()).then_some(lines)
        });
        tokio::select! {
            more = more => Some(more.unwrap_or_default()),
            () = self.shared.closing.cancelled() => None,
        }
    }
}
