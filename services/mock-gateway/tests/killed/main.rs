//! Asynchronous events survive SIGKILL: a gateway in a process of its own accepts events,
//! is killed five times while it does, and in the end every event that it had answered
//! with 202 was delivered.
//!
//! The process is this test binary, started again for its ignored test. 10,000 events by
//! default; `LONGSHORE_TEST_EVENTS=100000` for more.

// `cfg(test)` tells clippy that their helpers are test code too.
#[cfg(test)]
mod child;
#[path = "../settings/mod.rs"]
mod settings;
#[cfg(test)]
mod survival;
