//! What the platform says of an environment and its invocations: as a line of text, and as
//! the JSON record that Lambda's Telemetry API and JSON logs have.

use std::time::Duration;

use serde_json::{Value, json};

use crate::invocation::{RequestId, TraceId};
use crate::logs::{self, FailedInit, InitPhase, InitReport, Report};
use crate::outcome::RuntimeExit;

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum PlatformEvent<'a> {
    /// An initialisation began.
    InitStart { region: &'a str, phase: InitPhase },
    /// An initialisation came to nothing.
    InitReport(&'a InitReport),
    /// An invocation began.
    Start {
        request_id: RequestId,
        /// Where somebody wants the record.
        trace: Option<&'a TraceId>,
    },
    /// An invocation's time was up.
    TimedOut {
        at: std::time::SystemTime,
        request_id: RequestId,
        timeout: Duration,
    },
    /// The process ended with an invocation.
    Exited {
        request_id: RequestId,
        exit: RuntimeExit,
    },
    /// An invocation ended.
    End { request_id: RequestId },
    /// What it took.
    Report(&'a Report),
}

impl PlatformEvent<'_> {
    /// The invocation it is about.
    pub(crate) fn request_id(&self) -> Option<RequestId> {
        match self {
            Self::InitStart { .. } | Self::InitReport(_) => None,
            Self::Start { request_id, .. }
            | Self::TimedOut { request_id, .. }
            | Self::Exited { request_id, .. }
            | Self::End { request_id } => Some(*request_id),
            Self::Report(report) => Some(report.request_id),
        }
    }

    /// As a log of text has it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::InitStart { region, .. } => logs::init_start(region),
            Self::InitReport(report) => report.to_string(),
            Self::Start { request_id, .. } => logs::start(*request_id),
            Self::TimedOut {
                at,
                request_id,
                timeout,
            } => logs::timed_out(*at, *request_id, *timeout),
            Self::Exited { request_id, exit } => {
                format!("RequestId: {request_id} Error: {exit}\nRuntime.ExitError")
            }
            Self::End { request_id } => logs::end(*request_id),
            Self::Report(report) => logs::report(report),
        }
    }

    /// As a log of JSON has it; what that says elsewhere, in a report's status, it leaves
    /// out.
    pub(crate) fn json(&self, time: jiff::Timestamp) -> Option<String> {
        let (kind, record) = self.record()?;
        // In AWS's order, which people are used to.
        Some(format!(
            r#"{{"time":"{time:.3}","type":"{kind}","record":{record}}}"#
        ))
    }

    /// Its type and its record.
    fn record(&self) -> Option<(&'static str, Value)> {
        Some(match self {
            Self::InitStart { region, phase } => (
                "platform.initStart",
                json!({
                    "initializationType": "on-demand",
                    "phase": phase.as_str(),
                    "runtimeVersion": logs::RUNTIME_VERSION,
                    "runtimeVersionArn": logs::runtime_version_arn(region),
                }),
            ),
            Self::InitReport(report) => {
                let mut record = json!({
                    "initializationType": "on-demand",
                    "phase": report.phase.as_str(),
                    "metrics": {"durationMs": milliseconds(report.duration)},
                });
                match &report.failure {
                    FailedInit::Timeout => record["status"] = json!("timeout"),
                    FailedInit::Error(error_type) => {
                        record["status"] = json!("error");
                        record["errorType"] = json!(error_type);
                    }
                }
                ("platform.initReport", record)
            }
            Self::Start { request_id, trace } => {
                let mut record = json!({
                    "requestId": request_id.to_string(),
                    "version": "$LATEST",
                });
                if let Some(trace) = trace {
                    record["tracing"] = json!({"type": "X-Amzn-Trace-Id", "value": trace.as_str()});
                }
                ("platform.start", record)
            }
            Self::TimedOut { .. } | Self::Exited { .. } | Self::End { .. } => return None,
            Self::Report(report) => {
                let mut metrics = json!({
                    "durationMs": milliseconds(report.duration),
                    "billedDurationMs": report.billed_ms(),
                    "memorySizeMB": report.memory_size_mb,
                    "maxMemoryUsedMB": report.max_memory_mb(),
                });
                if let Some(init) = report.init {
                    metrics["initDurationMs"] = json!(milliseconds(init));
                }
                let mut record = json!({
                    "requestId": report.request_id.to_string(),
                    "metrics": metrics,
                    "status": report.status.as_str(),
                });
                if let Some(error_type) = report.status.error_type() {
                    record["errorType"] = json!(error_type);
                }
                ("platform.report", record)
            }
        })
    }
}

/// To a thousandth, as AWS has them.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Status;

    #[test]
    fn records_read_as_aws_writes_them() {
        let id: RequestId = "6bc28136-95fa-4ebe-87b2-8f8d9a2f6c3e".parse().unwrap();
        let trace = TraceId::from_header("Root=1-2-3;Parent=4;Sampled=0").unwrap();
        let start = PlatformEvent::Start {
            request_id: id,
            trace: Some(&trace),
        };
        let time = "2025-11-21T10:00:00.123Z".parse().unwrap();
        let parse = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        assert_eq!(
            parse(start.json(time).unwrap()),
            json!({
                "time": "2025-11-21T10:00:00.123Z",
                "type": "platform.start",
                "record": {
                    "requestId": id.to_string(),
                    "version": "$LATEST",
                    "tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=1-2-3;Parent=4;Sampled=0"},
                },
            })
        );
        let report = Report {
            request_id: id,
            duration: Duration::from_micros(3_012),
            memory_size_mb: 128,
            max_memory_bytes: 36 * 1024 * 1024,
            init: Some(Duration::from_micros(110_100)),
            status: Status::Timeout,
        };
        assert_eq!(
            parse(PlatformEvent::Report(&report).json(time).unwrap())["record"],
            json!({
                "requestId": id.to_string(),
                "metrics": {
                    "durationMs": 3.012,
                    "billedDurationMs": 4,
                    "memorySizeMB": 128,
                    "maxMemoryUsedMB": 36,
                    "initDurationMs": 110.1,
                },
                "status": "timeout",
            })
        );
        assert_eq!(PlatformEvent::End { request_id: id }.json(time), None);
    }
}
