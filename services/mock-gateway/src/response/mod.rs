//! From an invocation's outcome to the HTTP answer, as each front gives it: REST API,
//! HTTP API (both formats), function URL and load balancer. Pure.
//!
//! AWS hides every failure behind `Internal server error`. The bodies and statuses here are
//! AWS's; why it happened stands beside them, in the header `x-longshore-function-error`.

mod answer;
mod failure;
mod fields;
mod function_url;
mod http_v1;
mod http_v2;
mod load_balancer;
mod refusal;
mod rest_stream;
mod rest_v1;

pub(crate) use failure::json as api_refusal;
pub use function_url::function_url;
pub(crate) use function_url::{has_prelude, prelude_end, stream_head};
pub use http_v1::http_v1;
pub use http_v2::http_v2;
pub use load_balancer::load_balancer;
pub(crate) use load_balancer::refused as load_balancer_page;
pub use refusal::{Refusal, refused};
pub(crate) use rest_stream::{rest_stream, rest_stream_head};
pub(crate) use rest_v1::Base64;
pub use rest_v1::rest_v1;
