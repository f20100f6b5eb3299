//! The world in which the real services run in this process, each on a port of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use longshore::settings::{Pace, PackageSource, Parity, Profile, Settings, Start, Watch};
use longshore::stack::{Parts, Stack};
use reqwest::StatusCode;
use service_runtime::{LogFormat, Shutdown};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::repository;
use crate::sandbox::{Running, Sandbox, Urls};
use crate::world::{Kind, World};

/// Runs a test's body in this world.
///
/// # Errors
/// What the body fails with.
pub fn run(body: impl AsyncFnOnce(&World) -> Result<()>) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(body(&World(Kind::InProcess)))
}

/// The services of one sandbox.
#[derive(Debug)]
pub(crate) struct Services {
    shutdown: Shutdown,
    running: JoinHandle<Result<()>>,
    /// Copied, so that a test may add to them.
    _fixtures: TempDir,
}

impl Services {
    /// Drains and ends everything.
    pub(crate) async fn stop(self) -> Result<()> {
        self.shutdown.drain();
        tokio::time::timeout(Duration::from_secs(30), self.running)
            .await
            .context("it does not end")??
    }
}

pub(crate) async fn start(workspace: &Path, variables: &[(&str, &str)]) -> Result<Sandbox> {
    start_with(workspace, variables, |_| {}).await
}

/// How fast time goes by.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// For asynchronous invocations.
    pub pace: Pace,
    /// Of every function, instead of what its package says.
    pub function_timeout: Option<Duration>,
}

impl Timing {
    /// As on AWS.
    pub const AWS: Self = Self {
        pace: Pace::AWS,
        function_timeout: None,
    };
}

/// The functions of a workspace, with a timing of the test's own.
///
/// # Errors
/// If a service cannot start.
pub async fn of_workspace(workspace: &Path, timing: Timing) -> Result<Sandbox> {
    start_with(workspace, &[], |settings| {
        settings.time_scale = timing.pace;
        settings.function_timeout = timing.function_timeout;
    })
    .await
}

/// The functions of a workspace, where what fails on AWS only fails here, too.
///
/// # Errors
/// If a service cannot start.
pub async fn of_workspace_as_on_aws(workspace: &Path) -> Result<Sandbox> {
    let enforce = |settings: &mut Settings| settings.parity = Parity::Enforce;
    start_with(workspace, &[], enforce).await
}

async fn start_with(
    workspace: &Path,
    variables: &[(&str, &str)],
    change: impl FnOnce(&mut Settings),
) -> Result<Sandbox> {
    let fixtures = TempDir::new()?;
    std::fs::copy(
        repository().join("fixtures/data/sample.ndjson"),
        fixtures.path().join("sample.ndjson"),
    )?;
    let shutdown = Shutdown::new();
    let mut settings = settings(workspace, fixtures.path(), variables);
    change(&mut settings);
    let stack = Stack::start(settings, Parts::ALL, shutdown.clone()).await?;
    let addresses = *stack.addresses();
    let url = |address: Option<SocketAddr>, what: &'static str| {
        address.map(|at| format!("http://{at}")).context(what)
    };
    let urls = Urls {
        gateway: url(addresses.gateway, "no gateway")?,
        aws: url(addresses.aws, "no AWS endpoint")?,
        destination: url(addresses.destination, "no destination")?,
        poller: url(addresses.poller, "no poller")?,
    };
    let folder = fixtures.path().to_owned();
    let services = Services {
        shutdown,
        running: tokio::spawn(stack.join()),
        _fixtures: fixtures,
    };
    let sandbox = Sandbox::new(urls.clone(), urls, folder, Running::InProcess(services))?;
    for url in [
        &sandbox.aws("/_longshore/health"),
        &sandbox.poller("/_longshore/health"),
    ] {
        let health = sandbox.get(url).await?;
        ensure!(
            health.status == StatusCode::OK,
            "{url} is not healthy: {health:?}"
        );
    }
    Ok(sandbox)
}

/// A target folder for functions beside the one that this test was built in: kept from run
/// to run, and never locked by the cargo that runs the tests.
fn target_dir() -> PathBuf {
    crate::target().join("functions")
}

/// The repository's functions as `make test ARTIFACTS=1` packaged them; else none: every
/// function is built from source.
fn artifacts(workspace: &Path) -> Vec<PackageSource> {
    let Some(folder) = std::env::var_os("LONGSHORE_TEST_ARTIFACTS") else {
        return Vec::new();
    };
    if workspace != repository() {
        return Vec::new();
    }
    let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let zips = files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "zip"));
    zips.map(|zip| PackageSource { name: None, zip }).collect()
}

fn settings(workspace: &Path, fixtures: &Path, variables: &[(&str, &str)]) -> Settings {
    let variable = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let function_env = variables.iter().map(variable).collect();
    Settings {
        host: Ipv4Addr::LOCALHOST.into(),
        gateway_port: 0,
        aws_port: 0,
        destination_port: 0,
        poller_port: 0,
        workspace: workspace.to_owned(),
        handlers: workspace.join("handlers"),
        fixtures: fixtures.to_owned(),
        bucket: "test-bucket".into(),
        state_dir: fixtures.join(".state"),
        ephemeral: true,
        target_dir: target_dir(),
        declarations: None,
        artifacts: artifacts(workspace),
        profile: Profile::Dev,
        watch: Watch::Auto,
        start: Start::Lazy,
        max_environments: 10,
        function_timeout: None,
        init_timeout: Duration::from_secs(10),
        idle_timeout: Duration::ZERO,
        freeze: false,
        parity: Parity::Warn,
        integration_timeout: Duration::from_secs(29),
        time_scale: Pace::AWS,
        job_timeout: Duration::from_secs(60),
        job_silence: Duration::from_secs(60),
        drain: Duration::from_secs(10),
        aws_endpoint_url: None,
        poller_url: None,
        region: "us-east-1".into(),
        log: "info".into(),
        log_format: LogFormat::Text,
        function_env,
    }
}
