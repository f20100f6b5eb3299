//! What happens to a function's environments: they become ready, end invocations, run out
//! of time, fail or die, and what follows for the others and for whoever waits.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use function_supervisor::{Artifact, Generation};

use super::Answer;
use super::environment_state::{Delivery, EnvironmentId, Phase, Runtime, StopReason};
use super::in_flight::{Ending, InFlight};
use super::pool::{Decisions, Pending, Pool, give};
use super::runtime_calls::Work;
use crate::logs::{FailedInit, InitPhase};
use crate::outcome::{InitFailure, Outcome};

impl Pool {
    /// Looks whether an environment has become ready, or has ended an invocation, and if
    /// so what follows for it and for the others.
    pub(crate) fn settle(
        &mut self,
        id: EnvironmentId,
        next_id: &mut u64,
        decisions: &mut Decisions,
    ) {
        let removed = self.removed;
        let serving = self.serving_generation();
        let freeze = self.lifetimes.freeze;
        let mut claim = None;
        let Some(environment) = self.environment(id) else {
            return;
        };
        if !environment.is_settled() {
            return;
        }
        if freeze {
            environment.wake.notify_one();
        }
        match std::mem::replace(&mut environment.phase, Phase::Idle) {
            Phase::Starting => {
                environment.init = Some(environment.started.elapsed());
                environment.idle_since = Instant::now();
                environment.initialised(InitPhase::Init);
                let artifact = environment.artifact.clone();
                decisions.changed = true;
                self.became_ready(artifact);
            }
            Phase::StartingFor(waiting) => {
                claim = Some(*waiting);
                environment.initialised(InitPhase::Invoke);
                let artifact = environment.artifact.clone();
                decisions.changed = true;
                self.became_ready(artifact);
            }
            Phase::Answered(ending) => {
                let Ending { mut in_flight, .. } = ending;
                in_flight.all_are_done();
                environment.idle_since = in_flight.started + in_flight.duration;
                environment.finished.push(in_flight);
                environment.wake.notify_one();
            }
            Phase::Idle => {}
            other @ (Phase::Busy(_) | Phase::Stopping(_)) => {
                environment.phase = other;
                return;
            }
        }
        if let Some(claim) = claim {
            let arn = self.arn.clone();
            if let Some(environment) = self.environments.iter_mut().find(|e| e.id == id)
                && let Err(pending) = give(environment, claim, &arn, freeze)
            {
                self.queue.push_front(*pending);
            }
            self.dispatch(next_id, decisions);
            return;
        }
        let superseded = serving.max(self.serving_generation());
        if let Some(environment) = self.environment(id)
            && (removed
                || environment.retires
                || superseded.is_some_and(|newest| environment.generation() < newest))
        {
            environment.stop(StopReason::Spindown);
        }
        self.dispatch(next_id, decisions);
    }

    /// A generation has its first environment: older ones make room.
    fn became_ready(&mut self, artifact: Arc<Artifact>) {
        let generation = artifact.generation;
        if matches!(&self.init_failure, Some((failed, _)) if *failed <= generation) {
            self.init_failure = None;
        }
        if self.serving_generation() >= Some(generation) {
            return;
        }
        self.serving = Some(artifact);
        for environment in &mut self.environments {
            if environment.generation() < generation
                && matches!(environment.phase, Phase::Idle | Phase::Starting)
            {
                environment.stop(StopReason::Spindown);
            }
        }
    }

