//! The runner against a real HTTP upstream: its contract and the sources it must survive.

#![expect(
    clippy::unwrap_used,
    reason = "what these helpers cannot do fails the test"
)]

mod contract;
mod sources;
mod upstream;
