//! Longshore's clock for events: AWS's minutes, which a developer may not want to wait for.

use std::str::FromStr;
use std::time::Duration;

use super::entry::Entry;

/// How much faster than the wall's time goes by for events; 1 is AWS's own pace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace(f64);

/// A pace that is no number above zero.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("use a number above 0, such as 60 for a minute in a second")]
pub struct InvalidPace;

impl Pace {
    /// As on AWS.
    pub const AWS: Self = Self(1.0);

    /// So many times as fast as the wall.
    ///
    /// # Errors
    /// [`InvalidPace`] unless it is a finite number above zero.
    pub fn times(factor: f64) -> Result<Self, InvalidPace> {
        if factor.is_finite() && factor > 0.0 {
            Ok(Self(factor))
        } else {
            Err(InvalidPace)
        }
    }

    /// What a time of Longshore's takes on the wall.
    pub(crate) fn on_the_wall(self, time: Duration) -> Duration {
        Duration::try_from_secs_f64(time.as_secs_f64() / self.0).unwrap_or(Duration::MAX)
    }

    /// How old an entry is by Longshore's clock.
    pub(crate) fn age(self, entry: &Entry) -> Duration {
        Duration::try_from_secs_f64(entry.age().as_secs_f64() * self.0).unwrap_or(Duration::MAX)
    }
}

impl FromStr for Pace {
    type Err = InvalidPace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::times(text.parse().map_err(|_| InvalidPace)?)
    }
}
