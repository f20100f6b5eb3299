//! The same source gives the same bytes, wherever it lies; a package runs, and verifies.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use function_package::{
    Architecture, Config, GlibcVersion, Linker, Manifest, Package, PackageError, Packager,
    Programs, Request, compare, unpack, verify,
};

/// Takes the paths and dates that compilers like to leave in binaries.
const MAIN: &str = r#"
fn main() {
    println!("{} {:?}", file!(), std::env::args().count());
    let line = std::panic::catch_unwind(|| panic!("to see that it unwinds")).is_err();
    std::process::exit(if line { 7 } else { 1 });
}
"#;

const MANIFEST: &str = r#"
[package]
name = "tiny"
version = "0.1.0"
edition = "2024"

[package.metadata.lambda.deploy]
memory = 256
timeout = 12

[package.metadata.lambda.env]
TABLE = "a value that stays here"

[workspace]
"#;

fn write_workspace(root: &Path) {
    fs::create_dir_all(root.join("src")).unwrap();
    fs::write(root.join("Cargo.toml"), MANIFEST).unwrap();
    fs::write(root.join("src/main.rs"), MAIN).unwrap();
    fs::write(root.join("table.csv"), "a,b\n").unwrap();
}

fn config(root: &Path, programs: Programs) -> Config {
    Config {
        workspace: root.to_owned(),
        handlers: root.join("handlers"),
        declarations: None,
        target_dir: root.join("target/lambda"),
        out_dir: root.join("build"),
        programs,
    }
}

async fn package(root: &Path, request: &Request) -> Result<Package, PackageError> {
    write_workspace(root);
    let packager = Packager::open(config(root, Programs::on_path())).await?;
    assert_eq!(packager.handlers(), ["tiny"]);
    packager.package(request).await
}

fn request(architecture: Architecture) -> Request {
    Request {
        handler: "tiny".into(),
        architecture,
        include: vec!["table.csv".into()],
    }
}

#[tokio::test]
async fn two_folders_give_the_same_zip_for_every_architecture_this_machine_can_build() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let mut built = 0;
    for architecture in [Architecture::X86_64, Architecture::Arm64] {
        let request = request(architecture);
        let here = folder.join(format!("{architecture}"));
        let there = folder.join(format!("{architecture} in/a/deeper/folder"));
        let first = match package(&here, &request).await {
            Err(error) if error.is_of_this_machine() => {
                println!("{architecture} cannot be built here: {error}");
                continue;
            }
            first => first.unwrap(),
        };
        let second = package(&there, &request).await.unwrap();
        assert_eq!(
            fs::read(&first.zip).unwrap() == fs::read(&second.zip).unwrap(),
            first.manifest.sha256 == second.manifest.sha256
        );
        assert_eq!(compare(&first.manifest, &second.manifest), []);
        assert_eq!(first.manifest.sha256, second.manifest.sha256);
        check_manifest(&first, architecture);
        check_no_path_left(&first, &folder);
        let verification = verify(&first.zip).unwrap();
        assert_eq!(
            (verification.differences, verification.faults),
            (vec![], vec![])
        );
        if Architecture::of_this_machine() == Some(architecture) {
            check_it_runs(&first, &folder.join("unpacked")).await;
        }
        built += 1;
    }
    assert!(
        built > 0,
        "this machine builds for no architecture of Lambda's"
    );
}

fn check_manifest(package: &Package, architecture: Architecture) {
    let manifest = &package.manifest;
    assert_eq!(
        Manifest::beside(&package.zip).unwrap().as_ref(),
        Some(manifest)
    );
    assert_eq!(manifest.size, fs::metadata(&package.zip).unwrap().len());
    assert_eq!(manifest.unzipped_size, manifest.bootstrap.size + 4);
    assert_eq!(manifest.architecture, architecture);
    assert!(
        manifest
            .glibc_floor
            .is_some_and(|floor| floor <= GlibcVersion::AL2023)
    );
    let settings = &manifest.settings;
    assert_eq!((settings.memory_mb, settings.timeout_seconds), (256, 12));
    assert_eq!(settings.env, ["TABLE"]);
    assert!(!manifest.to_json().contains("stays here"));
    let symbols = fs::metadata(package.zip.with_extension("debug")).unwrap();
    assert_eq!(manifest.symbols.size, symbols.len());
}

fn check_no_path_left(package: &Package, folder: &Path) {
    let root = tempfile::tempdir().unwrap();
    let needle = folder.to_str().unwrap().as_bytes();
    let mut zip = zip::ZipArchive::new(fs::File::open(&package.zip).unwrap()).unwrap();
    zip.extract(root.path()).unwrap();
    let bytes = fs::read(root.path().join("bootstrap")).unwrap();
    assert!(!bytes.windows(needle.len()).any(|window| window == needle));
}

async fn check_it_runs(package: &Package, into: &Path) {
    let artifact = unpack(&package.zip, into).unwrap();
    assert_eq!(artifact.handler, "tiny");
    assert_eq!(artifact.manifest.as_ref(), Some(&package.manifest));
    #[expect(clippy::disallowed_methods, reason = "the test runs what was packaged")]
    let output = tokio::process::Command::new(&artifact.bootstrap)
        .current_dir(&artifact.task_root)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    // A panic unwinds and is caught, as it is in the sandbox.
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "src/main.rs 1\n");
}

#[tokio::test]
async fn a_machine_without_zig_says_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    write_workspace(&root);
    let programs = Programs {
        zigbuild: "longshore-has-no-such-tool".into(),
        ..Programs::on_path()
    };
    let packager = Packager::open(config(&root, programs)).await.unwrap();
    assert_eq!(packager.linker(), &Linker::Host);
    let foreign = match Architecture::of_this_machine() {
        Some(Architecture::Arm64) => Architecture::X86_64,
        Some(Architecture::X86_64) | None => Architecture::Arm64,
    };
    let error = packager.package(&request(foreign)).await.unwrap_err();
    assert!(error.is_of_this_machine());
    assert!(
        error.to_string().contains("pip install cargo-zigbuild"),
        "{error}"
    );
}

#[tokio::test]
async fn what_lambda_would_refuse_is_refused_before_the_build() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    write_workspace(&root);
    let manifest = MANIFEST.replace("TABLE", "AWS_REGION");
    fs::write(root.join("Cargo.toml"), manifest).unwrap();
    let packager = Packager::open(config(&root, Programs::on_path()))
        .await
        .unwrap();
    let here = Architecture::of_this_machine().unwrap_or(Architecture::X86_64);
    let error = packager
        .package(&request(here))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("AWS_REGION is set, which Lambda sets itself"),
        "{error}"
    );
    assert!(!root.join("build/tiny.zip").exists());

    let unknown = Request {
        handler: "tinny".into(),
        ..request(here)
    };
    let error = packager.package(&unknown).await.unwrap_err().to_string();
    assert_eq!(error, "there is no function `tinny`; there are: tiny");
}

#[test]
fn a_zip_that_was_touched_does_not_verify() {
    let folder = tempfile::tempdir().unwrap();
    let path = crate::workbench::zip(
        folder.path(),
        &[crate::workbench::Item("bootstrap", b"#!/bin/sh\n", 0o755)],
    );
    let error = verify(&path).unwrap_err().to_string();
    assert!(
        error.contains("only packages made by `longshore build`"),
        "{error}"
    );
    fs::write(Manifest::path_of(&path), "{}").unwrap();
    let error = verify(&path).unwrap_err().to_string();
    assert!(
        error.contains("is not a manifest of this version"),
        "{error}"
    );
}
