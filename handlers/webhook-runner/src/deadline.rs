//! When Lambda ends the invocation.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The moment by which an invocation must have answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// No deadline: a run outside Lambda.
    pub const NONE: Self = Self(None);

    /// What is kept free before the deadline for a last report and the answer.
    pub const RESERVE: Duration = Duration::from_secs(1);

    /// From Lambda's context: milliseconds since the epoch. A moment gone by is now.
    #[must_use]
    pub fn from_epoch_ms(milliseconds: u64) -> Self {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds);
        Self::after(at.duration_since(SystemTime::now()).unwrap_or_default())
    }

    /// This long from now.
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now().checked_add(duration))
    }

    /// Whether a pause this long, begun now, ends before the deadline with
    /// [`Deadline::RESERVE`] to spare.
    #[must_use]
    pub fn leaves(self, pause: Duration) -> bool {
        self.0.is_none_or(|at| {
            pause.saturating_add(Self::RESERVE) < at.saturating_duration_since(Instant::now())
        })
    }
}
