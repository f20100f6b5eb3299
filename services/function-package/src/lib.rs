//! The zip that AWS Lambda runs: build, check, describe, compare and unpack it.
//!
//! # From a function to its package
//! [`Packager::package`] compiles for `provided.al2023` with a glibc floor, strips the
//! binary and keeps its symbols beside, packs, checks ([`Fault`]) and describes
//! ([`Manifest`]). The same source gives the same bytes, in any folder and on any machine
//! with the same toolchain: this machine's paths are mapped away, its flags are not read,
//! and the zip has fixed times, modes, order and compression.
//!
//! # From a package to a function
//! [`unpack`] makes a folder that stands for `/var/task` out of any zip that AWS would
//! take, so that what is tested is what is uploaded. [`verify`] holds a package against its
//! manifest.

mod architecture;
mod archive;
mod artifact;
mod checks;
mod digest;
mod elf;
mod error;
mod glibc;
mod manifest;
mod packager;
mod profile;
mod revision;
mod toolchain;
mod tools;
mod verify;

pub use architecture::{Architecture, UnknownArchitecture};
pub use archive::{ArchiveError, BOOTSTRAP, Entry};
pub use artifact::{UnpackedArtifact, remove_unpacked, unpack};
pub use checks::{Expected, Fault, Limits, check_environment, check_zip};
pub use elf::{Binary, Executable, UnreadableExecutable};
pub use error::{Faults, PackageError};
pub use glibc::{GlibcVersion, InvalidGlibcVersion};
pub use manifest::{FileRecord, Manifest, RUNTIME, Revision, SettingsRecord, ToolchainRecord};
pub use packager::{Config, Package, Packager, Request};
pub use profile::LambdaProfile;
pub use toolchain::{Linker, Programs};
pub use tools::ToolError;
pub use verify::{Difference, Verification, compare, verify};
