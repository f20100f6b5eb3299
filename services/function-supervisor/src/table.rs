//! The function table: what is known of each function, published as one value.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use app_model::{Function, FunctionName, RouteTable};

/// Counts a function's successful builds, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Something that can be started: one generation of a function.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Which build this is.
    pub generation: Generation,
    /// The function as it was declared when this was built.
    pub function: Function,
    /// The program and its arguments; for a Cargo function the copied-aside binary alone.
    pub argv: Vec<String>,
    /// Working directory of the program.
    pub cwd: PathBuf,
    /// From the first change seen to the binary copied aside; zero for a command.
    pub built_in: Duration,
}

/// How the newest build of a function went.
#[derive(Clone, Debug)]
pub enum BuildState {
    /// Nobody has asked for this function yet (lazy start).
    NotBuilt,
    /// A build is under way.
    Building {
        /// When it began.
        since: SystemTime,
    },
    /// The newest source is what [`FunctionEntry::artifact`] holds.
    Built,
    /// The newest source does not build; the artifact, if any, is an older one.
    Failed {
        /// The compiler's rendered diagnostics, plain text.
        diagnostics: Arc<str>,
        /// When the build ended.
        at: SystemTime,
    },
}

/// What is known of one function.
#[derive(Clone, Debug)]
pub struct FunctionEntry {
    /// The function as declared now.
    pub function: Function,
    /// How its newest build went.
    pub build: BuildState,
    /// The last good build. A failed build never removes it.
    pub artifact: Option<Arc<Artifact>>,
}

/// All functions and the routes that lead to them. Published through a
/// `tokio::sync::watch` channel: readers see the newest value, never a history.
#[derive(Clone, Debug, Default)]
pub struct FunctionTable {
    /// By name.
    pub functions: BTreeMap<FunctionName, FunctionEntry>,
    /// Method and path to function.
    pub routes: RouteTable,
    /// What is wrong with the declarations (a manifest that does not parse, say).
    pub problems: Vec<String>,
}
