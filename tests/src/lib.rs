//! Whole pipelines, end to end: the harness that the tests run on.
//!
//! The bodies in `suite/` are one and run in two worlds: `e2e/` starts the services in this
//! process, `docker/` (feature `docker`) has them in containers beside LocalStack. A body
//! sees a [`World`] and what it starts there, a [`Sandbox`], and cannot tell which it is in.

#[cfg(feature = "docker")]
pub mod compose;
#[cfg(feature = "docker")]
pub mod containers;
#[cfg(feature = "docker")]
mod engine;
pub mod in_process;
mod sandbox;
mod scratch;
mod world;

pub use sandbox::{Answer, Sandbox, Urls};
pub use scratch::Scratch;
pub use world::World;

/// This repository.
pub(crate) fn repository() -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    folder.canonicalize().unwrap_or(folder)
}
