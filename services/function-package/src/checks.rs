//! What makes Lambda refuse a package, or fail to run it: found here, before AWS does.

use std::collections::BTreeMap;

use app_model::{Excess, parity};

use crate::architecture::Architecture;
use crate::archive::{Archive, ArchiveError, Kind};
use crate::elf::Executable;
use crate::glibc::GlibcVersion;

/// Lambda's bounds on a package.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the zip, uploaded directly.
    pub zipped: u64,
    /// Bytes of all files, unpacked.
    pub unzipped: u64,
}

impl Limits {
    /// 50 MB and 250 MB, as Lambda counts them.
    pub const LAMBDA: Self = Self {
        zipped: parity::ZIP_SIZE.most,
        unzipped: 250 * 1024 * 1024,
    };
}

/// One thing that is wrong with a package, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Built for another processor.
    #[error(
        "bootstrap is built for {found}, the function runs on {expected}: build with `--arch {expected}`"
    )]
    WrongArchitecture {
        /// The processor the binary is for.
        found: String,
        /// The processor of the function.
        expected: Architecture,
    },
    /// Asks for a glibc that the runtime does not have.
    #[error(
        "bootstrap needs glibc {found}, the runtime has {floor}: link with zig (`pip install cargo-zigbuild`, then `longshore build`)"
    )]
    GlibcTooNew {
        /// What the binary asks for.
        found: GlibcVersion,
        /// What the runtime has.
        floor: GlibcVersion,
    },
    /// The zip is over the limit.
    #[error(
        "the zip has {size} bytes, Lambda takes {limit} in a direct upload: leave out `--include` files (put data on S3) or unused dependencies"
    )]
    ZipTooLarge {
        /// Bytes it has.
        size: u64,
        /// Bytes it may have.
        limit: u64,
    },
    /// The files are over the limit.
    #[error(
        "the files have {size} bytes unzipped, Lambda takes {limit}: leave out `--include` files (put data on S3) or use a container image"
    )]
    UnzippedTooLarge {
        /// Bytes they have.
        size: u64,
        /// Bytes they may have.
        limit: u64,
    },
    /// Nothing that Lambda could start.
    #[error("there is no `bootstrap` at the root of the zip: name the executable so, in no folder")]
    NoBootstrap,
    /// Lambda may not start it.
    #[error(
        "bootstrap is not executable: zip it with mode 0755 (on Windows, zip it with `longshore build`)"
    )]
    NotExecutable,
    /// Linux cannot run it.
    #[error("Lambda cannot run bootstrap: {0}; build it for Linux with `longshore build`")]
    NotRunnable(String),
    /// Not a release build, or one that was not stripped.
    #[error(
        "bootstrap still has its {what}, as a debug build does: build with `longshore build`, or strip a release build"
    )]
    DebugBuild {
        /// What was found.
        what: &'static str,
    },
    /// Something that AWS would refuse of how the function is declared.
    #[error("{0}")]
    Declaration(Excess),
}

/// What a package is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The function's processor.
    pub architecture: Architecture,
    /// The runtime's glibc.
    pub glibc: GlibcVersion,
    /// Lambda's sizes.
    pub limits: Limits,
}

/// Finds everything that is wrong with a zip.
///
/// # Errors
/// If it cannot be read as a zip at all.
pub fn check_zip(path: &std::path::Path, expected: &Expected) -> Result<Vec<Fault>, ArchiveError> {
    let size = std::fs::metadata(path)
        .map_err(ArchiveError::file("read", path))?
        .len();
    let mut archive = Archive::open(path)?;
    let mut faults = Vec::new();
    let Limits { zipped, unzipped } = expected.limits;
    if size > zipped {
        faults.push(Fault::ZipTooLarge {
            size,
            limit: zipped,
        });
    }
    if archive.unzipped_size() > unzipped {
        // Not unpacked here: it could be a bomb.
        let size = archive.unzipped_size();
        faults.push(Fault::UnzippedTooLarge {
            size,
            limit: unzipped,
        });
        return Ok(faults);
    }
    let Some(bootstrap) = archive.bootstrap() else {
        faults.push(Fault::NoBootstrap);
        return Ok(faults);
    };
    if archive.entries[bootstrap].kind == (Kind::File { executable: false }) {
        faults.push(Fault::NotExecutable);
    }
    let bytes = archive.read(bootstrap)?;
    faults.extend(check_executable(&bytes, expected));
    Ok(faults)
}

/// Finds what is wrong with the executable alone.
pub(crate) fn check_executable(bytes: &[u8], expected: &Expected) -> Vec<Fault> {
    let binary = match Executable::read(bytes) {
        Ok(Executable::Script) => return Vec::new(),
        Ok(Executable::Elf(binary)) => binary,
        Err(error) => return vec![Fault::NotRunnable(error.to_string())],
    };
    let mut faults = Vec::new();
    if binary.architecture != Ok(expected.architecture) {
        let found = match binary.architecture {
            Ok(architecture) => architecture.to_string(),
            Err(machine) => {
                format!("a processor that Lambda does not have (ELF machine {machine})")
            }
        };
        faults.push(Fault::WrongArchitecture {
            found,
            expected: expected.architecture,
        });
    }
    if let Some(found) = binary.glibc_floor.filter(|floor| *floor > expected.glibc) {
        faults.push(Fault::GlibcTooNew {
            found,
            floor: expected.glibc,
        });
    }
    if binary.has_debug_info {
        faults.push(Fault::DebugBuild {
            what: "debug information",
        });
    } else if binary.has_symbols {
        faults.push(Fault::DebugBuild {
            what: "symbol table",
        });
    }
    faults
}

/// Finds what Lambda would refuse in a function's variables.
#[must_use]
pub fn check_environment(variables: &BTreeMap<String, String>) -> Vec<Fault> {
    let excesses = parity::of_variables(variables).into_iter();
    excesses.map(Fault::Declaration).collect()
}
