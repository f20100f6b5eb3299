//! What processes and the tasks that own them tell the broker: polls, answers, errors,
//! extensions, printed lines, the end.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use socket2::Socket;
use tokio::sync::{Notify, mpsc, oneshot};
use uuid::Uuid;

use super::environment_state::{Delivery, Environment, Phase, Poller, Runtime, StopReason};
use super::in_flight::{Ending, Finished};
use super::pool::{Decisions, Pool};
use super::{Answer, Broker, EnvironmentKey, LONGEST_WAIT};
use crate::invocation::RequestId;
use crate::logs::{InitPhase, InitReport};
use crate::outcome::{InitFailure, Outcome};

/// Why a call to the Runtime API is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallRefused {
    /// Not what the runtime may do now: from this state to that one.
    Transition {
        from: &'static str,
        to: &'static str,
    },
    /// This request is not the runtime's.
    UnknownRequest,
    /// The invocation has ended without the runtime, or was never this one.
    StaleInvocation,
}

/// What a runtime says with `/response` or `/error`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said {
    Response,
    Error,
}

impl Said {
    fn state_name(self) -> &'static str {
        match self {
            Self::Response => "InvocationResponse",
            Self::Error => "InvocationErrorResponse",
        }
    }
}

/// What the task that owns a process has to do.
#[derive(Default)]
pub(crate) struct Work {
    /// To be logged.
    pub(crate) finished: Vec<Finished>,
    /// To be logged before those.
    pub(crate) init_reports: Vec<InitReport>,
    /// The process may be frozen.
    pub(crate) freeze: bool,
    /// Stop the process.
    pub(crate) stop: Option<StopReason>,
    /// External extensions have registered: start the runtime.
    pub(crate) start_runtime: bool,
    /// Kill the process, in the middle of what it does.
    pub(crate) crash: bool,
    /// Come back by then.
    pub(crate) deadline: Option<Instant>,
}

fn state_name(phase: &Phase) -> &'static str {
    match phase {
        Phase::Starting | Phase::StartingFor(_) => "Started",
        Phase::Idle => "Ready",
        Phase::Busy(_) => "Running",
        Phase::Answered(_) => "RuntimeResponseSentState",
        Phase::Stopping(_) => "Exited",
    }
}

impl Broker {
    pub(super) fn with_environment<R>(
        &self,
        key: EnvironmentKey,
        change: impl FnOnce(&mut Environment) -> R,
    ) -> Option<R> {
        let mut state = self.lock();
        let pool = state.pools.get_mut(key.pool.0)?;
        pool.environment(key.id).map(change)
    }

    /// The signal that the owning task waits for.
    pub(crate) fn wake_signal(&self, key: EnvironmentKey) -> Option<Arc<Notify>> {
        self.with_environment(key, |environment| environment.wake.clone())
    }

    /// Whether it starts before its first invocation or within.
    pub(crate) fn init_phase(&self, key: EnvironmentKey) -> InitPhase {
        let phase = self.with_environment(key, |environment| match environment.phase {
            Phase::StartingFor(_) => InitPhase::Invoke,
            _ => InitPhase::Init,
        });
        phase.unwrap_or(InitPhase::Init)
    }

    /// The process runs.
    pub(crate) fn started(&self, key: EnvironmentKey, pid: u32) {
        self.with_environment(key, |environment| {
            environment.pid = Some(pid);
            // With external extensions it began with those.
            if environment.extensions.is_empty() {
                environment.started = Instant::now();
            }
        });
        self.announce();
    }

