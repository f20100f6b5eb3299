//! Whether a package is still what its manifest says, and what its source gives.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::archive::Archive;
use crate::checks::{Expected, Fault, Limits, check_zip};
use crate::digest::sha256;
use crate::elf::Executable;
use crate::error::PackageError;
use crate::glibc::GlibcVersion;
use crate::manifest::Manifest;

/// A package held against its manifest and against Lambda's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// What the manifest says.
    pub manifest: Manifest,
    /// Where the zip says something else.
    pub differences: Vec<Difference>,
    /// What Lambda would refuse.
    pub faults: Vec<Fault>,
}

/// A field that two accounts of a package do not agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The manifest's field.
    pub field: &'static str,
    /// What the manifest says.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: the manifest says {}, found {}",
            self.field, self.expected, self.found
        )
    }
}

/// Holds a zip against its manifest and against Lambda's rules.
///
/// # Errors
/// If either cannot be read, or there is no manifest.
pub fn verify(zip: &Path) -> Result<Verification, PackageError> {
    let file = |source| PackageError::File {
        operation: "read",
        path: zip.to_owned(),
        source,
    };
    let bytes = fs::read(zip).map_err(file)?;
    let manifest = Manifest::beside(zip)?.ok_or_else(|| PackageError::NoManifest {
        zip: zip.to_owned(),
        manifest: Manifest::path_of(zip),
    })?;
    let mut differences = Differences::default();
    differences.compare("sha256", &manifest.sha256, &sha256(&bytes));
    differences.compare("size", &manifest.size, &bytes.len());
    let mut archive = Archive::of(zip, bytes)?;
    differences.compare(
        "unzipped_size",
        &manifest.unzipped_size,
        &archive.unzipped_size(),
    );
    if let Some(bootstrap) = archive.bootstrap() {
        let bytes = archive.read(bootstrap)?;
        differences.compare(
            "bootstrap.sha256",
            &manifest.bootstrap.sha256,
            &sha256(&bytes),
        );
        if let Ok(Executable::Elf(binary)) = Executable::read(&bytes) {
            let floor = |floor: Option<GlibcVersion>| floor.map_or("none".into(), String::from);
            let (expected, found) = (manifest.glibc_floor, binary.glibc_floor);
            differences.compare("glibc_floor", &floor(expected), &floor(found));
        }
    }
    let expected = Expected {
        architecture: manifest.architecture,
        glibc: GlibcVersion::AL2023,
        limits: Limits::LAMBDA,
    };
    let faults = check_zip(zip, &expected)?;
    Ok(Verification {
        manifest,
        differences: differences.0,
        faults,
    })
}

/// Compares a package with one made again from source: what differs, and what explains it.
#[must_use]
pub fn compare(package: &Manifest, rebuilt: &Manifest) -> Vec<Difference> {
    let mut differences = Differences::default();
    differences.compare("sha256", &package.sha256, &rebuilt.sha256);
    if differences.0.is_empty() {
        return Vec::new();
    }
    differences.compare(
        "bootstrap.sha256",
        &package.bootstrap.sha256,
        &rebuilt.bootstrap.sha256,
    );
    let revision = |manifest: &Manifest| match &manifest.revision {
        Some(revision) if revision.clean => revision.commit.clone(),
        Some(revision) => format!("{} with changes", revision.commit),
        None => "no commit".to_owned(),
    };
    differences.compare("revision", &revision(package), &revision(rebuilt));
    differences.compare(
        "toolchain.rustc",
        &package.toolchain.rustc,
        &rebuilt.toolchain.rustc,
    );
    differences.compare(
        "toolchain.linker",
        &package.toolchain.linker,
        &rebuilt.toolchain.linker,
    );
    differences.compare(
        "toolchain.longshore",
        &package.toolchain.longshore,
        &rebuilt.toolchain.longshore,
    );
    differences.0
}

#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    fn compare(&mut self, field: &'static str, expected: &impl ToString, found: &impl ToString) {
        let (expected, found) = (expected.to_string(), found.to_string());
        if expected != found {
            self.0.push(Difference {
                field,
                expected,
                found,
            });
        }
    }
}
