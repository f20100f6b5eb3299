//! What follows from an attempt at an event. Pure: AWS's rules of retrying, and its words
//! for giving up.

use std::time::Duration;

use super::clock::Pace;
use super::entry::Entry;
use super::function_options::FunctionOptions;
use crate::outcome::Outcome;

/// Lambda waits a minute before the first retry and two before the second.
const RETRY_AFTER: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(120)];
/// A throttled event comes back after a second, then after ever longer, up to five minutes.
const THROTTLED_FIRST: Duration = Duration::from_secs(1);
const THROTTLED_LONGEST: Duration = Duration::from_secs(300);

/// How an event ended, in the destination record's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Success,
    RetriesExhausted,
    EventAgeExceeded,
    ZeroReservedConcurrency,
    /// AWS does not document which word it has for this one.
    RecursiveInvocation,
}

impl Condition {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::RetriesExhausted => "RetriesExhausted",
            Self::EventAgeExceeded => "EventAgeExceeded",
            Self::ZeroReservedConcurrency => "ZeroReservedConcurrency",
            Self::RecursiveInvocation => "RecursiveInvocationException",
        }
    }
}

/// What follows from an attempt. Times are the wall's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is done with.
    Ended(Condition),
    /// The function failed: again after this long.
    Retry(Duration),
    /// The function never had it: again after this long, not counted.
    PutOff(Duration),
    /// The gateway stops: it stays as it is, for the next start.
    Keep,
}

/// Whether an event ends before it is tried.
pub(crate) fn before(entry: &Entry, options: &FunctionOptions, pace: Pace) -> Option<Condition> {
    if options.reserved_concurrency == Some(0) {
        Some(Condition::ZeroReservedConcurrency)
    } else if pace.age(entry) > options.maximum_age() {
        Some(Condition::EventAgeExceeded)
    } else {
        None
    }
}

