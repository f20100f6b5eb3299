//! One function's environments and the invocations that wait for one: who gets what, what
//! to start and what to stop. Decides only; nothing here waits or starts anything.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use app_model::{Excess, Function};
use function_supervisor::{Artifact, BuildState, FunctionEntry, Generation};
use http::HeaderValue;
use jiff::Timestamp;
use uuid::Uuid;

use super::environment_state::{
    Delivery, Environment, EnvironmentId, Lifetimes, Phase, Runtime, StopReason,
};
use super::extension::ExtensionEvent;
use super::in_flight::{Claim, InFlight, Watched};
use super::mishaps::Doom;
use super::reply::Reply;
use super::{Answer, BuildNote};
use crate::extensions_api;
use crate::function_logs::FunctionLog;
use crate::invocation::{Invocation, RequestId, TraceId};
use crate::outcome::{InitFailure, Outcome};
use crate::sandbox::Sandbox;

/// An invocation that waits for an environment.
pub(crate) struct Pending {
    pub(crate) invocation: Invocation,
    pub(crate) reply: Reply,
    pub(crate) expires: Instant,
}

/// What a pool decided, to be done once the lock is released.
#[derive(Default)]
pub(crate) struct Decisions {
    /// Environments to start.
    pub(crate) launches: Vec<(EnvironmentId, Arc<Artifact>, Arc<Sandbox>)>,
    /// Look again shortly: an environment is about to come back.
    pub(crate) look_again: bool,
    /// Invocations that were handed over, for the log.
    pub(crate) handed_over: Vec<HandedOver>,
    /// A generation became ready, or failed to: told to whoever watches.
    pub(crate) changed: bool,
}

/// An invocation that was handed over, and where.
pub(crate) struct HandedOver {
    pub(crate) request_id: RequestId,
    /// Where somebody wants it.
    pub(crate) trace: Option<TraceId>,
    pub(crate) sandbox: Arc<Sandbox>,
}

impl HandedOver {
    fn new(invocation: &Invocation, sandbox: &Arc<Sandbox>) -> Self {
        Self {
            request_id: invocation.request_id,
            trace: sandbox.wants_records().then(|| invocation.trace_id.clone()),
            sandbox: sandbox.clone(),
        }
    }
}

/// One function's environments and queue.
pub(crate) struct Pool {
    pub(crate) function: Function,
    pub(crate) build: BuildState,
    /// The newest good build.
    pub(crate) artifact: Option<Arc<Artifact>>,
    /// The newest build that was ready for an invocation: new ones go there.
    pub(crate) serving: Option<Arc<Artifact>>,
    /// The newest build that never became ready.
    pub(crate) init_failure: Option<(Generation, InitFailure)>,
    pub(crate) queue: VecDeque<Pending>,
    pub(crate) environments: Vec<Environment>,
    pub(crate) max_environments: usize,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) log: FunctionLog,
    /// Of a build whose process was killed: the place that the next one gets.
    pub(crate) vacant: Option<(Generation, Arc<Sandbox>)>,
    /// A build whose initialisation took too long: the next one is started within an
    /// invocation.
    pub(crate) starts_over: Option<Generation>,
    /// Invocations at the same time, at most, if that was set.
    pub(crate) reserved: Option<usize>,
    /// Some caller has named a tenant.
    pub(crate) has_tenants: bool,
    /// No longer declared.
    pub(crate) removed: bool,
    /// An extension listens on a port of this machine, which environments share here:
    /// there is one environment at a time.
    pub(crate) one_at_a_time: bool,
    /// The newest build starts once the last environment has ended.
    pub(crate) starts_after: bool,
    /// A second look is due already.
    pub(crate) looking_again: bool,
    /// Invocations that are to go wrong once they are handed over.
    pub(crate) doomed: Vec<Doom>,
    /// As functions are called by.
    pub(crate) arn: Arc<str>,
    /// What AWS would refuse of the function as it is declared now.
    pub(crate) excesses: Vec<Excess>,
    /// The same, as answers say it.
    pub(crate) parity: Option<Arc<HeaderValue>>,
}

