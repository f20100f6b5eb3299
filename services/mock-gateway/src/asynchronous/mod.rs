//! Asynchronous invocation: an event is written down, accepted, and delivered until the
//! function has done it or it is given up.
//!
//! [`Events`] is the handle that routes use. The dispatcher delivers, the store remembers.
//! What is set for functions (reserved concurrency, retries, destinations) is kept here
//! too, because it must outlive the process as well.

mod aws_client;
mod clock;
mod dispatcher;
mod entry;
mod function_options;
mod record;
mod store;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use app_model::{FunctionName, RecursiveLoop};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use clock::{InvalidPace, Pace};
pub(crate) use function_options::{EventInvokeConfig, FunctionOptions};
pub(crate) use record::function_of;
pub use store::StoreError;

use crate::broker::Broker;
use crate::faults::Injected;
use crate::invocation::Invocation;
use aws_client::{AwsClient, NotSent};
use dispatcher::{Dispatcher, Due};
use entry::{Entry, Event, Task};
use store::{NotWritten, Opened, Store};

/// Events that wait, of all functions, at most; one more is throttled.
const MAX_WAITING: usize = 100_000;
/// Accepted events on their way to the dispatcher.
const INBOX: usize = 1_024;

/// An event was not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAccepted {
    /// There is no store.
    #[error("asynchronous invocation is not available: {0}")]
    Unavailable(Arc<str>),
    /// Too many wait.
    #[error("{MAX_WAITING} events wait already")]
    Full,
    /// It could not be written down.
    #[error(transparent)]
    NotWritten(#[from] NotWritten),
}

/// Takes events; clones are handles.
#[derive(Clone)]
pub struct Events {
    shared: Arc<Shared>,
}

struct Shared {
    broker: Broker,
    store: Result<Store, Arc<str>>,
    inbox: mpsc::Sender<Due>,
    options: RwLock<BTreeMap<FunctionName, FunctionOptions>>,
    aws: AwsClient,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// An event or message that waits, as `GET /_longshore/events` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct WaitingView {
    /// The invocation's id.
    pub request_id: String,
    /// The function it is for, or the ARN of the queue or topic.
    pub target: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was accepted, in milliseconds since 1970.
    pub accepted_ms: u64,
    /// When it is tried next, in milliseconds since 1970.
    pub due_ms: u64,
}

