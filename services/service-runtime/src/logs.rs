//! Logs: to standard error, for people or as JSON lines, filtered as `RUST_LOG` would.

use std::fmt;
use std::io::{self, IsTerminal};
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

use crate::log_writer::{self, LogWriter};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One line a person reads.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("`{other}` is no log format; use text or json")),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The filter does not parse.
    #[error("`{filter}` is no log filter; write it as in `info,mock_gateway=debug`")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What the parser says.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something in this process set it up before.
    #[error("logging is set up already")]
    AlreadySet,
    /// The system has no thread left.
    #[error("the thread that writes the logs cannot be started")]
    Thread(#[source] io::Error),
}

/// Logging, while this is there. Dropped, all that was logged is written.
#[derive(Debug)]
#[must_use = "what is logged is written until this is dropped"]
pub struct Logs {
    _writer: LogWriter,
}

/// Sends this process's log lines to standard error, a few milliseconds after they came.
///
/// # Errors
/// [`LogsError`] if the filter does not parse, or if called twice.
pub fn init_logs(format: LogFormat, filter: &str) -> Result<Logs, LogsError> {
    let filter = EnvFilter::try_new(filter).map_err(|source| LogsError::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let (lines, writer) = log_writer::start(io::stderr()).map_err(LogsError::Thread)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal());
    let set = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    set.map_err(|_| LogsError::AlreadySet)?;
    Ok(Logs { _writer: writer })
}
