//! The one owner of pending invocations and of the environments that take them.
//!
//! A [`Broker`] is a handle. Front doors call [`Broker::invoke`]; the tasks that own
//! processes, and the Runtime and Extensions APIs on their listeners, report what happens.
//! All state is in one mutex that is held for microseconds and never over an await;
//! nothing polls.

mod environment_state;
mod extension;
mod extension_calls;
mod in_flight;
mod lifecycle;
mod mishaps;
mod pool;
mod reply;
mod runtime_calls;
mod tenants;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use app_model::FunctionName;
use function_supervisor::{BuildState, FunctionEntry, FunctionTable, Generation};
use http::HeaderValue;
use journal::{Journal, Limits};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use environment_state::{Delivery, EnvironmentId, StopReason};
pub(crate) use extension_calls::{ExtensionRefused, MAX_EXTENSIONS, Wants};
pub(crate) use in_flight::Finished;
pub(crate) use mishaps::Doom;
pub use reply::ResponseStream;
#[cfg(test)]
pub(crate) use reply::testing;
pub(crate) use reply::{Next, Pieces};
pub(crate) use runtime_calls::{CallRefused, Said, Work};
pub(crate) use view::Declared;
pub use view::{BuildView, EnvironmentView, FunctionView, InvocationRecord};

use crate::config::{Config, StartPolicy};
use crate::environment;
use crate::faults::Faults;
use crate::function_logs::Logs;
use crate::invocation::Invocation;
use crate::outcome::{MAX_PAYLOAD_BYTES, Outcome};
use crate::parity::{self, Notices};
use crate::platform_event::PlatformEvent;
use crate::process::Launcher;
use environment_state::Lifetimes;
use pool::{Decisions, Pending, Pool, SECOND_LOOK};
use reply::Reply;

/// An invocation that no environment has taken by then is dropped: Lambda's longest run.
const LONGEST_WAIT: Duration = Duration::from_secs(900);

/// The most bytes of logs and errors that the journal of invocations holds.
const JOURNAL_BYTES: usize = 8 * 1024 * 1024;

/// What a caller hears.
#[derive(Clone, Debug)]
pub struct Answer {
    /// How the invocation ended.
    pub outcome: Outcome,
    /// Which build had it, if one did.
    pub served_by: Option<Generation>,
    /// How the newest build is doing.
    pub build: BuildNote,
    /// The last 4 KB of the log, if asked for.
    pub log_tail: Option<Vec<u8>>,
    /// What AWS would refuse of the function, as `x-longshore-parity` says it.
    pub parity: Option<Arc<HeaderValue>>,
}

impl Answer {
    pub(crate) fn refusal(outcome: Outcome) -> Self {
        Self {
            outcome,
            served_by: None,
            build: BuildNote::Current,
            log_tail: None,
            parity: None,
        }
    }
}

/// How the newest build of a function is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildNote {
    /// Nothing to say.
    Current,
    /// A newer one is being built.
    Building,
    /// The newest source does not build.
    Failed,
    /// The newest build cannot be initialised.
    InitFailed,
}

impl BuildNote {
    /// As `x-longshore-build` says it; nothing if there is nothing to say.
    #[must_use]
    pub fn header(self) -> Option<&'static str> {
        match self {
            Self::Current => None,
            Self::Building => Some("building"),
            Self::Failed => Some("failed"),
            Self::InitFailed => Some("init-failed"),
        }
    }
}

/// The owner of pending invocations and environments; clones are handles.
#[derive(Clone)]
pub struct Broker {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) launcher: Arc<dyn Launcher>,
    pub(crate) journal: Journal<InvocationRecord>,
    /// What is to go wrong.
    pub(crate) faults: Faults,
    pub(crate) logs: Logs,
    /// Who was told what would fail on AWS.
    pub(crate) notices: Notices,
    /// Every environment's task, and short timers; awaited by [`Broker::stop`].
    tasks: TaskTracker,
    /// No further work is taken.
    pub(crate) closing: CancellationToken,
    /// Every environment is stopped.
    pub(crate) stopping: CancellationToken,
    /// Processes are killed at once.
    pub(crate) killing: CancellationToken,
    /// A plain mutex: held for a lookup and a decision, never over an await.
    state: Mutex<State>,
    /// Counts what happened to functions and environments, invocations aside.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    pools: Vec<Pool>,
    index: BTreeMap<FunctionName, PoolId>,
    /// Reserved concurrency, of functions that are not declared yet too.
    reserved: BTreeMap<FunctionName, usize>,
    problems: Vec<String>,
    last_environment: u64,
}

