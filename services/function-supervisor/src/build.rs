//! One run of `cargo build`: its messages are read as they come, so that a function whose
//! binary is done is published while others still compile or fail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use app_model::{CargoTarget, FunctionName};
use cargo_metadata::diagnostic::DiagnosticLevel;
use cargo_metadata::{CompilerMessage, Message, TargetKind};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Profile;
use crate::affected::Inputs;
use crate::artifacts::{Binary, SetAside, set_aside};
use crate::cargo::Cargo;

/// How often a build that goes on says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// See <https://bford.info/cachedir/>.
const CACHE_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This file is a cache directory tag created by longshore.\n\
    # For information about cache directory tags see https://bford.info/cachedir/\n";

/// The most diagnostics kept for one function, in bytes.
const MAX_DIAGNOSTICS_BYTES: usize = 128 * 1024;

/// What is to be built.
#[derive(Clone, Debug)]
pub(crate) struct BuildRequest {
    pub(crate) target_dir: PathBuf,
    pub(crate) profile: Profile,
    pub(crate) functions: BTreeMap<FunctionName, BuildTarget>,
}

/// One function's part in a build.
#[derive(Clone, Debug)]
pub(crate) struct BuildTarget {
    pub(crate) target: CargoTarget,
    /// The ids of its package and all it needs: whose errors are its errors.
    pub(crate) concerns: BTreeSet<String>,
    /// Its package's id.
    pub(crate) package_id: String,
    /// Where its binaries go.
    pub(crate) folder: PathBuf,
    /// The one already there.
    pub(crate) current: Option<Binary>,
}

/// How a build went.
#[derive(Debug)]
pub(crate) enum BuildEnd {
    /// Cargo ran to its end.
    Finished {
        /// Functions that were not handed on, each with the diagnostics that concern it.
        failed: BTreeMap<FunctionName, String>,
        /// The local files that the others were made of, `include_str!` and the like
        /// included. Cargo writes them down at its very end.
        inputs: Inputs,
    },
    /// It was stopped.
    Cancelled,
}

/// A function's binary is set aside.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) function: FunctionName,
    pub(crate) binary: SetAside,
}

/// Runs cargo; what is done goes to `built` at once.
pub(crate) async fn build(
    cargo: Cargo,
    request: BuildRequest,
    built: mpsc::Sender<Built>,
    cancel: CancellationToken,
) -> BuildEnd {
    let all_fail = |why: String| BuildEnd::Finished {
        failed: request
            .functions
            .keys()
            .map(|name| (name.clone(), why.clone()))
            .collect(),
        inputs: Inputs::new(),
    };
    if let Err(error) = make_target_dir(&request.target_dir) {
        return all_fail(format!(
            "cannot make the target folder {}: {error}",
            request.target_dir.display()
        ));
    }
    let mut child = match cargo.command(arguments(&request)).spawn() {
        Ok(child) => child,
        Err(error) => {
            return all_fail(format!("cannot start {}: {error}", cargo.program.display()));
        }
    };
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return all_fail("cargo's output is not connected".to_owned());
    };
    let group = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(rustix::process::Pid::from_raw);

    let mut run = Run {
        waiting: request.functions.clone(),
        failed: BTreeMap::new(),
        executables: Vec::new(),
        messages: Vec::new(),
        compiled: 0,
        built,
    };
    let work = async {
        let (text, ()) = tokio::join!(read_text(stderr), run.read(stdout));
        (child.wait().await, text)
    };
    tokio::select! {
        (status, text) = work => run.finish(&status, &text),
        () = cancel.cancelled() => {
            // The group holds rustc and the linker too. Whatever they were writing, cargo
            // knows that it was not finished and makes it anew.
            if let Some(group) = group
                && let Err(error) = rustix::process::kill_process_group(group, rustix::process::Signal::KILL)
            {
                tracing::debug!(%error, "cannot stop a build");
            }
            if let Err(error) = child.wait().await {
                tracing::debug!(%error, "cannot reap a build");
            }
            BuildEnd::Cancelled
        }
    }
}

/// Makes the folder and marks it as cargo does, for backups to leave out. Cargo would make
/// it under another name first, among the sources where that counts as a change.
fn make_target_dir(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("CACHEDIR.TAG"), CACHE_TAG)
}

