//! What the platform says of an environment and its invocations: as a line of text, and as
//! the JSON record that Lambda's Telemetry API and JSON logs have.

use std::time::Duration;

use serde_json::{Value, json};

use crate::invocation::{RequestId, TraceId};
use crate::logs::{
    self, ExtensionInit, FailedInit, InitPhase, InitReport, Report, RuntimeDone, Span,
};
use crate::telemetry::{Api, Kind};

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum PlatformEvent<'a> {
    /// An initialisation began.
    InitStart { region: &'a str, phase: InitPhase },
    /// The runtime is ready, or will not be.
    InitRuntimeDone {
        phase: InitPhase,
        failure: Option<&'a FailedInit>,
    },
    /// What an initialisation made of an extension.
    Extension(&'a ExtensionInit),
    /// An extension has subscribed.
    Subscribed {
        api: Api,
        name: &'a str,
        types: &'a [Kind],
    },
    /// An initialisation ended.
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
    /// A process ended with an invocation.
    Exited {
        request_id: RequestId,
        why: String,
        error_type: &'static str,
    },
    /// The runtime is done with an invocation; extensions may not be.
    RuntimeDone(&'a RuntimeDone<'a>),
    /// An invocation ended.
    End { request_id: RequestId },
    /// What it took.
    Report(&'a Report),
}

impl PlatformEvent<'_> {
    /// The invocation it is about.
    pub(crate) fn request_id(&self) -> Option<RequestId> {
        match self {
            Self::InitStart { .. }
            | Self::InitRuntimeDone { .. }
            | Self::Extension(_)
            | Self::Subscribed { .. }
            | Self::InitReport(_) => None,
            Self::Start { request_id, .. }
            | Self::TimedOut { request_id, .. }
            | Self::Exited { request_id, .. }
            | Self::End { request_id } => Some(*request_id),
            Self::RuntimeDone(done) => Some(done.request_id),
            Self::Report(report) => Some(report.request_id),
        }
    }

    /// As a log of text has it; what only subscribers are told, it leaves out.
    pub(crate) fn text(&self) -> Option<String> {
        Some(match self {
            Self::InitStart { region, .. } => logs::init_start(region),
            Self::InitRuntimeDone { .. } | Self::RuntimeDone(_) => return None,
            Self::Extension(extension) => extension.to_string(),
            Self::Subscribed { api, name, types } => logs::subscribed(*api, name, types),
            Self::InitReport(report) => return report.text(),
            Self::Start { request_id, .. } => logs::start(*request_id),
            Self::TimedOut {
                at,
                request_id,
                timeout,
            } => logs::timed_out(*at, *request_id, *timeout),
            Self::Exited {
                request_id,
                why,
                error_type,
            } => format!("RequestId: {request_id} Error: {why}\n{error_type}"),
            Self::End { request_id } => logs::end(*request_id),
            Self::Report(report) => logs::report(report),
        })
    }

    /// As a log of JSON has it; what that says elsewhere, in a report's status, it leaves
    /// out.
    pub(crate) fn json(&self, time: jiff::Timestamp) -> Option<String> {
        match self {
            Self::InitRuntimeDone { .. }
            | Self::InitReport(InitReport { failure: None, .. })
            | Self::RuntimeDone(_)
            | Self::TimedOut { .. }
            | Self::Exited { .. }
            | Self::End { .. } => return None,
            Self::InitStart { .. }
            | Self::Extension(_)
            | Self::Subscribed { .. }
            | Self::InitReport(_)
            | Self::Start { .. }
            | Self::Report(_) => {}
        }
        let (kind, record) = self.record();
        // In AWS's order, which people are used to.
        Some(format!(
            r#"{{"time":"{time:.3}","type":"{kind}","record":{record}}}"#
        ))
    }

    /// Its type and its record, as subscribers get them.
    pub(crate) fn record(&self) -> (&'static str, Value) {
        match self {
            Self::InitStart { region, phase } => (
                "platform.initStart",
                json!({
                    "initializationType": "on-demand",
                    "phase": phase.as_str(),
                    "runtimeVersion": logs::RUNTIME_VERSION,
                    "runtimeVersionArn": logs::runtime_version_arn(region),
                }),
            ),
            Self::InitRuntimeDone { phase, failure } => {
                ("platform.initRuntimeDone", initialisation(*phase, *failure))
            }
            Self::Extension(extension) => {
                let mut record = json!({
                    "name": extension.name,
                    "state": extension.state,
                    "events": extension.events,
                });
                if let Some(error_type) = &extension.error_type {
                    record["errorType"] = json!(error_type);
                }
                ("platform.extension", record)
            }
            Self::Subscribed { api, name, types } => {
                let types: Vec<_> = types.iter().map(|kind| kind.as_str()).collect();
                let record = json!({"name": name, "state": "Subscribed", "types": types});
                match api {
                    Api::Telemetry => ("platform.telemetrySubscription", record),
                    Api::Logs => ("platform.logsSubscription", record),
                }
            }
            Self::InitReport(report) => {
                let mut record = initialisation(report.phase, report.failure.as_ref());
                record["metrics"] = json!({"durationMs": milliseconds(report.duration)});
                ("platform.initReport", record)
            }
            Self::Start { request_id, trace } => {
                let mut record = json!({
                    "requestId": request_id.to_string(),
                    "version": "$LATEST",
                });
                if let Some(trace) = trace {
                    record["tracing"] = tracing(trace);
                }
                ("platform.start", record)
            }
            Self::TimedOut { .. } | Self::Exited { .. } => ("platform.fault", self.text().into()),
            Self::RuntimeDone(done) => ("platform.runtimeDone", runtime_done(done)),
            Self::End { request_id } => ("platform.end", json!({"requestId": request_id})),
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
                if let Some(trace) = &report.trace {
                    record["tracing"] = tracing(trace);
                }
                if let Some(overhead) = &report.extension_overhead {
                    record["spans"] = json!([span("extensionOverhead", overhead)]);
                }
                ("platform.report", record)
            }
        }
    }
}

fn initialisation(phase: InitPhase, failure: Option<&FailedInit>) -> Value {
    let mut record = json!({
        "initializationType": "on-demand",
        "phase": phase.as_str(),
    });
    match failure {
        None => record["status"] = json!("success"),
        Some(FailedInit::Timeout) => record["status"] = json!("timeout"),
        Some(FailedInit::Error(error_type)) => {
            record["status"] = json!("error");
            record["errorType"] = json!(error_type);
        }
    }
    record
}

fn runtime_done(done: &RuntimeDone<'_>) -> Value {
    let spans = done.spans.iter().map(|(name, of)| span(name, of));
    let mut record = json!({
        "requestId": done.request_id,
        "status": done.status.as_str(),
        "metrics": {
            "durationMs": milliseconds(done.duration),
            "producedBytes": done.produced_bytes,
        },
        "spans": spans.collect::<Vec<_>>(),
    });
    if let Some(error_type) = done.status.error_type() {
        record["errorType"] = json!(error_type);
    }
    if let Some(trace) = done.trace {
        record["tracing"] = tracing(trace);
    }
    record
}

fn span(name: &str, span: &Span) -> Value {
    let start = jiff::Timestamp::try_from(span.start).unwrap_or_default();
    json!({
        "name": name,
        "start": format!("{start:.3}"),
        "durationMs": milliseconds(span.duration),
    })
}

fn tracing(trace: &TraceId) -> Value {
    json!({"type": "X-Amzn-Trace-Id", "value": trace.as_str()})
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
            trace: None,
            extension_overhead: None,
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
