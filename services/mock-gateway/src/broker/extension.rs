//! An extension as the broker sees it: a program of its own that runs beside the runtime,
//! or a part of the runtime's process.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::logs::ExtensionInit;
use crate::outcome::ExtensionFault;

/// What an extension is told.
#[derive(Clone, Debug)]
pub(crate) struct ExtensionEvent(pub(crate) Bytes);

/// What an extension is doing.
pub(crate) enum ExtensionState {
    /// Its program was started; it has not registered.
    Started,
    /// Its program could not be started: the type of error.
    NotLaunched(&'static str),
    /// Registered; it has not asked for an event yet.
    Registered,
    /// It was given an event and has not come back.
    Working,
    /// It waits for an event.
    Polling(oneshot::Sender<ExtensionEvent>),
    /// It said that it cannot go on, with this type of error. Only its end is waited for.
    Failed(ExtensionFault, String),
}

impl ExtensionState {
    /// As AWS calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Started => "Started",
            Self::NotLaunched(_) => "LaunchError",
            Self::Registered => "Registered",
            Self::Working => "Running",
            Self::Polling(_) => "Ready",
            Self::Failed(fault, _) => failed_name(*fault),
        }
    }
}

/// The state after a failure, as AWS calls it.
pub(crate) fn failed_name(fault: ExtensionFault) -> &'static str {
    match fault {
        ExtensionFault::Launch => "LaunchError",
        ExtensionFault::Init => "InitError",
        ExtensionFault::Exit | ExtensionFault::Crash => "ExitError",
    }
}

/// An extension.
pub(crate) struct Extension {
    pub(crate) id: Uuid,
    /// Of an external one, its file's name.
    pub(crate) name: String,
    /// A program of its own.
    pub(crate) is_external: bool,
    pub(crate) on_invoke: bool,
    pub(crate) on_shutdown: bool,
    pub(crate) state: ExtensionState,
    /// An event it has not fetched yet.
    pub(crate) backlog: VecDeque<ExtensionEvent>,
}

impl Extension {
    pub(super) fn new(name: String, is_external: bool, state: ExtensionState) -> Self {
        Self {
            id: Uuid::new_v4(),
            name,
            is_external,
            on_invoke: false,
            on_shutdown: false,
            state,
            backlog: VecDeque::new(),
        }
    }

    /// As an initialisation leaves it.
    pub(super) fn init(&self) -> ExtensionInit {
        let events = [
            self.on_invoke.then_some("INVOKE"),
            self.on_shutdown.then_some("SHUTDOWN"),
        ];
        ExtensionInit {
            name: self.name.clone(),
            state: self.state.name(),
            events: events.into_iter().flatten().collect(),
            error_type: match &self.state {
                ExtensionState::NotLaunched(error_type) => Some((*error_type).to_owned()),
                ExtensionState::Failed(_, error_type) => Some(error_type.clone()),
                ExtensionState::Started
                | ExtensionState::Registered
                | ExtensionState::Working
                | ExtensionState::Polling(_) => None,
            },
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        matches!(self.state, ExtensionState::Polling(_)) && self.backlog.is_empty()
    }

    /// Whether the runtime need not wait for it to register.
    pub(super) fn has_registered(&self) -> bool {
        !matches!(
            self.state,
            ExtensionState::Started | ExtensionState::NotLaunched(_)
        )
    }

    /// Gives it an event, now or when it asks next. At most one invocation and one
    /// shutdown are ever outstanding, which bounds the backlog.
    pub(crate) fn tell(&mut self, event: ExtensionEvent) {
        match std::mem::replace(&mut self.state, ExtensionState::Working) {
            ExtensionState::Polling(sender) => {
                if let Err(event) = sender.send(event) {
                    self.backlog.push_back(event);
                }
            }
            other => {
                self.state = other;
                self.backlog.push_back(event);
            }
        }
    }
}
