//! How a Longshore service starts and stops: one listener served until told to drain,
//! two-step shutdown, the control routes every service has, problem documents, logs.
//!
//! Knows nothing of what the services do.

mod control;
mod log_writer;
mod logs;
mod problem;
mod serve;
mod shutdown;

pub use control::{CONTROL_PREFIX, OPENAPI, control_routes};
pub use logs::{LogFormat, Logs, LogsError, init_logs};
pub use problem::{PROBLEM_CONTENT_TYPE, Problem};
pub use serve::{BindError, ServeError, bind, serve};
pub use shutdown::Shutdown;
