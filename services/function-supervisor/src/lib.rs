//! Watch, build, spawn and drain the functions. Knows cargo and processes, no HTTP server.
//!
//! # From a save to the next generation
//! [`watch`](crate::WatchMode) notices a changed file; a burst of changes is waited out;
//! the package graph says which functions it concerns; one `cargo build` makes them; each
//! binary is copied aside and published as the function's next [`Generation`]. Failure at
//! any step keeps the last good [`Artifact`] and publishes the diagnostics beside it.
//!
//! # Who owns what
//! One loop ([`SupervisorTask`]) owns the workspace, the build and the table; everybody else
//! holds a [`Supervisor`] and reads the newest [`FunctionTable`]. A [`Process`] belongs to
//! whoever started it, with its whole process group.

mod affected;
mod artifacts;
mod build;
mod cargo;
mod config;
mod debounce;
mod error;
mod extensions;
mod packages;
mod process;
mod slots;
mod sources;
mod supervisor;
mod table;
mod task;
mod watch;
mod workspace;

pub use config::{Config, Debounce, PackageSource, Profile, StartMode, WatchMode};
pub use error::StartError;
pub use extensions::{ExtensionsError, extension_programs};
pub use process::{
    Exit, Launch, MAX_LINE_BYTES, OutputLine, OutputStream, Process, Program, SpawnError,
};
pub use supervisor::{Supervisor, start};
pub use table::{Artifact, BuildState, FunctionEntry, FunctionTable, Generation};
pub use task::SupervisorTask;
pub use watch::WatchStatus;