/// A function's place in the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PoolId(usize);

/// Which environment of which function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EnvironmentKey {
    pool: PoolId,
    pub(crate) id: EnvironmentId,
}

impl Broker {
    /// A broker without functions: [`take_in`](Self::take_in) brings them.
    #[must_use]
    pub fn new(config: Config, launcher: Arc<dyn Launcher>) -> Self {
        let journal = Journal::new(Limits {
            entries: config.journal_entries,
            bytes: JOURNAL_BYTES,
        });
        Self {
            shared: Arc::new(Shared {
                config,
                launcher,
                journal,
                faults: Faults::default(),
                logs: Logs::new(),
                notices: Notices::default(),
                tasks: TaskTracker::new(),
                closing: CancellationToken::new(),
                stopping: CancellationToken::new(),
                killing: CancellationToken::new(),
                state: Mutex::new(State::default()),
                changes: watch::Sender::new(0),
            }),
        }
    }

    /// Follows what the supervisor publishes until the broker closes. The caller owns the
    /// task that runs this.
    pub async fn follow(self, mut functions: watch::Receiver<Arc<FunctionTable>>) {
        loop {
            let table = functions.borrow_and_update().clone();
            self.take_in(&table);
            tokio::select! {
                () = self.shared.closing.cancelled() => return,
                changed = functions.changed() => if changed.is_err() {
                    tracing::debug!("the supervisor has ended; the functions stay as they are");
                    return;
                },
            }
        }
    }

    /// Takes in a function table: new builds are started beside the old ones.
    pub fn take_in(&self, table: &FunctionTable) {
        let eager = self.shared.config.start == StartPolicy::Eager;
        let mut to_build = Vec::new();
        self.lock().problems.clone_from(&table.problems);
        for (name, entry) in &table.functions {
            let excesses = entry.function.excesses();
            let refused = parity::refused(self.shared.config.parity, entry, &excesses);
            let entry = refused.as_ref().unwrap_or(entry);
            if eager && entry.artifact.is_none() && matches!(entry.build, BuildState::NotBuilt) {
                to_build.push(name.clone());
            }
            let id = self.pool_of(name, entry);
            let news = self.with_pool(id, |pool, next_id, decisions| {
                let news = pool.excesses != excesses;
                if news {
                    pool.parity = parity::header(&excesses).map(Arc::new);
                    pool.excesses.clone_from(&excesses);
                }
                pool.take_in(entry, eager, next_id, decisions);
                news
            });
            for excess in excesses.iter().filter(|_| news == Some(true)) {
                tracing::warn!(function = %name, rule = excess.rule.name, "fails on AWS: {excess}");
            }
        }
        {
            let mut state = self.lock();
            let State { pools, index, .. } = &mut *state;
            for (name, id) in index.iter() {
                if !table.functions.contains_key(name)
                    && let Some(pool) = pools.get_mut(id.0)
                    && !pool.removed
                {
                    pool.remove();
                }
            }
        }
        self.announce();
        for name in &to_build {
            self.shared.launcher.request_build(name);
        }
    }

    /// Invokes a function and waits for how that ends, at most `patience` once there is a
    /// build to run; then the invocation goes on without its caller.
    ///
    /// Dropping the future is what a caller does who hangs up: the invocation goes on.
    pub async fn invoke(&self, invocation: Invocation, patience: Duration) -> Answer {
        let (reply, answer) = Reply::new(false);
        self.queue_and_wait(invocation, patience, reply, answer)
            .await
    }

    /// [`Broker::invoke`] for a caller who takes the answer while it is written: the
    /// outcome of a function that streams is [`Outcome::Streaming`] as soon as it begins.
    pub async fn invoke_streaming(&self, invocation: Invocation, patience: Duration) -> Answer {
        let (reply, answer) = Reply::new(true);
        self.queue_and_wait(invocation, patience, reply, answer)
            .await
    }

