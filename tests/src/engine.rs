//! The container engine: what belongs to this run of the tests, and the end of it.
//!
//! Everything a run makes has the run's name in its own and in its label. A sweeper, started
//! before the first container, waits for this process to end, however it ends, and removes
//! what is left.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::repository;

/// On every container, network and volume of a run; the value is the run.
pub(crate) const LABEL: &str = "com.longshore.test";

/// One command of the engine; starting a stack may build functions first.
const COMMAND_WITHIN: Duration = Duration::from_secs(300);

/// One run of the tests.
#[derive(Debug)]
pub(crate) struct Run {
    /// Its name.
    pub(crate) id: String,
    counter: AtomicU32,
    /// The sweeper's standard input: closes when this process ends.
    _sweeper: io::Result<ChildStdin>,
}

static RUN: LazyLock<Run> = LazyLock::new(|| {
    let id = run_id();
    let sweeper = start_sweeper(&id);
    Run {
        id,
        counter: AtomicU32::new(0),
        _sweeper: sweeper,
    }
});

/// The current run.
pub(crate) fn run() -> &'static Run {
    &RUN
}

impl Run {
    /// A name that nothing else has.
    pub(crate) fn name(&self, of: &str) -> String {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        format!("longshore-test-{}-{number}-{of}", self.id)
    }

    /// A folder that goes when the run ends.
    pub(crate) fn folder(&self, of: &str) -> Result<PathBuf> {
        let folder = std::env::temp_dir().join(self.name(of));
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the wrapper script chooses the name"
)]
fn run_id() -> String {
    std::env::var("LONGSHORE_TEST_RUN").unwrap_or_else(|_| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_millis();
        format!("{now:x}p{}", std::process::id())
    })
}

/// The one place that starts programs.
#[expect(clippy::disallowed_methods, reason = "the one place")]
fn program(path: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(path)
}

fn start_sweeper(id: &str) -> io::Result<ChildStdin> {
    use std::os::unix::process::CommandExt;
    let mut sweeper = program(repository().join("tests/docker/sweep"))
        .args([id, "when-input-ends"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C at the terminal is for the tests.
        .process_group(0)
        .spawn()?;
    sweeper
        .stdin
        .take()
        .ok_or_else(|| io::Error::other("no standard input"))
}

/// Runs `docker` with these arguments, in `folder` and with more variables, and gives its
/// output.
pub(crate) async fn docker_in(
    folder: &Path,
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> Result<String> {
    let mut command = program("docker");
    command
        .args(arguments)
        .current_dir(folder)
        .envs(variables.iter().copied());
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let said = arguments.join(" ");
    let output = tokio::time::timeout(COMMAND_WITHIN, command.output())
        .await
        .with_context(|| format!("`docker {said}` takes longer than {COMMAND_WITHIN:?}"))?
        .context("cannot start `docker`; install it: https://docs.docker.com/engine/install")?;
    if !output.status.success() {
        bail!(
            "`docker {said}` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs `docker` with these arguments and gives its output.
pub(crate) async fn docker(arguments: &[&str]) -> Result<String> {
    docker_in(&repository(), &[], arguments).await
}

/// What a container has logged since then, at most its last 200 lines. Blocks: for the
/// moment a test fails.
pub(crate) fn logs(container: &str, since: SystemTime) -> String {
    let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = since.as_secs().to_string();
    let arguments = ["logs", "--tail", "200", "--since", &since, container];
    match program("docker").args(arguments).output() {
        Ok(output) => [output.stdout, output.stderr]
            .iter()
            .map(|stream| String::from_utf8_lossy(stream))
            .collect(),
        Err(error) => format!("no logs: {error}"),
    }
}

/// The caller, as `uid:gid`: what it mounts is its own.
pub(crate) fn caller(folder: &Path) -> Result<(String, String)> {
    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::metadata(folder)?;
    Ok((owner.uid().to_string(), owner.gid().to_string()))
}
