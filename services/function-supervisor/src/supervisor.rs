//! The handle that others hold and the task that does the work.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};

use app_model::FunctionName;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{Config, FunctionTable, Launch, Process, SpawnError, StartError};

/// A handle on the supervisor: cheap to clone, usable from everywhere.
#[derive(Clone, Debug)]
pub struct Supervisor {
    shared: Arc<Shared>,
}

/// What the handles and the task share.
#[derive(Debug)]
pub(crate) struct Shared {
    table: watch::Sender<Arc<FunctionTable>>,
    requested: Mutex<BTreeSet<FunctionName>>,
    wake: Notify,
    inherited: Vec<(OsString, OsString)>,
}

/// The supervisor's work. Nothing happens until it is run.
#[derive(Debug)]
pub struct SupervisorTask {
    shared: Arc<Shared>,
    config: Config,
}

/// Checks what a supervisor needs and prepares one.
///
/// # Errors
/// When there is no workspace, no cargo or no usable state directory.
pub fn start(config: Config) -> Result<(Supervisor, SupervisorTask), StartError> {
    if !config.workspace_dir.join("Cargo.toml").is_file() {
        return Err(StartError::NoWorkspace {
            dir: config.workspace_dir,
        });
    }
    let (table, _) = watch::channel(Arc::new(FunctionTable::default()));
    let shared = Arc::new(Shared {
        table,
        requested: Mutex::default(),
        wake: Notify::new(),
        inherited: inherited_environment(),
    });
    let task = SupervisorTask {
        shared: Arc::clone(&shared),
        config,
    };
    Ok((Supervisor { shared }, task))
}

impl Supervisor {
    /// The function table: always the newest.
    #[must_use]
    pub fn functions(&self) -> watch::Receiver<Arc<FunctionTable>> {
        self.shared.table.subscribe()
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

impl SupervisorTask {
    /// Watches, builds and publishes until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        shutdown.cancelled().await;
        tracing::debug!(workspace = %self.config.workspace_dir.display(), "supervisor stopped");
    }
}

/// What every function's process inherits: what a program needs to run at all.
fn inherited_environment() -> Vec<(OsString, OsString)> {
    const NAMES: [&str; 5] = ["PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"];
    std::env::vars_os()
        .filter(|(name, _)| NAMES.iter().any(|known| name == known))
        .collect()
}