impl Events {
    /// Opens the store in this folder and starts delivering what it holds. The tasks end
    /// once the broker closes and the attempts under way have ended.
    ///
    /// # Errors
    /// [`StoreError`] if the folder cannot be used.
    pub async fn open(
        broker: Broker,
        folder: &Path,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, StoreError> {
        let place = folder.to_owned();
        let opened = tokio::task::spawn_blocking(move || Store::open(&place)).await;
        let Opened {
            store,
            writer,
            settings,
        } = opened.map_err(|error| StoreError::Unreadable {
            file: folder.to_owned(),
            reason: error.to_string(),
        })??;
        let mut options = BTreeMap::new();
        for (function, json) in settings {
            match (function.parse(), serde_json::from_slice(&json)) {
                (Ok(name), Ok(set)) => drop(options.insert(name, set)),
                _ => tracing::error!(function, "what was set for a function makes no sense"),
            }
        }
        for (name, set) in &options {
            let set: &FunctionOptions = set;
            broker.reserve(name, set.reserved_concurrency);
        }
        let (inbox, received) = mpsc::channel(INBOX);
        let aws = AwsClient::new(broker.shared.config.aws_endpoint.as_deref());
        let events = Self {
            shared: Arc::new(Shared {
                broker,
                store: Ok(store.clone()),
                inbox,
                options: RwLock::new(options),
                aws,
            }),
        };
        tasks.spawn_blocking(move || writer.run());
        tasks.spawn(Dispatcher::new(events.clone(), store, received).run());
        Ok(events)
    }

    /// Takes no events and says why. What is set for functions is kept until the end of
    /// the process.
    #[must_use]
    pub fn unavailable(broker: Broker, why: &str) -> Self {
        let (inbox, _) = mpsc::channel(1);
        let aws = AwsClient::new(broker.shared.config.aws_endpoint.as_deref());
        Self {
            shared: Arc::new(Shared {
                broker,
                store: Err(why.into()),
                inbox,
                options: RwLock::default(),
                aws,
            }),
        }
    }

    /// Writes an event down, to be delivered, with what is to go wrong with that. Once this
    /// returns it survives the process.
    pub(crate) async fn accept(
        &self,
        invocation: Invocation,
        injected: &Injected,
    ) -> Result<(), NotAccepted> {
        let store = self.store()?;
        if store.len() >= MAX_WAITING {
            return Err(NotAccepted::Full);
        }
        let entry = Entry::now(Task::Invoke(Event {
            request_id: invocation.request_id.to_string(),
            function: invocation.function.to_string(),
            trace_id: invocation.trace_id.as_str().to_owned(),
            qualified: invocation.qualified,
            tenant: invocation.tenant.map(|tenant| tenant.as_str().to_owned()),
            client_context: invocation.client_context,
            faults: injected.left_for_delivery(),
        }));
        let mut due = Due::of(0, &entry);
        due.sequence = store.put(entry, invocation.payload).await?;
        if self.shared.inbox.send(due).await.is_err() {
            tracing::info!("an event was accepted while stopping: delivered at the next start");
        }
        Ok(())
    }

    /// What waits, oldest first, at most so many; and how many there are.
    #[must_use]
    pub fn waiting(&self, limit: usize) -> (usize, Vec<WaitingView>) {
        let Ok(store) = &self.shared.store else {
            return (0, Vec::new());
        };
        let entries = store.entries();
        let view = |(_, entry): &(u64, Entry)| WaitingView {
            request_id: match &entry.task {
                Task::Invoke(event) => event.request_id.clone(),
                Task::Send(message) => message.request_id.clone(),
            },
            target: entry.lane().to_owned(),
            attempts: entry.attempts,
            accepted_ms: entry.accepted_ms,
            due_ms: entry.due_ms,
        };
        (
            entries.len(),
            entries.iter().take(limit).map(view).collect(),
        )
    }

    /// What is set for a function.
    pub(crate) fn options(&self, function: &FunctionName) -> FunctionOptions {
        let options = self.shared.options.read();
        let options = options.unwrap_or_else(PoisonError::into_inner);
        options.get(function).cloned().unwrap_or_default()
    }

    /// What is set for every function that something is set for.
    pub(crate) fn all_options(&self) -> BTreeMap<FunctionName, FunctionOptions> {
        let options = self.shared.options.read();
        options.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What becomes of a function in a loop: what was set, else what is declared.
    pub(crate) fn recursive_loop(&self, function: &FunctionName) -> RecursiveLoop {
        let set = self.options(function).recursive_loop;
        set.unwrap_or_else(|| {
            let declared = self.shared.broker.declared(function);
            declared.map_or_else(RecursiveLoop::default, |declared| {
                declared.function.settings.recursive_loop
            })
        })
    }

    /// Sets it, once it is written down.
    pub(crate) async fn set_options(
        &self,
        function: &FunctionName,
        options: FunctionOptions,
    ) -> Result<(), NotWritten> {
        if let Ok(store) = &self.shared.store {
            let json = if options.is_empty() {
                None
            } else {
                Some(serde_json::to_vec(&options).map_err(|e| NotWritten(e.to_string()))?)
            };
            store.set(function.as_str(), json).await?;
        }
        let reserved = options.reserved_concurrency;
        {
            let all = self.shared.options.write();
            let mut all = all.unwrap_or_else(PoisonError::into_inner);
            all.insert(function.clone(), options);
        }
        self.shared.broker.reserve(function, reserved);
        Ok(())
    }

    /// Whether word can be sent to a queue or topic.
    pub(crate) async fn check_target(&self, arn: &str) -> Result<(), NotSent> {
        self.shared.aws.check(arn).await
    }

    fn store(&self) -> Result<&Store, NotAccepted> {
        let store = self.shared.store.as_ref();
        store.map_err(|why| NotAccepted::Unavailable(why.clone()))
    }

    fn options_of(&self, function: &str) -> FunctionOptions {
        let name = function.parse::<FunctionName>();
        name.map(|name| self.options(&name)).unwrap_or_default()
    }

    /// How many entries of a lane may be under way.
    fn at_once(&self, lane: &str) -> usize {
        if lane.starts_with("arn:") {
            return dispatcher::MESSAGES_AT_ONCE;
        }
        let reserved = self.options_of(lane).reserved_concurrency;
        let reserved = reserved.and_then(|count| usize::try_from(count).ok());
        let environments = self.shared.broker.shared.config.max_environments;
        // With none at all, events are still taken up, to be given up.
        environments.min(reserved.unwrap_or(environments)).max(1)
    }

    fn arn_of(&self, function: &str) -> String {
        let config = &self.shared.broker.shared.config;
        format!(
            "arn:aws:lambda:{}:{}:function:{function}",
            config.region, config.account_id
        )
    }

    fn pace(&self) -> Pace {
        self.shared.broker.shared.config.pace
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.shared.broker
    }

    fn aws(&self) -> &AwsClient {
        &self.shared.aws
    }

    fn closing(&self) -> CancellationToken {
        self.shared.broker.shared.closing.clone()
    }

    fn stopping(&self) -> CancellationToken {
        self.shared.broker.shared.stopping.clone()
    }
}
