//! How a supervisor is set.

use std::path::PathBuf;
use std::time::Duration;

use app_model::FunctionName;

/// Everything a supervisor needs to know. It reads no environment variable for settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder with the workspace's `Cargo.toml`.
    pub workspace_dir: PathBuf,
    /// Where functions live, relative to the workspace's root (`handlers`). When there is no
    /// such folder, every binary of the workspace is a function.
    pub handlers_dir: PathBuf,
    /// Where cargo builds. `None` takes the folder `longshore` under cargo's own target
    /// directory, so that neither rust-analyzer nor a build by hand holds its lock.
    pub target_dir: Option<PathBuf>,
    /// Where binaries are kept while they run: `<state_dir>/functions`.
    pub state_dir: PathBuf,
    /// The cargo program: `cargo`, unless it is not on the path.
    pub cargo: PathBuf,
    /// How functions are compiled.
    pub profile: Profile,
    /// How changes are noticed.
    pub watch: WatchMode,
    /// When a burst of changes counts as over.
    pub debounce: Debounce,
    /// When functions are built first.
    pub start: StartMode,
    /// A file that declares functions, routes and APIs over what the manifests say; with it
    /// there need be no workspace.
    pub declarations: Option<PathBuf>,
    /// Functions that come as zips, over the workspace's own of the same name.
    pub packages: Vec<PackageSource>,
    /// The timeout of every function, whatever its package says.
    pub timeout: Option<Duration>,
}

/// A function that comes as a zip, as AWS would get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageSource {
    /// Its name; `None` takes the one in the manifest beside the zip, or else the zip's own.
    pub name: Option<FunctionName>,
    /// The zip.
    pub zip: PathBuf,
}

/// How functions are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Cargo's `dev`: quick to build.
    Dev,
    /// Cargo's `release`: what is deployed.
    Release,
}

/// How changes are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchMode {
    /// A probe at start decides between [`WatchMode::Native`] and [`WatchMode::Poll`].
    Auto,
    /// The operating system says what changed.
    Native,
    /// The sources are read over and over: for mounts that report no changes.
    Poll,
    /// Nobody looks; functions are built once.
    Off,
}

/// When a burst of changes counts as over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debounce {
    /// So long nothing changes (50 ms is good).
    pub quiet: Duration,
    /// But never later than this after the first change (1 s is good).
    pub max: Duration,
}

impl Debounce {
    /// What serves an editor's save: 50 ms of quiet, at most 1 s.
    pub const STANDARD: Self = Self {
        quiet: Duration::from_millis(50),
        max: Duration::from_secs(1),
    };
}

/// When functions are built first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartMode {
    /// All of them, at once.
    Eager,
    /// Each when it is asked for.
    Lazy,
}
