//! What was set for a function by Lambda's API: reserved concurrency, how its events are
//! retried, where word of their end goes, what becomes of loops. Kept in the store beside the events.

use std::time::Duration;

use app_model::RecursiveLoop;
use serde::{Deserialize, Serialize};

/// What was set for a function; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FunctionOptions {
    /// Invocations at the same time, at most.
    pub(crate) reserved_concurrency: Option<u32>,
    /// How its events are treated.
    pub(crate) event_invoke: Option<EventInvokeConfig>,
    /// Where events go that were given up: a queue's or a topic's ARN.
    pub(crate) dead_letter_target: Option<String>,
    /// What becomes of it in a loop; unset, what its declaration says.
    pub(crate) recursive_loop: Option<RecursiveLoop>,
}

/// As `PutFunctionEventInvokeConfig` sets it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct EventInvokeConfig {
    pub(crate) maximum_retry_attempts: Option<u32>,
    pub(crate) maximum_event_age_seconds: Option<u32>,
    /// Where word of a success goes, an ARN.
    pub(crate) on_success: Option<String>,
    /// Where word of a failure goes, an ARN.
    pub(crate) on_failure: Option<String>,
    /// Seconds since 1970.
    pub(crate) last_modified: f64,
}

impl FunctionOptions {
    /// Lambda's defaults: two retries, six hours.
    const RETRIES: u32 = 2;
    const AGE_SECONDS: u32 = 21_600;

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How often a failed event is tried again.
    pub(crate) fn retries(&self) -> u32 {
        let set = self.event_invoke.as_ref();
        set.and_then(|config| config.maximum_retry_attempts)
            .unwrap_or(Self::RETRIES)
    }

    /// How old an event may become.
    pub(crate) fn maximum_age(&self) -> Duration {
        let set = self.event_invoke.as_ref();
        let seconds = set.and_then(|config| config.maximum_event_age_seconds);
        Duration::from_secs(seconds.unwrap_or(Self::AGE_SECONDS).into())
    }
}
