//! AWS's own runtime clients for Python and Node.js run functions here, unmodified: as
//! `[workspace.metadata.longshore.function]` declares them.
//!
//! Python's is installed by the test itself. Node.js's has to be compiled: it is left out, and
//! that is said on standard error, unless `LONGSHORE_TEST_NODE_RIC` names a folder in which
//! `npm install aws-lambda-ric` was run.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use e2e_tests::in_process::{self, Timing};
use e2e_tests::{Sandbox, python};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A runtime client of AWS's, and how a function is started with it.
struct Client {
    name: &'static str,
    command: Vec<String>,
    source: &'static str,
    /// How to get it.
    missing: &'static str,
    /// Ends well if the client is here.
    probe: Vec<String>,
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

fn clients(python: Option<&Path>) -> Vec<Client> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let python = python.unwrap_or(Path::new("python3"));
    let ric = variable("LONGSHORE_TEST_NODE_RIC").unwrap_or_else(|| ".".into());
    let ric = text(&ric.join("node_modules/aws-lambda-ric/bin/index.mjs"));
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    vec![
        Client {
            name: "python",
            command: words(&[&text(python), "-m", "awslambdaric", "app.handler"]),
            source: "app.py",
            missing: "its packages could not be installed",
            probe: words(&[&text(python), "-c", "import awslambdaric"]),
        },
        Client {
            name: "node",
            command: words(&["node", &ric, "app.handler"]),
            source: "app.js",
            missing: "set LONGSHORE_TEST_NODE_RIC to a folder with `npm install aws-lambda-ric`",
            probe: words(&["node", "--check", &ric]),
        },
    ]
}

#[expect(
    clippy::disallowed_methods,
    reason = "asks whether an interpreter has the client"
)]
fn is_here(client: &Client) -> bool {
    let (program, arguments) = client.probe.split_at(1);
    let mut command = std::process::Command::new(&program[0]);
    command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn workspace(clients: &[Client]) -> Result<TempDir> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/runtime-clients");
    let folder = TempDir::new()?;
    let mut manifest = "[workspace]\nresolver = \"3\"\nmembers = []\n".to_owned();
    for client in clients {
        let Client {
            name,
            command,
            source,
            ..
        } = client;
        std::fs::copy(fixtures.join(source), folder.path().join(source))?;
        manifest += &format!(
            "[workspace.metadata.longshore.function.{name}]\ncommand = {command:?}\n\
             handler = \"app.handler\"\nmemory = 256\ntimeout = 5\n"
        );
    }
    std::fs::write(folder.path().join("Cargo.toml"), manifest)?;
    Ok(folder)
}

/// What Lambda's API answers.
struct Invoked {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Invoked {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

async fn invoke(sandbox: &Sandbox, name: &str, event: &Value) -> Result<Invoked> {
    let path = format!("/2015-03-31/functions/{name}/invocations");
    let response = reqwest::Client::builder()
        .no_proxy()
        .build()?
        .post(sandbox.gateway(&path))
        .header("x-amz-log-type", "Tail")
        .header(
            "x-amz-client-context",
            BASE64.encode(r#"{"custom":{"a":"1"}}"#),
        )
        .body(event.to_string())
        .send()
        .await?;
    Ok(Invoked {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: serde_json::from_slice(&response.bytes().await?)?,
    })
}

async fn runs_unmodified(sandbox: &Sandbox, name: &str) -> Result<()> {
    let event = json!({"text": "Zo\u{eb} \u{1f6a2}", "list": [1, null, true]});
    let told = invoke(sandbox, name, &event).await?;
    ensure!(told.status == 200, "{}", told.body);
    ensure!(
        told.header("x-amz-function-error").is_empty(),
        "{}",
        told.body
    );
    let arn = format!("arn:aws:lambda:us-east-1:000000000000:function:{name}");
    for (field, expected) in [
        ("event", event),
        ("request_id", json!(told.header("x-amzn-requestid"))),
        ("arn", json!(arn)),
        ("name", json!(name)),
        ("memory", json!("256")),
        ("custom", json!({"a": "1"})),
    ] {
        ensure!(told.body[field] == expected, "{field}: {}", told.body);
    }
    let remaining = told.body["remaining_ms"].as_u64();
    ensure!(
        remaining.is_some_and(|ms| (1..=5_000).contains(&ms)),
        "{remaining:?}"
    );
    let traced = told.body["traced"].as_str().unwrap_or_default();
    ensure!(traced.starts_with("Root=1-"), "{traced}");

    let printed = invoke(sandbox, name, &json!({"do": "print"})).await?;
    let log = BASE64.decode(printed.header("x-amz-log-result"))?;
    let log = String::from_utf8_lossy(&log);
    ensure!(log.contains("printed by the function"), "{log}");

    let failed = invoke(sandbox, name, &json!({"do": "fail"})).await?;
    ensure!(failed.status == 200, "{}", failed.body);
    ensure!(failed.header("x-amz-function-error") == "Unhandled");
    ensure!(failed.body["errorType"] == "ValueError", "{}", failed.body);
    ensure!(failed.body["errorMessage"] == "no luck", "{}", failed.body);

    for (order, error_type, message) in [
        ("large", "Function.ResponseSizeTooLarge", "6291556 bytes"),
        ("exit", "Runtime.ExitError", "exit status 7"),
        ("sleep", "Sandbox.Timedout", "timed out after 5.00 seconds"),
    ] {
        let failed = invoke(sandbox, name, &json!({"do": order})).await?;
        let text = failed.body["errorMessage"].as_str().unwrap_or_default();
        ensure!(failed.body["errorType"] == error_type, "{order}: {text}");
        ensure!(text.contains(message), "{order}: {text}");
        let next = invoke(sandbox, name, &json!({})).await?;
        ensure!(next.body["name"] == name, "after {order}: {}", next.body);
    }
    Ok(())
}

#[test]
fn every_runtime_client_that_is_here_runs_a_function() -> Result<()> {
    in_process::run(async |_| {
        let python = python::interpreter("the runtime client for Python").await?;
        let all = clients(python.as_deref());
        let (here, missing): (Vec<Client>, Vec<Client>) = all.into_iter().partition(is_here);
        let mut said = std::io::stderr();
        for client in &missing {
            // Not by `eprintln!`: of a test that passes nobody would see it.
            writeln!(
                said,
                "SKIPPED runtime client {}: {}",
                client.name, client.missing
            )?;
        }
        let (of, skipped) = (here.len() + missing.len(), missing.len());
        writeln!(
            said,
            "runtime clients: {} of {of} tested, {skipped} skipped",
            here.len()
        )?;
        let workspace = workspace(&here)?;
        let sandbox = in_process::of_workspace(workspace.path(), Timing::AWS).await?;
        for client in &here {
            let ran = runs_unmodified(&sandbox, client.name).await;
            ran.with_context(|| format!("runtime client {}", client.name))?;
        }
        sandbox.stop().await
    })
}