/// What follows from how an attempt ended.
pub(crate) fn after(
    entry: &Entry,
    outcome: &Outcome,
    options: &FunctionOptions,
    pace: Pace,
    stopping: bool,
) -> Verdict {
    let fits = |wait: Duration| pace.age(entry).saturating_add(wait) <= options.maximum_age();
    match outcome {
        // Nobody takes events' answers while they are written, so that none is a stream.
        Outcome::Response(_) | Outcome::Streaming(_) | Outcome::Streamed { .. } => {
            Verdict::Ended(Condition::Success)
        }
        Outcome::ShuttingDown => Verdict::Keep,
        // Killed by us, not by its own doing.
        _ if stopping => Verdict::Keep,
        Outcome::Throttled | Outcome::BuildFailed { .. } | Outcome::UnknownFunction => {
            let doublings = entry.put_off.min(16);
            let wait = THROTTLED_FIRST.saturating_mul(1 << doublings);
            let wait = wait.min(THROTTLED_LONGEST);
            if fits(wait) {
                Verdict::PutOff(pace.on_the_wall(wait))
            } else {
                Verdict::Ended(Condition::EventAgeExceeded)
            }
        }
        Outcome::FunctionError(_)
        | Outcome::TimedOut { .. }
        | Outcome::Crashed(_)
        | Outcome::ExtensionFailed(_)
        | Outcome::ResponseTooLarge
        | Outcome::RequestTooLarge
        | Outcome::InitFailed(_)
        | Outcome::IntegrationTimeout => {
            if entry.attempts >= options.retries() {
                return Verdict::Ended(Condition::RetriesExhausted);
            }
            let nth = usize::try_from(entry.attempts).unwrap_or(usize::MAX);
            let wait = RETRY_AFTER
                .get(nth)
                .copied()
                .unwrap_or(Duration::from_secs(120));
            if fits(wait) {
                Verdict::Retry(pace.on_the_wall(wait))
            } else {
                Verdict::Ended(Condition::EventAgeExceeded)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::entry::{Event, Task, now_ms};
    use super::super::function_options::EventInvokeConfig;
    use super::*;
    use crate::outcome::FunctionResponse;

    fn entry(attempts: u32, put_off: u32, age: u64) -> Entry {
        let event = Event {
            request_id: String::new(),
            function: "demo".to_owned(),
            trace_id: String::new(),
            qualified: false,
            tenant: None,
            client_context: None,
            faults: Vec::new(),
        };
        Entry {
            attempts,
            put_off,
            accepted_ms: now_ms() - age * 1_000,
            ..Entry::now(Task::Invoke(event))
        }
    }

    fn set(retries: Option<u32>, age: Option<u32>) -> FunctionOptions {
        FunctionOptions {
            event_invoke: Some(EventInvokeConfig {
                maximum_retry_attempts: retries,
                maximum_event_age_seconds: age,
                ..EventInvokeConfig::default()
            }),
            ..FunctionOptions::default()
        }
    }

    #[test]
    fn failures_are_retried_twice_after_one_and_two_minutes() {
        use Condition::{EventAgeExceeded, RetriesExhausted, Success};
        let failed = Outcome::FunctionError(Bytes::new());
        let answered = Outcome::Response(FunctionResponse {
            body: Bytes::new(),
            content_type: None,
            streaming: false,
        });
        let default = FunctionOptions::default();
        let seconds = Duration::from_secs;
        for (tried, outcome, options, stopping, expected) in [
            (
                entry(0, 0, 0),
                &failed,
                &default,
                false,
                Verdict::Retry(seconds(60)),
            ),
            (
                entry(1, 0, 60),
                &failed,
                &default,
                false,
                Verdict::Retry(seconds(120)),
            ),
            (
                entry(2, 0, 180),
                &failed,
                &default,
                false,
                Verdict::Ended(RetriesExhausted),
            ),
            (
                entry(0, 0, 0),
                &failed,
                &set(Some(0), None),
                false,
                Verdict::Ended(RetriesExhausted),
            ),
            (
                entry(0, 0, 30),
                &failed,
                &set(None, Some(60)),
                false,
                Verdict::Ended(EventAgeExceeded),
            ),
            (entry(0, 0, 0), &failed, &default, true, Verdict::Keep),
            (
                entry(0, 0, 0),
                &answered,
                &default,
                true,
                Verdict::Ended(Success),
            ),
            (
                entry(0, 0, 0),
                &Outcome::ShuttingDown,
                &default,
                false,
                Verdict::Keep,
            ),
            (
                entry(2, 0, 0),
                &Outcome::Throttled,
                &default,
                false,
                Verdict::PutOff(seconds(1)),
            ),
            (
                entry(0, 3, 7),
                &Outcome::Throttled,
                &default,
                false,
                Verdict::PutOff(seconds(8)),
            ),
            (
                entry(0, 40, 7),
                &Outcome::Throttled,
                &default,
                false,
                Verdict::PutOff(seconds(300)),
            ),
            (
                entry(0, 9, 21_500),
                &Outcome::Throttled,
                &default,
                false,
                Verdict::Ended(EventAgeExceeded),
            ),
        ] {
            let verdict = after(&tried, outcome, options, Pace::AWS, stopping);
            assert_eq!(verdict, expected, "{outcome:?} {tried:?}");
        }
    }

    #[test]
    fn a_faster_clock_makes_minutes_seconds_and_ages_events_sooner() {
        let pace = Pace::times(60.0).unwrap();
        let failed = Outcome::FunctionError(Bytes::new());
        let default = FunctionOptions::default();
        assert_eq!(
            after(&entry(0, 0, 0), &failed, &default, pace, false),
            Verdict::Retry(Duration::from_secs(1))
        );
        let old = entry(0, 0, 2);
        assert_eq!(
            before(&old, &set(None, Some(60)), pace),
            Some(Condition::EventAgeExceeded)
        );
        assert_eq!(before(&old, &default, pace), None);
        assert!(Pace::times(0.0).is_err() && Pace::times(f64::NAN).is_err());
    }

    #[test]
    fn without_any_concurrency_an_event_is_not_even_tried() {
        let none = FunctionOptions {
            reserved_concurrency: Some(0),
            ..FunctionOptions::default()
        };
        assert_eq!(
            before(&entry(0, 0, 0), &none, Pace::AWS),
            Some(Condition::ZeroReservedConcurrency)
        );
    }
}