impl Pool {
    pub(crate) fn new(
        entry: &FunctionEntry,
        max_environments: usize,
        lifetimes: Lifetimes,
        log: FunctionLog,
        arn: Arc<str>,
    ) -> Self {
        Self {
            function: entry.function.clone(),
            build: entry.build.clone(),
            artifact: None,
            serving: None,
            init_failure: None,
            queue: VecDeque::new(),
            environments: Vec::new(),
            max_environments: max_environments.max(1),
            lifetimes,
            log,
            vacant: None,
            starts_over: None,
            reserved: None,
            has_tenants: false,
            removed: false,
            one_at_a_time: false,
            starts_after: false,
            looking_again: false,
            doomed: Vec::new(),
            arn,
            excesses: Vec::new(),
            parity: None,
        }
    }

    pub(crate) fn environment(&mut self, id: EnvironmentId) -> Option<&mut Environment> {
        self.environments.iter_mut().find(|e| e.id == id)
    }

    pub(crate) fn serving_generation(&self) -> Option<Generation> {
        self.serving.as_ref().map(|artifact| artifact.generation)
    }

    /// The build that a request would meet now.
    pub(crate) fn next_generation(&self) -> Option<Generation> {
        if self.environments.iter().any(|e| !e.is_stopping()) {
            self.serving_generation()
        } else {
            self.launch_artifact().map(|artifact| artifact.generation)
        }
    }

    /// What an answer says of the build.
    pub(crate) fn build_note(&self) -> BuildNote {
        match &self.build {
            BuildState::Failed { .. } => BuildNote::Failed,
            BuildState::Building { .. } => BuildNote::Building,
            BuildState::NotBuilt | BuildState::Built => {
                match (&self.init_failure, &self.artifact) {
                    (Some((failed, _)), Some(newest)) if *failed == newest.generation => {
                        BuildNote::InitFailed
                    }
                    _ => BuildNote::Current,
                }
            }
        }
    }

    pub(crate) fn answer(&self, outcome: Outcome, served_by: Option<Generation>) -> Answer {
        Answer {
            outcome,
            served_by,
            build: self.build_note(),
            log_tail: None,
            parity: self.parity.clone(),
        }
    }

    /// Answers everybody who waits.
    pub(crate) fn fail_queue(&mut self, outcome: &Outcome) {
        for pending in std::mem::take(&mut self.queue) {
            let answer = self.answer(outcome.clone(), None);
            if pending.reply.send(answer).is_err() {
                tracing::info!(
                    request_id = %pending.invocation.request_id,
                    "the caller had left before the invocation failed"
                );
            }
        }
    }

    /// Hands waiting invocations to idle environments and says what to start.
    pub(crate) fn dispatch(&mut self, next_id: &mut u64, decisions: &mut Decisions) {
        let now = Instant::now();
        let mut passed_over = VecDeque::new();
        while let Some(pending) = self.queue.pop_front() {
            if pending.expires <= now {
                tracing::warn!(
                    request_id = %pending.invocation.request_id,
                    "an invocation waited too long for an environment and was dropped"
                );
                continue;
            }
            if let Some(pending) = self.hand_over(pending, now, decisions) {
                if self.has_tenants {
                    // Who is free may be so for another.
                    passed_over.push_back(pending);
                    continue;
                }
                self.queue.push_front(pending);
                break;
            }
        }
        if !passed_over.is_empty() {
            self.queue = passed_over;
        }
        self.plan_launches(next_id, false, decisions);
    }

