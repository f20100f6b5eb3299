//! API Gateway in front, the Lambda Runtime API behind, the invocation broker between.

pub mod event;
mod invocation;
mod outcome;
pub mod response;

pub use invocation::{Invocation, RequestId, TraceId};
pub use outcome::{FunctionResponse, InitFailure, MAX_PAYLOAD_BYTES, Outcome, RuntimeExit};
