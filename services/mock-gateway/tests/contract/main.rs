//! The contract with functions and with callers: every case in `cases/`, and AWS's own Rust
//! types reading the events.

#[cfg(test)]
mod events;
#[cfg(test)]
mod given;
#[cfg(test)]
mod responses;
#[cfg(test)]
mod rust_client;
