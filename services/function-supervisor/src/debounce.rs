//! When a burst of changes is over: after a quiet moment, and at the latest a while after
//! the first change. Pure over the clock it is told.

use tokio::time::Instant;

use crate::Debounce;

/// Counts one burst of changes.
#[derive(Debug)]
pub(crate) struct Debouncer {
    settings: Debounce,
    burst: Option<Burst>,
}

#[derive(Clone, Copy, Debug)]
struct Burst {
    first: Instant,
    last: Instant,
}

impl Debouncer {
    pub(crate) fn new(settings: Debounce) -> Self {
        Self {
            settings,
            burst: None,
        }
    }

    /// Something changed.
    pub(crate) fn note(&mut self, now: Instant) {
        let first = self.burst.map_or(now, |burst| burst.first);
        self.burst = Some(Burst { first, last: now });
    }

    /// When the burst counts as over; `None` without one.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.burst
            .map(|burst| (burst.last + self.settings.quiet).min(burst.first + self.settings.max))
    }

    /// Waits until the burst is over, for ever without one; cancel-safe.
    pub(crate) async fn over(&self) {
        match self.due() {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Ends the burst and says when it began.
    pub(crate) fn take(&mut self) -> Option<Instant> {
        self.burst.take().map(|burst| burst.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// When (ms after the first) the burst with changes at `changes` (ms) is over.
    async fn over_at(changes: &[u64]) -> u64 {
        let start = Instant::now();
        let mut debouncer = Debouncer::new(Debounce::STANDARD);
        for at in changes {
            let at = start + Duration::from_millis(*at);
            tokio::select! {
                () = debouncer.over() => break,
                () = tokio::time::sleep_until(at) => debouncer.note(at),
            }
        }
        debouncer.over().await;
        let now = Instant::now();
        assert_eq!(debouncer.take(), Some(start));
        assert_eq!(debouncer.due(), None);
        u64::try_from((now - start).as_millis()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_ends_after_quiet_or_after_its_longest_time() {
        assert_eq!(over_at(&[0]).await, 50);
        assert_eq!(over_at(&[0, 10, 45]).await, 95);
        assert_eq!(
            over_at(&[0, 60]).await,
            50,
            "the second change is a burst of its own"
        );
        let steady: Vec<u64> = (0..100).map(|step| step * 40).collect();
        assert_eq!(over_at(&steady).await, 1000);
    }
}
