//! What faults do to environments: a process is killed in the middle of its invocation, an
//! invocation has less time than its function's, environments are let go.

use std::time::{Duration, Instant};

use app_model::FunctionName;

use super::environment_state::{Environment, Phase, StopReason};
use super::in_flight::Claim;
use super::pool::Pool;
use super::{Broker, PoolId};
use crate::invocation::RequestId;

/// Invocations of one function that are to go wrong and were not handed over yet, at most.
const MAX_DOOMED: usize = 1_000;

/// What is to happen to an invocation once a function has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doom {
    request: RequestId,
    /// Its process is killed so long afterwards.
    crash: Option<Duration>,
    /// It has so long, if the function's timeout is longer.
    timeout: Option<Duration>,
}

impl Doom {
    /// None if nothing is to happen.
    pub(crate) fn of(
        request: RequestId,
        crash: Option<Duration>,
        timeout: Option<Duration>,
    ) -> Option<Self> {
        (crash.is_some() || timeout.is_some()).then_some(Self {
            request,
            crash,
            timeout,
        })
    }
}

impl Broker {
    fn pool_named(&self, function: &FunctionName) -> Option<PoolId> {
        self.lock().index.get(function).copied()
    }

    /// Lets an invocation go wrong once it is handed over.
    pub(crate) fn doom(&self, function: &FunctionName, doom: Doom) {
        let Some(id) = self.pool_named(function) else {
            return;
        };
        self.with_pool(id, |pool, _, _| {
            if pool.doomed.len() < MAX_DOOMED {
                pool.doomed.push(doom);
            } else {
                let request = doom.request;
                tracing::warn!(%request, "too many invocations are to go wrong: this one is spared");
            }
        });
    }

    /// The invocation has ended, whether it was handed over or not.
    pub(crate) fn pardon(&self, function: &FunctionName, request: RequestId) {
        let Some(id) = self.pool_named(function) else {
            return;
        };
        self.with_pool(id, |pool, _, _| {
            pool.doomed.retain(|doom| doom.request != request);
        });
    }

    /// Lets every environment go, once it has nothing to do: the next invocation starts one.
    pub(crate) fn let_go(&self, function: &FunctionName) {
        let Some(id) = self.pool_named(function) else {
            return;
        };
        self.with_pool(id, |pool, _, _| {
            for environment in &mut pool.environments {
                match environment.phase {
                    Phase::Idle => environment.stop(StopReason::Spindown),
                    Phase::Busy(_) | Phase::Answered(_) => environment.retires = true,
                    Phase::Starting | Phase::StartingFor(_) | Phase::Stopping(_) => {}
                }
            }
        });
    }
}

impl Pool {
    /// What is to happen to this invocation.
    pub(super) fn doom_of(&self, request: RequestId) -> Option<Doom> {
        self.doomed
            .iter()
            .find(|doom| doom.request == request)
            .copied()
    }
}

impl Claim {
    /// Shortens its time, if it is to have less than the function's timeout.
    pub(super) fn shorten(&mut self, doom: Doom) {
        if let Some(timeout) = doom.timeout {
            self.deadline = self.deadline.min(self.started + timeout);
        }
    }
}

impl Environment {
    /// It was given an invocation that is to go wrong.
    pub(super) fn meets(&mut self, doom: Doom, now: Instant) {
        if let Some(after) = doom.crash {
            self.doom = Some((doom.request, now + after));
            self.wake.notify_one();
        }
    }

    /// Whether the invocation's process is to be killed now.
    pub(crate) fn is_to_crash(&mut self, now: Instant) -> bool {
        let Some((request, at)) = self.doom else {
            return false;
        };
        let has_it = matches!(&self.phase, Phase::Busy(flight) if flight.request_id == request);
        if has_it && now < at {
            return false;
        }
        self.doom = None;
        has_it
    }
}
