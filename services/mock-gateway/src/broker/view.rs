//! What the broker shows of itself: functions, environments, invocations.

use std::time::{Duration, SystemTime};

use app_model::FunctionName;
use function_supervisor::{BuildState, Generation};
use jiff::Timestamp;
use journal::{Journal, Weigh};
use serde::Serialize;
use tokio::time::Instant;

use super::environment_state::Environment;
use super::in_flight::Finished;
use super::pool::Pool;
use super::{Broker, EnvironmentKey};
use crate::outcome::Outcome;
use crate::parity;

/// A function as `GET /_longshore/functions` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct FunctionView {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// `ready`, `starting`, `building`, `not-built`, `build-failed` or `init-failed`: what
    /// a request would meet now.
    pub state: &'static str,
    /// The build that serves.
    pub generation: Option<u64>,
    /// How the newest build is doing.
    pub build: BuildView,
    /// Why the newest build cannot be initialised, if it cannot.
    pub init_error: Option<String>,
    /// Memory, in MB.
    pub memory_mb: u32,
    /// Timeout, in seconds.
    pub timeout_seconds: f64,
    /// What AWS would refuse of its declaration.
    pub parity: Vec<String>,
    /// Invocations that wait for an environment.
    pub waiting: usize,
    /// Its environments.
    pub environments: Vec<EnvironmentView>,
}

/// A function as it is declared, and its newest build.
pub(crate) struct Declared {
    pub(crate) function: app_model::Function,
    pub(crate) artifact: Option<std::sync::Arc<function_supervisor::Artifact>>,
    pub(crate) is_failed: bool,
}

/// How the newest build is doing.
#[derive(Clone, Debug, Serialize)]
pub struct BuildView {
    /// `not-built`, `building`, `built` or `failed`.
    pub state: &'static str,
    /// The newest good build.
    pub generation: Option<u64>,
    /// How long that took, in milliseconds, from the change to the binary.
    pub built_in_ms: Option<u64>,
    /// The compiler's diagnostics, if the newest source does not build.
    pub diagnostics: Option<String>,
}

/// An execution environment.
#[derive(Clone, Debug, Serialize)]
pub struct EnvironmentView {
    /// Its number.
    pub id: u64,
    /// Its function.
    pub function: String,
    /// The build it runs.
    pub generation: u64,
    /// Its process, once started.
    pub pid: Option<u32>,
    /// `starting`, `idle`, `busy`, `draining` or `stopping`.
    pub state: &'static str,
    /// Invocations it was given.
    pub invocations: u64,
    /// Registered extensions.
    pub extensions: Vec<String>,
}

/// An invocation that ended, as the journal keeps it.
#[derive(Clone, Debug, Serialize)]
pub struct InvocationRecord {
    /// Its id.
    pub request_id: String,
    /// Its function.
    pub function: String,
    /// The build that had it.
    pub generation: u64,
    /// The environment that had it.
    pub environment: u64,
    /// When the runtime got it, RFC 3339.
    pub started_at: String,
    /// From then until runtime and extensions were done, in milliseconds.
    pub duration_ms: f64,
    /// How long the environment took to start, if it was started for this.
    pub init_ms: Option<f64>,
    /// `succeeded`, `function-error`, `timed-out`, `crashed`, …
    pub outcome: &'static str,
    /// The error as Lambda reports it.
    pub error: Option<String>,
    /// Size of the event.
    pub payload_bytes: usize,
    /// Size of the answer.
    pub response_bytes: usize,
    /// The last 4 KB of what it printed.
    pub log_tail: String,
}

impl Weigh for InvocationRecord {
    fn weight(&self) -> usize {
        size_of::<Self>()
            + self.request_id.len()
            + self.function.len()
            + self.started_at.len()
            + self.error.as_ref().map_or(0, String::len)
            + self.log_tail.len()
    }
}

fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Response(_) | Outcome::Streaming(_) | Outcome::Streamed { .. } => "succeeded",
        Outcome::FunctionError(_) => "function-error",
        Outcome::TimedOut { .. } => "timed-out",
        Outcome::Crashed(_) | Outcome::ExtensionFailed(_) => "crashed",
        Outcome::ResponseTooLarge => "response-too-large",
        Outcome::RequestTooLarge => "request-too-large",
        Outcome::Throttled => "throttled",
        Outcome::BuildFailed { .. } => "build-failed",
        Outcome::InitFailed(_) => "init-failed",
        Outcome::IntegrationTimeout => "integration-timeout",
        Outcome::UnknownFunction => "unknown-function",
        Outcome::ShuttingDown => "shutting-down",
    }
}

fn milliseconds(duration: Duration) -> f64 {
    // Microseconds are as exact as the clock is.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn rfc3339(at: SystemTime) -> String {
    Timestamp::try_from(at)
        .map(|at| format!("{at:.3}"))
        .unwrap_or_default()
}

impl Broker {
    /// Every function, by name.
    #[must_use]
    pub fn functions(&self) -> Vec<FunctionView> {
        let state = self.lock();
        let pools = state.index.values().filter_map(|id| state.pools.get(id.0));
        pools
            .filter(|pool| !pool.removed)
            .map(function_view)
            .collect()
    }

    /// The names of all functions.
    #[must_use]
    pub fn function_names(&self) -> Vec<String> {
        let state = self.lock();
        let live = state
            .index
            .iter()
            .filter(|(_, id)| state.pools.get(id.0).is_some_and(|pool| !pool.removed));
        live.map(|(name, _)| name.to_string()).collect()
    }

