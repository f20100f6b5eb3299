//! AWS's own Rust library for extensions, unmodified, beside a function with AWS's own
//! runtime client: both are processes of this binary.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e_tests::in_process;
use lambda_extension::{
    Extension, LambdaEvent, LambdaTelemetry, LambdaTelemetryRecord, LogBuffering, NextEvent,
    SharedService, service_fn,
};
use serde_json::{Value, json};

/// The variables that make this binary an extension: where it writes down what it hears,
/// and the port that it takes telemetry on.
const HEARD: &str = "E2E_HEARD";
const PORT: &str = "E2E_PORT";

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

fn note(what: &str) {
    let path = std::env::var_os(HEARD).expect("it is an extension");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .create(true)
        .append(true)
        .open(path)
        .expect("a file");
    file.write_all(format!("{what}\n").as_bytes())
        .expect("written");
}

#[test]
#[ignore = "the extension that the other test starts"]
#[expect(clippy::exit, reason = "the library polls on after the end, for ever")]
fn observer() {
    let Some(port) = std::env::var_os(PORT) else {
        return;
    };
    let port = port.to_str().and_then(|port| port.parse().ok());
    let events = service_fn(async |event: LambdaEvent| {
        match event.next {
            NextEvent::Invoke(event) => {
                println!("the extension is at work");
                note(&format!("INVOKE {}", event.request_id));
            }
            NextEvent::Shutdown(event) => {
                note(&format!("SHUTDOWN {}", event.shutdown_reason));
                std::process::exit(0);
            }
        }
        Ok::<_, lambda_extension::Error>(())
    });
    let telemetry = service_fn(async |records: Vec<LambdaTelemetry>| {
        for record in records {
            note(&serde_json::to_string(&record)?);
        }
        Ok::<_, lambda_extension::Error>(())
    });
    let extension = Extension::new()
        .with_extension_name("observer")
        .with_events(&["INVOKE", "SHUTDOWN"])
        .with_events_processor(events)
        .with_telemetry_types(&["platform", "function", "extension"])
        .with_telemetry_buffering(LogBuffering {
            timeout_ms: 25,
            max_bytes: 262_144,
            max_items: 1_000,
        })
        .with_telemetry_port_number(port.expect("a port"))
        .with_telemetry_processor(SharedService::new(telemetry));
    runtime().block_on(extension.run()).expect("it runs");
}

#[test]
#[ignore = "the function that the other test starts"]
fn worker() {
    if std::env::var_os(HEARD).is_none() {
        return;
    }
    let handler = lambda_runtime::service_fn(async |_: lambda_runtime::LambdaEvent<Value>| {
        println!("the function is at work");
        Ok::<_, lambda_runtime::Error>(json!({"statusCode": 200, "body": "done"}))
    });
    runtime()
        .block_on(lambda_runtime::run(handler))
        .expect("it runs");
}

/// A workspace with the function and its extension; what that hears goes into the file.
fn workspace(folder: &Path) -> Result<PathBuf> {
    let binary = std::env::current_exe()?;
    let arguments = |test: &str| format!("--exact extensions::{test} --ignored --nocapture");
    let extensions = folder.join("extensions");
    std::fs::create_dir(&extensions)?;
    let observer = extensions.join("observer");
    let script = format!(
        "#!/bin/sh\nexec '{}' {}\n",
        binary.display(),
        arguments("observer")
    );
    std::fs::write(&observer, script)?;
    std::fs::set_permissions(&observer, std::fs::Permissions::from_mode(0o755))?;
    let heard = folder.join("heard");
    let command: Vec<_> = arguments("worker").split(' ').map(str::to_owned).collect();
    // Somebody may take it in between; nobody else here asks for one.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let manifest = format!(
        "[workspace]\nresolver = \"3\"\nmembers = []\n\
         [workspace.metadata.longshore]\nextensions = \"extensions\"\n\
         [workspace.metadata.longshore.function.worker]\n\
         command = [{binary:?}, {command}]\nenv = {{ {HEARD} = {heard:?}, {PORT} = \"{port}\" }}\n",
        command = command
            .iter()
            .map(|word| format!("{word:?}"))
            .collect::<Vec<_>>()
            .join(", "),
    );
    std::fs::write(folder.join("Cargo.toml"), manifest)?;
    Ok(heard)
}

/// Waits until the extension has heard so.
async fn hears(heard: &Path, line: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut pause = tokio::time::interval(Duration::from_millis(50));
    let patience = async {
        loop {
            pause.tick().await;
            let text = std::fs::read_to_string(heard).unwrap_or_default();
            if text.lines().any(&line) {
                return text.lines().map(str::to_owned).collect();
            }
        }
    };
    let within = tokio::time::timeout(Duration::from_secs(20), patience);
    within.await.with_context(|| {
        let text = std::fs::read_to_string(heard).unwrap_or_default();
        format!("the extension has heard:\n{text}")
    })
}

#[test]
fn awss_own_extension_library_hears_all_that_happens() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let heard = workspace(folder.path())?;
    in_process::run(async |world| {
        let sandbox = world.of_workspace(folder.path()).await?;
        let answer = sandbox.invoke("worker", &json!({"a": 1})).await?;
        ensure!(answer.status == 200, "{answer:?}");
        let lines = hears(&heard, |line| line.contains("\"platform.report\"")).await?;
        let lines: Vec<String> = lines.into_iter().filter(|l| l.starts_with('{')).collect();
        let mut records = BTreeMap::new();
        for line in &lines {
            let record: LambdaTelemetry = serde_json::from_str(line)?;
            let name: Value = serde_json::from_str(line)?;
            let name = name["type"].as_str().unwrap_or_default().to_owned();
            records.insert(name, record.record);
        }
        let names: Vec<_> = records.keys().map(String::as_str).collect();
        ensure!(
            names
                == [
                    "extension",
                    "function",
                    "platform.extension",
                    "platform.initReport",
                    "platform.initRuntimeDone",
                    "platform.initStart",
                    "platform.report",
                    "platform.runtimeDone",
                    "platform.start",
                    "platform.telemetrySubscription",
                ],
            "{names:?}"
        );
        ensure!(
            records["platform.extension"]
                == LambdaTelemetryRecord::PlatformExtension {
                    name: "observer".to_owned(),
                    state: "Ready".to_owned(),
                    events: vec!["INVOKE".to_owned(), "SHUTDOWN".to_owned()],
                }
        );
        let text = lines.join("\n");
        ensure!(text.contains("the function is at work"), "{text}");
        ensure!(text.contains("the extension is at work"), "{text}");
        sandbox.stop().await
    })?;
    let text = std::fs::read_to_string(&heard)?;
    ensure!(text.contains("\nSHUTDOWN SPINDOWN\n"), "{text}");
    Ok(())
}
