//! Every setting, documented once: its flag, its variable, its default.
//!
//! The command line, the README's table and `.env` all come from, or are checked
//! against, [`SETTINGS`]. A value is taken from the flag, else the process's environment,
//! else `.env`, else the default; all bad values are reported together.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use app_model::{Excess, FunctionName, parity};
pub use function_supervisor::PackageSource;
pub use mock_gateway::{Pace, Parity};
use service_runtime::LogFormat;

use crate::env::Environment;

/// One setting of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The long flag, without dashes.
    pub flag: &'static str,
    /// The environment variable.
    pub variable: &'static str,
    /// What a value looks like in the help.
    pub value: &'static str,
    /// The default as one would write it; empty where there is none.
    pub default: &'static str,
    /// What it does, one sentence.
    pub help: &'static str,
}

macro_rules! settings {
    ($($name:ident: $flag:literal, $variable:literal, $value:literal, $default:literal, $help:literal;)*) => {
        $(#[doc = $help] pub const $name: Setting = Setting {
            flag: $flag, variable: $variable, value: $value, default: $default, help: $help,
        };)*
        /// All settings, in the order of the documentation.
        pub const SETTINGS: &[Setting] = &[$($name),*];
    };
}

settings! {
    HOST: "host", "LONGSHORE_HOST", "ADDRESS", "127.0.0.1", "Address that the services listen on.";
    GATEWAY_PORT: "gateway-port", "LONGSHORE_GATEWAY_PORT", "PORT", "5555", "Port of the mock API Gateway.";
    AWS_PORT: "aws-port", "LONGSHORE_AWS_PORT", "PORT", "4566", "Port of the embedded AWS endpoint (S3).";
    DESTINATION_PORT: "destination-port", "LONGSHORE_DESTINATION_PORT", "PORT", "5005", "Port of the mock destination.";
    POLLER_PORT: "poller-port", "LONGSHORE_POLLER_PORT", "PORT", "5006", "Port of the callback poller.";
    WORKSPACE: "workspace", "LONGSHORE_WORKSPACE", "DIR", ".", "Cargo workspace whose handlers are the functions.";
    HANDLERS: "handlers", "LONGSHORE_HANDLERS", "DIR", "handlers", "Folder of the handler packages, below the workspace.";
    FIXTURES: "fixtures", "LONGSHORE_FIXTURES", "DIR", "fixtures/data", "Folder whose files are kept in the bucket, below the workspace.";
    BUCKET: "bucket", "LONGSHORE_BUCKET", "NAME", "test-bucket", "Bucket that holds the fixtures.";
    STATE_DIR: "state-dir", "LONGSHORE_STATE_DIR", "DIR", ".longshore", "Where objects, events and built functions are kept, and what a destination or poller alone was sent; below the workspace.";
    EPHEMERAL: "ephemeral", "LONGSHORE_EPHEMERAL", "BOOL", "false", "Keep no state: it lives in a temporary folder that goes at the end, or in memory.";
    TARGET_DIR: "target-dir", "LONGSHORE_TARGET_DIR", "DIR", "target/longshore", "Cargo's target folder for the functions, apart from your own so that neither waits for the other.";
    DECLARATIONS: "declarations", "LONGSHORE_DECLARATIONS", "FILE", "", "TOML file that declares functions, routes and APIs over what the workspace says, as its Cargo.toml would (docs/apis.md).";
    ARTIFACTS: "artifact", "LONGSHORE_ARTIFACTS", "[NAME=]ZIP,…", "", "Functions to run from zips, as AWS would, instead of from source; below the workspace.";
    PROFILE: "profile", "LONGSHORE_PROFILE", "dev|release", "dev", "Cargo profile that functions are built with.";
    WATCH: "watch", "LONGSHORE_WATCH", "auto|native|poll|off", "auto", "How changes are noticed; auto probes for file events at start and polls where none come.";
    START: "start", "LONGSHORE_START", "eager|lazy", "eager", "Build functions at start, or each at its first request.";
    MAX_ENVIRONMENTS: "max-environments", "LONGSHORE_MAX_ENVIRONMENTS", "COUNT", "10", "Execution environments a function may have at once.";
    TIMEOUT_MS: "function-timeout-ms", "LAMBDA_TIMEOUT", "MS", "", "Timeout of every function in milliseconds, instead of what its package says.";
    INIT_TIMEOUT: "init-timeout", "LONGSHORE_INIT_TIMEOUT", "SECONDS", "10", "How long a function may take to start before it is started over within its first invocation.";
    IDLE_TIMEOUT: "idle-timeout", "LONGSHORE_IDLE_TIMEOUT", "SECONDS", "900", "How long an environment waits for work until it is shut down; 0: for ever.";
    FREEZE: "freeze", "LONGSHORE_FREEZE", "BOOL", "false", "Freeze functions between invocations, as AWS does.";
    PARITY: "parity", "LONGSHORE_PARITY", "warn|enforce", "warn", "What becomes of that which works here and would fail on AWS: it is told of, or it fails here too (docs/parity.md).";
    INTEGRATION_TIMEOUT: "integration-timeout", "LONGSHORE_INTEGRATION_TIMEOUT", "SECONDS", "29", "How long the gateway waits for a function; the function runs on.";
    TIME_SCALE: "time-scale", "LONGSHORE_TIME_SCALE", "FACTOR", "1", "How fast time goes by for asynchronous invocations; at 60, a retry after a minute comes after a second.";
    JOB_TIMEOUT: "job-timeout", "LONGSHORE_JOB_TIMEOUT", "SECONDS", "10800", "How long the poller waits for a job's last report, from its first.";
    JOB_SILENCE: "job-silence", "LONGSHORE_JOB_SILENCE", "SECONDS", "1200", "How long a job may go without a report: a function runs 900 s at most, and its retry comes within 120 s.";
    DRAIN: "drain", "LONGSHORE_DRAIN", "SECONDS", "10", "How long requests in flight may take to finish after Ctrl-C.";
    AWS_ENDPOINT_URL: "aws-endpoint-url", "LONGSHORE_AWS_ENDPOINT_URL", "URL", "", "AWS endpoint that functions get; default: this stack's own.";
    POLLER_URL: "poller-url", "LONGSHORE_POLLER_URL", "URL", "", "Where the destination passes status reports on; default: this stack's poller.";
    REGION: "region", "LONGSHORE_REGION", "REGION", "us-east-1", "AWS region of functions and buckets.";
    LOG: "log", "LONGSHORE_LOG", "FILTER", "info,s3s=off", "What is logged, as in info,mock_gateway=debug.";
    LOG_FORMAT: "log-format", "LONGSHORE_LOG_FORMAT", "text|json", "text", "How log lines look.";
}

