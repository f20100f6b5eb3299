//! Exit codes, part of the interface: scripts may rely on them.

use std::process::ExitCode;

use crate::env::DotenvError;
use crate::settings::InvalidSettings;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or drained after the first Ctrl-C.
    Success = 0,
    /// Something failed while it ran; an invoked function answered with an error.
    Failure = 1,
    /// A bad flag, setting or `.env`. The same code that the flag parser uses.
    Usage = 2,
    /// A port is in use or cannot be listened on.
    Bind = 3,
    /// The workspace, the Rust toolchain or the state folder cannot be used.
    Environment = 4,
    /// Stopped at once by a second Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// The code that fits what went wrong.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        for cause in error.chain() {
            if cause.is::<InvalidSettings>() || cause.is::<DotenvError>() {
                return Self::Usage;
            }
            if cause.is::<service_runtime::BindError>() {
                return Self::Bind;
            }
            let lacking = cause
                .downcast_ref::<function_package::PackageError>()
                .is_some_and(function_package::PackageError::is_of_this_machine);
            if lacking || cause.is::<function_supervisor::StartError>() {
                return Self::Environment;
            }
        }
        Self::Failure
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
