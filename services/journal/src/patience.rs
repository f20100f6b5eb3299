//! How long a query waits for what it looks for: the `wait=10s` of a query string.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer};

/// No query waits longer than this.
pub const MAX_PATIENCE: Duration = Duration::from_secs(60);

/// How long a query waits: zero if not said, [`MAX_PATIENCE`] at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience(Duration);

/// A text that is no duration from 0 to 60 seconds. The text goes to the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no duration from 0s to 60s; write it as in 10s or 500ms")]
pub struct BadPatience {
    given: String,
}

impl Patience {
    /// As a duration.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Patience {
    type Err = BadPatience;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || BadPatience {
            given: text.to_owned(),
        };
        let signed: SignedDuration = text.trim().parse().map_err(|_| refused())?;
        let duration = Duration::try_from(signed).map_err(|_| refused())?;
        if duration > MAX_PATIENCE {
            return Err(refused());
        }
        Ok(Self(duration))
    }
}

impl fmt::Display for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl<'de> Deserialize<'de> for Patience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_up_to_a_minute_are_taken() {
        for (text, millis) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("0s", 0),
            ("1m", 60_000),
            ("60s", 60_000),
            ("1.5s", 1_500),
            ("PT2S", 2_000),
        ] {
            let parsed: Patience = text.parse().unwrap();
            assert_eq!(parsed.get(), Duration::from_millis(millis), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_in_words() {
        for text in ["", "10", "soon", "-1s", "61s", "2m", "1h", "10 s x"] {
            let refused = text.parse::<Patience>().unwrap_err().to_string();
            assert!(refused.contains("as in 10s"), "{text}: {refused}");
        }
    }
}