    /// The runtime asks for its next invocation. What it asked for before has ended.
    pub(crate) fn next(
        &self,
        key: EnvironmentKey,
        connection: Arc<Socket>,
    ) -> Result<oneshot::Receiver<Delivery>, CallRefused> {
        let polled = self.with_pool(key.pool, |pool, next_id, decisions| {
            let environment = pool.environment(key.id)?;
            if let Phase::Busy(_) = environment.phase {
                return Some(Err(CallRefused::Transition {
                    from: "Running",
                    to: "Ready",
                }));
            }
            if let Phase::Answered(ending) = &mut environment.phase {
                ending.in_flight.runtime_is_done(&environment.sandbox);
            }
            let (sender, receiver) = oneshot::channel();
            environment.runtime = Runtime::Polling(Some(Poller { sender, connection }));
            pool.settle(key.id, next_id, decisions);
            Some(Ok(receiver))
        });
        // An environment that is gone has no process that could ask: this one lingers.
        polled.flatten().unwrap_or(Err(CallRefused::Transition {
            from: "Exited",
            to: "Ready",
        }))
    }

    /// A poll ended with an invocation that was not written to it.
    pub(crate) fn undelivered(&self, key: EnvironmentKey, delivery: Delivery) {
        self.with_pool(key.pool, |pool, next_id, decisions| {
            let expires = Instant::now() + LONGEST_WAIT;
            pool.take_back(key.id, delivery, expires, next_id, decisions);
        });
    }

    /// The runtime begins to stream its answer: where to, if the caller takes it so. None
    /// also for what is no answer to its invocation; completing it says why.
    pub(crate) fn begin_stream(
        &self,
        key: EnvironmentKey,
        request_id: &str,
        nonce: Option<&str>,
        content_type: Option<String>,
    ) -> Option<mpsc::Sender<Bytes>> {
        let begun = self.with_pool(key.pool, |pool, _, _| {
            let (build, parity) = (pool.build_note(), pool.parity.clone());
            let environment = pool.environment(key.id)?;
            let served_by = Some(environment.generation());
            let Phase::Busy(in_flight) = &mut environment.phase else {
                return None;
            };
            let is_its_own = request_id.parse() == Ok(in_flight.request_id)
                && nonce.is_none_or(|nonce| is_same(nonce, in_flight.nonce));
            if !is_its_own {
                return None;
            }
            if let Some(watched) = &mut in_flight.watched {
                watched.began = Some(Instant::now());
            }
            in_flight
                .reply
                .begin_stream(content_type, |outcome| Answer {
                    outcome,
                    served_by,
                    build,
                    log_tail: None,
                    parity,
                })
        });
        begun.flatten()
    }

    /// The runtime answers its invocation.
    pub(crate) fn complete(
        &self,
        key: EnvironmentKey,
        request_id: &str,
        nonce: Option<&str>,
        said: Said,
        outcome: Outcome,
    ) -> Result<(), CallRefused> {
        let completed = self.with_pool(key.pool, |pool, _, _| {
            complete(pool, key, request_id, nonce, said, outcome)
        });
        completed.unwrap_or(Err(CallRefused::StaleInvocation))
    }

    /// The runtime says that it cannot be initialised.
    pub(crate) fn init_error(&self, key: EnvironmentKey, error: Bytes) -> Result<(), CallRefused> {
        let reported = self.with_pool(key.pool, |pool, next_id, decisions| {
            let environment = pool.environment(key.id)?;
            if !environment.is_starting() {
                return Some(Err(CallRefused::Transition {
                    from: state_name(&environment.phase),
                    to: "InitError",
                }));
            }
            pool.init_gave_up(key.id, error, next_id, decisions);
            Some(Ok(()))
        });
        reported.flatten().unwrap_or(Ok(()))
    }

