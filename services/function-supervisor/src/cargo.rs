//! The one place that starts cargo: it forces the directory, the environment and, for
//! builds, the target directory.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// How cargo is started here.
#[derive(Clone, Debug)]
pub(crate) struct Cargo {
    pub(crate) program: PathBuf,
    pub(crate) workspace_dir: PathBuf,
}

impl Cargo {
    /// A cargo command in a process group of its own, with piped output. Killed when dropped.
    pub(crate) fn command<I>(&self, arguments: I) -> Command
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that starts cargo: it sets directory, environment and group"
        )]
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(&self.workspace_dir)
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_TERM_PROGRESS_WHEN", "never")
            // Under `make`, these name a job server that is not ours to use.
            .env_remove("MAKEFLAGS")
            .env_remove("MFLAGS")
            .env_remove("CARGO_MAKEFLAGS")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    /// `cargo metadata` for one manifest, without the dependency graph of the registry: it
    /// takes a few milliseconds and never the network. `None` when cancelled.
    pub(crate) async fn metadata(
        &self,
        manifest: &Path,
        cancel: &CancellationToken,
    ) -> Option<io::Result<Output>> {
        let mut command = self.command(["metadata", "--format-version=1", "--no-deps"]);
        command.arg("--manifest-path").arg(manifest);
        tokio::select! {
            output = command.output() => Some(output),
            () = cancel.cancelled() => None,
        }
    }
}
