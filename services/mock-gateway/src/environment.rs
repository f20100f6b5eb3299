//! The task that owns one execution environment: its processes, its listener, its timers,
//! its log lines. It ends when the last process is reaped.

mod ending;
mod extensions;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use function_supervisor::{Artifact, OutputLine};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::broker::{Broker, EnvironmentKey, Finished, StopReason};
use crate::environment_variables::{self, Placement};
use crate::logs::{InitReport, LogTail, Report, Status};
use crate::outcome::{ExtensionFailure, InitFailure, Outcome, RuntimeExit};
use crate::parity;
use crate::platform_event::PlatformEvent;
use crate::process::RunningProcess;
use crate::runtime_api::RuntimeApi;
use crate::sandbox::Sandbox;
use crate::telemetry::Kind;

use extensions::{Extensions, Happened};

/// How long a line that is still in the pipe may take to join the log that a caller asked
/// for.
const TAIL_SETTLES: Duration = Duration::from_millis(15);
/// The peak of memory is read from the system at most this often.
const MEMORY_FRESH: Duration = Duration::from_millis(100);

/// Runs one environment from its start to its end.
pub(crate) async fn run(
    broker: Broker,
    key: EnvironmentKey,
    artifact: Arc<Artifact>,
    sandbox: Arc<Sandbox>,
) {
    match Running::start(&broker, key, &artifact, sandbox.clone()).await {
        Ok(running) => running.drive().await,
        Err(why) => {
            tracing::error!(function = %artifact.function.name, "{why}");
            let left = broker.ended(key, &why);
            log_initialisations(&sandbox, &left.init_reports);
            sandbox.telemetry().end();
        }
    }
}

struct Running {
    broker: Broker,
    key: EnvironmentKey,
    artifact: Arc<Artifact>,
    sandbox: Arc<Sandbox>,
    listener: TcpListener,
    /// What the runtime's process gets.
    variables: Vec<(String, String)>,
    /// Once the external extensions have registered.
    runtime: Option<Runtime>,
    extensions: Extensions,
    /// There were some, even if they have ended.
    had_extensions: bool,
    api: Arc<RuntimeApi>,
    connections: JoinSet<()>,
    stop: Stop,
    /// Why, and when external extensions must have ended.
    end: Option<(StopReason, Instant)>,
    is_frozen: bool,
    peak_memory: u64,
    peak_read: Option<Instant>,
}

/// The runtime's process.
struct Runtime {
    process: Box<dyn RunningProcess>,
    output: mpsc::Receiver<OutputLine>,
    prints: bool,
}

/// How far the end has come.
#[derive(Clone, Copy)]
enum Stop {
    No,
    /// Asked to end; killed if it has not by then.
    Asked {
        kill_at: Instant,
    },
    Killed,
}

/// What woke the task.
enum Event {
    Exited(RuntimeExit),
    Printed(Option<OutputLine>),
    Extension(Happened),
    Connected(std::io::Result<TcpStream>),
    Disconnected,
    Work,
    SpinDown,
    Kill,
}