    async fn queue_and_wait(
        &self,
        invocation: Invocation,
        patience: Duration,
        reply: Reply,
        answer: oneshot::Receiver<Answer>,
    ) -> Answer {
        if invocation.payload.len() > MAX_PAYLOAD_BYTES {
            return Answer::refusal(Outcome::RequestTooLarge);
        }
        if self.shared.closing.is_cancelled() {
            return Answer::refusal(Outcome::ShuttingDown);
        }
        let request_id = invocation.request_id;
        let (pool, has_build) = match self.admit(invocation, reply) {
            Ok(admitted) => admitted,
            Err(refusal) => return refusal,
        };
        tokio::pin!(answer);
        if !has_build
            && let Some(early) = self.await_first_build(pool, &mut answer, request_id).await
        {
            return early;
        }
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Answer::refusal(Outcome::ShuttingDown),
            Err(_) => {
                let state = self.lock();
                let generation = |pool: &Pool| pool.serving_generation();
                match state.pools.get(pool.0) {
                    Some(pool) => pool.answer(Outcome::IntegrationTimeout, generation(pool)),
                    None => Answer::refusal(Outcome::IntegrationTimeout),
                }
            }
        }
    }

    /// Queues an invocation, and hands it over at once if an environment is free.
    fn admit(&self, invocation: Invocation, reply: Reply) -> Result<(PoolId, bool), Answer> {
        let mut state = self.lock();
        let Some(id) = state.index.get(&invocation.function).copied() else {
            return Err(Answer::refusal(Outcome::UnknownFunction));
        };
        let max_waiting = self.shared.config.max_waiting;
        let Some(pool) = state.pools.get_mut(id.0).filter(|pool| !pool.removed) else {
            return Err(Answer::refusal(Outcome::UnknownFunction));
        };
        let has_build = pool.artifact.is_some();
        let mut ask_for = None;
        if !has_build {
            match &pool.build {
                BuildState::Failed { diagnostics, .. } => {
                    let diagnostics = diagnostics.clone();
                    return Err(pool.answer(Outcome::BuildFailed { diagnostics }, None));
                }
                BuildState::NotBuilt => ask_for = Some(invocation.function.clone()),
                BuildState::Building { .. } | BuildState::Built => {}
            }
        }
        if pool.queue.len() >= max_waiting || pool.is_at_its_limit() {
            return Err(pool.answer(Outcome::Throttled, None));
        }
        pool.has_tenants |= invocation.tenant.is_some();
        pool.queue.push_back(Pending {
            invocation,
            reply,
            expires: Instant::now() + LONGEST_WAIT,
        });
        let decisions = Self::decide(&mut state, id, Pool::dispatch).1;
        drop(state);
        self.carry_out(id, decisions);
        if let Some(name) = ask_for {
            self.shared.launcher.request_build(&name);
        }
        Ok((id, has_build))
    }

    /// Waits for a function's first build. Answers early if the invocation ended with it,
    /// or if the build takes too long.
    async fn await_first_build(
        &self,
        id: PoolId,
        answer: &mut std::pin::Pin<&mut oneshot::Receiver<Answer>>,
        request_id: crate::invocation::RequestId,
    ) -> Option<Answer> {
        let mut changes = self.shared.changes.subscribe();
        let built = changes.wait_for(|_| {
            let state = self.lock();
            state
                .pools
                .get(id.0)
                .is_none_or(|pool| pool.artifact.is_some())
        });
        let wait = self.shared.config.build_wait;
        tokio::select! {
            answer = answer => Some(match answer {
                Ok(answer) => answer,
                Err(_) => Answer::refusal(Outcome::ShuttingDown),
            }),
            _ = built => None,
            () = tokio::time::sleep(wait) => {
                let mut state = self.lock();
                let pool = state.pools.get_mut(id.0)?;
                pool.withdraw(request_id);
                let diagnostics = format!(
                    "the first build has taken longer than {} seconds; it goes on, try again later",
                    wait.as_secs()
                );
                Some(pool.answer(Outcome::BuildFailed { diagnostics: diagnostics.into() }, None))
            }
        }
    }

    /// Reserves concurrency for a function: more invocations at the same time are
    /// throttled. `None` takes the limit away.
    pub(crate) fn reserve(&self, name: &FunctionName, concurrency: Option<u32>) {
        let limit = concurrency.and_then(|count| usize::try_from(count).ok());
        let mut state = self.lock();
        match limit {
            Some(limit) => drop(state.reserved.insert(name.clone(), limit)),
            None => drop(state.reserved.remove(name)),
        }
        let known = state.index.get(name).copied();
        if let Some(pool) = known.and_then(|id| state.pools.get_mut(id.0)) {
            pool.reserved = limit;
        }
    }

    /// Lets invocations in flight finish for as long as `drained` allows, then stops every
    /// environment and waits until the last process is reaped.
    pub async fn stop(&self, drained: impl Future<Output = ()>) {
        self.shared.closing.cancel();
        let mut changes = self.shared.changes.subscribe();
        let idle = changes.wait_for(|_| self.unfinished() == 0);
        tokio::select! {
            _ = idle => {}
            () = drained => {
                let left = self.unfinished();
                if left > 0 {
                    tracing::warn!(invocations = left, "stopping with invocations in flight");
                }
            }
        }
        for pool in &mut self.lock().pools {
            pool.removed = true;
            pool.fail_queue(&Outcome::ShuttingDown);
        }
        self.shared.stopping.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// Kills what is left, at once.
    pub fn kill(&self) {
        self.shared.killing.cancel();
    }

    fn unfinished(&self) -> usize {
        self.lock().pools.iter().map(Pool::unfinished).sum()
    }

    pub(crate) fn announce(&self) {
        self.shared.changes.send_modify(|count| *count += 1);
    }

    fn function_arn(&self, name: &FunctionName) -> Arc<str> {
        let Config {
            region, account_id, ..
        } = &self.shared.config;
        format!("arn:aws:lambda:{region}:{account_id}:function:{name}").into()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was held would leave at worst one pool half changed; the other
        // functions go on.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn pool_of(&self, name: &FunctionName, entry: &FunctionEntry) -> PoolId {
        let mut state = self.lock();
        if let Some(id) = state.index.get(name) {
            return *id;
        }
        let id = PoolId(state.pools.len());
        let arn = self.function_arn(name);
        let config = &self.shared.config;
        let lifetimes = Lifetimes {
            init: config.init_timeout,
            idle: config.idle_timeout,
            freeze: config.freeze,
        };
        let log = self.shared.logs.function(name);
        let mut pool = Pool::new(entry, config.max_environments, lifetimes, log, arn);
        pool.reserved = state.reserved.get(name).copied();
        state.pools.push(pool);
        state.index.insert(name.clone(), id);
        id
    }

    /// Lets a pool decide, and carries that out once the lock is released.
    fn with_pool<R>(
        &self,
        id: PoolId,
        decision: impl FnOnce(&mut Pool, &mut u64, &mut Decisions) -> R,
    ) -> Option<R> {
        let mut state = self.lock();
        let (result, decisions) = Self::decide(&mut state, id, decision);
        drop(state);
        self.carry_out(id, decisions);
        if self.shared.closing.is_cancelled() {
            // Somebody may be waiting for the last invocation to end.
            self.announce();
        }
        result
    }

    fn decide<R>(
        state: &mut State,
        id: PoolId,
        decision: impl FnOnce(&mut Pool, &mut u64, &mut Decisions) -> R,
    ) -> (Option<R>, Decisions) {
        let mut decisions = Decisions::default();
        let State {
            pools,
            last_environment,
            ..
        } = state;
        let result = pools.get_mut(id.0).map(|pool| {
            let result = decision(pool, last_environment, &mut decisions);
            decisions.look_again &= !pool.looking_again;
            pool.looking_again |= decisions.look_again;
            result
        });
        (result, decisions)
    }

    fn carry_out(&self, pool: PoolId, decisions: Decisions) {
        for (id, artifact, sandbox) in decisions.launches {
            let key = EnvironmentKey { pool, id };
            let environment = environment::run(self.clone(), key, artifact, sandbox);
            self.shared.tasks.spawn(environment);
        }
        for handed_over in decisions.handed_over {
            let start = PlatformEvent::Start {
                request_id: handed_over.request_id,
                trace: handed_over.trace.as_ref(),
            };
            // Subscribers were told already, in order.
            handed_over.sandbox.log(&start, None);
        }
        if decisions.look_again {
            let broker = self.clone();
            self.shared.tasks.spawn(async move {
                tokio::time::sleep(SECOND_LOOK).await;
                broker.look_again(pool);
            });
        }
        if decisions.changed {
            self.announce();
        }
    }

    fn look_again(&self, id: PoolId) {
        self.with_pool(id, |pool, next_id, decisions| {
            pool.looking_again = false;
            pool.plan_launches(next_id, true, decisions);
        });
    }
}
