//! A scratch workspace with one small function that tests edit, break and crash.

use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

use crate::sandbox::repository;

/// A Cargo workspace in a temporary folder, with one function.
///
/// The function has a name of its own, as all workspaces build into one target folder. It
/// answers the text of its source's `VERSION`; `{"sleep_ms": n}` makes it wait
/// first, `{"exit": n}` ends its process, `{"panic": true}` panics.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    function: &'static str,
}

const SOURCE: &str = r#"use lambda_runtime::{LambdaEvent, Error, run, service_fn};
use serde_json::{Value, json};

const VERSION: &str = "@VERSION@";

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let command: Value = event.payload["body"]
        .as_str()
        .and_then(|body| serde_json::from_str(body).ok())
        .unwrap_or_default();
    if let Some(ms) = command["sleep_ms"].as_u64() {
        tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
    }
    if let Some(code) = command["exit"].as_i64() {
        std::process::exit(code as i32);
    }
    assert!(command["panic"] != true, "asked to panic");
    Ok(json!({"statusCode": 200, "body": VERSION}))
}
"#;

const MANIFEST: &str = r#"[package]
name = "@NAME@"
version = "0.0.0"
edition = "2024"

[dependencies]
lambda_runtime = { version = "1.5", default-features = false, features = ["tracing"] }
serde_json = "1"
tokio = { version = "1", features = ["macros", "rt-multi-thread", "time"] }

[package.metadata.lambda.deploy]
timeout = 20
"#;

impl Scratch {
    /// A workspace whose function has this name and answers `version`. Its lock file is this repository's, so
    /// that it builds from the same crates.
    ///
    /// # Errors
    /// If files cannot be written.
    pub fn new(function: &'static str, version: &str) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let scratch = Self { folder, function };
        std::fs::create_dir_all(scratch.workspace().join("handlers/probe/src"))?;
        std::fs::write(
            scratch.workspace().join("Cargo.toml"),
            "[workspace]\nresolver = \"3\"\nmembers = [\"handlers/*\"]\n\n[profile.dev]\ndebug = false\n",
        )?;
        std::fs::write(
            scratch.workspace().join("handlers/probe/Cargo.toml"),
            MANIFEST.replace("@NAME@", function),
        )?;
        std::fs::copy(
            repository().join("Cargo.lock"),
            scratch.workspace().join("Cargo.lock"),
        )
        .context("no Cargo.lock to copy")?;
        scratch.write(version)?;
        Ok(scratch)
    }

    /// The workspace's folder.
    #[must_use]
    pub fn workspace(&self) -> &Path {
        self.folder.path()
    }

    /// The function's name.
    #[must_use]
    pub fn function(&self) -> &'static str {
        self.function
    }

    fn source(&self) -> PathBuf {
        self.workspace().join("handlers/probe/src/main.rs")
    }

    /// Saves the source so that the function answers `version`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, version: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(
            self.source(),
            SOURCE.replace("@VERSION@", version),
        )?)
    }

    /// Saves a source that does not compile.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn break_it(&self) -> anyhow::Result<()> {
        let broken = SOURCE.replace("let command: Value", "let command: NoSuchType");
        Ok(std::fs::write(self.source(), broken)?)
    }
}
