//! The task that owns one execution environment: its process, its listener, its timers, its
//! log lines. It ends when the process is reaped.

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
use crate::outcome::{InitFailure, Outcome, RuntimeExit};
use crate::parity;
use crate::platform_event::PlatformEvent;
use crate::process::RunningProcess;
use crate::runtime_api::RuntimeApi;
use crate::sandbox::Sandbox;
use crate::telemetry::Kind;

/// From TERM to KILL when an extension of the function's own processes is registered.
const GRACE_INTERNAL: Duration = Duration::from_millis(500);
/// From TERM to KILL when an extension has asked to be told.
const GRACE_TOLD: Duration = Duration::from_secs(2);
/// How long connections of a dead process may take to be read to their end.
const LAST_WORDS: Duration = Duration::from_millis(200);
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
            let left = broker.ended(key, &InitFailure::NotStarted(why));
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
    process: Box<dyn RunningProcess>,
    output: mpsc::Receiver<OutputLine>,
    api: Arc<RuntimeApi>,
    connections: JoinSet<()>,
    stop: Stop,
    is_frozen: bool,
    peak_memory: u64,
    peak_read: Option<Instant>,
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
    ) -> Result<Self, String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(|error| format!("no port for an execution environment: {error}"))?;
        let address = listener
            .local_addr()
            .map_err(|error| format!("no address for an execution environment: {error}"))?;
        sandbox
            .open()
            .map_err(|error| format!("no folder for an execution environment: {error}"))?;
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
        let mut process = broker.shared.launcher.launch(artifact.clone(), variables)?;
        broker.started(key, process.pid());
        let output = process.take_output();
        Ok(Self {
            api: Arc::new(RuntimeApi::new(broker.clone(), key, artifact.clone())),
            broker: broker.clone(),
            key,
            artifact: artifact.clone(),
            sandbox,
            listener,
            process,
            output,
            connections: JoinSet::new(),
            stop: Stop::No,
            is_frozen: false,
            peak_memory: 0,
            peak_read: None,
        })
    }

    async fn drive(mut self) {
        let Some(wake) = self.broker.wake_signal(self.key) else {
            return;
        };
        let stopping = self.broker.shared.stopping.clone();
        let killing = self.broker.shared.killing.clone();
        let mut prints = true;
        let mut timer = self.attend().await;
        let exit = loop {
            let is_stopping = !matches!(self.stop, Stop::No);
            let is_killed = matches!(self.stop, Stop::Killed);
            let at = tokio::time::Instant::from_std(timer.unwrap_or_else(Instant::now));
            let event = tokio::select! {
                exit = self.process.wait() => Event::Exited(exit),
                line = self.output.recv(), if prints => Event::Printed(line),
                accepted = self.listener.accept() => Event::Connected(accepted.map(|(s, _)| s)),
                Some(_) = self.connections.join_next() => Event::Disconnected,
                () = wake.notified() => Event::Work,
                () = tokio::time::sleep_until(at), if timer.is_some() => Event::Work,
                () = stopping.cancelled(), if !is_stopping => Event::SpinDown,
                () = killing.cancelled(), if !is_killed => Event::Kill,
            };
            match event {
                Event::Exited(exit) => break exit,
                Event::Printed(Some(line)) => self.print(line),
                Event::Printed(None) => prints = false,
                Event::Connected(accepted) => self.connect(accepted),
                Event::Disconnected => {}
                Event::Work => timer = self.attend().await,
                Event::SpinDown => {
                    self.broker.spin_down(self.key);
                    self.begin_stop(StopReason::Spindown);
                    timer = self.attend().await;
                }
                Event::Kill => {
                    self.process.kill();
                    self.stop = Stop::Killed;
                }
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
        if matches!(self.stop, Stop::No) && work.freeze != self.is_frozen {
            self.freeze(work.freeze);
        }
        if work.crash {
            self.process.kill();
        }
        if let (Some(reason), Stop::No) = (work.stop, self.stop) {
            self.begin_stop(reason);
        }
        match self.stop {
            Stop::Asked { kill_at } if kill_at <= Instant::now() => {
                self.process.kill();
                self.stop = Stop::Killed;
                None
            }
            Stop::Asked { kill_at } => Some(kill_at),
            Stop::No => work.deadline,
            Stop::Killed => None,
        }
    }

    fn freeze(&mut self, freeze: bool) {
        if freeze {
            self.process.freeze();
        } else {
            self.process.thaw();
        }
        self.is_frozen = freeze;
    }

    /// As AWS does it: no time at all for a bare runtime, TERM and a moment once an
    /// extension is registered.
    fn begin_stop(&mut self, reason: StopReason) {
        self.read_memory(true);
        if self.is_frozen {
            self.freeze(false);
        }
        drop(self.sandbox.telemetry().flush());
        let grace = self.broker.tell_shutdown(self.key, reason, |told| {
            if told { GRACE_TOLD } else { GRACE_INTERNAL }
        });
        self.stop = match (reason, grace) {
            // It has said why it fails and ends by itself.
            (StopReason::Failure, _) => Stop::Asked {
                kill_at: Instant::now() + GRACE_INTERNAL,
            },
            (_, Some(grace)) => {
                self.process.terminate();
                Stop::Asked {
                    kill_at: Instant::now() + grace,
                }
            }
            (_, None) => {
                self.process.kill();
                Stop::Killed
            }
        };
    }

    /// The process is gone: what it sent last is read, then its invocation is ended.
    async fn finish(mut self, exit: RuntimeExit) {
        while let Ok(accepted) = tokio::time::timeout(Duration::ZERO, self.listener.accept()).await
        {
            self.connect(accepted.map(|(stream, _)| stream));
        }
        let connections = &mut self.connections;
        let read = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WORDS, read).await.is_err() {
            tracing::debug!("somebody else holds a dead runtime's connection");
        }
        self.connections.shutdown().await;
        self.print_what_is_there();
        let asked = !matches!(self.stop, Stop::No);
        if !asked {
            tracing::warn!(
                function = %self.artifact.function.name,
                generation = %self.artifact.generation,
                "{exit}"
            );
        }
        let mut left = self.broker.work(self.key);
        let ended = self.broker.ended(self.key, &InitFailure::Exited(exit));
        left.init_reports.extend(ended.init_reports);
        left.finished.extend(ended.finished);
        log_initialisations(&self.sandbox, &left.init_reports);
        for finished in left.finished {
            self.report(finished, false).await;
        }
        self.sandbox.telemetry().end();
    }

    fn print_what_is_there(&mut self) {
        while let Ok(line) = self.output.try_recv() {
            self.print(line);
        }
    }

    fn print(&self, line: OutputLine) {
        let request = self.broker.printed(self.key, &line.text);
        self.sandbox.print(Kind::Function, request, line);
    }

    /// Writes an invocation's last lines and keeps its record.
    async fn report(&mut self, mut finished: Finished, is_alive: bool) {
        if finished.waiting.is_some() && is_alive {
            let settled = tokio::time::Instant::now() + TAIL_SETTLES;
            while let Ok(Some(line)) = tokio::time::timeout_at(settled, self.output.recv()).await {
                finished.tail.push_line(&line.text);
                self.print(line);
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
                    exit: *exit,
                },
            ),
            _ => {}
        }
        let watched = finished.watched.take().unwrap_or_default();
        let report = Report {
            request_id,
            duration: finished.duration,
            memory_size_mb: self.artifact.function.settings.memory_mb,
            max_memory_bytes: self.peak_memory,
            init: finished.init,
            status: Status::of(&finished.outcome),
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
            if let Some(peak) = self.process.peak_memory_bytes() {
                self.peak_memory = self.peak_memory.max(peak);
            }
            self.peak_read = Some(Instant::now());
        }
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
