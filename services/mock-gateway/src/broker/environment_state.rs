//! One execution environment as the broker sees it: what its runtime and its extensions
//! are doing, and the invocation it has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use function_supervisor::{Artifact, Generation};
use socket2::Socket;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use super::extension::Extension;
use super::in_flight::{Claim, Ending, Finished, InFlight};
use crate::invocation::{Invocation, RequestId, TenantId};
use crate::logs::{FailedInit, InitPhase, InitReport};
use crate::outcome::{ExtensionFailure, ExtensionFault, InitFailure};
use crate::platform_event::PlatformEvent;
use crate::sandbox::Sandbox;

/// Numbers environments across all functions, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EnvironmentId(pub(crate) u64);

/// An invocation on its way to a runtime.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) invocation: Invocation,
    /// The invocation's number at this runtime, echoed with the answer.
    pub(crate) nonce: Uuid,
    /// Milliseconds since the epoch.
    pub(crate) deadline_ms: u64,
}

/// A runtime that waits for `/next`.
pub(crate) struct Poller {
    pub(crate) sender: oneshot::Sender<Delivery>,
    /// A second handle on the connection it waits on, to ask whether anybody is there.
    pub(crate) connection: Arc<Socket>,
}

impl Poller {
    /// Whether the other end still holds the connection. A process that has died has
    /// closed it, even if nobody has reaped it yet.
    pub(crate) fn is_alive(&self) -> bool {
        if self.sender.is_closed() {
            return false;
        }
        let mut byte = [std::mem::MaybeUninit::uninit(); 1];
        match self.connection.peek(&mut byte) {
            Ok(0) => false,
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}

/// What the runtime is doing.
pub(crate) enum Runtime {
    /// Starting, or at work.
    Working,
    /// It asked for the next invocation. `None`: and then its connection went away.
    Polling(Option<Poller>),
}

/// What an environment is doing.
pub(crate) enum Phase {
    /// Between the start of the process and its first `/next`.
    Starting,
    /// Starting over, because the first initialisation took too long, within the
    /// invocation that waits for it: that one's time runs already.
    StartingFor(Box<Claim>),
    /// Ready for an invocation.
    Idle,
    /// The runtime has an invocation.
    Busy(InFlight),
    /// The runtime answered; it, or an extension, has not asked for the next one yet.
    Answered(Ending),
    /// Being stopped; takes no work.
    Stopping(StopReason),
}

/// Why an environment stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// A newer generation serves, or the gateway stops.
    Spindown,
    /// An invocation ran out of time.
    Timeout,
    /// It reported that it cannot be initialised; it is about to exit by itself.
    Failure,
}

impl StopReason {
    /// As extensions are told.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Spindown => "SPINDOWN",
            Self::Timeout => "TIMEOUT",
            Self::Failure => "FAILURE",
        }
    }
}

/// How long environments may go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetimes {
    /// An initialisation before it is started over.
    pub(crate) init: Duration,
    /// Without work.
    pub(crate) idle: Option<Duration>,
    /// Processes are frozen while there is no work.
    pub(crate) freeze: bool,
}

/// One execution environment.
pub(crate) struct Environment {
    pub(crate) id: EnvironmentId,
    pub(crate) artifact: Arc<Artifact>,
    /// What stays when the process is started again.
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) started: Instant,
    /// Since when it has waited for work, if it does.
    pub(crate) idle_since: Instant,
    pub(crate) pid: Option<u32>,
    /// Wakes the task that owns the process: something is to be logged, timed or stopped.
    pub(crate) wake: Arc<Notify>,
    /// When that task comes back by itself. It is woken only for an earlier deadline, so
    /// that one invocation after the other costs no timer.
    pub(crate) timer: Option<Instant>,
    pub(crate) phase: Phase,
    pub(crate) runtime: Runtime,
    pub(crate) extensions: Vec<Extension>,
    /// Ports of this machine that extensions listen on.
    pub(crate) ports: Vec<u16>,
    /// What an extension said before its process ends.
    pub(crate) fault: Option<ExtensionFault>,
    /// How many invocations it was given.
    pub(crate) invocations: u64,
    pub(crate) last_request: Option<RequestId>,
    /// Whom it works for, once it has worked.
    pub(crate) tenant: Option<TenantId>,
    /// How long initialisation took; reported with the first invocation.
    pub(crate) init: Option<Duration>,
    /// Ended invocations that the task has not logged yet.
    pub(crate) finished: Vec<Finished>,
    /// Initialisations that came to nothing, and were not logged yet.
    pub(crate) init_reports: Vec<InitReport>,
    /// An invocation in the middle of which the process is killed, and when.
    pub(crate) doom: Option<(RequestId, Instant)>,
    /// Let go once it has nothing to do.
    pub(crate) retires: bool,
}

impl Environment {
    pub(crate) fn new(id: EnvironmentId, artifact: Arc<Artifact>, sandbox: Arc<Sandbox>) -> Self {
        let now = Instant::now();
        Self {
            id,
            artifact,
            sandbox,
            started: now,
            idle_since: now,
            pid: None,
            wake: Arc::new(Notify::new()),
            timer: None,
            phase: Phase::Starting,
            runtime: Runtime::Working,
            extensions: Vec::new(),
            ports: Vec::new(),
            fault: None,
            invocations: 0,
            last_request: None,
            tenant: None,
            init: None,
            finished: Vec::new(),
            init_reports: Vec::new(),
            doom: None,
            retires: false,
        }
    }