/// Values given on the command line, by flag.
#[derive(Clone, Debug, Default)]
pub struct Flags(pub BTreeMap<&'static str, String>);

impl clap::Args for Flags {
    fn augment_args(command: clap::Command) -> clap::Command {
        SETTINGS.iter().fold(command, |command, setting| {
            let default = if setting.default.is_empty() {
                String::new()
            } else {
                format!(" [default: {}]", setting.default)
            };
            let mut argument = clap::Arg::new(setting.flag)
                .long(setting.flag)
                .value_name(setting.value)
                .help(format!(
                    "{} [env: {}]{default}",
                    setting.help, setting.variable
                ))
                .global(true)
                .help_heading("Settings");
            if *setting == ARTIFACTS {
                argument = argument.action(clap::ArgAction::Append);
            } else if setting.value == "BOOL" {
                argument = argument
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true");
            }
            command.arg(argument)
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let given = |setting: &Setting| {
            let values = matches.get_many::<String>(setting.flag)?;
            let values: Vec<&str> = values.map(String::as_str).collect();
            Some((setting.flag, values.join(",")))
        };
        Ok(Self(SETTINGS.iter().filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The settings, typed. Paths are absolute.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// See [`HOST`].
    pub host: IpAddr,
    /// See [`GATEWAY_PORT`].
    pub gateway_port: u16,
    /// See [`AWS_PORT`].
    pub aws_port: u16,
    /// See [`DESTINATION_PORT`].
    pub destination_port: u16,
    /// See [`POLLER_PORT`].
    pub poller_port: u16,
    /// See [`WORKSPACE`].
    pub workspace: PathBuf,
    /// See [`HANDLERS`].
    pub handlers: PathBuf,
    /// See [`FIXTURES`].
    pub fixtures: PathBuf,
    /// See [`BUCKET`].
    pub bucket: String,
    /// See [`STATE_DIR`].
    pub state_dir: PathBuf,
    /// See [`EPHEMERAL`].
    pub ephemeral: bool,
    /// See [`TARGET_DIR`].
    pub target_dir: PathBuf,
    /// See [`DECLARATIONS`].
    pub declarations: Option<PathBuf>,
    /// See [`ARTIFACTS`].
    pub artifacts: Vec<PackageSource>,
    /// See [`PROFILE`].
    pub profile: Profile,
    /// See [`WATCH`].
    pub watch: Watch,
    /// See [`START`].
    pub start: Start,
    /// See [`MAX_ENVIRONMENTS`].
    pub max_environments: usize,
    /// See [`TIMEOUT_MS`].
    pub function_timeout: Option<Duration>,
    /// See [`INIT_TIMEOUT`].
    pub init_timeout: Duration,
    /// See [`IDLE_TIMEOUT`]; zero is for ever.
    pub idle_timeout: Duration,
    /// See [`FREEZE`].
    pub freeze: bool,
    /// See [`PARITY`].
    pub parity: Parity,
    /// See [`INTEGRATION_TIMEOUT`].
    pub integration_timeout: Duration,
    /// See [`TIME_SCALE`].
    pub time_scale: Pace,
    /// See [`JOB_TIMEOUT`].
    pub job_timeout: Duration,
    /// See [`JOB_SILENCE`].
    pub job_silence: Duration,
    /// See [`DRAIN`].
    pub drain: Duration,
    /// See [`AWS_ENDPOINT_URL`].
    pub aws_endpoint_url: Option<String>,
    /// See [`POLLER_URL`].
    pub poller_url: Option<String>,
    /// See [`REGION`].
    pub region: String,
    /// See [`LOG`].
    pub log: String,
    /// See [`LOG_FORMAT`].
    pub log_format: LogFormat,
    /// What `.env` says beside Longshore's own settings: it goes to the functions.
    pub function_env: BTreeMap<String, String>,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("use one of: {}", [$($word),*].join(", "))),
                }
            }
        }
    };
}

words! {
    /// Cargo profile of the functions.
    Profile {
        /// `cargo build`.
        Dev = "dev",
        /// `cargo build --release`.
        Release = "release"
    }
}
words! {
    /// How changes are noticed.
    Watch {
        /// Probe, then native or polling.
        Auto = "auto",
        /// The system's file events.
        Native = "native",
        /// Look at every file again and again.
        Poll = "poll",
        /// Not at all.
        Off = "off"
    }
}
words! {
    /// When functions are first built.
    Start {
        /// At start.
        Eager = "eager",
        /// At the first request.
        Lazy = "lazy"
    }
}

/// Every setting that has a bad value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct InvalidSettings(Vec<String>);

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

struct Reader<'a> {
    flags: &'a Flags,
    environment: &'a dyn Environment,
    wrong: Vec<String>,
}

