//! At most so many requests in a window of time.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

/// A fixed window, as the reference has it: the window opens with the first request; when
/// it is used up, the next request waits for the rest of it. Every request counts,
/// repeated ones too.
#[derive(Debug)]
pub struct RateLimit {
    requests: NonZeroU32,
    window: Duration,
    opened: Option<Instant>,
    used: u32,
}

impl RateLimit {
    /// At most `requests` in each `window`.
    #[must_use]
    pub fn new(requests: NonZeroU32, window: Duration) -> Self {
        Self {
            requests,
            window,
            opened: None,
            used: 0,
        }
    }

    /// At most `requests` in each minute.
    #[must_use]
    pub fn per_minute(requests: NonZeroU32) -> Self {
        Self::new(requests, Duration::from_secs(60))
    }

    /// Books one request: how long it has to wait from `now`.
    pub(crate) fn book(&mut self, now: Instant) -> Duration {
        let opened = match self.opened {
            Some(opened) if now < opened + self.window => opened,
            _ => self.open(now),
        };
        if self.used < self.requests.get() {
            self.used += 1;
            return opened.saturating_duration_since(now);
        }
        let next = self.open(opened + self.window);
        self.used = 1;
        next.saturating_duration_since(now)
    }

    /// Gives back a request that was booked and not made.
    pub(crate) fn release(&mut self) {
        self.used = self.used.saturating_sub(1);
    }

    fn open(&mut self, at: Instant) -> Instant {
        self.used = 0;
        *self.opened.insert(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_the_limit_waits_for_the_rest_of_the_window() {
        let mut limit = RateLimit::per_minute(2.try_into().unwrap());
        let start = Instant::now();
        let seconds = Duration::from_secs;
        for (now, expected) in [
            (0, 0),
            (10, 0),
            (20, 40),
            // The second window opened at 60.
            (60, 0),
            (61, 59),
            // Long after: a new window.
            (500, 0),
            (501, 0),
            (502, 58),
        ] {
            let wait = limit.book(start + seconds(now));
            assert_eq!(wait, seconds(expected), "at {now} s");
        }
    }

    #[test]
    fn requests_booked_ahead_queue_up() {
        let mut limit = RateLimit::per_minute(1.try_into().unwrap());
        let start = Instant::now();
        let waits: Vec<_> = (0..3).map(|_| limit.book(start).as_secs()).collect();
        assert_eq!(waits, [0, 60, 120]);
    }
}
