//! How an invocation ended: the one type between the broker and the mappings to HTTP.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::broker::ResponseStream;
use crate::invocation::RequestId;
use crate::logs::FailedInit;

/// The largest payload that Lambda takes in or gives back, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 6_291_556;

/// How an invocation ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The function answered.
    Response(FunctionResponse),
    /// The function is answering, and its caller gets what it writes.
    Streaming(ResponseStream),
    /// The function has answered so, to its end.
    Streamed {
        /// How many bytes it wrote.
        bytes: usize,
    },
    /// The function reported an error: its JSON, `{"errorType","errorMessage",…}`.
    FunctionError(Bytes),
    /// The function ran longer than its timeout and was killed.
    TimedOut {
        /// The function's timeout.
        timeout: Duration,
    },
    /// The function's process ended while it had the invocation.
    Crashed(RuntimeExit),
    /// An extension brought the environment down while it had the invocation.
    ExtensionFailed(ExtensionFailure),
    /// The function's answer is larger than [`MAX_PAYLOAD_BYTES`].
    ResponseTooLarge,
    /// The event is larger than [`MAX_PAYLOAD_BYTES`]; the function never saw it.
    RequestTooLarge,
    /// Too many invocations of this function wait already.
    Throttled,
    /// There has never been a build that works.
    BuildFailed {
        /// The compiler's diagnostics, plain text; or why there is no build yet.
        diagnostics: Arc<str>,
    },
    /// The function never became ready for its first invocation.
    InitFailed(InitFailure),
    /// The gateway gave up waiting; the function runs on.
    IntegrationTimeout,
    /// There is no such function.
    UnknownFunction,
    /// The gateway is stopping and takes no more work.
    ShuttingDown,
}

/// What a function answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionResponse {
    /// The body as posted to the Runtime API.
    pub body: Bytes,
    /// The content type it was posted with.
    pub content_type: Option<String>,
    /// Posted with `Lambda-Runtime-Function-Response-Mode: streaming`: with the content
    /// type `application/vnd.awslambda.http-integration-response` the body is a JSON
    /// prelude, eight NUL bytes and the payload.
    pub streaming: bool,
}

/// How a function's process ended, in AWS's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeExit {
    /// Exit code 0.
    WithoutReason,
    /// Any other exit code.
    Status(i32),
    /// A signal, by number.
    Signal(i32),
}

impl fmt::Display for RuntimeExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WithoutReason => f.write_str("Runtime exited without providing a reason"),
            Self::Status(code) => write!(f, "Runtime exited with error: exit status {code}"),
            Self::Signal(number) => {
                write!(f, "Runtime exited with error: signal: ")?;
                match signal_name(*number) {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{number}"),
                }
            }
        }
    }
}

/// How an extension brought its environment down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionFailure {
    /// What it did.
    pub fault: ExtensionFault,
    /// What came of it, in AWS's words.
    pub why: String,
}

/// What an extension did, for its environment to be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionFault {
    /// It could not be started.
    Launch,
    /// It said that it cannot be initialised, and its process, or the runtime's, ended.
    Init,
    /// It said that it cannot go on, and its process, or the runtime's, ended.
    Exit,
    /// Its process ended unasked.
    Crash,
}

impl ExtensionFault {
    /// The type of error that Lambda makes of it.
    #[must_use]
    pub fn error_type(self) -> &'static str {
        match self {
            Self::Launch => "Extension.LaunchError",
            Self::Init => "Extension.InitError",
            Self::Exit => "Extension.ExitError",
            Self::Crash => "Extension.Crash",
        }
    }
}

impl RuntimeExit {
    /// As Lambda says it of an extension's process.
    pub(crate) fn of_extension(self) -> String {
        match self {
            Self::WithoutReason => "exit code 0".to_owned(),
            Self::Status(code) => format!("exit status {code}"),
            Self::Signal(number) => match signal_name(number) {
                Some(name) => format!("signal: {name}"),
                None => format!("signal: {number}"),
            },
        }
    }
}

/// The names Go gives to signals: AWS's runtime supervisor prints those.
fn signal_name(number: i32) -> Option<&'static str> {
    Some(match number {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        _ => return None,
    })
}