    /// Ends the invocation an environment has, or its initialisation, if its time is up.
    pub(crate) fn enforce_deadline(
        &mut self,
        id: EnvironmentId,
        now: Instant,
        next_id: &mut u64,
        decisions: &mut Decisions,
    ) {
        let lifetimes = self.lifetimes;
        let Some(environment) = self.environment(id) else {
            return;
        };
        let deadline = environment.deadline(lifetimes);
        if deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        let stopping = Phase::Stopping(StopReason::Timeout);
        match std::mem::replace(&mut environment.phase, stopping) {
            Phase::Starting => {
                let failure = InitFailure::TimedOut(lifetimes.init);
                environment.init_came_to_nothing(InitPhase::Init, FailedInit::Timeout);
                self.init_took_too_long(id, failure, next_id, decisions);
            }
            Phase::StartingFor(claim) => {
                environment.init_came_to_nothing(InitPhase::Invoke, FailedInit::Timeout);
                let in_flight = environment.give_up(*claim);
                self.starts_over = Some(environment.generation());
                self.vacate(id);
                let timeout = in_flight.deadline - in_flight.started;
                let outcome = Outcome::TimedOut { timeout };
                self.end_in_flight(id, in_flight, outcome);
                self.dispatch(next_id, decisions);
            }
            // It has waited long enough.
            Phase::Idle => environment.phase = Phase::Stopping(StopReason::Spindown),
            Phase::Busy(in_flight) => {
                let timeout = in_flight.deadline - in_flight.started;
                let outcome = Outcome::TimedOut { timeout };
                self.vacate(id);
                self.end_in_flight(id, in_flight, outcome);
                self.replace(next_id, decisions);
                self.dispatch(next_id, decisions);
            }
            // Answered in time, but an extension, or the runtime itself, went on too long.
            Phase::Answered(Ending { in_flight, .. }) => {
                environment.finished.push(in_flight);
                self.vacate(id);
                self.replace(next_id, decisions);
                self.dispatch(next_id, decisions);
            }
            other @ Phase::Stopping(_) => environment.phase = other,
        }
        if let Some(environment) = self.environment(id) {
            environment.wake.notify_one();
        }
    }

    /// The runtime, or an extension, has said why it cannot be initialised: its JSON. It is
    /// about to exit by itself.
    pub(crate) fn init_gave_up(
        &mut self,
        id: EnvironmentId,
        error: Bytes,
        next_id: &mut u64,
        decisions: &mut Decisions,
    ) {
        let Some(environment) = self.environment(id) else {
            return;
        };
        let generation = environment.generation();
        let failure = InitFailure::Reported(error.clone());
        let stopping = Phase::Stopping(StopReason::Failure);
        match std::mem::replace(&mut environment.phase, stopping) {
            Phase::StartingFor(claim) => {
                environment.init_came_to_nothing(InitPhase::Invoke, failure.as_logged());
                let in_flight = environment.give_up(*claim);
                self.starts_over = Some(generation);
                self.vacate(id);
                let outcome = Outcome::FunctionError(error);
                self.end_in_flight(id, in_flight, outcome);
                self.dispatch(next_id, decisions);
            }
            Phase::Starting
            | Phase::Idle
            | Phase::Busy(_)
            | Phase::Answered(_)
            | Phase::Stopping(_) => {
                environment.init_came_to_nothing(InitPhase::Init, failure.as_logged());
                self.init_failed(generation, failure, next_id, decisions);
            }
        }
        if let Some(environment) = self.environment(id) {
            environment.wake.notify_one();
        }
    }

    /// As AWS does it: what takes longer than that is started over, in the same place, once
    /// there is an invocation, and counts as part of it.
    fn init_took_too_long(
        &mut self,
        id: EnvironmentId,
        failure: InitFailure,
        next_id: &mut u64,
        decisions: &mut Decisions,
    ) {
        let Some(generation) = self.environment(id).map(|e| e.generation()) else {
            return;
        };
        let serving = self.serving_generation();
        if serving.is_some_and(|serving| serving < generation) {
            self.init_failed(generation, failure, next_id, decisions);
            return;
        }
        decisions.changed = true;
        self.init_failure = Some((generation, failure));
        self.starts_over = Some(generation);
        self.vacate(id);
        self.dispatch(next_id, decisions);
    }

    /// Ends an invocation whose runtime will not answer it.
    pub(super) fn end_in_flight(
        &mut self,
        id: EnvironmentId,
        in_flight: InFlight,
        outcome: Outcome,
    ) {
        let (build, parity) = (self.build_note(), self.parity.clone());
        let Some(environment) = self.environment(id) else {
            return;
        };
        let answer = Answer {
            outcome,
            served_by: Some(environment.generation()),
            build,
            log_tail: None,
            parity,
        };
        let init = environment.init.take();
        let mut finished = in_flight.end(answer, init);
        if let Some(watched) = &mut finished.watched {
            watched.answered = None;
        }
        environment.finished.push(finished);
    }

