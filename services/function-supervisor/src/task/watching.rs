//! The loop's part in watching: which way, over which folders, and what to do when it fails.

use std::collections::BTreeSet;
use std::path::PathBuf;

use app_model::FunctionSource;
use tokio::time::Instant;

use super::{Done, Work};
use crate::watch::{probe, untrusted_filesystem};
use crate::{WatchMode, WatchStatus};

impl Work {
    /// Starts to watch in the way that was asked for.
    pub(super) fn begin_watching(&mut self) {
        self.set_watch_roots();
        match self.config.watch {
            WatchMode::Off => self.report_watching(WatchStatus::Off),
            WatchMode::Poll => self.poll("it was asked for"),
            WatchMode::Native => match self.watch.start_native() {
                Ok(()) => self.report_watching(WatchStatus::Native),
                Err(error) => self.poll(&error),
            },
            WatchMode::Auto => {
                if let Some(kind) = untrusted_filesystem(&self.config.workspace_dir) {
                    self.poll(&format!(
                        "the sources are on {kind}, which reports no changes made elsewhere"
                    ));
                } else if let Err(error) = self.watch.start_native() {
                    self.poll(&error);
                } else {
                    let (root, state) = (
                        self.config.workspace_dir.clone(),
                        self.config.state_dir.clone(),
                    );
                    self.jobs
                        .spawn(async move { Done::Probed(probe(&root, &state).await) });
                }
            }
        }
    }

    pub(super) fn report_watching(&self, status: WatchStatus) {
        match &status {
            WatchStatus::Poll { reason } => {
                tracing::warn!(
                    reason,
                    "reading sources over and over instead of being told of changes"
                );
            }
            WatchStatus::Native | WatchStatus::Off | WatchStatus::Starting => {
                tracing::info!(watching = ?status, "watching sources");
            }
        }
        self.shared.watching.send_replace(status);
    }

    /// Falls back to polling; whatever was missed meanwhile counts as changed.
    pub(super) fn poll(&mut self, reason: &str) {
        let already = matches!(*self.shared.watching.borrow(), WatchStatus::Poll { .. });
        let started = if already {
            Err(reason.to_owned())
        } else {
            self.watch.start_poll()
        };
        match started {
            Ok(()) => {
                self.report_watching(WatchStatus::Poll {
                    reason: reason.to_owned(),
                });
                self.changes.unknown = self.workspace.is_some();
                if self.changes.unknown {
                    self.debouncer.note(Instant::now());
                }
            }
            Err(error) => {
                tracing::error!(
                    error,
                    "changes of sources may go unnoticed: save again or restart"
                );
            }
        }
    }

    /// The workspace, the packages outside of it, and what commands depend on.
    pub(super) fn set_watch_roots(&mut self) {
        if self.config.watch == WatchMode::Off {
            return;
        }
        let mut excluded = BTreeSet::from([self.config.state_dir.clone()]);
        excluded.extend(self.config.target_dir.clone());
        let mut roots = BTreeSet::new();
        match &self.workspace {
            None => {
                roots.insert(self.config.workspace_dir.clone());
                excluded.insert(self.config.workspace_dir.join("target"));
            }
            Some(workspace) => {
                roots.insert(workspace.root.clone());
                excluded.insert(workspace.target_directory.clone());
                // Where ours may be although cargo's own is elsewhere.
                excluded.insert(workspace.root.join("target"));
                let commands = workspace.model.functions.values().filter_map(|function| {
                    match &function.source {
                        FunctionSource::Command(command) => Some(&command.watch),
                        FunctionSource::Cargo(_) => None,
                    }
                });
                let outside = workspace
                    .graph
                    .packages
                    .iter()
                    .map(|package| package.dir.clone())
                    .chain(commands.flatten().filter_map(|path| {
                        if path.is_dir() {
                            Some(path.clone())
                        } else {
                            path.parent().map(PathBuf::from)
                        }
                    }))
                    .filter(|dir| !dir.starts_with(&workspace.root));
                roots.extend(outside);
            }
        }
        let mut files = self.packages.files();
        files.extend(self.config.declarations.clone());
        if let Err(error) = self.watch.set_roots(roots, files, excluded) {
            self.poll(&error);
        }
    }
}
