//! The kinds of faults, as a header or a rule spells them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The longest that a request is held up.
const LONGEST: Duration = Duration::from_secs(900);
/// When an invocation crashes or runs out of time unless said otherwise: its function is at
/// work by then.
const AT_WORK: Duration = Duration::from_millis(20);

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The request is refused, and no function is invoked.
    Refused(Refused),
    /// The invocation begins that much later.
    Latency(Duration),
    /// The function's process is killed so long after it was given the invocation, unless
    /// it has answered.
    Crash(Duration),
    /// The function has so long for the invocation, if its timeout is longer.
    Timeout(Duration),
    /// An event that nobody waits for is delivered twice, under one request id.
    Duplicate,
    /// The invocation goes to a new environment.
    ColdStart,
}

/// With what a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// 429.
    Throttle,
    /// 502.
    BadGateway,
    /// 503.
    Unavailable,
    /// 504.
    Timeout,
}

/// The text is no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no fault: use throttle, 502, 503, 504, latency=250ms, crash, crash=100ms, timeout, timeout=100ms, duplicate or cold-start, with times in ms or s of at most 900s"
)]
pub(crate) struct InvalidFault(String);

impl FromStr for Fault {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let invalid = || InvalidFault(text.to_owned());
        let time = |value: &str| duration(value).ok_or_else(invalid);
        Ok(match text.split_once('=') {
            None => match text {
                "throttle" | "429" => Self::Refused(Refused::Throttle),
                "502" => Self::Refused(Refused::BadGateway),
                "503" => Self::Refused(Refused::Unavailable),
                "504" => Self::Refused(Refused::Timeout),
                "crash" => Self::Crash(AT_WORK),
                "timeout" => Self::Timeout(AT_WORK),
                "duplicate" => Self::Duplicate,
                "cold-start" => Self::ColdStart,
                _ => return Err(invalid()),
            },
            Some(("latency", value)) => Self::Latency(time(value)?),
            Some(("crash", value)) => Self::Crash(time(value)?),
            Some(("timeout", value)) => Self::Timeout(time(value)?),
            Some(_) => return Err(invalid()),
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(Refused::Throttle) => f.write_str("throttle"),
            Self::Refused(Refused::BadGateway) => f.write_str("502"),
            Self::Refused(Refused::Unavailable) => f.write_str("503"),
            Self::Refused(Refused::Timeout) => f.write_str("504"),
            Self::Latency(time) => write!(f, "latency={}ms", time.as_millis()),
            Self::Crash(time) => write!(f, "crash={}ms", time.as_millis()),
            Self::Timeout(time) => write!(f, "timeout={}ms", time.as_millis()),
            Self::Duplicate => f.write_str("duplicate"),
            Self::ColdStart => f.write_str("cold-start"),
        }
    }
}

fn duration(text: &str) -> Option<Duration> {
    let found = match text.strip_suffix("ms") {
        Some(number) => Duration::from_millis(number.parse().ok()?),
        None => Duration::from_secs(text.strip_suffix('s')?.parse().ok()?),
    };
    (found <= LONGEST).then_some(found)
}
