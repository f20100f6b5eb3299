//! A function's process: started in a process group of its own, read line by line, and
//! never left behind.
//!
//! The group matters because a handler may start children: whatever ends the handler ends
//! them too. Order of an end: TERM to the group, its output still being read for the
//! grace period, KILL to the group, and only then the child is reaped.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::Artifact;

/// The longest line passed on, in bytes; a longer one arrives in pieces.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// Lines waiting for the reader. When it is full the process waits on its pipe.
const OUTPUT_QUEUE_LINES: usize = 1024;

/// How long output may still arrive once the process and its group are dead.
const OUTPUT_TAIL: Duration = Duration::from_millis(250);

/// How long "text file busy" is retried: the window in which another thread's fork still
/// holds the copied binary open for writing.
const BUSY_RETRY: Duration = Duration::from_millis(200);

/// How a process is started. The environment is complete: the supervisor clears the
/// inherited one but for the variables a program needs to run at all (`PATH`, `HOME`,
/// `TMPDIR`, `SSL_CERT_FILE`, `SSL_CERT_DIR`) and adds these.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The function.
    pub artifact: Arc<Artifact>,
    /// What to start for it.
    pub program: Program,
    /// The environment, `AWS_*` and the function's own variables alike.
    pub env: Vec<(String, String)>,
}

/// A program of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// The function itself, in its folder.
    Function,
    /// An external extension, by its path; in the root, as on Lambda.
    Extension(PathBuf),
}

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The operating system refused.
    #[error("cannot start `{program}` in {cwd}")]
    Start {
        /// The program.
        program: String,
        /// Its working directory.
        cwd: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The artifact names no program.
    #[error("function `{function}` has an empty command: declare at least the program")]
    EmptyCommand {
        /// The function.
        function: String,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It ended by itself with this exit code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

/// Where a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of a process's output, without its line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputLine {
    /// Where it was written.
    pub stream: OutputStream,
    /// The text; bytes that are no UTF-8 are replaced.
    pub text: String,
}

/// A running process and its group. Dropping it kills the group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: Pid,
    output: Option<mpsc::Receiver<OutputLine>>,
    readers: JoinSet<()>,
    state: State,
    /// Keeps the generation's binary on disk for as long as it runs.
    _artifact: Arc<Artifact>,
}

/// Where a process is between start and the end of its output.
#[derive(Clone, Copy, Debug)]
enum State {
    Running,
    /// Reaped; its group is dead; what it wrote last may still be on its way until then.
    Draining {
        exit: Exit,
        until: tokio::time::Instant,
    },
    Ended(Exit),
}

impl Process {
    /// Starts `launch` with `inherited` beneath its own environment.
    pub(crate) fn start(
        launch: Launch,
        inherited: &[(OsString, OsString)],
    ) -> Result<Self, SpawnError> {
        let artifact = launch.artifact;
        let (program, arguments, cwd) = match &launch.program {
            Program::Extension(path) => (path.as_os_str(), &[][..], Path::new("/")),
            Program::Function => match artifact.argv.split_first() {
                Some((program, arguments)) => {
                    (OsStr::new(program), arguments, artifact.cwd.as_path())
                }
                None => {
                    return Err(SpawnError::EmptyCommand {
                        function: artifact.function.name.to_string(),
                    });
                }
            },
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that starts functions: it sets directory, environment and group"
        )]
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(cwd)
            .env_clear()
            .envs(inherited.iter().map(|(name, value)| (name, value)))
            .envs(launch.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let failed = |source: io::Error| SpawnError::Start {
            program: program.to_string_lossy().into_owned(),
            cwd: cwd.display().to_string(),
            source,
        };
        let mut child = spawn_unless_busy(&mut command).map_err(failed)?;
        let pid = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw)
            .ok_or_else(|| failed(io::Error::other("it ended before it had a process id")))?;

        let (lines, output) = mpsc::channel(OUTPUT_QUEUE_LINES);
        let mut readers = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(read_lines(stdout, OutputStream::Stdout, lines.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(read_lines(stderr, OutputStream::Stderr, lines));
        }
        Ok(Self {
            child,
            pid,
            output: Some(output),
            readers,
            state: State::Running,
            _artifact: artifact,
        })
    }

    /// The process id, which is the id of its group too.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// The output of both streams, in the order it was read. Take it once, before
    /// [`Process::wait`]; a second call gets a closed channel. The queue is bounded: a reader
    /// that stops reading makes the process wait, one that drops the channel does not.
    pub fn take_output(&mut self) -> mpsc::Receiver<OutputLine> {
        self.output.take().unwrap_or_else(|| mpsc::channel(1).1)
    }

