//! API Gateway in front, the Lambda Runtime API behind, the invocation broker between.
//!
//! A request becomes an event ([`event`]), the [`Broker`] hands it to an execution
//! environment of the function, and what comes back, an [`Outcome`], becomes the answer
//! ([`response`]). Each environment polls a loopback listener of its own. Events that
//! nobody waits for are written down first and delivered later ([`Events`]).

mod access;
mod asynchronous;
mod broker;
mod cloudwatch_logs;
mod config;
mod environment;
mod environment_variables;
pub mod event;
mod extensions_api;
mod faults;
mod function_logs;
mod host_aliases;
mod invocation;
mod lambda_api;
mod lineage;
mod live_body;
mod logs;
mod outcome;
mod parity;
mod platform_event;
mod process;
mod recursion;
pub mod response;
mod routes;
mod runtime_api;
mod sandbox;
mod server;
mod telemetry;
#[cfg(test)]
mod testing;

pub use access::Access;
pub use app_model::Parity;
pub use asynchronous::{Events, InvalidPace, Pace, StoreError, WaitingView};
pub use broker::{
    Answer, Broker, BuildNote, BuildView, EnvironmentView, FunctionView, InvocationRecord,
    ResponseStream,
};
pub use config::{Config, StartPolicy};
pub use invocation::{Invocation, RequestId, TenantId, TraceId};
pub use outcome::{
    ExtensionFailure, ExtensionFault, FunctionResponse, InitFailure, MAX_PAYLOAD_BYTES, Outcome,
    RuntimeExit,
};
pub use process::{Launcher, NotLaunched, RunningProcess};
pub use server::{Gateway, RunError, router, run, run_with};
