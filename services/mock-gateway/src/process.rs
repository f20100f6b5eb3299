//! What the broker needs of a process: the seam between execution environments and the
//! supervisor that starts and reaps them. Tests put a task behind it that speaks the
//! Runtime API.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use app_model::FunctionName;
use function_supervisor::{
    Artifact, Exit, Launch, OutputLine, Process, Program, SpawnError, Supervisor,
};
use tokio::sync::mpsc;

use crate::outcome::RuntimeExit;

/// Starts processes and asks for builds.
pub trait Launcher: Send + Sync + 'static {
    /// Starts the artifact with this environment, which is whole but for `PATH` and the
    /// like.
    ///
    /// # Errors
    /// Why the program could not be started, for a person.
    fn launch(
        &self,
        artifact: Arc<Artifact>,
        env: Vec<(String, String)>,
    ) -> Result<Box<dyn RunningProcess>, String>;

    /// Starts an external extension of the artifact's function with this environment.
    ///
    /// # Errors
    /// Why it could not be started.
    fn launch_extension(
        &self,
        artifact: Arc<Artifact>,
        path: PathBuf,
        env: Vec<(String, String)>,
    ) -> Result<Box<dyn RunningProcess>, NotLaunched>;

    /// Asks for the first build of a function; asking again changes nothing.
    fn request_build(&self, function: &FunctionName);
}

/// An external extension could not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NotLaunched {
    /// In AWS's words.
    pub why: String,
    /// It is no program that this user may run.
    pub is_forbidden: bool,
}

/// A started process and the group it leads. Dropping it kills the group.
pub trait RunningProcess: Send {
    /// Its process id.
    fn pid(&self) -> u32;
    /// What it prints, both streams; the channel closes when they do.
    fn take_output(&mut self) -> mpsc::Receiver<OutputLine>;
    /// Resolves once the process has ended and was reaped. Cancel-safe.
    fn wait(&mut self) -> Pin<Box<dyn Future<Output = RuntimeExit> + Send + '_>>;
    /// The most memory it has had resident.
    fn peak_memory_bytes(&self) -> Option<u64>;
    /// SIGSTOP to its group: it does nothing until it is thawed.
    fn freeze(&self);
    /// SIGCONT to its group.
    fn thaw(&self);
    /// SIGTERM to its group.
    fn terminate(&self);
    /// SIGKILL to its group.
    fn kill(&self);
}

impl Launcher for Supervisor {
    fn launch(
        &self,
        artifact: Arc<Artifact>,
        env: Vec<(String, String)>,
    ) -> Result<Box<dyn RunningProcess>, String> {
        let program = Program::Function;
        match self.spawn(Launch {
            artifact,
            program,
            env,
        }) {
            Ok(process) => Ok(Box::new(process)),
            Err(error) => Err(with_sources(&error)),
        }
    }

    fn launch_extension(
        &self,
        artifact: Arc<Artifact>,
        path: PathBuf,
        env: Vec<(String, String)>,
    ) -> Result<Box<dyn RunningProcess>, NotLaunched> {
        let name = path.display().to_string();
        let program = Program::Extension(path);
        match self.spawn(Launch {
            artifact,
            program,
            env,
        }) {
            Ok(process) => Ok(Box::new(process)),
            Err(SpawnError::Start { source, .. }) => Err(NotLaunched {
                why: format!("fork/exec {name}: {}", in_gos_words(&source)),
                is_forbidden: source.kind() == io::ErrorKind::PermissionDenied,
            }),
            Err(error) => Err(NotLaunched {
                why: with_sources(&error),
                is_forbidden: false,
            }),
        }
    }

    fn request_build(&self, function: &FunctionName) {
        Supervisor::request_build(self, function);
    }
}

impl RunningProcess for Process {
    fn pid(&self) -> u32 {
        Process::pid(self)
    }

    fn take_output(&mut self) -> mpsc::Receiver<OutputLine> {
        Process::take_output(self)
    }

    fn wait(&mut self) -> Pin<Box<dyn Future<Output = RuntimeExit> + Send + '_>> {
        Box::pin(async {
            match Process::wait(self).await {
                Exit::Code(0) => RuntimeExit::WithoutReason,
                Exit::Code(code) => RuntimeExit::Status(code),
                Exit::Signal(number) => RuntimeExit::Signal(number),
            }
        })
    }

    fn peak_memory_bytes(&self) -> Option<u64> {
        Process::peak_memory_bytes(self)
    }

    fn freeze(&self) {
        Process::freeze(self);
    }

    fn thaw(&self) {
        Process::thaw(self);
    }

    fn terminate(&self) {
        Process::terminate(self);
    }

    fn kill(&self) {
        Process::kill(self);
    }
}

/// What Lambda's own supervisor, which is written in Go, says of a system's error.
fn in_gos_words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text
        .split_once(" (os error")
        .map_or(&*text, |(text, _)| text);
    text.to_lowercase()
}

/// An error and what caused it, in one line.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