/// Why a function never became ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitFailure {
    /// Its process ended first.
    Exited(RuntimeExit),
    /// One of its extensions did.
    Extension(ExtensionFailure),
    /// It posted to `/runtime/init/error`: its JSON.
    Reported(Bytes),
    /// It was not ready when this time had passed.
    TimedOut(Duration),
    /// Its process could not be started: why.
    NotStarted(String),
}

impl InitFailure {
    /// For an invocation that was being initialised for, or was under way.
    pub(crate) fn as_outcome(&self) -> Outcome {
        match self {
            Self::Exited(exit) => Outcome::Crashed(*exit),
            Self::Extension(failure) => Outcome::ExtensionFailed(failure.clone()),
            other => Outcome::InitFailed(other.clone()),
        }
    }

    /// As the log has it.
    pub(crate) fn as_logged(&self) -> FailedInit {
        FailedInit::Error(match self {
            Self::TimedOut(_) => return FailedInit::Timeout,
            Self::Exited(_) => "Runtime.ExitError".to_owned(),
            Self::Extension(failure) => failure.fault.error_type().to_owned(),
            Self::NotStarted(_) => "Runtime.InvalidEntrypoint".to_owned(),
            Self::Reported(body) => {
                error_type(body).unwrap_or_else(|| "Runtime.Unknown".to_owned())
            }
        })
    }
}

/// The type that an error's JSON names.
pub(crate) fn error_type(body: &[u8]) -> Option<String> {
    let error: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(error.get("errorType")?.as_str()?.to_owned())
}

impl fmt::Display for InitFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(exit) => write!(f, "{exit} before the first invocation"),
            Self::Extension(failure) => {
                write!(f, "{}: {}", failure.fault.error_type(), failure.why)
            }
            Self::Reported(body) => {
                write!(
                    f,
                    "initialisation failed: {}",
                    String::from_utf8_lossy(body)
                )
            }
            Self::TimedOut(timeout) => {
                write!(f, "not ready after {:.2} seconds", timeout.as_secs_f64())
            }
            Self::NotStarted(why) => write!(f, "the program could not be started: {why}"),
        }
    }
}

impl Outcome {
    /// The error JSON that Lambda gives for a failed function; none for an answer and for
    /// what Lambda refuses before a function is involved.
    #[must_use]
    pub fn error_body(&self, request_id: RequestId) -> Option<Bytes> {
        match self {
            Self::FunctionError(body) => Some(body.clone()),
            Self::TimedOut { timeout } | Self::InitFailed(InitFailure::TimedOut(timeout)) => {
                Some(timed_out(request_id, *timeout))
            }
            Self::Crashed(exit) | Self::InitFailed(InitFailure::Exited(exit)) => {
                Some(exit_error(request_id, exit))
            }
            Self::ExtensionFailed(failure) | Self::InitFailed(InitFailure::Extension(failure)) => {
                Some(error_json(
                    failure.fault.error_type(),
                    &format!("RequestId: {request_id} Error: {}", failure.why),
                ))
            }
            Self::InitFailed(InitFailure::Reported(body)) => Some(body.clone()),
            Self::InitFailed(InitFailure::NotStarted(why)) => Some(error_json(
                "Runtime.InvalidEntrypoint",
                &format!("RequestId: {request_id} Error: {why}"),
            )),
            Self::ResponseTooLarge => Some(error_json(
                "Function.ResponseSizeTooLarge",
                &format!(
                    "Response payload size exceeded maximum allowed payload size ({MAX_PAYLOAD_BYTES} bytes)."
                ),
            )),
            Self::BuildFailed { diagnostics } => {
                Some(error_json("Longshore.BuildFailed", diagnostics))
            }
            Self::Response(_)
            | Self::Streaming(_)
            | Self::Streamed { .. }
            | Self::RequestTooLarge
            | Self::Throttled
            | Self::IntegrationTimeout
            | Self::UnknownFunction
            | Self::ShuttingDown => None,
        }
    }

