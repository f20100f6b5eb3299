//! Log lines as AWS writes them, and the tail of an invocation's log.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, SystemTime};

use crate::invocation::{RequestId, TraceId};
use crate::outcome::{Outcome, error_type};
use crate::telemetry::{Api, Kind};

/// How much of its log an invocation can give back, in bytes.
pub(crate) const TAIL_BYTES: usize = 4 * 1024;

/// The last 4 KB of an invocation's log. Takes no memory until something is logged.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogTail(VecDeque<u8>);

impl LogTail {
    /// Adds a line and its end, forgetting the oldest bytes.
    pub(crate) fn push_line(&mut self, line: &str) {
        let bytes = line.as_bytes();
        let kept = &bytes[bytes.len().saturating_sub(TAIL_BYTES - 1)..];
        let excess = (self.0.len() + kept.len() + 1).saturating_sub(TAIL_BYTES);
        self.0.drain(..excess);
        self.0.extend(kept);
        self.0.push_back(b'\n');
    }

    /// The bytes kept.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0.into()
    }
}

/// What a report line says.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) request_id: RequestId,
    pub(crate) duration: Duration,
    pub(crate) memory_size_mb: u32,
    /// Zero if the system does not tell.
    pub(crate) max_memory_bytes: u64,
    pub(crate) init: Option<Duration>,
    pub(crate) status: Status,
    /// Where subscribers want it.
    pub(crate) trace: Option<TraceId>,
    /// How long extensions went on after the runtime, where there are any.
    pub(crate) extension_overhead: Option<Span>,
}

/// A part of an invocation's time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) start: SystemTime,
    pub(crate) duration: Duration,
}

/// What subscribers are told once the runtime is done with an invocation.
#[derive(Clone, Debug)]
pub(crate) struct RuntimeDone<'a> {
    pub(crate) request_id: RequestId,
    pub(crate) status: Status,
    pub(crate) duration: Duration,
    pub(crate) produced_bytes: usize,
    pub(crate) spans: Vec<(&'static str, Span)>,
    pub(crate) trace: Option<&'a TraceId>,
}

/// How an invocation ended, in the platform's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Success,
    /// With an error of this type.
    Error(String),
    /// The process ended; the type of error that Lambda makes of it.
    Exited(&'static str),
    Timeout,
}

impl Status {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::TimedOut { .. } => Self::Timeout,
            Outcome::Crashed(_) => Self::Exited("Runtime.ExitError"),
            Outcome::ExtensionFailed(failure) => Self::Exited(failure.fault.error_type()),
            Outcome::FunctionError(error) => {
                Self::Error(error_type(error).unwrap_or_else(|| "Unhandled".to_owned()))
            }
            Outcome::ResponseTooLarge => Self::Error("Function.ResponseSizeTooLarge".to_owned()),
            _ => Self::Success,
        }
    }

    /// How the runtime's part of it ended: an error that it reported is no failure of it.
    pub(crate) fn of_runtime(outcome: &Outcome) -> Self {
        match Self::of(outcome) {
            Self::Error(_) => Self::Success,
            status => status,
        }
    }

    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error(_) | Self::Exited(_) => "error",
            Self::Timeout => "timeout",
        }
    }

    pub(crate) fn error_type(&self) -> Option<&str> {
        match self {
            Self::Error(error_type) => Some(error_type),
            Self::Exited(error_type) => Some(error_type),
            Self::Success | Self::Timeout => None,
        }
    }
}

impl Report {
    /// Every millisecond that was begun.
    pub(crate) fn billed_ms(&self) -> u128 {
        self.duration.as_micros().div_ceil(1_000)
    }

    /// Whole MB, rounded up, as Lambda reports them.
    pub(crate) fn max_memory_mb(&self) -> u64 {
        self.max_memory_bytes.div_ceil(1024 * 1024)
    }
}

/// What a runtime of one's own runs on.
pub(crate) const RUNTIME_VERSION: &str = "provided:al2023.longshore";

pub(crate) fn runtime_version_arn(region: &str) -> String {
    format!("arn:aws:lambda:{region}::runtime:longshore")
}