impl Reader<'_> {
    /// The text of a setting and how the user named it, `None` where nothing is set.
    fn text(&self, setting: &Setting) -> Option<(String, String)> {
        if let Some(value) = self.flags.0.get(setting.flag) {
            return Some((value.clone(), format!("--{}", setting.flag)));
        }
        if let Some(value) = self
            .environment
            .get(setting.variable)
            .filter(|value| !value.is_empty())
        {
            return Some((value, setting.variable.to_owned()));
        }
        (!setting.default.is_empty()).then(|| (setting.default.to_owned(), "default".to_owned()))
    }

    fn optional<T: FromStr>(&mut self, setting: &Setting) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        let (text, origin) = self.text(setting)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(why) => {
                self.wrong.push(format!(
                    "{origin}: `{text}` is not a {}: {why}",
                    setting.value
                ));
                None
            }
        }
    }

    fn required<T: FromStr>(&mut self, setting: &Setting, otherwise: T) -> T
    where
        T::Err: fmt::Display,
    {
        self.optional(setting).unwrap_or(otherwise)
    }

    fn seconds(&mut self, setting: &Setting) -> Duration {
        let seconds: f64 = self.required(setting, 0.0);
        Duration::try_from_secs_f64(seconds).unwrap_or_else(|why| {
            self.wrong.push(format!("{}: {why}", setting.variable));
            Duration::ZERO
        })
    }

    fn declarations(&mut self, current_dir: &Path) -> Option<PathBuf> {
        let (text, origin) = self
            .text(&DECLARATIONS)
            .filter(|(text, _)| !text.is_empty())?;
        // Not below the workspace, which is somebody else's: from here, as `--workspace` is.
        let file = current_dir.join(text);
        if !file.is_file() {
            self.wrong
                .push(format!("{origin}: there is no file {}", file.display()));
        }
        Some(file)
    }

    fn artifacts(&mut self, workspace: &Path) -> Vec<PackageSource> {
        let Some((text, origin)) = self.text(&ARTIFACTS) else {
            return Vec::new();
        };
        let mut artifacts = Vec::new();
        for item in text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            // A path may have a `=` in it; a function's name may not.
            let (name, zip) = match item.split_once('=') {
                Some((name, zip)) if !name.contains('/') => {
                    (Some(name.parse::<FunctionName>()), zip)
                }
                _ => (None, item),
            };
            let zip = workspace.join(zip);
            match name.transpose() {
                Ok(_) if !zip.is_file() => self.wrong.push(format!(
                    "{origin}: there is no file {}; `longshore build` makes packages",
                    zip.display()
                )),
                Ok(name) => artifacts.push(PackageSource { name, zip }),
                Err(why) => self.wrong.push(format!("{origin}: {why}")),
            }
        }
        artifacts
    }

    fn url(&mut self, setting: &Setting) -> Option<String> {
        let (text, origin) = self.text(setting)?;
        match reqwest::Url::parse(&text) {
            Ok(_) => Some(text.trim_end_matches('/').to_owned()),
            Err(why) => {
                self.wrong
                    .push(format!("{origin}: `{text}` is not a URL: {why}"));
                None
            }
        }
    }
}