    /// Gives an invocation to an idle environment of the serving generation, the one used
    /// last first: the others may then be let go. Gives it back if nobody is free.
    fn hand_over(
        &mut self,
        mut pending: Pending,
        now: Instant,
        decisions: &mut Decisions,
    ) -> Option<Pending> {
        let Some(serving) = self.serving_generation() else {
            return Some(pending);
        };
        let doom = self.doom_of(pending.invocation.request_id);
        let (arn, freeze) = (&self.arn, self.lifetimes.freeze);
        for environment in self.environments.iter_mut().rev() {
            if environment.generation() != serving || !matches!(environment.phase, Phase::Idle) {
                continue;
            }
            if !environment.is_for(pending.invocation.tenant.as_ref()) {
                continue;
            }
            let handed_over = HandedOver::new(&pending.invocation, &environment.sandbox);
            let mut claim = Claim::new(pending, now, environment);
            if let Some(doom) = doom {
                claim.shorten(doom);
            }
            match give(environment, claim, arn, freeze) {
                Ok(()) => {
                    if let Some(doom) = doom {
                        environment.meets(doom, now);
                    }
                    decisions.handed_over.push(handed_over);
                    return None;
                }
                Err(not_taken) => pending = *not_taken,
            }
        }
        Some(pending)
    }

    /// The build that a new environment runs: the newest, unless that one cannot be
    /// initialised and an older one could.
    fn launch_artifact(&self) -> Option<Arc<Artifact>> {
        let newest = self.artifact.as_ref()?;
        let failed =
            matches!(&self.init_failure, Some((failed, _)) if *failed == newest.generation);
        match &self.serving {
            Some(serving) if failed => Some(serving.clone()),
            _ => Some(newest.clone()),
        }
    }

    /// Starts as many environments as there are invocations that none is about to take.
    pub(crate) fn plan_launches(
        &mut self,
        next_id: &mut u64,
        impatient: bool,
        decisions: &mut Decisions,
    ) {
        if self.queue.is_empty() || self.removed {
            return;
        }
        let Some(artifact) = self.launch_artifact() else {
            return;
        };
        let serving = self.serving_generation();
        let mut starting = 0;
        let mut about_to_ask = 0;
        let mut live = 0;
        for environment in self.environments.iter().filter(|e| !e.is_stopping()) {
            if environment.generation() == artifact.generation {
                live += 1;
                if matches!(environment.phase, Phase::Starting) {
                    starting += 1;
                }
            }
            if Some(environment.generation()) == serving
                && matches!(environment.phase, Phase::Answered(_))
            {
                about_to_ask += 1;
            }
        }
        let uncovered = self.queue.len().saturating_sub(starting);
        // A runtime that has just answered asks for more within microseconds, unless it, or
        // an extension, has work left: then the second look starts another environment.
        let wanted = if impatient {
            uncovered
        } else {
            decisions.look_again |= about_to_ask > 0 && uncovered > 0;
            uncovered.saturating_sub(about_to_ask)
        };
        let mut room = if self.one_at_a_time {
            usize::from(self.environments.is_empty())
        } else {
            self.max_environments.saturating_sub(live)
        };
        if self.has_tenants {
            let made = self.make_room(wanted.saturating_sub(room), &artifact);
            if !self.one_at_a_time {
                room += made;
            }
        }
        for _ in 0..wanted.min(room) {
            let id = self.launch(artifact.clone(), next_id, decisions);
            if self.starts_over.take() == Some(artifact.generation) {
                self.claim(id, decisions);
            }
        }
    }

    fn launch(
        &mut self,
        artifact: Arc<Artifact>,
        next_id: &mut u64,
        decisions: &mut Decisions,
    ) -> EnvironmentId {
        *next_id += 1;
        let id = EnvironmentId(*next_id);
        let sandbox = match self.vacant.take() {
            Some((generation, place)) if generation == artifact.generation => {
                Arc::new(place.next())
            }
            _ => Arc::new(Sandbox::new(Timestamp::now(), &artifact, self.log.clone())),
        };
        self.environments
            .push(Environment::new(id, artifact.clone(), sandbox.clone()));
        decisions.launches.push((id, artifact, sandbox));
        id
    }

