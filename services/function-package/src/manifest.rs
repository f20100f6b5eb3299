//! `build/<handler>.json`: what a package is and where it comes from.

use std::fs;
use std::path::{Path, PathBuf};

use app_model::FunctionSettings;
use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::error::PackageError;
use crate::glibc::GlibcVersion;
use crate::profile::LambdaProfile;

/// The one runtime that packages are made for.
pub const RUNTIME: &str = "provided.al2023";

/// What a package is and where it comes from. Values of variables are never in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The function's name.
    pub handler: String,
    /// SHA-256 of the zip, hexadecimal.
    pub sha256: String,
    /// Bytes of the zip.
    pub size: u64,
    /// Bytes of all its files.
    pub unzipped_size: u64,
    /// The processor it is built for.
    pub architecture: Architecture,
    /// The newest glibc that `bootstrap` asks for, read from the file; `null` for none.
    pub glibc_floor: Option<GlibcVersion>,
    /// Lambda's runtime.
    pub runtime: String,
    /// The executable.
    pub bootstrap: FileRecord,
    /// The symbols cut off it, beside the zip: `addr2line -e` and debuggers take this file.
    pub symbols: FileRecord,
    /// Other files, by `--include` as given.
    pub include: Vec<PathBuf>,
    /// The commit it was built from; `null` outside of git.
    pub revision: Option<Revision>,
    /// What it was built with.
    pub toolchain: ToolchainRecord,
    /// How it was compiled.
    pub profile: LambdaProfile,
    /// How the function is set.
    pub settings: SettingsRecord,
}

/// A file by its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Its name.
    pub name: String,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revision {
    /// Its full hash.
    pub commit: String,
    /// Whether all files were as in that commit.
    pub clean: bool,
}

/// The tools, in their own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolchainRecord {
    /// The compiler.
    pub rustc: String,
    /// Cargo.
    pub cargo: String,
    /// What linked it.
    pub linker: String,
    /// What packed it.
    pub longshore: String,
}

/// Memory, timeout and the names of variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsRecord {
    /// Memory in MB.
    pub memory_mb: u32,
    /// Timeout in seconds.
    pub timeout_seconds: u64,
    /// Names of the function's own variables.
    pub env: Vec<String>,
}

impl From<&FunctionSettings> for SettingsRecord {
    fn from(settings: &FunctionSettings) -> Self {
        Self {
            memory_mb: settings.memory_mb,
            timeout_seconds: settings.timeout.as_secs(),
            env: settings.env.keys().cloned().collect(),
        }
    }
}

impl Manifest {
    /// Where the manifest of a zip is: beside it.
    #[must_use]
    pub fn path_of(zip: &Path) -> PathBuf {
        zip.with_extension("json")
    }

    /// The manifest beside a zip, `None` where there is none.
    ///
    /// # Errors
    /// If the file there cannot be read or is no manifest.
    pub fn beside(zip: &Path) -> Result<Option<Self>, PackageError> {
        let path = Self::path_of(zip);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(PackageError::File {
                    operation: "read",
                    path,
                    source,
                });
            }
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| PackageError::ReadManifest { path, source })
    }

    /// The manifest as it stands in its file.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings, numbers and paths that were UTF-8 when they were given.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}