pub(crate) fn init_start(region: &str) -> String {
    format!(
        "INIT_START Runtime Version: {RUNTIME_VERSION}\tRuntime Version ARN: {}",
        runtime_version_arn(region)
    )
}

/// An initialisation that ended.
#[derive(Clone, Debug)]
pub(crate) struct InitReport {
    pub(crate) duration: Duration,
    pub(crate) phase: InitPhase,
    /// Why it came to nothing, if it did.
    pub(crate) failure: Option<FailedInit>,
    pub(crate) extensions: Vec<ExtensionInit>,
}

/// What an initialisation made of an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExtensionInit {
    pub(crate) name: String,
    /// In AWS's words.
    pub(crate) state: &'static str,
    pub(crate) events: Vec<&'static str>,
    pub(crate) error_type: Option<String>,
}

impl fmt::Display for ExtensionInit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "EXTENSION\tName: {}\tState: {}\tEvents: [{}]",
            self.name,
            self.state,
            self.events.join(",")
        )?;
        match &self.error_type {
            Some(error_type) => write!(f, "\tError Type: {error_type}"),
            None => Ok(()),
        }
    }
}

pub(crate) fn subscribed(api: Api, name: &str, types: &[Kind]) -> String {
    let api = match api {
        Api::Telemetry => "TELEMETRY",
        Api::Logs => "LOGS",
    };
    let types: Vec<_> = types
        .iter()
        .map(|kind| match kind {
            Kind::Platform => "Platform",
            Kind::Function => "Function",
            Kind::Extension => "Extension",
        })
        .collect();
    format!(
        "{api}\tName: {name}\tState: Subscribed\tTypes: [{}]",
        types.join(",")
    )
}

/// When an initialisation was tried.
#[derive(Clone, Copy, Debug)]
pub(crate) enum InitPhase {
    /// Before any invocation.
    Init,
    /// Within the first one.
    Invoke,
}

impl InitPhase {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Invoke => "invoke",
        }
    }
}

/// Why an initialisation came to nothing.
#[derive(Clone, Debug)]
pub(crate) enum FailedInit {
    Timeout,
    /// With an error of this type.
    Error(String),
}

impl InitReport {
    /// As a log of text has it: one that went well it leaves out.
    pub(crate) fn text(&self) -> Option<String> {
        let status = match self.failure.as_ref()? {
            FailedInit::Timeout => "timeout".to_owned(),
            FailedInit::Error(error_type) => format!("error\tError Type: {error_type}"),
        };
        Some(format!(
            "INIT_REPORT Init Duration: {:.2} ms\tPhase: {}\tStatus: {status}",
            milliseconds(self.duration),
            self.phase.as_str(),
        ))
    }
}

pub(crate) fn start(request_id: RequestId) -> String {
    format!("START RequestId: {request_id} Version: $LATEST")
}

pub(crate) fn end(request_id: RequestId) -> String {
    format!("END RequestId: {request_id}")
}

pub(crate) fn timed_out(now: SystemTime, request_id: RequestId, timeout: Duration) -> String {
    let now = jiff::Timestamp::try_from(now).unwrap_or_default();
    format!(
        "{now:.3} {request_id} Task timed out after {:.2} seconds",
        timeout.as_secs_f64()
    )
}