    /// Runs something to its end, or until everything is killed.
    pub(crate) fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        let killing = self.shared.killing.clone();
        self.shared.tasks.spawn(async move {
            tokio::select! {
                () = work => {}
                () = killing.cancelled() => {}
            }
        });
    }

    /// A line was printed; returns the request it belongs to.
    pub(crate) fn printed(&self, key: EnvironmentKey, line: &str) -> Option<RequestId> {
        self.with_environment(key, |environment| {
            environment.add_to_tail(line);
            environment.request_of_output()
        })
        .flatten()
    }

    /// What the owning task has to do now; enforces deadlines that have passed.
    pub(crate) fn work(&self, key: EnvironmentKey) -> Work {
        let now = Instant::now();
        let work = self.with_pool(key.pool, |pool, next_id, decisions| {
            pool.enforce_deadline(key.id, now, next_id, decisions);
            let lifetimes = pool.lifetimes;
            let environment = pool.environment(key.id)?;
            let deadline = environment.next_look(now, lifetimes);
            let crash = environment.is_to_crash(now);
            let deadline = match environment.doom {
                Some((_, at)) => Some(deadline.map_or(at, |deadline| deadline.min(at))),
                None => deadline,
            };
            environment.timer = deadline;
            Some(Work {
                crash,
                start_runtime: environment.runtime_may_start(),
                finished: std::mem::take(&mut environment.finished),
                init_reports: std::mem::take(&mut environment.init_reports),
                freeze: lifetimes.freeze && matches!(environment.phase, Phase::Idle),
                stop: match environment.phase {
                    Phase::Stopping(reason) => Some(reason),
                    Phase::Starting
                    | Phase::StartingFor(_)
                    | Phase::Idle
                    | Phase::Busy(_)
                    | Phase::Answered(_) => None,
                },
                deadline,
            })
        });
        work.flatten().unwrap_or_default()
    }

    /// Marks an environment as stopping because everything stops.
    pub(crate) fn spin_down(&self, key: EnvironmentKey) {
        self.with_environment(key, |environment| {
            // One that is busy keeps its invocation: it ends with the process.
            if matches!(environment.phase, Phase::Idle | Phase::Starting) {
                environment.phase = Phase::Stopping(StopReason::Spindown);
            }
        });
    }

    /// The runtime has ended; external extensions have not.
    pub(crate) fn lost(&self, key: EnvironmentKey, failure: &InitFailure) {
        self.with_pool(key.pool, |pool, next_id, decisions| {
            pool.lose(key.id, failure, next_id, decisions);
            pool.dispatch(next_id, decisions);
        });
    }

    /// The process has ended, or never was. Returns what is left to log.
    pub(crate) fn ended(&self, key: EnvironmentKey, failure: &InitFailure) -> Work {
        self.with_pool(key.pool, |pool, next_id, decisions: &mut Decisions| {
            pool.environment_ended(key.id, failure, next_id, decisions)
        })
        .unwrap_or_default()
    }
}

fn complete(
    pool: &mut Pool,
    key: EnvironmentKey,
    request_id: &str,
    nonce: Option<&str>,
    said: Said,
    outcome: Outcome,
) -> Result<(), CallRefused> {
    let (build, parity) = (pool.build_note(), pool.parity.clone());
    let environment = pool
        .environment(key.id)
        .ok_or(CallRefused::StaleInvocation)?;
    let refused = |phase: &Phase| CallRefused::Transition {
        from: state_name(phase),
        to: said.state_name(),
    };
    let current = match &environment.phase {
        Phase::Busy(in_flight) => in_flight,
        Phase::Stopping(_) => return Err(CallRefused::StaleInvocation),
        phase @ (Phase::Starting | Phase::StartingFor(_) | Phase::Idle | Phase::Answered(_)) => {
            return Err(refused(phase));
        }
    };
    if nonce.is_some_and(|nonce| !is_same(nonce, current.nonce)) {
        return Err(CallRefused::StaleInvocation);
    }
    if request_id.parse() != Ok(current.request_id) {
        return Err(CallRefused::UnknownRequest);
    }
    let deadline = current.deadline;
    let answer = Answer {
        outcome,
        served_by: Some(environment.generation()),
        build,
        log_tail: None,
        parity,
    };
    let init = environment.init.take();
    if let Phase::Busy(in_flight) = std::mem::replace(&mut environment.phase, Phase::Idle) {
        environment.phase = Phase::Answered(Ending {
            in_flight: in_flight.end(answer, init),
            deadline,
        });
    }
    Ok(())
}

fn is_same(text: &str, nonce: Uuid) -> bool {
    Uuid::try_parse(text) == Ok(nonce)
}
