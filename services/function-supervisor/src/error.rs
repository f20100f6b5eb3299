//! Why a supervisor cannot start. Everything later is survived and reported in the table.

use std::error::Error;
use std::io;
use std::path::PathBuf;

/// Why a supervisor cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no workspace.
    #[error(
        "there is no Cargo.toml in {dir}: go to your workspace's folder or name it with --workspace"
    )]
    NoWorkspace {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// Cargo is not installed.
    #[error(
        "cannot find `{program}`: install Rust from https://rustup.rs and open a new terminal, or put cargo on the PATH"
    )]
    CargoMissing {
        /// The program looked for.
        program: String,
    },
    /// Cargo cannot be started.
    #[error("cannot start `{program}`: check that it can be executed")]
    CargoStart {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A zip cannot be run.
    #[error("cannot run the package {}", zip.display())]
    Package {
        /// The zip.
        zip: PathBuf,
        /// Why, and what to do.
        #[source]
        why: Box<dyn Error + Send + Sync>,
    },
    /// Two zips are for one function.
    #[error(
        "function `{function}` comes from two packages, {} and {}: leave one out, or name it otherwise as NAME=ZIP", first.display(), second.display()
    )]
    PackageTwice {
        /// The function.
        function: String,
        /// One of them.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// The state directory cannot be used.
    #[error(
        "cannot use the state directory {dir}: make it writable or choose another one with --state-dir"
    )]
    StateDir {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another supervisor uses the state directory.
    #[error(
        "another longshore is using {dir}: stop it, or choose another state directory with --state-dir"
    )]
    StateDirInUse {
        /// The directory.
        dir: PathBuf,
    },
}