/// Every function of the request is named even when one changed: cargo chooses features
/// for the named packages together, and another choice would compile dependencies anew.
/// Packages are named by id: a dependency may have the name of a function.
fn arguments(request: &BuildRequest) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "build",
        "--message-format=json",
        "--keep-going",
        "--target-dir",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.push(request.target_dir.display().to_string());
    if request.profile == Profile::Release {
        arguments.push("--release".to_owned());
    }
    let packages: BTreeSet<&str> = request
        .functions
        .values()
        .map(|function| function.package_id.as_str())
        .collect();
    for package in packages {
        arguments.extend(["--package".to_owned(), package.to_owned()]);
    }
    for function in request.functions.values() {
        arguments.extend(["--bin".to_owned(), function.target.bin.clone()]);
    }
    arguments
}

/// What is known of a build under way.
struct Run {
    waiting: BTreeMap<FunctionName, BuildTarget>,
    failed: BTreeMap<FunctionName, String>,
    /// Where cargo put what was handed on.
    executables: Vec<(FunctionName, PathBuf)>,
    messages: Vec<CompilerMessage>,
    /// Crates and build scripts that this run compiled.
    compiled: usize,
    built: mpsc::Sender<Built>,
}

impl Run {
    async fn read(&mut self, stdout: impl AsyncRead + Unpin) {
        let mut lines = BufReader::with_capacity(64 * 1024, stdout).lines();
        let mut progress =
            tokio::time::interval_at(Instant::now() + PROGRESS_EVERY, PROGRESS_EVERY);
        loop {
            let line = tokio::select! {
                line = lines.next_line() => line,
                _ = progress.tick() => {
                    tracing::info!(crates = self.compiled, "still compiling");
                    continue;
                }
            };
            match line {
                Ok(Some(line)) => match serde_json::from_str::<Message>(&line) {
                    Ok(message) => self.handle(message).await,
                    // A build script's or macro's own output.
                    Err(_) => tracing::trace!(line, "cargo says something else"),
                },
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "cannot read cargo's messages");
                    break;
                }
            }
        }
    }

    async fn handle(&mut self, message: Message) {
        match message {
            Message::CompilerArtifact(artifact) => {
                self.compiled += usize::from(!artifact.fresh);
                let Some(executable) = artifact.executable else {
                    return;
                };
                let Some(name) = self.waiting.iter().find_map(|(name, waiting)| {
                    let same = waiting.package_id == artifact.package_id.repr
                        && waiting.target.bin == artifact.target.name;
                    same.then(|| name.clone())
                }) else {
                    return;
                };
                if let Some(target) = self.waiting.remove(&name) {
                    self.hand_on(name, target, executable.into_std_path_buf())
                        .await;
                }
            }
            Message::CompilerMessage(message)
                if matches!(
                    message.message.level,
                    DiagnosticLevel::Error | DiagnosticLevel::Ice
                ) =>
            {
                self.messages.push(message);
            }
            _ => {}
        }
    }

    async fn hand_on(&mut self, function: FunctionName, target: BuildTarget, executable: PathBuf) {
        self.executables
            .push((function.clone(), executable.clone()));
        let copied = tokio::task::spawn_blocking(move || {
            set_aside(&executable, &target.folder, target.current.as_ref())
                .map_err(|error| format!("cannot set {} aside: {error}", executable.display()))
        });
        match copied.await {
            Ok(Ok(binary)) => {
                // Nobody listens only when the supervisor stops.
                if self.built.send(Built { function, binary }).await.is_err() {
                    tracing::debug!("a build ended after its supervisor");
                }
            }
            Ok(Err(error)) => {
                self.failed.insert(function, error);
            }
            Err(error) => {
                self.failed
                    .insert(function, format!("cannot set the binary aside: {error}"));
            }
        }
    }

    fn finish(mut self, status: &std::io::Result<ExitStatus>, stderr: &str) -> BuildEnd {
        for (name, target) in std::mem::take(&mut self.waiting) {
            let mut text = String::new();
            for message in self
                .messages
                .iter()
                .filter(|message| concerns(message, &target))
            {
                text.push_str(
                    message
                        .message
                        .rendered
                        .as_deref()
                        .unwrap_or(&message.message.message),
                );
            }
            if text.is_empty() {
                text = cargo_errors(stderr);
            }
            if text.is_empty() {
                let how = match status {
                    Ok(status) => status.to_string(),
                    Err(error) => error.to_string(),
                };
                text = format!("cargo made no binary `{}` ({how})", target.target.bin);
            }
            truncate(&mut text);
            self.failed.insert(name, text);
        }
        let inputs = self.executables.iter();
        BuildEnd::Finished {
            failed: self.failed,
            inputs: inputs
                .map(|(name, executable)| (name.clone(), inputs_of(executable)))
                .collect(),
        }
    }
}

