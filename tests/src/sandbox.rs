//! A running sandbox: the real services in this process, each on a port of its own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use longshore::settings::{Profile, Settings, Start, Watch};
use longshore::stack::{Parts, Stack};
use reqwest::header::HeaderMap;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use service_runtime::{LogFormat, Shutdown};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// A first request waits for the first build, which may compile every dependency.
const FIRST_BUILD_WITHIN: Duration = Duration::from_secs(600);

/// What a service answered.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub body: String,
}

impl Answer {
    /// A header's text; empty where it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// If it is none.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {}", self.body))
    }
}

/// A running sandbox. End it with [`Sandbox::stop`], which proves that it drains.
#[derive(Debug)]
pub struct Sandbox {
    gateway: SocketAddr,
    aws: SocketAddr,
    destination: SocketAddr,
    poller: SocketAddr,
    client: Client,
    shutdown: Shutdown,
    running: JoinHandle<anyhow::Result<()>>,
    fixtures: TempDir,
}

impl Sandbox {
    /// This repository's own functions and fixtures. The fixtures are a copy, so that a
    /// test may add to them.
    ///
    /// # Errors
    /// If a service cannot start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::of_workspace(&repository()).await
    }

    /// The functions of another workspace.
    ///
    /// # Errors
    /// If a service cannot start.
    pub async fn of_workspace(workspace: &Path) -> anyhow::Result<Self> {
        let fixtures = TempDir::new()?;
        std::fs::copy(
            repository().join("fixtures/data/sample.ndjson"),
            fixtures.path().join("sample.ndjson"),
        )?;
        let shutdown = Shutdown::new();
        let settings = settings(workspace, fixtures.path());
        let stack = Stack::start(settings, Parts::ALL, shutdown.clone()).await?;
        let addresses = *stack.addresses();
        let sandbox = Self {
            gateway: addresses.gateway.context("no gateway")?,
            aws: addresses.aws.context("no AWS endpoint")?,
            destination: addresses.destination.context("no destination")?,
            poller: addresses.poller.context("no poller")?,
            client: Client::builder()
                .no_proxy()
                .timeout(FIRST_BUILD_WITHIN)
                .build()?,
            shutdown,
            running: tokio::spawn(stack.join()),
            fixtures,
        };
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

    /// A URL of the gateway.
    #[must_use]
    pub fn gateway(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway)
    }

    /// A URL of the AWS endpoint.
    #[must_use]
    pub fn aws(&self, path: &str) -> String {
        format!("http://{}{path}", self.aws)
    }

    /// A URL of the destination.
    #[must_use]
    pub fn destination(&self, path: &str) -> String {
        format!("http://{}{path}", self.destination)
    }

    /// A URL of the poller.
    #[must_use]
    pub fn poller(&self, path: &str) -> String {
        format!("http://{}{path}", self.poller)
    }

    /// The folder that is kept in step with `test-bucket`.
    #[must_use]
    pub fn fixtures(&self) -> &Path {
        self.fixtures.path()
    }

    /// A webhook payload for this job that reads `sample.ndjson` and reports to the poller.
    #[must_use]
    pub fn webhook(&self, webhook_id: &str) -> Value {
        json!({
            "data_url": self.aws("/test-bucket/sample.ndjson"),
            "callback_url": self.poller("/mock/poll/"),
            "webhook_id": webhook_id,
            "access_token": "2:some:token",
            "settings": {},
            "label_name": "test label",
        })
    }

    /// GETs a URL.
    ///
    /// # Errors
    /// If nobody answers.
    pub async fn get(&self, url: &str) -> anyhow::Result<Answer> {
        answer(self.client.get(url)).await
    }

    /// POSTs a JSON body to a function, as API Gateway's caller does.
    ///
    /// # Errors
    /// If nobody answers.
    pub async fn invoke(&self, function: &str, body: &Value) -> anyhow::Result<Answer> {
        self.invoke_text(function, &body.to_string()).await
    }

    /// POSTs any text to a function.
    ///
    /// # Errors
    /// If nobody answers.
    pub async fn invoke_text(&self, function: &str, body: &str) -> anyhow::Result<Answer> {
        let url = self.gateway(&format!("/lambda/{function}"));
        answer(
            self.client
                .post(url)
                .header("content-type", "application/json")
                .body(body.to_owned()),
        )
        .await
    }

    /// The view of a job once it has ended.
    ///
    /// # Errors
    /// If it has not ended within 30 s.
    pub async fn ended_job(&self, webhook_id: &str) -> anyhow::Result<Value> {
        let view = self
            .get(&self.poller(&format!("/_longshore/jobs/{webhook_id}?wait=30s")))
            .await?;
        ensure!(
            view.status == StatusCode::OK,
            "no job {webhook_id}: {view:?}"
        );
        let view = view.json()?;
        ensure!(
            view["state"] != "running",
            "job {webhook_id} goes on: {view}"
        );
        Ok(view)
    }

    /// What the destination received.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn deliveries(&self) -> anyhow::Result<Value> {
        self.get(&self.destination("/_longshore/deliveries"))
            .await?
            .json()
    }

    /// Asks again until the answer satisfies, for what only shows from outside.
    ///
    /// # Errors
    /// With the last answer, if none does within 30 s.
    pub async fn until(
        &self,
        url: &str,
        satisfied: impl Fn(&Answer) -> bool,
    ) -> anyhow::Result<Answer> {
        let give_up = tokio::time::Instant::now() + Duration::from_secs(30);
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        loop {
            pause.tick().await;
            let answer = self.get(url).await?;
            if satisfied(&answer) {
                return Ok(answer);
            }
            ensure!(
                tokio::time::Instant::now() < give_up,
                "{url} never satisfied; last: {answer:?}"
            );
        }
    }

    /// Drains and ends everything.
    ///
    /// # Errors
    /// If a service failed, or has not ended in time.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.drain();
        tokio::time::timeout(Duration::from_secs(30), self.running)
            .await
            .context("it does not end")??
    }
}

async fn answer(request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    Ok(Answer {
        status,
        headers,
        body: response.text().await?,
    })
}

/// This repository.
pub(crate) fn repository() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    folder.canonicalize().unwrap_or(folder)
}

/// A target folder for functions beside the one that this test was built in: kept from run
/// to run, and never locked by the cargo that runs the tests.
fn target_dir() -> PathBuf {
    let executable = std::env::current_exe().ok();
    let target = executable
        .as_deref()
        .and_then(|path| path.ancestors().nth(3));
    target
        .map_or_else(|| repository().join("target"), Path::to_owned)
        .join("functions")
}

fn settings(workspace: &Path, fixtures: &Path) -> Settings {
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
        artifacts: Vec::new(),
        profile: Profile::Dev,
        watch: Watch::Auto,
        start: Start::Lazy,
        max_environments: 10,
        function_timeout: None,
        integration_timeout: Duration::from_secs(29),
        time_scale: longshore::settings::Pace::AWS,
        job_timeout: Duration::from_secs(60),
        drain: Duration::from_secs(10),
        aws_endpoint_url: None,
        poller_url: None,
        region: "us-east-1".into(),
        log: "info".into(),
        log_format: LogFormat::Text,
        // The port is not known yet; the name leads to whichever it will be.
        function_env: BTreeMap::from([(
            "DESTINATION_URL".into(),
            "http://api_destination:5005/mock/destination".into(),
        )]),
    }
}