    /// A generation cannot be initialised: the older one serves on, or the callers hear of
    /// it.
    pub(crate) fn init_failed(
        &mut self,
        generation: Generation,
        failure: InitFailure,
        next_id: &mut u64,
        decisions: &mut Decisions,
    ) {
        decisions.changed = true;
        if self
            .init_failure
            .as_ref()
            .is_none_or(|(failed, _)| *failed <= generation)
        {
            self.init_failure = Some((generation, failure.clone()));
        }
        let another_serves = self
            .environments
            .iter()
            .any(|e| !e.is_stopping() && Some(e.generation()) >= self.serving_generation());
        let older_can = self
            .serving_generation()
            .is_some_and(|serving| serving < generation);
        if another_serves || older_can {
            self.dispatch(next_id, decisions);
        } else {
            self.fail_queue(&Outcome::InitFailed(failure));
        }
    }

    /// The process of an environment has ended, or never started. Returns what is left to
    /// log.
    pub(crate) fn environment_ended(
        &mut self,
        id: EnvironmentId,
        failure: &InitFailure,
        next_id: &mut u64,
        decisions: &mut Decisions,
    ) -> Work {
        self.lose(id, failure, next_id, decisions);
        let ended = self.environments.iter().position(|e| e.id == id);
        let left = ended.map(|index| self.environments.remove(index));
        self.start_after(next_id, decisions);
        self.dispatch(next_id, decisions);
        left.map_or_else(Work::default, |environment| Work {
            finished: environment.finished,
            init_reports: environment.init_reports,
            ..Work::default()
        })
    }

    /// An environment does no more work, for this reason; whoever waits for it hears.
    pub(crate) fn lose(
        &mut self,
        id: EnvironmentId,
        failure: &InitFailure,
        next_id: &mut u64,
        decisions: &mut Decisions,
    ) {
        let Some(environment) = self.environment(id) else {
            return;
        };
        decisions.changed = true;
        let used = environment.invocations > 0;
        let generation = environment.generation();
        let failure = &environment.cause(failure);
        let stopping = match environment.phase {
            Phase::Stopping(reason) => reason,
            _ => StopReason::Failure,
        };
        let phase = std::mem::replace(&mut environment.phase, Phase::Stopping(stopping));
        match phase {
            Phase::Starting => {
                environment.init_came_to_nothing(InitPhase::Init, failure.as_logged());
                self.init_failed(generation, failure.clone(), next_id, decisions);
            }
            Phase::StartingFor(claim) => {
                environment.init_came_to_nothing(InitPhase::Invoke, failure.as_logged());
                let in_flight = environment.give_up(*claim);
                self.starts_over = Some(generation);
                self.vacate(id);
                self.end_in_flight(id, in_flight, failure.as_outcome());
            }
            Phase::Busy(in_flight) => {
                self.vacate(id);
                self.end_in_flight(id, in_flight, failure.as_outcome());
                self.replace(next_id, decisions);
            }
            Phase::Answered(mut ending) => {
                if let InitFailure::Extension(failure) = failure
                    && let Some(watched) = &mut ending.in_flight.watched
                {
                    watched.lost_to = Some(failure.clone());
                }
                environment.finished.push(ending.in_flight);
                self.vacate(id);
                self.replace(next_id, decisions);
            }
            // One that dies before its first invocation is not started over and over: the
            // next request does that.
            Phase::Idle if used => self.replace(next_id, decisions),
            Phase::Idle | Phase::Stopping(_) => {}
        }
    }

    /// A runtime's connection went away with an invocation that nobody read: it goes back
    /// to the head of the queue.
    pub(crate) fn take_back(
        &mut self,
        id: EnvironmentId,
        delivery: Delivery,
        expires: Instant,
        next_id: &mut u64,
        decisions: &mut Decisions,
    ) {
        let Some(environment) = self.environment(id) else {
            return;
        };
        match std::mem::replace(&mut environment.phase, Phase::Idle) {
            Phase::Busy(in_flight) if in_flight.nonce == delivery.nonce => {
                environment.runtime = Runtime::Polling(None);
                environment.invocations -= 1;
                self.queue.push_front(Pending {
                    invocation: delivery.invocation,
                    reply: in_flight.reply,
                    expires,
                });
                self.dispatch(next_id, decisions);
            }
            other => environment.phase = other,
        }
    }
}