    /// Waits for the process to end, kills what is left of its group, reaps it, and lets
    /// the last of its output arrive. Cancel-safe; later calls answer at once.
    pub async fn wait(&mut self) -> Exit {
        loop {
            match self.state {
                State::Running => {
                    let exit = match self.child.wait().await {
                        Ok(status) => Exit::from(status),
                        // Only possible when somebody else reaped our child: it is gone.
                        Err(error) => {
                            tracing::error!(pid = self.pid(), %error, "lost track of a process");
                            Exit::Signal(Signal::KILL.as_raw())
                        }
                    };
                    signal_group(self.pid, Signal::KILL);
                    self.state = State::Draining {
                        exit,
                        until: tokio::time::Instant::now() + OUTPUT_TAIL,
                    };
                }
                State::Draining { exit, until } => {
                    let drained = async { while self.readers.join_next().await.is_some() {} };
                    if tokio::time::timeout_at(until, drained).await.is_err() {
                        // Something outside the group holds the pipe, or nobody reads.
                        self.readers.abort_all();
                    }
                    self.state = State::Ended(exit);
                }
                State::Ended(exit) => return exit,
            }
        }
    }

    /// The most memory the process has held so far, in bytes (`VmHWM`). `None` once it has
    /// ended, and where the system does not say.
    #[must_use]
    pub fn peak_memory_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes * 1024)
    }

    /// Stops the process group where it is, until [`Process::thaw`].
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen process group go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks the process group to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends the process group.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// TERM to the group, then up to `grace` for it to end by itself while its output is
    /// still read, then KILL. Returns once the child is reaped.
    pub async fn stop(mut self, grace: Duration) -> Exit {
        // Output that nobody took must not hold the process up on its last words.
        drop(self.output.take());
        self.terminate();
        if let Ok(exit) = tokio::time::timeout(grace, self.wait()).await {
            return exit;
        }
        self.kill();
        self.wait().await
    }

    fn signal(&self, signal: Signal) {
        // After the child is reaped its id may belong to somebody else.
        if matches!(self.state, State::Running) {
            signal_group(self.pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Signals a group; one that is gone already is no error.
fn signal_group(pid: Pid, signal: Signal) {
    if let Err(error) = kill_process_group(pid, signal)
        && error != rustix::io::Errno::SRCH
    {
        tracing::warn!(pid = pid.as_raw_nonzero().get(), %error, "cannot signal a process group");
    }
}

/// A freshly copied binary can be "busy" for a moment: a child that another thread is just
/// starting holds every open file until its own exec. The window closes by itself.
fn spawn_unless_busy(command: &mut Command) -> io::Result<Child> {
    let give_up = Instant::now() + BUSY_RETRY;
    loop {
        match command.spawn() {
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy
                    && Instant::now() < give_up =>
            {
                std::thread::yield_now();
            }
            result => return result,
        }
    }
}

/// Passes on `stream`'s lines until its end. When nobody listens any more it reads on, so
/// that the process never waits on its pipe.
async fn read_lines(
    stream: impl AsyncRead + Unpin,
    source: OutputStream,
    lines: mpsc::Sender<OutputLine>,
) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        let (taken, complete) = match reader.fill_buf().await {
            Ok(buffer) if !buffer.is_empty() => {
                let room = MAX_LINE_BYTES - line.len();
                let window = &buffer[..buffer.len().min(room)];
                match window.iter().position(|byte| *byte == b'\n') {
                    Some(end) => {
                        line.extend_from_slice(&window[..end]);
                        (end + 1, true)
                    }
                    None => {
                        line.extend_from_slice(window);
                        (window.len(), line.len() >= MAX_LINE_BYTES)
                    }
                }
            }
            Ok(_) => break,
            Err(error) => {
                tracing::warn!(%error, "cannot read a function's output");
                break;
            }
        };
        reader.consume(taken);
        if complete {
            send_line(&lines, source, &mut line).await;
        }
    }
    if !line.is_empty() {
        send_line(&lines, source, &mut line).await;
    }
}

async fn send_line(lines: &mpsc::Sender<OutputLine>, stream: OutputStream, line: &mut Vec<u8>) {
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    let text = String::from_utf8_lossy(line).into_owned();
    line.clear();
    // An error means that nobody listens: the line is not wanted.
    if lines.send(OutputLine { stream, text }).await.is_err() {
        tracing::trace!("output line without a reader");
    }
}

#[cfg(test)]
mod tests;
