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
pub mod python;
mod sandbox;
mod scratch;
mod world;

pub use sandbox::{Answer, Sandbox, Urls};
pub use scratch::Scratch;
pub use world::World;

/// The target folder that this test was built in.
pub(crate) fn target() -> std::path::PathBuf {
    let executable = std::env::current_exe().ok();
    let target = executable
        .as_deref()
        .and_then(|path| path.ancestors().nth(3));
    target.map_or_else(|| repository().join("target"), std::path::Path::to_owned)
}

/// This repository.
pub(crate) fn repository() -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    folder.canonicalize().unwrap_or(folder)
}