    /// Lets an environment start within the invocation that has waited longest.
    fn claim(&mut self, id: EnvironmentId, decisions: &mut Decisions) {
        let Some(pending) = self.queue.pop_front() else {
            return;
        };
        if let Some(environment) = self.environments.iter_mut().find(|e| e.id == id) {
            let handed_over = HandedOver::new(&pending.invocation, &environment.sandbox);
            let claim = Claim::new(pending, Instant::now(), environment);
            environment.phase = Phase::StartingFor(Box::new(claim));
            decisions.handed_over.push(handed_over);
        }
    }

    /// The process of an environment is lost: what stays of it is the next one's.
    pub(super) fn vacate(&mut self, id: EnvironmentId) {
        // What a tenant's environment leaves is for no other to see.
        let lost = self.environments.iter().find(|e| e.id == id);
        if let Some(environment) = lost.filter(|e| e.tenant.is_none()) {
            self.vacant = Some((environment.generation(), environment.sandbox.clone()));
        }
    }

    /// Starts an environment of the newest build unless one is alive.
    pub(crate) fn ensure_newest(&mut self, next_id: &mut u64, decisions: &mut Decisions) {
        let Some(artifact) = self.launch_artifact().filter(|_| !self.removed) else {
            return;
        };
        let alive = self
            .environments
            .iter()
            .any(|e| !e.is_stopping() && e.generation() == artifact.generation);
        if alive {
            return;
        }
        if self.must_wait() {
            self.retire_all();
        } else {
            self.launch(artifact, next_id, decisions);
        }
    }

    /// Whether another environment may not start beside those that there are.
    fn must_wait(&self) -> bool {
        self.one_at_a_time && !self.environments.is_empty()
    }

    /// Lets every environment go, for the newest build to start after them.
    fn retire_all(&mut self) {
        self.starts_after = true;
        for environment in &mut self.environments {
            match environment.phase {
                Phase::Idle | Phase::Starting => environment.stop(StopReason::Spindown),
                Phase::StartingFor(_) | Phase::Busy(_) | Phase::Answered(_) => {
                    environment.retires = true;
                }
                Phase::Stopping(_) => {}
            }
        }
    }

    /// Starts what had to wait for the last environment to end.
    pub(super) fn start_after(&mut self, next_id: &mut u64, decisions: &mut Decisions) {
        if self.starts_after && self.environments.is_empty() {
            self.starts_after = false;
            self.ensure_newest(next_id, decisions);
        }
    }

    /// Makes sure that the next request finds an environment, where a used one was lost.
    pub(super) fn replace(&mut self, next_id: &mut u64, decisions: &mut Decisions) {
        let Some(artifact) = self.launch_artifact().filter(|_| !self.removed) else {
            return;
        };
        let ready = self.environments.iter().any(|e| {
            matches!(e.phase, Phase::Idle | Phase::Starting)
                && e.generation() >= artifact.generation
        });
        if ready {
            return;
        }
        if self.must_wait() {
            self.starts_after = true;
        } else {
            self.launch(artifact, next_id, decisions);
        }
    }

    /// Takes in what the supervisor says of the function.
    pub(crate) fn take_in(
        &mut self,
        entry: &FunctionEntry,
        eager: bool,
        next_id: &mut u64,
        decisions: &mut Decisions,
    ) {
        self.function = entry.function.clone();
        self.build = entry.build.clone();
        self.removed = false;
        if let Some(artifact) = &entry.artifact {
            let newer = self
                .artifact
                .as_ref()
                .is_none_or(|known| known.generation < artifact.generation);
            if newer {
                self.artifact = Some(artifact.clone());
                let in_use = self.environments.iter().any(|e| !e.is_stopping());
                if in_use || eager {
                    self.ensure_newest(next_id, decisions);
                }
                self.dispatch(next_id, decisions);
            }
        }
        if let (BuildState::Failed { diagnostics, .. }, None) = (&self.build, &self.artifact) {
            let diagnostics = diagnostics.clone();
            self.fail_queue(&Outcome::BuildFailed { diagnostics });
        }
    }

