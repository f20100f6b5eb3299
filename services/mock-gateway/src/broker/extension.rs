//! A registered extension as the broker sees it.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::logs::ExtensionInit;

/// What an extension is told.
#[derive(Clone, Debug)]
pub(crate) struct ExtensionEvent(pub(crate) Bytes);

/// What an extension is doing.
pub(crate) enum ExtensionState {
    /// Registered; it has not asked for an event yet.
    Registered,
    /// It was given an event and has not come back.
    Working,
    /// It waits for an event.
    Polling(oneshot::Sender<ExtensionEvent>),
}

/// A registered extension.
pub(crate) struct Extension {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) on_invoke: bool,
    pub(crate) on_shutdown: bool,
    pub(crate) state: ExtensionState,
    /// An event it has not fetched yet.
    pub(crate) backlog: VecDeque<ExtensionEvent>,
}

impl Extension {
    /// As an initialisation leaves it.
    pub(super) fn init(&self) -> ExtensionInit {
        let events = [
            self.on_invoke.then_some("INVOKE"),
            self.on_shutdown.then_some("SHUTDOWN"),
        ];
        ExtensionInit {
            name: self.name.clone(),
            state: match self.state {
                ExtensionState::Registered => "Registered",
                ExtensionState::Polling(_) => "Ready",
                ExtensionState::Working => "Running",
            },
            events: events.into_iter().flatten().collect(),
            error_type: None,
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        matches!(self.state, ExtensionState::Polling(_)) && self.backlog.is_empty()
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
