//! Recursive loop detection: a chain of requests that invokes one function more often than
//! Lambda lets it is told of or, where that is asked for, stopped.
//!
//! Who counts is the trace header ([`crate::lineage`]). Only Lambda's own API goes on with a
//! caller's count: of HTTP APIs and the like AWS does not say that they are part of a loop.

use app_model::parity::RECURSIVE_LOOP;
use app_model::{Excess, Parity, RecursiveLoop};

use crate::asynchronous::Events;
use crate::invocation::Invocation;
use crate::parity;

/// What Lambda says of an invocation that it stops: its API's description of the error.
pub(crate) const MESSAGE: &str = "Lambda has detected your function being invoked in a recursive loop with other Amazon Web Services resources and stopped your function's invocation.";

/// What becomes of an invocation.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is made.
    Made,
    /// It is made; on AWS it would not be, and its caller is told.
    Told(Excess),
    /// It is not made.
    Stopped(Excess),
}

/// Judges an invocation by the chain that it belongs to, and tells of it in the log.
pub(crate) fn judge(events: &Events, invocation: &Invocation) -> Verdict {
    let function = &invocation.function;
    let times = invocation.trace_id.times(function);
    if u64::from(times) <= RECURSIVE_LOOP.most
        || events.recursive_loop(function) == RecursiveLoop::Allow
    {
        return Verdict::Made;
    }
    let shared = &events.broker().shared;
    let excess = RECURSIVE_LOOP.broken(format!(
        "a chain of requests invokes `{function}` for the {times}th time: if that is meant to be, \
         set `recursive_loop = \"Allow\"` for it here and RecursiveLoop=Allow on AWS \
         (PutFunctionRecursionConfig), where such an invocation is dropped without a line in its log"
    ));
    shared.notices.tell(function, &excess);
    match shared.config.parity {
        Parity::Warn => Verdict::Told(excess),
        Parity::Enforce => Verdict::Stopped(excess),
    }
}

/// Tells a caller whose invocation was made.
pub(crate) fn mark(headers: &mut http::HeaderMap, told: Option<&Excess>) {
    if let Some(excess) = told {
        parity::mark(headers, excess);
    }
}