    /// For a person: what went wrong, where AWS hides it behind `Internal server error`.
    /// One line of printable ASCII, at most 1,000 bytes, fit for a header.
    #[must_use]
    pub fn explanation(&self, request_id: RequestId) -> Option<String> {
        let text = match self {
            Self::Response(_) | Self::Streaming(_) | Self::Streamed { .. } => return None,
            Self::RequestTooLarge => {
                format!("the event is larger than Lambda's {MAX_PAYLOAD_BYTES} bytes")
            }
            Self::Throttled => "too many invocations of this function wait already".to_owned(),
            Self::BuildFailed { .. } => "the function does not build".to_owned(),
            Self::IntegrationTimeout => {
                "no answer within the gateway's integration timeout; the function runs on"
                    .to_owned()
            }
            Self::UnknownFunction => "no such function".to_owned(),
            Self::ShuttingDown => "the gateway is stopping".to_owned(),
            Self::InitFailed(failure) => failure.to_string(),
            Self::FunctionError(_)
            | Self::TimedOut { .. }
            | Self::Crashed(_)
            | Self::ExtensionFailed(_)
            | Self::ResponseTooLarge => {
                String::from_utf8_lossy(&self.error_body(request_id)?).into_owned()
            }
        };
        Some(header_text(&text))
    }
}

/// Makes any text fit for a header value: control characters and non-ASCII become spaces
/// and question marks, and the end is cut off.
pub(crate) fn header_text(text: &str) -> String {
    text.chars()
        .take(1_000)
        .map(|c| match c {
            ' '..='~' => c,
            c if c.is_ascii_control() => ' ',
            _ => '?',
        })
        .collect()
}

fn timed_out(request_id: RequestId, timeout: Duration) -> Bytes {
    error_json(
        "Sandbox.Timedout",
        &format!(
            "RequestId: {request_id} Error: Task timed out after {:.2} seconds",
            timeout.as_secs_f64()
        ),
    )
}

fn exit_error(request_id: RequestId, exit: &RuntimeExit) -> Bytes {
    error_json(
        "Runtime.ExitError",
        &format!("RequestId: {request_id} Error: {exit}"),
    )
}

/// Lambda's error object.
pub(crate) fn error_json(error_type: &str, message: &str) -> Bytes {
    Bytes::from(json!({"errorType": error_type, "errorMessage": message}).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn failures_read_as_aws_writes_them() {
        let id: RequestId = "6bc28136-95fa-4ebe-87b2-8f8d9a2f6c3e".parse().unwrap();
        for (outcome, error_type, message) in [
            (
                Outcome::TimedOut {
                    timeout: Duration::from_secs(3),
                },
                "Sandbox.Timedout",
                "RequestId: 6bc28136-95fa-4ebe-87b2-8f8d9a2f6c3e Error: Task timed out after 3.00 seconds",
            ),
            (
                Outcome::Crashed(RuntimeExit::WithoutReason),
                "Runtime.ExitError",
                "RequestId: 6bc28136-95fa-4ebe-87b2-8f8d9a2f6c3e Error: Runtime exited without providing a reason",
            ),
            (
                Outcome::Crashed(RuntimeExit::Status(127)),
                "Runtime.ExitError",
                "RequestId: 6bc28136-95fa-4ebe-87b2-8f8d9a2f6c3e Error: Runtime exited with error: exit status 127",
            ),
            (
                Outcome::InitFailed(InitFailure::Exited(RuntimeExit::Signal(9))),
                "Runtime.ExitError",
                "RequestId: 6bc28136-95fa-4ebe-87b2-8f8d9a2f6c3e Error: Runtime exited with error: signal: killed",
            ),
            (
                Outcome::ExtensionFailed(ExtensionFailure {
                    fault: ExtensionFault::Crash,
                    why: RuntimeExit::Status(1).of_extension(),
                }),
                "Extension.Crash",
                "RequestId: 6bc28136-95fa-4ebe-87b2-8f8d9a2f6c3e Error: exit status 1",
            ),
            (
                Outcome::InitFailed(InitFailure::Extension(ExtensionFailure {
                    fault: ExtensionFault::Init,
                    why: RuntimeExit::WithoutReason.of_extension(),
                })),
                "Extension.InitError",
                "RequestId: 6bc28136-95fa-4ebe-87b2-8f8d9a2f6c3e Error: exit code 0",
            ),
            (
                Outcome::ResponseTooLarge,
                "Function.ResponseSizeTooLarge",
                "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
            ),
        ] {
            let body = outcome.error_body(id).unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["errorType"], error_type);
            assert_eq!(body["errorMessage"], message);
        }
    }

    #[test]
    fn header_text_is_one_printable_line() {
        assert_eq!(header_text("a\nb\u{e9}"), "a b?");
        assert_eq!(header_text(&"x".repeat(2_000)).len(), 1_000);
    }
}
