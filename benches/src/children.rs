//! The programs a run starts: each in its own process group, its output in a log file,
//! and gone when its handle is. Figures about processes come from `/proc`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};

/// How long a tool may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// What to start.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) folder: PathBuf,
    pub(crate) log: PathBuf,
    owns_folder: bool,
    variables: Vec<(String, String)>,
}

impl Program {
    pub(crate) fn new<A: AsRef<OsStr>>(
        path: &Path,
        args: impl IntoIterator<Item = A>,
        folder: &Path,
        log: &Path,
    ) -> Self {
        Self {
            path: path.to_owned(),
            args: args
                .into_iter()
                .map(|arg| arg.as_ref().to_owned())
                .collect(),
            folder: folder.to_owned(),
            log: log.to_owned(),
            owns_folder: false,
            variables: Vec::new(),
        }
    }

    /// Sets a variable of its environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Says that nobody else works in its folder: whatever runs there when the handle is
    /// dropped was started by this program. Never say so of a folder that is not ours.
    pub(crate) fn owning_folder(mut self) -> Self {
        self.owns_folder = true;
        self
    }

    /// Starts it.
    pub(crate) fn start(self) -> anyhow::Result<Running> {
        let log = File::create(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let output = log.try_clone().context("cannot share the log file")?;
        let child = self
            .command()
            .stdout(output)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.path.display()))?;
        let pid = child
            .id()
            .and_then(|pid| Pid::from_raw(pid.cast_signed()))
            .context("the child ended at once")?;
        Ok(Running {
            child,
            pid,
            owned: self.owns_folder.then_some(self.folder),
            log: self.log,
        })
    }

    /// Runs it to its end; its log's path is in the error.
    pub(crate) async fn finish(self, within: Duration) -> anyhow::Result<()> {
        let name = self.path.display().to_string();
        let mut running = self.start()?;
        let Ok(ended) = tokio::time::timeout(within, running.wait()).await else {
            bail!(
                "{name} did not end within {within:?}; see {}",
                running.log.display()
            );
        };
        let status = ended?;
        if !status.success() {
            bail!("{name} failed ({status}); see {}", running.log.display());
        }
        Ok(())
    }

    /// Runs it for its output. `None` if there is no such program, or it says no.
    pub(crate) async fn output(&self, within: Duration) -> Option<String> {
        let output = self.command().stderr(Stdio::null()).output();
        let output = tokio::time::timeout(within, output).await.ok()?.ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that starts processes"
    )]
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(&self.args)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            // Peers reach loopback themselves, whatever the machine's proxy is.
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("no_proxy", "127.0.0.1,localhost");
        // `cargo run` tells us about ourselves: the scratch builds must not hear it.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let unwanted = [
                "CARGO_PKG_",
                "CARGO_MANIFEST_",
                "CARGO_BIN_",
                "CARGO_CRATE_",
                // Neither tool is to be set up by whoever measures.
                "LONGSHORE_",
                "CARGO_LAMBDA_",
            ];
            if text == "CARGO"
                || text == "LD_LIBRARY_PATH"
                || unwanted.iter().any(|prefix| text.starts_with(prefix))
            {
                command.env_remove(&name);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A program under way. Dropping it kills its process group and, where the folder is its
/// own, whatever still runs in there: watchers put their children into other groups.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    pid: Pid,
    owned: Option<PathBuf>,
    log: PathBuf,
}

impl Running {
    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Resolves when the program ends by itself. Cancel-safe.
    pub(crate) async fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        self.child.wait().await.context("cannot wait for a child")
    }

    /// Ends it: TERM, grace, KILL, reap.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        // It may have ended already.
        kill_process_group(self.pid, Signal::TERM).ok();
        if tokio::time::timeout(GRACE, self.child.wait())
            .await
            .is_err()
        {
            kill_process_group(self.pid, Signal::KILL).ok();
            self.child.wait().await.context("cannot reap a child")?;
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A reaped child's id is nobody's group any more unless its own children live on.
        kill_process_group(self.pid, Signal::KILL).ok();
        for pid in self.owned.iter().flat_map(|folder| processes_in(folder)) {
            if let Some(pid) = Pid::from_raw(pid) {
                kill_process(pid, Signal::KILL).ok();
            }
        }
    }
}

/// The processes whose program or working directory is under this folder, but ours.
pub(crate) fn processes_in(folder: &Path) -> Vec<i32> {
    let own = std::process::id().cast_signed();
    let inside = |pid: &i32| {
        ["exe", "cwd"]
            .iter()
            .filter_map(|link| std::fs::read_link(format!("/proc/{pid}/{link}")).ok())
            .any(|target| target.starts_with(folder))
    };
    every_process()
        .into_iter()
        .filter(|pid| *pid != own)
        .filter(inside)
        .collect()
}

/// The processes whose program file has this name: a copy keeps it as a prefix.
pub(crate) fn processes_named(folder: &Path, name: &str) -> Vec<i32> {
    let named = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|comm| comm.trim_end().starts_with(name))
    };
    processes_in(folder).into_iter().filter(named).collect()
}

fn every_process() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Resident now (`VmRSS`).
    pub(crate) resident: u64,
    /// The most it ever was (`VmHWM`).
    pub(crate) peak: u64,
}

/// `None` if the process is gone, or the system has no `/proc`.
pub(crate) fn memory(pid: i32) -> Option<Memory> {
    parse_status(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn parse_status(status: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim()
            .strip_suffix(" kB")?
            .parse::<u64>()
            .ok()
            .map(|kib| kib * 1024)
    };
    Some(Memory {
        resident: field("VmRSS")?,
        peak: field("VmHWM")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_memory_of_a_status_page() {
        let status = "Name:\techo\nVmHWM:\t    6400 kB\nVmRSS:\t    6300 kB\n";
        assert_eq!(
            parse_status(status),
            Some(Memory {
                resident: 6300 * 1024,
                peak: 6400 * 1024
            })
        );
        assert_eq!(parse_status("Name:\tkthreadd\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_dropped_handle_leaves_nothing_behind_not_even_a_group_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        // `set -m` puts the inner one into a process group of its own, as watchers do.
        let script = "set -m; sleep 60 & echo started; wait";
        let program = Program::new(
            Path::new("bash"),
            ["-c", script],
            &folder,
            &folder.join("log"),
        )
        .owning_folder();
        let running = program.start().unwrap();
        let until = |wanted: fn(usize) -> bool| {
            let folder = folder.clone();
            tokio::time::timeout(Duration::from_secs(10), async move {
                while !wanted(processes_in(&folder).len()) {
                    tokio::task::yield_now().await;
                }
            })
        };
        until(|alive| alive == 2).await.unwrap();
        drop(running);
        until(|alive| alive == 0).await.unwrap();
    }
}