impl Settings {
    /// Reads every setting.
    ///
    /// # Errors
    /// [`InvalidSettings`] lists all bad values, each with the flag or variable it came from.
    pub fn resolve(
        flags: &Flags,
        environment: &dyn Environment,
        current_dir: &Path,
    ) -> Result<Self, InvalidSettings> {
        let mut read = Reader {
            flags,
            environment,
            wrong: Vec::new(),
        };
        let workspace = current_dir.join(read.required(&WORKSPACE, PathBuf::new()));
        // Cargo prints physical paths: ours must compare equal.
        let workspace = match workspace.canonicalize() {
            Ok(workspace) => workspace,
            Err(why) => {
                read.wrong.push(format!(
                    "the workspace {} cannot be read: {why}",
                    workspace.display()
                ));
                workspace
            }
        };
        let below = |path: PathBuf| workspace.join(path);
        let timeout_ms: Option<u64> = read.optional(&TIMEOUT_MS);
        if timeout_ms.is_some_and(|ms| !(1..=900_000).contains(&ms)) {
            read.wrong.push(format!(
                "{}: a function's timeout is 1 to 900000 ms",
                TIMEOUT_MS.variable
            ));
        }
        let settings = Self {
            host: read.required(&HOST, IpAddr::from([127, 0, 0, 1])),
            gateway_port: read.required(&GATEWAY_PORT, 0),
            aws_port: read.required(&AWS_PORT, 0),
            destination_port: read.required(&DESTINATION_PORT, 0),
            poller_port: read.required(&POLLER_PORT, 0),
            handlers: below(read.required(&HANDLERS, PathBuf::new())),
            fixtures: below(read.required(&FIXTURES, PathBuf::new())),
            bucket: read.required(&BUCKET, String::new()),
            state_dir: below(read.required(&STATE_DIR, PathBuf::new())),
            ephemeral: read.required(&EPHEMERAL, false),
            target_dir: below(read.required(&TARGET_DIR, PathBuf::new())),
            declarations: read.declarations(current_dir),
            artifacts: read.artifacts(&workspace),
            profile: read.required(&PROFILE, Profile::Dev),
            watch: read.required(&WATCH, Watch::Auto),
            start: read.required(&START, Start::Eager),
            max_environments: read.required(&MAX_ENVIRONMENTS, 1),
            function_timeout: timeout_ms.map(Duration::from_millis),
            init_timeout: read.seconds(&INIT_TIMEOUT),
            idle_timeout: read.seconds(&IDLE_TIMEOUT),
            freeze: read.required(&FREEZE, false),
            parity: read.required(&PARITY, Parity::Warn),
            integration_timeout: read.seconds(&INTEGRATION_TIMEOUT),
            time_scale: read.required(&TIME_SCALE, Pace::AWS),
            job_timeout: read.seconds(&JOB_TIMEOUT),
            job_silence: read.seconds(&JOB_SILENCE),
            drain: read.seconds(&DRAIN),
            aws_endpoint_url: read.url(&AWS_ENDPOINT_URL),
            poller_url: read.url(&POLLER_URL),
            region: read.required(&REGION, String::new()),
            log: read.required(&LOG, String::new()),
            log_format: read.required(&LOG_FORMAT, LogFormat::Text),
            function_env: environment.file_variables(),
            workspace,
        };
        if settings.max_environments == 0 {
            read.wrong.push(format!(
                "{}: a function needs at least 1",
                MAX_ENVIRONMENTS.variable
            ));
        }
        if settings.parity == Parity::Enforce {
            let excesses = settings.excesses();
            read.wrong.extend(excesses.iter().map(ToString::to_string));
        }
        if read.wrong.is_empty() {
            Ok(settings)
        } else {
            Err(InvalidSettings(read.wrong))
        }
    }

    /// What AWS could not be set to.
    #[must_use]
    pub fn excesses(&self) -> Vec<Excess> {
        let timeouts = [
            (&parity::INTEGRATION_TIMEOUT, self.integration_timeout),
            (&parity::INIT_TIMEOUT, self.init_timeout),
        ];
        let beyond = timeouts
            .into_iter()
            .filter(|(rule, timeout)| *timeout > Duration::from_secs(rule.most));
        beyond
            .map(|(rule, timeout)| {
                rule.broken(format!(
                    "{} is {} seconds",
                    rule.about,
                    timeout.as_secs_f64()
                ))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
