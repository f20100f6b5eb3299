//! When a request is tried again, and after how long.
//!
//! As the reference does it: three retries, 0.1 s doubled each time, on 502, 503 and 504 and
//! on a connection that failed. A `Retry-After` is honoured, and makes 429 and 413 worth
//! another try; without one they are final. A request that timed out is not repeated:
//! the other side may be working on it.

use std::time::{Duration, SystemTime};

use backon::{ExponentialBuilder, Retryable};
use http::header::RETRY_AFTER;
use http::{HeaderMap, Response, StatusCode};
use hyper::body::Incoming;

use crate::client::SendError;
use crate::deadline::Deadline;

/// How often and how patiently requests are repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts after the first one.
    pub retries: usize,
    /// The first pause; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest `Retry-After` that is waited for in full; a longer one is cut to this.
    pub longest_pause: Duration,
}

impl RetryPolicy {
    /// The reference's: 3 retries after 0.1, 0.2 and 0.4 s; `Retry-After` up to a minute.
    pub const REFERENCE: Self = Self {
        retries: 3,
        first_pause: Duration::from_millis(100),
        longest_pause: Duration::from_secs(60),
    };

    /// Runs `attempt` until it gets an answer that is not worth repeating, or the policy or
    /// the deadline ends it: then the last answer or error is the result. A pause that
    /// would reach the deadline is not begun.
    pub(crate) async fn send<F, A>(
        &self,
        deadline: Deadline,
        attempt: F,
    ) -> Result<Response<Incoming>, SendError>
    where
        F: FnMut() -> A,
        A: Future<Output = Result<Response<Incoming>, SendError>>,
    {
        let mut attempt = attempt;
        let backoff = ExponentialBuilder::new()
            .with_min_delay(self.first_pause)
            .with_factor(2.0)
            .with_max_times(self.retries);
        let outcome = (|| {
            let sent = attempt();
            async move {
                match sent.await {
                    Ok(response) if worth_repeating(response.status(), response.headers()) => {
                        Err(Setback::Answer(Box::new(response)))
                    }
                    Ok(response) => Ok(response),
                    Err(error) => Err(Setback::NoAnswer(error)),
                }
            }
        })
        .retry(backoff)
        .when(Setback::is_passing)
        .adjust(|setback, pause| {
            let pause = pause?;
            let pause = setback
                .retry_after()
                .map_or(pause, |asked| asked.min(self.longest_pause));
            deadline.leaves(pause).then_some(pause)
        })
        .notify(|setback, pause| tracing::debug!(?pause, "{setback}; trying again"))
        .await;
        match outcome {
            Ok(response) => Ok(response),
            Err(Setback::Answer(response)) => Ok(*response),
            Err(Setback::NoAnswer(error)) => Err(error),
        }
    }
}

enum Setback {
    Answer(Box<Response<Incoming>>),
    NoAnswer(SendError),
}

impl Setback {
    fn is_passing(&self) -> bool {
        match self {
            Self::Answer(_) | Self::NoAnswer(SendError::NoAnswer { .. }) => true,
            Self::NoAnswer(SendError::TimedOut { .. }) => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answer(response) => retry_after(response.headers(), SystemTime::now()),
            Self::NoAnswer(_) => None,
        }
    }
}

impl std::fmt::Display for Setback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answer(response) => write!(f, "answered {}", response.status()),
            Self::NoAnswer(error) => error.fmt(f),
        }
    }
}

fn worth_repeating(status: StatusCode, headers: &HeaderMap) -> bool {
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            true
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE => {
            retry_after(headers, SystemTime::now()).is_some()
        }
        _ => false,
    }
}

/// Reads `Retry-After` (RFC 9110 §10.2.3): seconds, as some servers send them with a
/// fraction, or a date. A date gone by means now; nonsense means there is none.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:00 GMT").unwrap();
        let cases = [
            ("0", Some(Duration::ZERO)),
            ("7", Some(Duration::from_secs(7))),
            (" 1.5 ", Some(Duration::from_millis(1500))),
            (
                "Sun, 06 Nov 1994 08:49:37 GMT",
                Some(Duration::from_secs(37)),
            ),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(Duration::ZERO)),
            ("-3", None),
            ("NaN", None),
            ("1e300", None),
            ("soon", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), expected, "{text:?}");
        }
    }

    #[test]
    fn only_passing_answers_are_worth_repeating() {
        let none = HeaderMap::new();
        let some = HeaderMap::from_iter([(RETRY_AFTER, "1".parse().unwrap())]);
        for (status, headers, expected) in [
            (502, &none, true),
            (503, &none, true),
            (504, &none, true),
            (429, &none, false),
            (429, &some, true),
            (413, &some, true),
            (500, &some, false),
            (400, &none, false),
            (200, &some, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(worth_repeating(status, headers), expected, "{status}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_fails_is_tried_four_times_with_doubling_pauses() {
        let started = tokio::time::Instant::now();
        let mut pauses = Vec::new();
        let refused = || {
            pauses.push(started.elapsed());
            async {
                Err(SendError::NoAnswer {
                    host: "h".to_owned(),
                    cause: "refused".to_owned(),
                    unsent: true,
                })
            }
        };
        let result = RetryPolicy::REFERENCE.send(Deadline::NONE, refused).await;
        assert!(result.is_err());
        let expected = [0, 100, 300, 700].map(Duration::from_millis);
        assert_eq!(pauses.len(), expected.len());
        // The timer's own grain is a millisecond.
        for (at, expected) in pauses.iter().zip(expected) {
            let late = at.checked_sub(expected);
            assert!(
                late.is_some_and(|late| late < Duration::from_millis(5)),
                "{pauses:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_pause_is_begun_that_would_reach_the_deadline() {
        let mut attempts = 0;
        let deadline = Deadline::after(Deadline::RESERVE + Duration::from_millis(250));
        let result = RetryPolicy::REFERENCE
            .send(deadline, || {
                attempts += 1;
                async {
                    Err(SendError::NoAnswer {
                        host: "h".to_owned(),
                        cause: "refused".to_owned(),
                        unsent: true,
                    })
                }
            })
            .await;
        assert!(result.is_err());
        assert_eq!(attempts, 2, "the pause of 0.2 s after 0.1 s is too long");
    }
}