impl Running {
    async fn start(
        broker: &Broker,
        key: EnvironmentKey,
        artifact: &Arc<Artifact>,
        sandbox: Arc<Sandbox>,
    ) -> Result<Self, InitFailure> {
        let none = |what: &str, error: std::io::Error| {
            InitFailure::NotStarted(format!("no {what} for an execution environment: {error}"))
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(|error| none("port", error))?;
        let address = listener
            .local_addr()
            .map_err(|error| none("address", error))?;
        sandbox.open().map_err(|error| none("folder", error))?;
        let config = &broker.shared.config;
        let phase = broker.init_phase(key);
        let region = &config.region;
        sandbox.say(&PlatformEvent::InitStart { region, phase }, None);
        let variables = environment_variables::compose(
            config,
            Placement {
                artifact,
                runtime_api: address,
                sandbox: &sandbox,
            },
        );
        let programs = Extensions::programs(artifact).await?;
        let env = environment_variables::for_extensions(&variables);
        let extensions = Extensions::start(broker, key, artifact, programs, &env)?;
        let mut running = Self {
            api: Arc::new(RuntimeApi::new(broker.clone(), key, artifact.clone())),
            broker: broker.clone(),
            key,
            artifact: artifact.clone(),
            sandbox,
            listener,
            variables,
            runtime: None,
            had_extensions: !extensions.is_empty(),
            extensions,
            connections: JoinSet::new(),
            stop: Stop::No,
            end: None,
            is_frozen: false,
            peak_memory: 0,
            peak_read: None,
        };
        if !running.had_extensions {
            running.start_runtime()?;
        }
        Ok(running)
    }

    fn start_runtime(&mut self) -> Result<(), InitFailure> {
        let variables = std::mem::take(&mut self.variables);
        let launcher = &self.broker.shared.launcher;
        let mut process = launcher
            .launch(self.artifact.clone(), variables)
            .map_err(InitFailure::NotStarted)?;
        self.broker.started(self.key, process.pid());
        self.runtime = Some(Runtime {
            output: process.take_output(),
            process,
            prints: true,
        });
        Ok(())
    }

    async fn drive(mut self) {
        let Some(wake) = self.broker.wake_signal(self.key) else {
            return;
        };
        let stopping = self.broker.shared.stopping.clone();
        let killing = self.broker.shared.killing.clone();
        let mut timer = self.attend().await;
        let exit = loop {
            let is_stopping = !matches!(self.stop, Stop::No);
            if is_stopping && self.runtime.is_none() {
                break None;
            }
            let is_killed = matches!(self.stop, Stop::Killed);
            let (process, output) = self.runtime.as_mut().map(Runtime::parts).unzip();
            let at = tokio::time::Instant::from_std(timer.unwrap_or_else(Instant::now));
            let event = tokio::select! {
                exit = exit_of(process) => Event::Exited(exit),
                line = line_of(output.flatten()) => Event::Printed(line),
                happened = self.extensions.next() => Event::Extension(happened),
                accepted = self.listener.accept() => Event::Connected(accepted.map(|(s, _)| s)),
                Some(_) = self.connections.join_next() => Event::Disconnected,
                () = wake.notified() => Event::Work,
                () = tokio::time::sleep_until(at), if timer.is_some() => Event::Work,
                () = stopping.cancelled(), if !is_stopping => Event::SpinDown,
                () = killing.cancelled(), if !is_killed => Event::Kill,
            };
            match event {
                Event::Exited(exit) => break Some(exit),
                Event::Printed(Some(line)) => self.print(Kind::Function, &line),
                Event::Printed(None) => {
                    if let Some(runtime) = &mut self.runtime {
                        runtime.prints = false;
                    }
                }
                Event::Extension(Happened::Printed(line)) => self.print(Kind::Extension, &line),
                Event::Extension(Happened::Exited { name, exit }) => {
                    self.broker.extension_exited(self.key, &name, exit);
                    timer = self.attend().await;
                }
                Event::Connected(accepted) => self.connect(accepted),
                Event::Disconnected => {}
                Event::Work => timer = self.attend().await,
                Event::SpinDown => {
                    self.broker.spin_down(self.key);
                    self.begin_stop(StopReason::Spindown);
                    timer = self.attend().await;
                }
                Event::Kill => self.kill_all(),
            }
        };
        self.finish(exit).await;
    }

    fn connect(&mut self, accepted: std::io::Result<TcpStream>) {
        match accepted {
            Ok(stream) => {
                self.connections.spawn(self.api.clone().serve(stream));
            }
            Err(error) => tracing::warn!(%error, "a runtime's connection was not accepted"),
        }
    }

    /// Does what the broker wants done; returns when to look again.
    async fn attend(&mut self) -> Option<Instant> {
        self.print_what_is_there();
        let work = self.broker.work(self.key);
        log_initialisations(&self.sandbox, &work.init_reports);
        for finished in work.finished {
            self.report(finished, true).await;
        }
        if work.start_runtime
            && self.runtime.is_none()
            && matches!(self.stop, Stop::No)
            && let Err(failure) = self.start_runtime()
        {
            tracing::error!(function = %self.artifact.function.name, "{failure}");
            self.broker.lost(self.key, &failure);
            self.begin_stop(StopReason::Failure);
        }
        if matches!(self.stop, Stop::No) && work.freeze != self.is_frozen {
            self.freeze(work.freeze);
        }
        if work.crash {
            self.kill_runtime();
        }
        if let (Some(reason), Stop::No) = (work.stop, self.stop) {
            self.begin_stop(reason);
        }
        match self.stop {
            Stop::Asked { kill_at } if kill_at <= Instant::now() => {
                self.kill_runtime();
                self.stop = Stop::Killed;
                None
            }
            Stop::Asked { kill_at } => Some(kill_at),
            Stop::No => work.deadline,
            Stop::Killed => None,
        }
    }

    fn freeze(&mut self, freeze: bool) {
        if let Some(runtime) = &self.runtime {
            if freeze {
                runtime.process.freeze();
            } else {
                runtime.process.thaw();
            }
        }
        self.extensions.freeze(freeze);
        self.is_frozen = freeze;
    }

    fn kill_runtime(&self) {
        if let Some(runtime) = &self.runtime {
            runtime.process.kill();
        }
    }

    fn kill_all(&mut self) {
        self.kill_runtime();
        self.extensions.kill();
        self.stop = Stop::Killed;
    }

    fn print_what_is_there(&mut self) {
        let mut lines = Vec::new();
        if let Some(runtime) = &mut self.runtime {
            while let Ok(line) = runtime.output.try_recv() {
                lines.push(line);
            }
        }
        for line in lines {
            self.print(Kind::Function, &line);
        }
        for line in self.extensions.printed() {
            self.print(Kind::Extension, &line);
        }
    }

    fn print(&self, kind: Kind, line: &OutputLine) {
        let request = self.broker.printed(self.key, &line.text);
        self.sandbox.print(kind, request, line);
    }

    /// Writes an invocation's last lines and keeps its record.
    async fn report(&mut self, mut finished: Finished, is_alive: bool) {
        if finished.waiting.is_some() && is_alive {
            let settled = tokio::time::Instant::now() + TAIL_SETTLES;
            while let Some(runtime) = &mut self.runtime
                && let Ok(Some(line)) =
                    tokio::time::timeout_at(settled, runtime.output.recv()).await
            {
                finished.tail.push_line(&line.text);
                self.print(Kind::Function, &line);
            }
        }
        if is_alive {
            self.read_memory(false);
        }
        let request_id = finished.request_id;
        finished.runtime_is_done(&self.sandbox);
        match &finished.outcome {
            Outcome::TimedOut { timeout } => self.say(
                &mut finished.tail,
                &PlatformEvent::TimedOut {
                    at: SystemTime::now(),
                    request_id,
                    timeout: *timeout,
                },
            ),
            Outcome::Crashed(exit) => self.say(
                &mut finished.tail,
                &PlatformEvent::Exited {
                    request_id,
                    why: exit.to_string(),
                    error_type: "Runtime.ExitError",
                },
            ),
            _ => {}
        }
        let watched = finished.watched.take().unwrap_or_default();
        let lost_to = match &finished.outcome {
            Outcome::ExtensionFailed(failure) => Some(failure.clone()),
            _ => watched.lost_to,
        };
        let mut status = Status::of(&finished.outcome);
        if let Some(ExtensionFailure { fault, why }) = lost_to {
            let error_type = fault.error_type();
            status = Status::Exited(error_type);
            let event = PlatformEvent::Exited {
                request_id,
                why,
                error_type,
            };
            self.say(&mut finished.tail, &event);
        }
        let report = Report {
            request_id,
            duration: finished.duration,
            memory_size_mb: self.artifact.function.settings.memory_mb,
            max_memory_bytes: self.peak_memory,
            init: finished.init,
            status,
            trace: watched.trace,
            extension_overhead: watched.extension_overhead,
        };
        self.say(&mut finished.tail, &PlatformEvent::End { request_id });
        self.say(&mut finished.tail, &PlatformEvent::Report(&report));
        if let Some(excess) = parity::of_memory(&report) {
            let function = &self.artifact.function.name;
            self.broker.shared.notices.tell(function, &excess);
        }
        if let Some((reply, mut answer)) = finished.waiting.take() {
            answer.log_tail = Some(finished.tail.clone().into_bytes());
            if reply.send(answer).is_err() {
                tracing::info!(%request_id, "the caller had left before the log was complete");
            }
        }
        self.broker.record(self.key, &self.artifact, &finished);
    }

    fn say(&self, tail: &mut LogTail, event: &PlatformEvent<'_>) {
        self.sandbox.say(event, Some(tail));
    }

    fn read_memory(&mut self, now: bool) {
        if now
            || self
                .peak_read
                .is_none_or(|read| read.elapsed() > MEMORY_FRESH)
        {
            // The peak only grows; a process that has ended no longer tells.
            let runtime = self.runtime.as_ref();
            if let Some(peak) = runtime.and_then(|runtime| runtime.process.peak_memory_bytes()) {
                let together = peak + self.extensions.peak_memory_bytes();
                self.peak_memory = self.peak_memory.max(together);
            }
            self.peak_read = Some(Instant::now());
        }
    }
}

impl Runtime {
    /// What is waited for: its end, and its lines as long as there may be any.
    fn parts(
        &mut self,
    ) -> (
        &mut Box<dyn RunningProcess>,
        Option<&mut mpsc::Receiver<OutputLine>>,
    ) {
        (&mut self.process, self.prints.then_some(&mut self.output))
    }
}

async fn exit_of(process: Option<&mut Box<dyn RunningProcess>>) -> RuntimeExit {
    match process {
        Some(process) => process.wait().await,
        None => std::future::pending().await,
    }
}

async fn line_of(output: Option<&mut mpsc::Receiver<OutputLine>>) -> Option<OutputLine> {
    match output {
        Some(output) => output.recv().await,
        None => std::future::pending().await,
    }
}

/// Subscribers were told when it happened.
fn log_initialisations(sandbox: &Sandbox, reports: &[InitReport]) {
    for report in reports {
        for extension in &report.extensions {
            sandbox.log(&PlatformEvent::Extension(extension), None);
        }
        sandbox.log(&PlatformEvent::InitReport(report), None);
    }
}
