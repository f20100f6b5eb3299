//! `longshore verify build/<handler>.zip`: is it what its manifest says, and what its source
//! gives?

use std::path::{Path, PathBuf};

use anyhow::Context;
use function_package::{Manifest, Packager, Request, compare, verify};

use super::build::config;
use crate::exit::Exit;
use crate::settings::Settings;

/// What to verify, as the command line says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyOptions {
    /// The package, relative to the current folder.
    pub zip: PathBuf,
    /// Whether to build it again and compare.
    pub rebuild: bool,
}

/// Prints the manifest, checks the zip against it and against Lambda's rules, then builds
/// the function again in an empty folder and compares. [`Exit::Failure`] if anything differs.
///
/// # Errors
/// If the package or its manifest cannot be read, or the function not be built.
pub async fn run(settings: &Settings, options: &VerifyOptions) -> anyhow::Result<Exit> {
    let found = verify(&options.zip)?;
    print!("{}", found.manifest.to_json());
    let mut wrong: Vec<String> = found.differences.iter().map(ToString::to_string).collect();
    wrong.extend(found.faults.iter().map(ToString::to_string));
    if wrong.is_empty() {
        println!("the zip is what its manifest says, and Lambda would take it");
    }
    if options.rebuild {
        let rebuilt = rebuild(settings, &found.manifest).await?;
        let differences = compare(&found.manifest, &rebuilt);
        if differences.is_empty() {
            println!("built again from source: the same bytes");
        }
        wrong.extend(differences.iter().map(|difference| {
            let field = difference.field;
            format!(
                "built again, {field} is {}, not {}",
                difference.found, difference.expected
            )
        }));
    }
    for what in &wrong {
        println!("WRONG  {what}");
    }
    Ok(if wrong.is_empty() {
        Exit::Success
    } else {
        Exit::Failure
    })
}

/// Builds the function from nothing: a folder that was built in before would prove little.
async fn rebuild(settings: &Settings, manifest: &Manifest) -> anyhow::Result<Manifest> {
    let scratch = scratch(&settings.target_dir)?;
    let config = config(
        settings,
        scratch.path().join("target"),
        scratch.path().join("build"),
    );
    let packager = Packager::open(config).await?;
    let request = Request {
        handler: manifest.handler.clone(),
        architecture: manifest.architecture,
        include: manifest.include.clone(),
    };
    eprintln!(
        "building {} again from nothing to compare",
        manifest.handler
    );
    let package = packager.package(&request).await;
    Ok(package
        .with_context(|| format!("cannot build {} again", manifest.handler))?
        .manifest)
}

fn scratch(below: &Path) -> anyhow::Result<tempfile::TempDir> {
    std::fs::create_dir_all(below).with_context(|| format!("cannot create {}", below.display()))?;
    let folder = tempfile::Builder::new().prefix("verify-").tempdir_in(below);
    folder.with_context(|| format!("cannot create a folder in {}", below.display()))
}
