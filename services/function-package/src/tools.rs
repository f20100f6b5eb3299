//! The one place that starts tools: in the workspace, without input, under a deadline.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// A question to a tool, such as its version. The first one after a new
/// `rust-toolchain.toml` may have rustup fetch that toolchain.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);

/// A whole release build on a slow machine.
const WORK_WITHIN: Duration = Duration::from_secs(3600);

/// What the machine's environment may not decide: the same source is to give the same bytes.
const IGNORED_VARIABLES: &[&str] = &[
    "RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS",
    "CFLAGS",
    "CXXFLAGS",
    "TARGET_CFLAGS",
    "TARGET_CXXFLAGS",
];

/// Where tools run.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    pub(crate) workspace: PathBuf,
}

/// A call of a tool.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(String, OsString)>,
}

/// A tool did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not there, or cannot be started.
    #[error("cannot start `{tool}`: is it installed and on the PATH?")]
    Start {
        /// The program.
        tool: String,
        /// Why the system refused.
        source: io::Error,
    },
    /// It ran and failed.
    #[error("`{command}` failed with {status}{said}")]
    Failed {
        /// The program with its first words.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said; empty where that is on the terminal already.
        said: String,
    },
    /// It did not end in time and was stopped.
    #[error("`{command}` did not end within {} s and was stopped", limit.as_secs())]
    Late {
        /// The program with its first words.
        command: String,
        /// How long it had.
        limit: Duration,
    },
}

impl Call {
    pub(crate) fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    pub(crate) fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(crate) fn args<I>(mut self, arguments: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub(crate) fn env(mut self, name: impl Into<String>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The program and its first words, as one would name the call.
    fn name(&self) -> String {
        let program = self.program.file_name().unwrap_or(self.program.as_os_str());
        let words = self
            .arguments
            .iter()
            .take(2)
            .filter(|word| !word.to_string_lossy().starts_with('-'));
        std::iter::once(program)
            .chain(words.map(OsString::as_os_str))
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

impl Tools {
    pub(crate) fn new(workspace: &Path) -> Self {
        Self {
            workspace: workspace.to_owned(),
        }
    }

    /// What the tool prints on standard output, trimmed.
    pub(crate) async fn answer(&self, call: &Call) -> Result<String, ToolError> {
        let output = self
            .within(ANSWER_WITHIN, call, self.command(call).output())
            .await?;
        let Output {
            status,
            stdout,
            stderr,
        } = output;
        if !status.success() {
            let said = format!(": {}", String::from_utf8_lossy(&stderr).trim());
            return Err(ToolError::Failed {
                command: call.name(),
                status,
                said,
            });
        }
        Ok(String::from_utf8_lossy(&stdout).trim().to_owned())
    }

    /// Lets the tool work, its progress on this process's standard error.
    pub(crate) async fn work(&self, call: &Call) -> Result<(), ToolError> {
        let mut command = self.command(call);
        let status = async {
            command
                .stderr(Stdio::inherit())
                .stdout(Stdio::null())
                .status()
                .await
        };
        let status = self.within(WORK_WITHIN, call, status).await?;
        if status.success() {
            return Ok(());
        }
        Err(ToolError::Failed {
            command: call.name(),
            status,
            said: String::new(),
        })
    }

    async fn within<T>(
        &self,
        limit: Duration,
        call: &Call,
        running: impl Future<Output = io::Result<T>>,
    ) -> Result<T, ToolError> {
        match timeout(limit, running).await {
            Ok(Ok(ended)) => Ok(ended),
            Ok(Err(source)) => Err(ToolError::Start {
                tool: call.program.display().to_string(),
                source,
            }),
            Err(_) => Err(ToolError::Late {
                command: call.name(),
                limit,
            }),
        }
    }

    fn command(&self, call: &Call) -> Command {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that starts tools: it sets folder, environment and deadline"
        )]
        let mut command = Command::new(&call.program);
        command.args(&call.arguments).current_dir(&self.workspace);
        for name in IGNORED_VARIABLES {
            command.env_remove(name);
        }
        // In the terminal's process group, so that Ctrl-C ends the tool as well.
        command
            .envs(call.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn failures_name_the_call_and_what_it_said() {
        let tools = Tools::new(Path::new("/"));
        let call = Call::new("cargo").args(["no-such-verb", "--flag"]);
        let error = tools.answer(&call).await.unwrap_err().to_string();
        assert!(error.starts_with("`cargo no-such-verb` failed"), "{error}");
        assert!(error.contains("no such command"), "{error}");
        let missing = Call::new("longshore-has-no-such-tool");
        let error = tools.work(&missing).await.unwrap_err().to_string();
        assert!(error.contains("longshore-has-no-such-tool"), "{error}");
    }

    #[tokio::test]
    async fn the_machines_flags_do_not_reach_the_build() {
        let tools = Tools::new(Path::new("/"));
        let command = tools.command(&Call::new("cargo").env("CARGO_INCREMENTAL", "0"));
        let set: Vec<_> = command.as_std().get_envs().collect();
        assert!(set.contains(&("RUSTFLAGS".as_ref(), None)));
        assert!(set.contains(&("CARGO_INCREMENTAL".as_ref(), Some("0".as_ref()))));
    }
}