/// The files that cargo says `executable` was made of: it writes them beside it, as a rule
/// for make. None when it does not.
fn inputs_of(executable: &Path) -> BTreeSet<PathBuf> {
    match std::fs::read_to_string(executable.with_extension("d")) {
        Ok(rule) => rule_inputs(&rule),
        Err(error) => {
            tracing::debug!(%error, "no dependency file beside a binary");
            BTreeSet::new()
        }
    }
}

/// The right side of `output: input input…`, where a space in a name is `\\ `.
fn rule_inputs(rule: &str) -> BTreeSet<PathBuf> {
    let Some((_, inputs)) = rule.lines().next().and_then(|line| line.split_once(": ")) else {
        return BTreeSet::new();
    };
    // No file name holds a NUL, so one can stand for an escaped space.
    inputs
        .replace("\\ ", "\0")
        .split_whitespace()
        .map(|name| without_detours(Path::new(&name.replace('\0', " "))))
        .collect()
}

/// `/a/b/../c` as `/a/c`: how the path of an `include_str!` compares with a watched one.
fn without_detours(path: &Path) -> PathBuf {
    let mut straight = PathBuf::new();
    for component in path.components() {
        if component == std::path::Component::ParentDir {
            straight.pop();
        } else {
            straight.push(component);
        }
    }
    straight
}

/// Whether an error stands in the way of `target`: it is in a package that `target` needs,
/// and not in another binary of the same package.
fn concerns(message: &CompilerMessage, target: &BuildTarget) -> bool {
    target.concerns.contains(&message.package_id.repr)
        && (!message.target.kind.contains(&TargetKind::Bin)
            || (message.package_id.repr == target.package_id
                && message.target.name == target.target.bin))
}

/// Cargo's own complaint without its progress lines.
fn cargo_errors(stderr: &str) -> String {
    let from = stderr
        .lines()
        .position(|line| line.starts_with("error"))
        .unwrap_or(0);
    let text: Vec<&str> = stderr.lines().skip(from).collect();
    text.join("\n").trim().to_owned()
}

fn truncate(text: &mut String) {
    if text.len() > MAX_DIAGNOSTICS_BYTES {
        let mut end = MAX_DIAGNOSTICS_BYTES;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str("\n… (more errors follow: run cargo build to see them all)\n");
    }
}

/// The last part of what cargo writes beside its messages.
async fn read_text(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut chunk = [0; 8 * 1024];
    loop {
        match stderr.read(&mut chunk).await {
            Ok(0) => break,
            Ok(count) => {
                kept.extend_from_slice(&chunk[..count]);
                if kept.len() > 2 * MAX_DIAGNOSTICS_BYTES {
                    kept.drain(..kept.len() - MAX_DIAGNOSTICS_BYTES);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read cargo's output");
                break;
            }
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_its_inputs() {
        let inputs =
            rule_inputs("/t/debug/a: /ws/a/src/main.rs /ws/a/src/../../my\\ data/x.json\n");
        let expected = ["/ws/a/src/main.rs", "/ws/my data/x.json"].map(PathBuf::from);
        assert_eq!(inputs, BTreeSet::from(expected));
        assert_eq!(rule_inputs(""), BTreeSet::new());
    }

    #[test]
    fn cargos_complaint_comes_without_its_progress() {
        let stderr = "    Updating index\nerror: no matching package named `x` found\nlocation searched: y\n";
        assert_eq!(
            cargo_errors(stderr),
            "error: no matching package named `x` found\nlocation searched: y"
        );
    }

    #[test]
    fn endless_diagnostics_are_cut_at_a_character() {
        let mut text = "é".repeat(MAX_DIAGNOSTICS_BYTES);
        truncate(&mut text);
        assert!(text.len() < MAX_DIAGNOSTICS_BYTES + 100 && text.contains("more errors follow"));
    }
}
