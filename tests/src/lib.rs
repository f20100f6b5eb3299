//! Whole pipelines, end to end: the harness that the tests in `e2e/` run on.

mod sandbox;
mod scratch;

pub use sandbox::{Answer, Sandbox};
pub use scratch::Scratch;
