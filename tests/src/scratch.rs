//! A scratch workspace with one small function that tests edit, break and crash.

use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

use crate::repository;

/// A Cargo workspace in a temporary folder, with one function.
///
/// The function has a name of its own, as all workspaces build into one target folder. It
/// answers the text of its source's `VERSION`; `{"sleep_ms": n}` makes it wait
/// first, `{"exit": n}` ends its process, `{"panic": true}` panics, `{"put": path, "text": t}`
/// writes to S3 through AWS's own variable for it.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    function: &'static str,
    source: &'static str,
}

const SOURCE: &str = r#"use lambda_runtime::{LambdaEvent, Error, run, service_fn};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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
    if let (Some(path), Some(text)) = (command["put"].as_str(), command["text"].as_str()) {
        let answer = put(path, text).await?;
        return Ok(json!({"statusCode": 200, "body": answer}));
    }
    Ok(json!({"statusCode": 200, "body": VERSION}))
}

async fn put(path: &str, text: &str) -> Result<String, Error> {
    let endpoint = std::env::var("AWS_ENDPOINT_URL")?;
    let host = endpoint.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host).await?;
    let length = text.len();
    let request = format!("PUT {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{text}");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}
"#;

const MANIFEST: &str = r#"[package]
name = "@NAME@"
version = "0.0.0"
edition = "2024"

[dependencies]
lambda_runtime.workspace = true
@DEPENDENCIES@
[package.metadata.lambda.deploy]
timeout = 20
"#;

/// What this repository's handlers are made of. The function needs little of it, but cargo
/// chooses features by all that is asked for: asked for the same, it finds what was
/// compiled for them before.
fn dependencies() -> anyhow::Result<String> {
    let runner = repository().join("handlers/webhook-runner/Cargo.toml");
    let manifest = std::fs::read_to_string(runner)?;
    let (_, dependencies) = manifest
        .split_once("\n[dependencies]\n")
        .context("webhook-runner has no dependencies")?;
    let lines = dependencies
        .lines()
        .take_while(|line| !line.starts_with('['));
    let foreign = lines.filter(|line| !line.starts_with("pipeline-contract"));
    Ok(foreign.map(|line| format!("{line}\n")).collect())
}

/// The manifest of this repository's workspace, with other members.
pub(crate) fn with_members(manifest: &str, members: &str) -> String {
    let lines = manifest.lines().map(|line| {
        if line.starts_with("members = ") {
            format!("members = {members}\n")
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}

impl Scratch {
    /// A workspace whose function has this name and answers `version`. Its lock file, its
    /// profiles and its dependencies' features are this repository's, so that it builds
    /// from what was built before.
    ///
    /// # Errors
    /// If files cannot be written.
    pub fn new(function: &'static str, version: &str) -> anyhow::Result<Self> {
        let scratch = Self::of_source(function, SOURCE)?;
        scratch.write(version)?;
        Ok(scratch)
    }

    /// The same with a function of the test's own.
    ///
    /// # Errors
    /// If files cannot be written.
    pub fn of_source(function: &'static str, source: &'static str) -> anyhow::Result<Self> {
        let scratch = Self {
            folder: TempDir::new()?,
            function,
            source,
        };
        std::fs::create_dir_all(scratch.workspace().join("handlers/probe/src"))?;
        let manifest = std::fs::read_to_string(repository().join("Cargo.toml"))?;
        std::fs::write(
            scratch.workspace().join("Cargo.toml"),
            with_members(&manifest, "[\"handlers/*\"]"),
        )?;
        std::fs::write(
            scratch.workspace().join("handlers/probe/Cargo.toml"),
            MANIFEST
                .replace("@NAME@", function)
                .replace("@DEPENDENCIES@", &dependencies()?),
        )?;
        std::fs::copy(
            repository().join("Cargo.lock"),
            scratch.workspace().join("Cargo.lock"),
        )
        .context("no Cargo.lock to copy")?;
        scratch.write("")?;
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

    fn main(&self) -> PathBuf {
        self.workspace().join("handlers/probe/src/main.rs")
    }

    /// Saves the source so that the function answers `version`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, version: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(
            self.main(),
            self.source.replace("@VERSION@", version),
        )?)
    }

    /// Saves a source that does not compile.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn break_it(&self) -> anyhow::Result<()> {
        let broken = SOURCE.replace("let command: Value", "let command: NoSuchType");
        Ok(std::fs::write(self.main(), broken)?)
    }
}