    /// Its initialisation has ended well: subscribers are told, and nobody subscribes any
    /// more.
    pub(crate) fn initialised(&self, phase: InitPhase) {
        let report = self.init_report(phase, None);
        self.tell_initialisation(&report);
        for extension in &report.extensions {
            self.sandbox.log(&PlatformEvent::Extension(extension), None);
        }
        self.sandbox.telemetry().initialised();
    }

    /// Why it ends, when its process ended so: what an extension said before counts.
    pub(crate) fn cause(&self, failure: &InitFailure) -> InitFailure {
        match (failure, self.fault) {
            (InitFailure::Exited(exit), Some(fault)) => InitFailure::Extension(ExtensionFailure {
                fault,
                why: exit.to_string(),
            }),
            _ => failure.clone(),
        }
    }

    /// To be logged, before anything else.
    pub(crate) fn init_came_to_nothing(&mut self, phase: InitPhase, failure: FailedInit) {
        let report = self.init_report(phase, Some(failure));
        self.tell_initialisation(&report);
        self.init_reports.push(report);
    }

    fn init_report(&self, phase: InitPhase, failure: Option<FailedInit>) -> InitReport {
        InitReport {
            duration: self.started.elapsed(),
            phase,
            failure,
            extensions: self.extensions.iter().map(Extension::init).collect(),
        }
    }

    fn tell_initialisation(&self, report: &InitReport) {
        let phase = report.phase;
        let failure = report.failure.as_ref();
        self.sandbox
            .tell(&PlatformEvent::InitRuntimeDone { phase, failure });
        for extension in &report.extensions {
            self.sandbox.tell(&PlatformEvent::Extension(extension));
        }
        self.sandbox.tell(&PlatformEvent::InitReport(report));
    }

    /// Ends the claim of an initialisation that came to nothing.
    pub(crate) fn give_up(&self, claim: Claim) -> InFlight {
        let in_flight = claim.into_in_flight(self);
        in_flight.tell_start(&self.sandbox);
        in_flight
    }

    pub(crate) fn generation(&self) -> Generation {
        self.artifact.generation
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.artifact.function.settings.timeout
    }

    /// When something must have happened: initialisation, the invocation, or the next one.
    pub(crate) fn deadline(&self, lifetimes: Lifetimes) -> Option<Instant> {
        match &self.phase {
            Phase::Starting => Some(self.started + lifetimes.init),
            Phase::StartingFor(claim) => Some(claim.deadline),
            Phase::Busy(in_flight) => Some(in_flight.deadline),
            Phase::Answered(ending) => Some(ending.deadline),
            Phase::Idle => lifetimes.idle.map(|idle| self.idle_since + idle),
            Phase::Stopping(_) => None,
        }
    }

    /// When the owning task looks again by itself.
    pub(crate) fn next_look(&self, now: Instant, lifetimes: Lifetimes) -> Option<Instant> {
        // A timer that is set already stays: the next invocation may do with it.
        let set = self.timer.filter(|timer| now < *timer);
        let deadline = self.deadline(lifetimes);
        match self.phase {
            Phase::Idle => deadline.into_iter().chain(set).min(),
            Phase::Starting
            | Phase::StartingFor(_)
            | Phase::Busy(_)
            | Phase::Answered(_)
            | Phase::Stopping(_) => deadline.or(set),
        }
    }

    /// Whether its runtime has not asked for anything yet.
    pub(crate) fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::StartingFor(_))
    }

    pub(crate) fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping(_))
    }

    /// Whether runtime and extensions have come back for more.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.runtime, Runtime::Polling(_))
            && self.extensions.iter().all(Extension::is_settled)
    }

    /// Tells the owning task to stop the process.
    pub(crate) fn stop(&mut self, reason: StopReason) {
        self.phase = Phase::Stopping(reason);
        self.wake.notify_one();
    }

    /// The request that a printed line belongs to: the current one, or the last.
    pub(crate) fn request_of_output(&self) -> Option<RequestId> {
        match &self.phase {
            Phase::Busy(in_flight) => Some(in_flight.request_id),
            Phase::Answered(ending) => Some(ending.in_flight.request_id),
            Phase::StartingFor(claim) => Some(claim.pending.invocation.request_id),
            Phase::Starting => None,
            Phase::Idle | Phase::Stopping(_) => self.last_request,
        }
    }

    /// Adds a line to the current invocation's log.
    pub(crate) fn add_to_tail(&mut self, line: &str) {
        match &mut self.phase {
            Phase::Busy(in_flight) => in_flight.tail.push_line(line),
            Phase::Answered(ending) => ending.in_flight.tail.push_line(line),
            Phase::StartingFor(claim) => claim.tail.push_line(line),
            Phase::Starting | Phase::Idle | Phase::Stopping(_) => {
                // Printed before the end, read after it: the pipe is slower than the socket.
                if let Some(finished) = self.finished.last_mut() {
                    finished.tail.push_line(line);
                }
            }
        }
    }

    /// The state's name, for people.
    pub(crate) fn state_name(&self, serving: Option<Generation>) -> &'static str {
        match &self.phase {
            Phase::Starting | Phase::StartingFor(_) => "starting",
            Phase::Idle => "idle",
            Phase::Busy(_) | Phase::Answered(_) => {
                if serving.is_some_and(|serving| self.generation() < serving) {
                    "draining"
                } else {
                    "busy"
                }
            }
            Phase::Stopping(_) => "stopping",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_poll_is_alive_until_its_other_end_closes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        connection.set_nonblocking(true).unwrap();
        let (sender, _receiver) = oneshot::channel();
        let poller = Poller {
            sender,
            connection: Arc::new(Socket::from(connection)),
        };
        assert!(poller.is_alive());
        drop(peer);
        assert!(!poller.is_alive(), "nobody polled, and yet it is known");
    }
}
