//! Failing as told: what `/mock/error/<code>` asks for.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;

/// Addresses whose failures are counted at once; beyond that counting starts anew.
const MAX_COUNTED: usize = 1_000;

/// The last part of `/mock/error/<code>`: `503`, or `503:3` to succeed after three failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    pub(crate) times: Option<u32>,
}

/// Asked to fail in a way that is none. The text goes to the sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadFault {
    #[error(
        "`{0}` is no status code; use /mock/error/503, or /mock/error/503:3 to fail three times and then succeed"
    )]
    NotACode(String),
    #[error("{0} is no status code; it is a number from 200 to 599")]
    OutOfRange(String),
    #[error("{0} cannot end a request: a client waits on for the final answer; use 200 to 599")]
    Interim(u16),
}

impl FromStr for Fault {
    type Err = BadFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let no_code = || BadFault::NotACode(text.to_owned());
        let (code, times) = match text.split_once(':') {
            None => (text, None),
            Some((code, times)) => (code, Some(times.parse().map_err(|_| no_code())?)),
        };
        if code.is_empty() || !code.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(no_code());
        }
        let out_of_range = || BadFault::OutOfRange(code.to_owned());
        match code.parse::<u16>().map_err(|_| out_of_range())? {
            interim @ 100..200 => Err(BadFault::Interim(interim)),
            code @ 200..600 => Ok(Self {
                status: StatusCode::from_u16(code).map_err(|_| out_of_range())?,
                times,
            }),
            _ => Err(out_of_range()),
        }
    }
}

/// How often each address has failed. Clones are handles.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failures {
    /// A plain mutex: held for one look-up.
    by_address: Arc<Mutex<HashMap<String, u32>>>,
}

impl Failures {
    /// What this request is answered. `address` is the path and query, so that each test
    /// can have a count of its own: `/mock/error/503:3?test=a`.
    pub(crate) fn answer(&self, fault: Fault, address: &str) -> StatusCode {
        let Some(times) = fault.times else {
            return fault.status;
        };
        let mut counts = self
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MAX_COUNTED && !counts.contains_key(address) {
            tracing::warn!("too many addresses fail a set number of times: counting anew");
            counts.clear();
        }
        let failed = counts.entry(address.to_owned()).or_default();
        if *failed < times {
            *failed += 1;
            fault.status
        } else {
            StatusCode::OK
        }
    }

    /// Starts counting anew.
    pub(crate) fn clear(&self) {
        self.by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_numbers_that_end_a_request() {
        for (text, code, times) in [
            ("200", 200, None),
            ("503", 503, None),
            ("599", 599, None),
            ("503:3", 503, Some(3)),
        ] {
            let fault: Fault = text.parse().unwrap();
            assert_eq!(
                (fault.status.as_u16(), fault.times),
                (code, times),
                "{text}"
            );
        }
        for (text, words) in [
            ("", "no status code"),
            ("abc", "no status code"),
            ("+503", "no status code"),
            ("503:", "no status code"),
            ("503:x", "no status code"),
            ("99", "200 to 599"),
            ("600", "200 to 599"),
            ("70000", "200 to 599"),
            ("100", "cannot end"),
        ] {
            let why = text.parse::<Fault>().unwrap_err().to_string();
            assert!(why.contains(words), "{text}: {why}");
        }
    }

    #[test]
    fn failures_are_counted_by_address() {
        let failures = Failures::default();
        let fault: Fault = "503:2".parse().unwrap();
        let answers: Vec<_> = ["/a", "/a", "/b", "/a", "/b", "/b"]
            .map(|address| failures.answer(fault, address).as_u16())
            .into();
        assert_eq!(answers, [503, 503, 503, 200, 503, 200]);
        failures.clear();
        assert_eq!(failures.answer(fault, "/a"), 503);
    }
}