pub(crate) fn report(report: &Report) -> String {
    let used = report.max_memory_mb();
    let mut line = format!(
        "REPORT RequestId: {}\tDuration: {:.2} ms\tBilled Duration: {} ms\tMemory Size: {} MB\tMax Memory Used: {used} MB\t",
        report.request_id,
        milliseconds(report.duration),
        report.billed_ms(),
        report.memory_size_mb,
    );
    if let Some(init) = report.init {
        line += &format!("Init Duration: {:.2} ms\t", milliseconds(init));
    }
    match &report.status {
        Status::Timeout => line += "Status: timeout\t",
        Status::Exited(error_type) => {
            line += &format!("Status: error\tError Type: {error_type}\t");
        }
        Status::Success | Status::Error(_) => {}
    }
    line
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> RequestId {
        "6bc28136-95fa-4ebe-87b2-8f8d9a2f6c3e".parse().unwrap()
    }

    #[test]
    fn a_report_reads_as_aws_writes_it() {
        let warm = Report {
            request_id: id(),
            duration: Duration::from_micros(3_012),
            memory_size_mb: 128,
            max_memory_bytes: 36 * 1024 * 1024,
            init: None,
            status: Status::Success,
            trace: None,
            extension_overhead: None,
        };
        assert_eq!(
            report(&warm),
            "REPORT RequestId: 6bc28136-95fa-4ebe-87b2-8f8d9a2f6c3e\tDuration: 3.01 ms\tBilled Duration: 4 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\t"
        );
        let cold = Report {
            init: Some(Duration::from_micros(110_100)),
            ..warm.clone()
        };
        assert!(
            report(&cold).ends_with("\tMax Memory Used: 36 MB\tInit Duration: 110.10 ms\t"),
            "{}",
            report(&cold)
        );
        let crashed = Report {
            status: Status::of(&Outcome::Crashed(crate::outcome::RuntimeExit::Status(1))),
            ..warm
        };
        assert!(
            report(&crashed).ends_with(
                "\tMax Memory Used: 36 MB\tStatus: error\tError Type: Runtime.ExitError\t"
            ),
            "{}",
            report(&crashed)
        );
    }

    #[test]
    fn the_first_line_names_the_runtime() {
        assert_eq!(
            init_start("us-east-1"),
            "INIT_START Runtime Version: provided:al2023.longshore\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:longshore"
        );
    }

    #[test]
    fn a_failed_initialisation_reads_as_aws_writes_it() {
        let mut report = InitReport {
            duration: Duration::from_micros(10_008_910),
            phase: InitPhase::Init,
            failure: Some(FailedInit::Timeout),
            extensions: Vec::new(),
        };
        assert_eq!(
            report.text().unwrap(),
            "INIT_REPORT Init Duration: 10008.91 ms\tPhase: init\tStatus: timeout"
        );
        report.phase = InitPhase::Invoke;
        report.failure = Some(FailedInit::Error("Runtime.ExitError".to_owned()));
        assert_eq!(
            report.text().unwrap(),
            "INIT_REPORT Init Duration: 10008.91 ms\tPhase: invoke\tStatus: error\tError Type: Runtime.ExitError"
        );
    }

    #[test]
    fn extensions_read_as_aws_writes_them() {
        let mut extension = ExtensionInit {
            name: "watch".to_owned(),
            state: "Ready",
            events: vec!["INVOKE", "SHUTDOWN"],
            error_type: None,
        };
        assert_eq!(
            extension.to_string(),
            "EXTENSION\tName: watch\tState: Ready\tEvents: [INVOKE,SHUTDOWN]"
        );
        extension.state = "LaunchError";
        extension.events.clear();
        extension.error_type = Some("PermissionDenied".to_owned());
        assert_eq!(
            extension.to_string(),
            "EXTENSION\tName: watch\tState: LaunchError\tEvents: []\tError Type: PermissionDenied"
        );
        assert_eq!(
            subscribed(Api::Telemetry, "watch", &[Kind::Platform, Kind::Function]),
            "TELEMETRY\tName: watch\tState: Subscribed\tTypes: [Platform,Function]"
        );
    }

    #[test]
    fn the_timeout_line_has_the_time_in_milliseconds() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_763_719_200_123);
        assert_eq!(
            timed_out(now, id(), Duration::from_secs(3)),
            "2025-11-21T10:00:00.123Z 6bc28136-95fa-4ebe-87b2-8f8d9a2f6c3e Task timed out after 3.00 seconds"
        );
    }

    #[test]
    fn the_tail_keeps_the_last_4_kb() {
        let mut tail = LogTail::default();
        tail.push_line("first");
        tail.push_line(&"x".repeat(TAIL_BYTES - 10));
        tail.push_line("last");
        let bytes = tail.clone().into_bytes();
        assert_eq!(bytes.len(), TAIL_BYTES);
        assert!(bytes.ends_with(b"x\nlast\n"));
        tail.push_line(&"y".repeat(2 * TAIL_BYTES));
        let bytes = tail.into_bytes();
        assert_eq!(bytes.len(), TAIL_BYTES);
        assert!(bytes.ends_with(b"yy\n") && bytes.starts_with(b"y"));
    }
}
