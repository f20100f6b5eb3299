//! How the gateway is set. Typed and complete: the binary reads flags and environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use app_model::Parity;

use crate::asynchronous::Pace;

/// How the gateway is set.
#[derive(Clone, Debug)]
pub struct Config {
    /// The AWS account that functions believe to run in, 12 digits.
    pub account_id: String,
    /// The AWS region that functions believe to run in.
    pub region: String,
    /// Environment variables that every function gets, such as `AWS_ENDPOINT_URL`. They
    /// win over a function's own.
    pub function_env: Vec<(String, String)>,
    /// Hosts (`host:port`) that stand for a service of this stack where they do not
    /// resolve; variables that are URLs of one get its address.
    pub host_aliases: Vec<(String, SocketAddr)>,
    /// When functions are built and started.
    pub start: StartPolicy,
    /// Environments of one generation of a function that run at the same time, at most;
    /// at least 1.
    pub max_environments: usize,
    /// Invocations of one function that wait for an environment, at most; one more is
    /// throttled.
    pub max_waiting: usize,
    /// How long a request waits for a function's first build.
    pub build_wait: Duration,
    /// How long a REST API waits for a function (AWS: 29 s).
    pub rest_integration_timeout: Duration,
    /// How long an HTTP API or a function URL waits for a function. AWS: 30 s for an HTTP
    /// API.
    pub http_integration_timeout: Duration,
    /// How long invocations in flight may go on once the gateway is asked to stop.
    pub drain: Duration,
    /// The folder that accepted events are kept in; created if it is not there.
    pub events_dir: PathBuf,
    /// The folder that functions' logs are kept in, beside memory; none: memory only.
    pub logs_dir: Option<PathBuf>,
    /// How fast time goes by for events that wait for a retry.
    pub pace: Pace,
    /// Where queues and topics are that functions' destinations may be.
    pub aws_endpoint: Option<String>,
    /// How long an initialisation may take; then the function is started over within its
    /// first invocation. AWS: 10 s.
    pub init_timeout: Duration,
    /// How long an environment may wait for work until it is shut down; none: for ever.
    pub idle_timeout: Option<Duration>,
    /// Whether processes are frozen between invocations, as AWS freezes them.
    pub freeze: bool,
    /// What becomes of that which would fail on AWS only.
    pub parity: Parity,
    /// Invocations kept for `GET /_longshore/invocations`, at most.
    pub journal_entries: usize,
}

/// When functions are built and started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPolicy {
    /// With the first request to them.
    Lazy,
    /// As soon as the gateway runs.
    Eager,
}
