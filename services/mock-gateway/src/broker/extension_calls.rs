//! What the Extensions API, and the task that owns the processes of external extensions,
//! tell the broker.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::environment_state::{Environment, Phase, StopReason};
use super::extension::{Extension, ExtensionEvent, ExtensionState, failed_name};
use super::{Broker, EnvironmentKey};
use crate::extensions_api;
use crate::outcome::{ExtensionFailure, ExtensionFault, InitFailure, RuntimeExit};
use crate::sandbox::Sandbox;

/// As many extensions as Lambda takes.
pub(crate) const MAX_EXTENSIONS: usize = 10;

/// Why a call to the Extensions API is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExtensionRefused {
    RegistrationClosed,
    NameTaken,
    TooMany,
    Unknown,
    /// Only an external extension may ask for it.
    ShutdownIsExternal,
    /// Not what it may do now: from this state to that one.
    Transition {
        from: &'static str,
        to: &'static str,
    },
}

/// What an extension registers for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wants {
    pub(crate) invoke: bool,
    pub(crate) shutdown: bool,
}

impl Broker {
    /// These programs are about to be started; the runtime waits for them to register.
    pub(crate) fn expect_extensions<'a>(
        &self,
        key: EnvironmentKey,
        names: impl Iterator<Item = &'a String>,
    ) {
        self.with_environment(key, |environment| {
            environment.started = Instant::now();
            environment.extensions = names
                .map(|name| Extension::new(name.clone(), true, ExtensionState::Started))
                .collect();
        });
    }

    /// A program could not be started, for this type of reason.
    pub(crate) fn extension_not_launched(
        &self,
        key: EnvironmentKey,
        name: &str,
        error_type: &'static str,
    ) {
        self.with_environment(key, |environment| {
            if let Some(extension) = environment.external(name) {
                extension.state = ExtensionState::NotLaunched(error_type);
            }
        });
    }

    /// An extension registers: an external one by its file's name, before the runtime is
    /// started; another before the runtime is ready.
    pub(crate) fn register_extension(
        &self,
        key: EnvironmentKey,
        name: &str,
        wants: Wants,
    ) -> Result<Uuid, ExtensionRefused> {
        let registered = self.with_environment(key, |environment| {
            if let Some(extension) = environment.external(name) {
                if !matches!(extension.state, ExtensionState::Started) {
                    return Err(ExtensionRefused::Transition {
                        from: extension.state.name(),
                        to: "Registered",
                    });
                }
                extension.state = ExtensionState::Registered;
                extension.on_invoke = wants.invoke;
                extension.on_shutdown = wants.shutdown;
                let id = extension.id;
                if environment.runtime_may_start() {
                    environment.wake.notify_one();
                }
                return Ok(id);
            }
            if wants.shutdown {
                return Err(ExtensionRefused::ShutdownIsExternal);
            }
            if !environment.is_starting() {
                return Err(ExtensionRefused::RegistrationClosed);
            }
            if environment.extensions.iter().any(|e| e.name == name) {
                return Err(ExtensionRefused::NameTaken);
            }
            if environment.extensions.len() >= MAX_EXTENSIONS {
                return Err(ExtensionRefused::TooMany);
            }
            let mut extension = Extension::new(name.to_owned(), false, ExtensionState::Registered);
            extension.on_invoke = wants.invoke;
            let id = extension.id;
            environment.extensions.push(extension);
            Ok(id)
        });
        registered.unwrap_or(Err(ExtensionRefused::RegistrationClosed))
    }

    /// What a registered extension is called, and where it runs.
    pub(crate) fn subscriber(
        &self,
        key: EnvironmentKey,
        extension: Uuid,
    ) -> Option<(String, Arc<Sandbox>)> {
        let found = self.with_environment(key, |environment| {
            let extension = environment.extension(extension)?;
            Some((extension.name.clone(), environment.sandbox.clone()))
        });
        found.flatten()
    }

    /// An extension listens on this port: on AWS of its environment, here of the machine.
    /// From now on there is one environment of its function at a time.
    pub(crate) fn listens(&self, key: EnvironmentKey, port: u16) {
        let mut state = self.lock();
        let mut taken_by = None;
        for (index, pool) in state.pools.iter_mut().enumerate() {
            let name = pool.function.name.clone();
            if index == key.pool.0 {
                pool.one_at_a_time = true;
                if let Some(environment) = pool.environment(key.id) {
                    environment.ports.push(port);
                }
            } else if pool.environments.iter().any(|e| e.ports.contains(&port)) {
                taken_by = Some(name);
            }
        }
        drop(state);
        if let Some(function) = taken_by {
            tracing::warn!(
                port,
                "an extension of `{function}` listens there too, and functions share this machine's ports: give each its own"
            );
        }
    }

    /// An extension asks for its next event.
    pub(crate) fn extension_next(
        &self,
        key: EnvironmentKey,
        extension: Uuid,
    ) -> Result<oneshot::Receiver<ExtensionEvent>, ExtensionRefused> {
        let polled = self.with_pool(key.pool, |pool, next_id, decisions| {
            let environment = pool.environment(key.id)?;
            let extension = environment.extension(extension)?;
            let refused = match &extension.state {
                ExtensionState::Polling(sender) => !sender.is_closed(),
                ExtensionState::Failed(..) => true,
                ExtensionState::Started
                | ExtensionState::NotLaunched(_)
                | ExtensionState::Registered
                | ExtensionState::Working => false,
            };
            if refused {
                return Some(Err(ExtensionRefused::Transition {
                    from: extension.state.name(),
                    to: "Ready",
                }));
            }
            let (sender, receiver) = oneshot::channel();
            extension.state = ExtensionState::Polling(sender);
            if let Some(event) = extension.backlog.pop_front() {
                extension.tell(event);
            }
            pool.settle(key.id, next_id, decisions);
            Some(Ok(receiver))
        });
        polled.flatten().unwrap_or(Err(ExtensionRefused::Unknown))
    }

    /// An extension says that it cannot go on: the environment is lost once the process
    /// has ended.
    pub(crate) fn extension_failed(
        &self,
        key: EnvironmentKey,
        extension: Uuid,
        fault: ExtensionFault,
        error_type: &str,
    ) -> Result<(), ExtensionRefused> {
        let failed = self.with_environment(key, |environment| {
            let extension = environment.extension(extension)?;
            let is_allowed = match (&extension.state, fault) {
                // Said twice, it counts once.
                (ExtensionState::Failed(said, _), fault) if *said == fault => return Some(Ok(())),
                (ExtensionState::Registered, _) => true,
                (ExtensionState::Polling(_) | ExtensionState::Working, ExtensionFault::Exit) => {
                    true
                }
                _ => false,
            };
            if !is_allowed {
                return Some(Err(ExtensionRefused::Transition {
                    from: extension.state.name(),
                    to: failed_name(fault),
                }));
            }
            tracing::warn!(
                extension = extension.name,
                error_type,
                "an extension cannot go on"
            );
            extension.state = ExtensionState::Failed(fault, error_type.to_owned());
            environment.fault.get_or_insert(fault);
            Some(Ok(()))
        });
        failed.flatten().unwrap_or(Err(ExtensionRefused::Unknown))
    }

    /// The process of an external extension has ended: unless everything ends, its
    /// environment is lost.
    pub(crate) fn extension_exited(&self, key: EnvironmentKey, name: &str, exit: RuntimeExit) {
        self.with_pool(key.pool, |pool, next_id, decisions| {
            let Some(environment) = pool.environment(key.id) else {
                return;
            };
            if environment.is_stopping() {
                return;
            }
            let failure = ExtensionFailure {
                fault: environment.fault.unwrap_or(ExtensionFault::Crash),
                why: exit.of_extension(),
            };
            tracing::warn!(
                function = %environment.artifact.function.name,
                extension = name,
                "{}: {}",
                failure.fault.error_type(),
                failure.why
            );
            environment.wake.notify_one();
            let failure = InitFailure::Extension(failure);
            pool.lose(key.id, &failure, next_id, decisions);
            pool.dispatch(next_id, decisions);
        });
    }

    /// Whether the runtime's process has extensions in it.
    pub(crate) fn has_internal_extensions(&self, key: EnvironmentKey) -> bool {
        let any = self.with_environment(key, |environment| {
            environment.extensions.iter().any(|e| !e.is_external)
        });
        any.unwrap_or(false)
    }

    /// Tells external extensions of the end, which is in so long; returns the names of
    /// those who want to know.
    pub(crate) fn tell_shutdown(
        &self,
        key: EnvironmentKey,
        reason: StopReason,
        left: Duration,
    ) -> Vec<String> {
        let deadline_ms = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| (since + left).as_millis());
        let told = self.with_environment(key, |environment| {
            let extensions = environment.extensions.iter_mut();
            let wanting = extensions.filter(|e| e.is_external && e.on_shutdown);
            wanting
                .map(|extension| {
                    let event = extensions_api::shutdown_event(reason, deadline_ms);
                    extension.tell(ExtensionEvent(event));
                    extension.name.clone()
                })
                .collect()
        });
        told.unwrap_or_default()
    }
}

impl Environment {
    fn external(&mut self, name: &str) -> Option<&mut Extension> {
        let mut extensions = self.extensions.iter_mut();
        extensions.find(|e| e.is_external && e.name == name)
    }

    fn extension(&mut self, id: Uuid) -> Option<&mut Extension> {
        self.extensions.iter_mut().find(|e| e.id == id)
    }

    /// Whether the runtime, which waits for external extensions, need wait no more.
    pub(super) fn runtime_may_start(&self) -> bool {
        self.pid.is_none()
            && matches!(self.phase, Phase::Starting | Phase::StartingFor(_))
            && !self.extensions.is_empty()
            && self.extensions.iter().all(Extension::has_registered)
    }
}
