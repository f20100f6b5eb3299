//! Why a function could not be packaged.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::architecture::Architecture;
use crate::archive::ArchiveError;
use crate::checks::Fault;
use crate::tools::ToolError;

/// A function could not be packaged or its package not be verified.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A tool is missing or failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// `cargo metadata` answered something else than metadata.
    #[error("cannot understand `cargo metadata`")]
    ReadMetadata(#[source] serde_json::Error),
    /// `--declarations` names a file that says nothing.
    #[error(transparent)]
    Declarations(#[from] app_model::InvalidDeclarations),
    /// `.cargo/config.toml` of the workspace cannot be read.
    #[error("cannot read cargo's configuration of the workspace")]
    ReadConfig(#[source] cargo_config2::Error),
    /// There is no such function.
    #[error("there is no function `{name}`; there are: {}", known.join(", "))]
    UnknownFunction {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The function has no Cargo package.
    #[error("function `{0}` is a command, not a Cargo package: package it with its own tools")]
    NotCargo(String),
    /// No cross linker, and this machine is another.
    #[error(
        "this machine ({host}) needs zig to link for {architecture} on Lambda: run `pip install cargo-zigbuild` (it brings zig), put it on the PATH and build again"
    )]
    NoCrossLinker {
        /// What was to be built.
        architecture: Architecture,
        /// What this machine builds by itself.
        host: String,
    },
    /// The target's standard library is not installed.
    #[error(
        "Rust's standard library for {triple} is not installed: run `rustup target add {triple}`"
    )]
    NoStandardLibrary {
        /// Rust's name of the target.
        triple: &'static str,
    },
    /// The toolchain has no objcopy.
    #[error(
        "this Rust toolchain has no rust-objcopy ({}), which strips the binary: use the toolchain from https://rustup.rs", path.display()
    )]
    NoObjcopy {
        /// Where it should be.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The zip could not be written or read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// AWS would refuse the zip, or fail to run it.
    #[error("Lambda would not run this package:{0}")]
    Refused(Faults),
    /// There is no manifest beside the zip.
    #[error(
        "{} has no manifest beside it ({}): only packages made by `longshore build` can be verified", zip.display(), manifest.display()
    )]
    NoManifest {
        /// The package.
        zip: PathBuf,
        /// Where its manifest should be.
        manifest: PathBuf,
    },
    /// The manifest is not one of ours.
    #[error("{} is not a manifest of this version: build the package again", path.display())]
    ReadManifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The thread that compresses ended early.
    #[error("compressing the package was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
}

/// Everything that is wrong with a package, one a line.
#[derive(Debug)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.0 {
            write!(f, "\n  - {fault}")?;
        }
        Ok(())
    }
}

impl PackageError {
    /// Whether this machine lacks something, rather than the function.
    #[must_use]
    pub fn is_of_this_machine(&self) -> bool {
        matches!(
            self,
            Self::Tool(ToolError::Start { .. })
                | Self::NoCrossLinker { .. }
                | Self::NoStandardLibrary { .. }
                | Self::NoObjcopy { .. }
        )
    }
}
