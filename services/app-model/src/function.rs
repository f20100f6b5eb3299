//! A function: its name, where its code comes from and how it is set.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Excess, Layers};

/// A Lambda function's name: 1 to 64 letters, digits, hyphens and underscores.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionName(String);

/// The text is no function name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a function name: use 1 to 64 letters, digits, `-` and `_`")]
pub struct InvalidFunctionName(pub String);

impl FunctionName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FunctionName {
    type Err = InvalidFunctionName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidFunctionName(text.to_owned()))
        }
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name: the binary's name for a Cargo function.
    pub name: FunctionName,
    /// Where its code comes from.
    pub source: FunctionSource,
    /// Memory, timeout, environment.
    pub settings: FunctionSettings,
    /// What AWS would refuse of it and its settings do not show: a value that was declared
    /// and does not count, a zip that is too large.
    pub beyond: Vec<Excess>,
}

/// Where a function's code comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FunctionSource {
    /// A binary of a Cargo package, built and rebuilt by the supervisor.
    Cargo(CargoTarget),
    /// Any other program that speaks the Lambda Runtime API.
    Command(CommandSource),
}

/// A binary target of a Cargo package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CargoTarget {
    /// The package's name.
    pub package: String,
    /// The binary's name.
    pub bin: String,
    /// Absolute path of the package's `Cargo.toml`.
    pub manifest_path: PathBuf,
}

/// A program with its arguments, run as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSource {
    /// The program and its arguments; never empty.
    pub argv: Vec<String>,
    /// Working directory, absolute.
    pub cwd: PathBuf,
    /// Files and folders whose change restarts the function, absolute.
    pub watch: Vec<PathBuf>,
}

/// How Lambda would run the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionSettings {
    /// Memory in MB (128 to 10,240); AWS's default is 128.
    pub memory_mb: u32,
    /// Time one invocation may take; 1 s to 900 s.
    pub timeout: Duration,
    /// The function's own environment variables.
    pub env: BTreeMap<String, String>,
    /// `_HANDLER`; `bootstrap` unless said otherwise.
    pub handler: String,
    /// How the platform's lines in its log look.
    pub log_format: LogFormat,
    /// What becomes of it in a loop.
    pub recursive_loop: RecursiveLoop,
    /// External extensions and libraries.
    pub layers: Layers,
}

/// How the platform's lines in a function's log look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `START RequestId: …`
    #[default]
    Text,
    /// `{"time":…,"type":"platform.start","record":{…}}`
    Json,
}

/// What becomes of a function that a chain of requests invokes again and again, in Lambda's
/// words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecursiveLoop {
    /// It is stopped.
    #[default]
    Terminate,
    /// It is meant to be, and goes on.
    Allow,
}

impl FunctionSettings {
    /// AWS's default memory, in MB.
    pub const DEFAULT_MEMORY_MB: u32 = 128;
    /// The timeout that `cargo lambda deploy` sets where the package names none.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
}