    /// The function is declared no more.
    pub(crate) fn remove(&mut self) {
        self.removed = true;
        self.fail_queue(&Outcome::UnknownFunction);
        for environment in &mut self.environments {
            if matches!(environment.phase, Phase::Idle | Phase::Starting) {
                environment.stop(StopReason::Spindown);
            }
        }
    }

    /// How many invocations are waiting or under way.
    pub(crate) fn unfinished(&self) -> usize {
        let under_way = self
            .environments
            .iter()
            .filter(|e| {
                matches!(e.phase, Phase::Busy(_) | Phase::StartingFor(_)) || !e.finished.is_empty()
            })
            .count();
        self.queue.len() + under_way
    }

    /// Whether its reserved concurrency is used up.
    pub(crate) fn is_at_its_limit(&self) -> bool {
        let Some(reserved) = self.reserved else {
            return false;
        };
        let running = self
            .environments
            .iter()
            .filter(|e| matches!(e.phase, Phase::Busy(_) | Phase::StartingFor(_)))
            .count();
        self.queue.len() + running >= reserved
    }

    /// Forgets one that waits, because its caller will not wait any longer.
    pub(crate) fn withdraw(&mut self, request_id: RequestId) {
        self.queue
            .retain(|pending| pending.invocation.request_id != request_id);
    }
}

/// How long a second look is put off.
pub(crate) const SECOND_LOOK: Duration = Duration::from_millis(10);

/// Gives an invocation whose time has begun to a runtime that waits for one. Gives it back
/// if nobody is there.
pub(super) fn give(
    environment: &mut Environment,
    claim: Claim,
    arn: &str,
    freeze: bool,
) -> Result<(), Box<Pending>> {
    let Runtime::Polling(poller) = &mut environment.runtime else {
        return Err(Box::new(claim.pending));
    };
    let Some(poller) = poller.take() else {
        return Err(Box::new(claim.pending));
    };
    if !poller.is_alive() {
        tracing::debug!(pid = environment.pid, "a runtime's poll had died");
        return Err(Box::new(claim.pending));
    }
    let Claim {
        mut pending,
        started,
        started_at,
        deadline,
        tail,
    } = claim;
    let deadline_ms = started_at
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| (since + (deadline - started)).as_millis());
    let nonce = Uuid::new_v4();
    let request_id = pending.invocation.request_id;
    let wants_log_tail = pending.invocation.wants_log_tail;
    let watched = Watched::new(environment, &pending.invocation);
    let payload_bytes = pending.invocation.payload.len();
    let tenant = pending.invocation.tenant.clone();
    let invoke_event = environment
        .extensions
        .iter()
        .any(|e| e.on_invoke)
        .then(|| extensions_api::invoke_event(&pending.invocation, arn, deadline_ms));
    let delivery = Delivery {
        invocation: pending.invocation,
        nonce,
        // Milliseconds since 1970 fit for another half a billion years.
        deadline_ms: u64::try_from(deadline_ms).unwrap_or(u64::MAX),
    };
    if let Err(delivery) = poller.sender.send(delivery) {
        pending.invocation = delivery.invocation;
        return Err(Box::new(pending));
    }
    environment.runtime = Runtime::Working;
    environment.invocations += 1;
    environment.last_request = Some(request_id);
    environment.tenant = tenant;
    let in_flight = InFlight {
        request_id,
        nonce,
        reply: pending.reply,
        wants_log_tail,
        started,
        started_at,
        deadline,
        payload_bytes,
        tail,
        watched,
    };
    in_flight.tell_start(&environment.sandbox);
    environment.phase = Phase::Busy(in_flight);
    if environment.timer.is_none_or(|timer| timer > deadline) {
        environment.timer = Some(deadline);
        environment.wake.notify_one();
    }
    if freeze {
        environment.wake.notify_one();
    }
    if let Some(event) = invoke_event {
        for extension in environment.extensions.iter_mut().filter(|e| e.on_invoke) {
            extension.tell(ExtensionEvent(event.clone()));
        }
    }
    Ok(())
}
