//! The handle that others hold: cheap to clone, usable from everywhere.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use app_model::FunctionName;
use tokio::sync::{Notify, watch};

use crate::artifacts::ArtifactStore;
use crate::packages::Packages;
use crate::{
    Config, FunctionTable, Launch, Process, SpawnError, StartError, SupervisorTask, WatchStatus,
};

/// A handle on the supervisor: cheap to clone, usable from everywhere.
#[derive(Clone, Debug)]
pub struct Supervisor {
    shared: Arc<Shared>,
}

/// What the handles and the task share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) table: watch::Sender<Arc<FunctionTable>>,
    pub(crate) loaded: watch::Sender<bool>,
    pub(crate) watching: watch::Sender<WatchStatus>,
    /// Wakes the task when something was requested.
    pub(crate) wake: Notify,
    /// What was ever requested; no more names than the table had. A plain mutex: held for
    /// an insert or a copy, never across an await.
    requested: Mutex<BTreeSet<FunctionName>>,
    inherited: Vec<(OsString, OsString)>,
}

/// Checks what a supervisor needs and prepares one. Nothing runs before
/// [`SupervisorTask::run`].
///
/// # Errors
/// When there is no workspace and no package, no cargo, no usable state directory, or a
/// package that cannot be run.
pub fn start(mut config: Config) -> Result<(Supervisor, SupervisorTask), StartError> {
    config.workspace_dir = absolute(&config.workspace_dir);
    config.state_dir = absolute(&config.state_dir);
    config.target_dir = config.target_dir.as_deref().map(absolute);
    config.declarations = config.declarations.as_deref().map(absolute);
    let has_workspace = config.workspace_dir.join("Cargo.toml").is_file();
    if !has_workspace && config.packages.is_empty() && config.declarations.is_none() {
        return Err(StartError::NoWorkspace {
            dir: config.workspace_dir,
        });
    }
    let inherited = inherited_environment();
    let path = inherited
        .iter()
        .find(|(name, _)| name == "PATH")
        .map(|(_, path)| path);
    if has_workspace && !is_on_path(&config.cargo, path.map(OsString::as_os_str)) {
        return Err(StartError::CargoMissing {
            program: config.cargo.display().to_string(),
        });
    }
    let store = ArtifactStore::open(&config.state_dir)?;
    let packages = Packages::open(&config.packages, &config.state_dir)?;
    let shared = Arc::new(Shared {
        table: watch::Sender::new(Arc::default()),
        loaded: watch::Sender::new(false),
        watching: watch::Sender::new(WatchStatus::Starting),
        wake: Notify::new(),
        requested: Mutex::default(),
        inherited,
    });
    let task = SupervisorTask::new(Arc::clone(&shared), config, store, packages);
    Ok((Supervisor { shared }, task))
}

impl Supervisor {
    /// The function table: always the newest. Empty until [`Supervisor::loaded`].
    #[must_use]
    pub fn functions(&self) -> watch::Receiver<Arc<FunctionTable>> {
        self.shared.table.subscribe()
    }

    /// Waits until the workspace has been read once, or could not be; a moment after the
    /// task starts. Cancel-safe.
    pub async fn loaded(&self) {
        let mut loaded = self.shared.loaded.subscribe();
        // The sender lives as long as `self`, so there is always an answer.
        if loaded.wait_for(|loaded| *loaded).await.is_err() {
            tracing::debug!("the supervisor went before it had read the workspace");
        }
    }

    /// How changes are being noticed.
    #[must_use]
    pub fn watch_mode(&self) -> WatchStatus {
        self.shared.watching.borrow().clone()
    }

    /// The same, as a channel to wait on.
    #[must_use]
    pub fn watching(&self) -> watch::Receiver<WatchStatus> {
        self.shared.watching.subscribe()
    }

    /// Asks for a function to be built (lazy start). Asking again changes nothing; a name
    /// that is not in the table is ignored.
    pub fn request_build(&self, name: &FunctionName) {
        if !self.shared.table.borrow().functions.contains_key(name) {
            return;
        }
        let mut requested = self
            .shared
            .requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if requested.insert(name.clone()) {
            self.shared.wake.notify_one();
        }
    }

    /// Starts a process. Call it within a tokio runtime.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn spawn(&self, launch: Launch) -> Result<Process, SpawnError> {
        Process::start(launch, &self.shared.inherited)
    }
}

impl Shared {
    /// Everything that was ever requested.
    pub(crate) fn requested(&self) -> BTreeSet<FunctionName> {
        self.requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The path from the root on, with links resolved where it exists: cargo answers with such
/// paths, and so must ours to be compared with them.
fn absolute(path: &Path) -> PathBuf {
    std::fs::canonicalize(path)
        .or_else(|_| std::path::absolute(path))
        .unwrap_or_else(|_| path.to_owned())
}

/// What every function's process inherits: what a program needs to run at all.
fn inherited_environment() -> Vec<(OsString, OsString)> {
    const NAMES: [&str; 5] = ["PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"];
    std::env::vars_os()
        .filter(|(name, _)| NAMES.iter().any(|known| name == known))
        .collect()
}

fn is_on_path(program: &Path, path: Option<&OsStr>) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let is_program = |file: &Path| {
        file.metadata()
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    if program.components().count() > 1 {
        return is_program(program);
    }
    path.is_some_and(|path| std::env::split_paths(path).any(|dir| is_program(&dir.join(program))))
}
