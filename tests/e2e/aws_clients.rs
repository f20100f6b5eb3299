//! boto3 and the AWS CLI call Lambda's API and read logs with an endpoint URL alone: what
//! they do, and what they must be answered, is in `tests/clients/test_*.py`.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use e2e_tests::in_process::{self, Timing};
use e2e_tests::python;
use tempfile::TempDir;

/// On two busy cores it takes a tenth of this.
const WITHIN: Duration = Duration::from_secs(300);

/// Two functions in Python, `worker` and `other`.
fn workspace(clients: &Path, python: &Path) -> Result<TempDir> {
    let folder = TempDir::new()?;
    std::fs::copy(clients.join("worker.py"), folder.path().join("worker.py"))?;
    let command = [
        &*python.to_string_lossy(),
        "-m",
        "awslambdaric",
        "worker.handler",
    ];
    let mut manifest = "[workspace]\nresolver = \"3\"\nmembers = []\n".to_owned();
    for name in ["worker", "other"] {
        manifest += &format!(
            "[workspace.metadata.longshore.function.{name}]\ncommand = {command:?}\n\
             handler = \"worker.handler\"\nmemory = 256\ntimeout = 20\nenv = {{ MODE = \"test\" }}\n"
        );
    }
    std::fs::write(folder.path().join("Cargo.toml"), manifest)?;
    Ok(folder)
}

#[test]
fn boto3_and_the_aws_cli_exercise_every_operation() -> Result<()> {
    in_process::run(async |_| {
        let Some(python) = python::interpreter("boto3 and the AWS CLI").await? else {
            return Ok(());
        };
        let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        let workspace = workspace(&clients, &python)?;
        // A retry comes after a second, not after a minute.
        let timing = Timing {
            pace: "60".parse()?,
            ..Timing::AWS
        };
        let sandbox = in_process::of_workspace(workspace.path(), timing).await?;
        let (endpoint, gateway) = (sandbox.aws(""), sandbox.gateway(""));
        let variables = [
            ("TEST_ENDPOINT", endpoint.as_str()),
            ("TEST_GATEWAY", gateway.as_str()),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            // Nothing of this machine's.
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("NO_PROXY", "127.0.0.1"),
        ];
        let said = python::unittest(&python, &clients, &variables, WITHIN).await?;
        let ran = said.lines().find(|line| line.starts_with("Ran "));
        writeln!(
            std::io::stderr(),
            "boto3 and the AWS CLI: {}",
            ran.unwrap_or("no test")
        )?;
        anyhow::ensure!(ran.is_some_and(|ran| !ran.starts_with("Ran 0 ")), "{said}");
        sandbox.stop().await
    })
}
