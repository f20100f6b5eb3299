//! Watch, build, spawn and drain the functions. Knows cargo and processes, no HTTP server.

mod config;
mod error;
mod process;
mod supervisor;
mod table;

pub use config::{Config, Debounce, Profile, StartMode, WatchMode};
pub use error::StartError;
pub use process::{Exit, Launch, MAX_LINE_BYTES, OutputLine, OutputStream, Process, SpawnError};
pub use supervisor::{Supervisor, SupervisorTask, start};
pub use table::{Artifact, BuildState, FunctionEntry, FunctionTable, Generation};
