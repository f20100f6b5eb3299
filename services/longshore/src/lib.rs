//! Longshore: a local-first sandbox for AWS Lambda data pipelines.
//!
//! The binary is [`cli::run`]; [`stack`] starts the services in this process and is what
//! the end-to-end tests drive.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the program talks to its user: answers on standard output, words on standard error"
)]

pub mod banner;
pub mod cli;
pub mod commands;
pub mod env;
pub mod exit;
pub mod settings;
pub mod stack;
