//! What faults do to environments: a process is killed in the middle of its invocation,
//! environments are let go.

use std::time::{Duration, Instant};

use app_model::FunctionName;

use super::environment_state::{Environment, Phase, StopReason};
use super::{Broker, PoolId};
use crate::invocation::RequestId;

/// Invocations of one function that are to crash and were not handed over yet, at most.
const MAX_DOOMED: usize = 1_000;

impl Broker {
    fn pool_named(&self, function: &FunctionName) -> Option<PoolId> {
        self.lock().index.get(function).copied()
    }

    /// The process that is given this invocation is killed so long afterwards.
    pub(crate) fn doom(&self, function: &FunctionName, request: RequestId, after: Duration) {
        let Some(id) = self.pool_named(function) else {
            return;
        };
        self.with_pool(id, |pool, _, _| {
            if pool.doomed.len() < MAX_DOOMED {
                pool.doomed.push((request, after));
            } else {
                tracing::warn!(%request, "too many invocations are to crash: this one is spared");
            }
        });
    }

    /// The invocation has ended, whether it was handed over or not.
    pub(crate) fn pardon(&self, function: &FunctionName, request: RequestId) {
        let Some(id) = self.pool_named(function) else {
            return;
        };
        self.with_pool(id, |pool, _, _| {
            pool.doomed.retain(|(doomed, _)| *doomed != request);
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

impl Environment {
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
