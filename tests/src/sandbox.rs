//! A running sandbox as a test sees it: addresses, requests, and what came of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use reqwest::header::HeaderMap;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::in_process;

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
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {}", self.body))
    }
}

/// Where the services are, as `http://host:port`.
#[derive(Clone, Debug)]
pub struct Urls {
    /// The mock API Gateway.
    pub gateway: String,
    /// The S3 endpoint.
    pub aws: String,
    /// The mock destination.
    pub destination: String,
    /// The callback poller.
    pub poller: String,
}

/// What a sandbox is made of, and so how it ends.
#[derive(Debug)]
pub(crate) enum Running {
    InProcess(in_process::Services),
    #[cfg(feature = "docker")]
    Containers(crate::containers::Lease),
    /// Whoever started it ends it.
    #[cfg(feature = "docker")]
    Elsewhere,
}

/// A running sandbox. End it with [`Sandbox::stop`], which proves that it drains.
#[derive(Debug)]
pub struct Sandbox {
    urls: Urls,
    inside: Urls,
    client: Client,
    running: Running,
    fixtures: PathBuf,
}

impl Sandbox {
    pub(crate) fn new(
        urls: Urls,
        inside: Urls,
        fixtures: PathBuf,
        running: Running,
    ) -> Result<Self> {
        let client = Client::builder()
            .no_proxy()
            .timeout(FIRST_BUILD_WITHIN)
            .build()?;
        Ok(Self {
            urls,
            inside,
            client,
            running,
            fixtures,
        })
    }

    /// A URL of the gateway.
    #[must_use]
    pub fn gateway(&self, path: &str) -> String {
        self.urls.gateway.clone() + path
    }

    /// A URL of the AWS endpoint.
    #[must_use]
    pub fn aws(&self, path: &str) -> String {
        self.urls.aws.clone() + path
    }

    /// A URL of the destination.
    #[must_use]
    pub fn destination(&self, path: &str) -> String {
        self.urls.destination.clone() + path
    }

    /// A URL of the poller.
    #[must_use]
    pub fn poller(&self, path: &str) -> String {
        self.urls.poller.clone() + path
    }

    /// The services as functions reach them: what goes into a payload.
    #[must_use]
    pub fn inside(&self) -> &Urls {
        &self.inside
    }

    /// The folder that is kept in step with `test-bucket`.
    #[must_use]
    pub fn fixtures(&self) -> &Path {
        &self.fixtures
    }

    /// A webhook payload for this job that reads `sample.ndjson` and reports to the poller.
    #[must_use]
    pub fn webhook(&self, webhook_id: &str) -> Value {
        json!({
            "data_url": format!("{}/test-bucket/sample.ndjson", self.inside.aws),
            "callback_url": format!("{}/mock/poll/", self.inside.poller),
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
    pub async fn get(&self, url: &str) -> Result<Answer> {
        answer(self.client.get(url)).await
    }

    /// DELETEs a URL.
    ///
    /// # Errors
    /// If nobody answers.
    pub async fn delete(&self, url: &str) -> Result<Answer> {
        answer(self.client.delete(url)).await
    }

    /// PUTs a body to a URL.
    ///
    /// # Errors
    /// If nobody answers.
    pub async fn put(&self, url: &str, body: &str) -> Result<Answer> {
        answer(self.client.put(url).body(body.to_owned())).await
    }

    /// POSTs a JSON body to a function, as API Gateway's caller does.
    ///
    /// # Errors
    /// If nobody answers.
    pub async fn invoke(&self, function: &str, body: &Value) -> Result<Answer> {
        self.invoke_text(function, &body.to_string()).await
    }

    /// POSTs any text to a function.
    ///
    /// # Errors
    /// If nobody answers.
    pub async fn invoke_text(&self, function: &str, body: &str) -> Result<Answer> {
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
    pub async fn ended_job(&self, webhook_id: &str) -> Result<Value> {
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
    pub async fn deliveries(&self) -> Result<Value> {
        self.get(&self.destination("/_longshore/deliveries"))
            .await?
            .json()
    }

    /// Asks again until the answer satisfies, for what only shows from outside. Nobody
    /// answering does not satisfy.
    ///
    /// # Errors
    /// With the last answer, if none does within 30 s.
    pub async fn until(&self, url: &str, satisfied: impl Fn(&Answer) -> bool) -> Result<Answer> {
        self.until_within(Duration::from_secs(30), url, satisfied)
            .await
    }

    /// The same, with patience of one's own.
    ///
    /// # Errors
    /// With the last answer, if none satisfies in time.
    pub async fn until_within(
        &self,
        patience: Duration,
        url: &str,
        satisfied: impl Fn(&Answer) -> bool,
    ) -> Result<Answer> {
        let give_up = tokio::time::Instant::now() + patience;
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        let mut last = Err(anyhow!("never asked"));
        loop {
            pause.tick().await;
            ensure!(
                tokio::time::Instant::now() < give_up,
                "{url} never satisfied within {patience:?}; last: {last:?}"
            );
            last = tokio::time::timeout_at(give_up, self.get(url))
                .await
                .unwrap_or_else(|late| Err(late.into()));
            if last.as_ref().is_ok_and(&satisfied) {
                return last;
            }
        }
    }

    /// Drains and ends what was started for this sandbox.
    ///
    /// # Errors
    /// If a service failed, or has not ended in time.
    pub async fn stop(self) -> Result<()> {
        match self.running {
            Running::InProcess(services) => services.stop().await,
            #[cfg(feature = "docker")]
            Running::Containers(lease) => lease.stop().await,
            #[cfg(feature = "docker")]
            Running::Elsewhere => Ok(()),
        }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    Ok(Answer {
        status,
        headers,
        body: response.text().await?,
    })
}