    /// What is wrong with the declarations.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.lock().problems.clone()
    }

    /// One function; none if it is not declared.
    #[must_use]
    pub fn function(&self, name: &FunctionName) -> Option<FunctionView> {
        let state = self.lock();
        let id = state.index.get(name)?;
        let pool = state.pools.get(id.0)?;
        (!pool.removed).then(|| function_view(pool))
    }

    /// Whether there is such a function.
    pub(crate) fn is_declared(&self, name: &FunctionName) -> bool {
        let state = self.lock();
        let pool = state.index.get(name).and_then(|id| state.pools.get(id.0));
        pool.is_some_and(|pool| !pool.removed)
    }

    /// How a function is declared, and its newest build; none if it is not declared.
    pub(crate) fn declared(&self, name: &FunctionName) -> Option<Declared> {
        let state = self.lock();
        let pool = state.pools.get(state.index.get(name)?.0)?;
        (!pool.removed).then(|| Declared {
            function: pool.function.clone(),
            artifact: pool.artifact.clone(),
            is_failed: matches!(pool.build, BuildState::Failed { .. }),
        })
    }

    /// Waits until this generation of a function, or a newer one, serves. Answers what is
    /// so when the time is up; none if the function is not declared.
    pub async fn wait_for_generation(
        &self,
        name: &FunctionName,
        generation: Generation,
        deadline: Instant,
    ) -> Option<FunctionView> {
        let mut changes = self.shared.changes.subscribe();
        let reached = changes.wait_for(|_| {
            self.function(name)
                .is_none_or(|function| function.generation >= Some(generation.0))
        });
        // Whether it was reached or not, the answer is what is so now.
        let reached = tokio::time::timeout_at(deadline, reached).await.is_ok();
        tracing::debug!(%name, %generation, reached, "waited for a generation");
        self.function(name)
    }

    /// The record of ended invocations.
    #[must_use]
    pub fn invocations(&self) -> &Journal<InvocationRecord> {
        &self.shared.journal
    }

    /// Records an invocation that ended.
    pub(crate) fn record(
        &self,
        key: EnvironmentKey,
        artifact: &function_supervisor::Artifact,
        finished: &Finished,
    ) {
        let error = match &finished.outcome {
            Outcome::Response(_) => None,
            other => other
                .error_body(finished.request_id)
                .map(|body| String::from_utf8_lossy(&body).into_owned()),
        };
        let response_bytes = match &finished.outcome {
            Outcome::Response(response) => response.body.len(),
            Outcome::Streamed { bytes } => *bytes,
            _ => 0,
        };
        self.shared.journal.append(InvocationRecord {
            request_id: finished.request_id.to_string(),
            function: artifact.function.name.to_string(),
            generation: artifact.generation.0,
            environment: key.id.0,
            started_at: rfc3339(finished.started_at),
            duration_ms: milliseconds(finished.duration),
            init_ms: finished.init.map(milliseconds),
            outcome: outcome_name(&finished.outcome),
            error,
            payload_bytes: finished.payload_bytes,
            response_bytes,
            log_tail: String::from_utf8_lossy(&finished.tail.clone().into_bytes()).into_owned(),
        });
    }
}

fn function_view(pool: &Pool) -> FunctionView {
    let serving = pool.next_generation();
    let environments: Vec<_> = pool
        .environments
        .iter()
        .map(|environment| environment_view(pool, environment, serving))
        .collect();
    let init_error = pool
        .init_failure
        .as_ref()
        .map(|(_, failure)| failure.to_string());
    let state = if environments
        .iter()
        .any(|e| matches!(e.state, "idle" | "busy"))
    {
        "ready"
    } else if environments.iter().any(|e| e.state == "starting") {
        "starting"
    } else if init_error.is_some() {
        "init-failed"
    } else {
        match (&pool.artifact, &pool.build) {
            // Started by the next request.
            (Some(_), _) | (None, BuildState::Built) => "ready",
            (None, BuildState::Building { .. }) => "building",
            (None, BuildState::NotBuilt) => "not-built",
            (None, BuildState::Failed { .. }) => "build-failed",
        }
    };
    FunctionView {
        name: pool.function.name.to_string(),
        arn: pool.arn.to_string(),
        state,
        generation: serving.map(|generation| generation.0),
        build: build_view(pool),
        init_error,
        memory_mb: pool.function.settings.memory_mb,
        timeout_seconds: pool.function.settings.timeout.as_secs_f64(),
        parity: parity::lines(&pool.excesses),
        waiting: pool.queue.len(),
        environments,
    }
}

fn build_view(pool: &Pool) -> BuildView {
    let (state, diagnostics) = match &pool.build {
        BuildState::NotBuilt => ("not-built", None),
        BuildState::Building { .. } => ("building", None),
        BuildState::Built => ("built", None),
        BuildState::Failed { diagnostics, .. } => ("failed", Some(diagnostics.to_string())),
    };
    BuildView {
        state,
        generation: pool.artifact.as_ref().map(|a| a.generation.0),
        built_in_ms: pool
            .artifact
            .as_ref()
            .and_then(|a| u64::try_from(a.built_in.as_millis()).ok()),
        diagnostics,
    }
}

fn environment_view(
    pool: &Pool,
    environment: &Environment,
    serving: Option<Generation>,
) -> EnvironmentView {
    EnvironmentView {
        id: environment.id.0,
        function: pool.function.name.to_string(),
        generation: environment.generation().0,
        pid: environment.pid,
        state: environment.state_name(serving),
        invocations: environment.invocations,
        extensions: environment
            .extensions
            .iter()
            .map(|extension| extension.name.clone())
            .collect(),
    }
}
