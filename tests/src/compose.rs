//! The compose file as it is, over a copy of this repository: what `make up` starts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ignore::WalkBuilder;

use crate::engine::{self, docker_in};
use crate::repository;
use crate::sandbox::{Running, Sandbox, Urls};

/// A project of the compose file. Ends with [`Compose::down`]; what a failed test leaves is
/// removed with its run.
#[derive(Debug)]
pub struct Compose {
    project: String,
    folder: PathBuf,
    user: String,
    group: String,
}

/// Copies the files of a folder that git does not ignore.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let walk = WalkBuilder::new(from)
        .hidden(false)
        .filter_entry(|entry| entry.file_name() != ".git" && entry.file_name() != "target")
        .build();
    for entry in walk {
        let entry = entry?;
        let target = to.join(entry.path().strip_prefix(from)?);
        if entry.file_type().is_some_and(|kind| kind.is_dir()) {
            std::fs::create_dir_all(&target)?;
        } else {
            std::fs::copy(entry.path(), &target)
                .with_context(|| format!("cannot copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}

impl Compose {
    /// Copies the repository and lets `.env` choose free ports, and these settings.
    ///
    /// # Errors
    /// If a file cannot be copied.
    pub fn new(settings: &[(&str, &str)]) -> Result<Self> {
        let run = engine::run();
        let folder = run.folder("compose")?;
        copy_tree(&repository(), &folder)?;
        let env = std::fs::read_to_string(folder.join(".env"))?;
        let lines = env.lines().map(|line| match line.split_once('=') {
            Some((name, _)) if name.starts_with("LONGSHORE_") && name.ends_with("_PORT") => {
                format!("{name}=0\n")
            }
            _ => format!("{line}\n"),
        });
        let own = settings
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"));
        std::fs::write(folder.join(".env"), lines.chain(own).collect::<String>())?;
        let (user, group) = engine::caller(&folder)?;
        Ok(Self {
            project: run.name("compose"),
            folder,
            user,
            group,
        })
    }

    /// The copy of the repository.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    async fn compose(&self, arguments: &[&str]) -> Result<String> {
        let all = [&["compose", "--project-name", &self.project], arguments].concat();
        let variables = [
            ("LONGSHORE_UID", self.user.as_str()),
            ("LONGSHORE_GID", self.group.as_str()),
        ];
        docker_in(&self.folder, &variables, &all).await
    }

    /// Starts everything and waits until it is healthy.
    ///
    /// # Errors
    /// If it does not become so.
    pub async fn up(&self) -> Result<Sandbox> {
        self.compose(&["up", "--detach", "--no-build", "--wait"])
            .await?;
        self.sandbox().await
    }

    /// The sandbox at the ports it has now: an engine chooses anew at each start.
    ///
    /// # Errors
    /// If a port is not published.
    pub async fn sandbox(&self) -> Result<Sandbox> {
        let inside = Urls {
            gateway: "http://gateway:5555".into(),
            aws: "http://fake_s3:4566".into(),
            destination: "http://api_destination:5005".into(),
            poller: "http://poller:5006".into(),
        };
        let urls = Urls {
            gateway: self.published("gateway", "5555").await?,
            aws: self.published("localstack", "4566").await?,
            destination: self.published("destination", "5005").await?,
            poller: self.published("poller", "5006").await?,
        };
        let fixtures = self.folder.join("fixtures/data");
        Sandbox::new(urls, inside, fixtures, Running::Elsewhere)
    }

    async fn published(&self, service: &str, port: &str) -> Result<String> {
        let address = self.compose(&["port", service, port]).await?;
        ensure!(
            address.starts_with("127.0.0.1:"),
            "{service} is published at {address:?}, not for this machine only"
        );
        Ok(format!("http://{address}"))
    }

    /// Kills everything in a service's container but its init, which then ends as after any
    /// crash. Not `docker kill`, which the engine takes for a wish: the keeper undoes that.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn crash(&self, service: &str) -> Result<()> {
        let container = self.container(service).await?;
        let everything = ["exec", &container, "bash", "-c", "kill -KILL -1"];
        // The command dies with the container; what happened to that is seen there.
        drop(docker_in(&self.folder, &[], &everything).await);
        Ok(())
    }

    /// Kills a service's container with `docker kill`.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn kill(&self, service: &str) -> Result<()> {
        let container = self.container(service).await?;
        docker_in(&self.folder, &[], &["kill", &container]).await?;
        Ok(())
    }

    /// Stops a service's container with `docker stop`.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn stop(&self, service: &str) -> Result<()> {
        let container = self.container(service).await?;
        docker_in(&self.folder, &[], &["stop", &container]).await?;
        Ok(())
    }

    async fn container(&self, service: &str) -> Result<String> {
        self.compose(&["ps", "--all", "--quiet", service]).await
    }

    async fn inspect(&self, service: &str, format: &str) -> Result<String> {
        let container = self.container(service).await?;
        let arguments = ["inspect", "--format", format, &container];
        docker_in(&self.folder, &[], &arguments).await
    }

    /// Whether a service's container runs.
    ///
    /// # Errors
    /// If there is no such container.
    pub async fn runs(&self, service: &str) -> Result<bool> {
        Ok(self.inspect(service, "{{.State.Status}}").await? == "running")
    }

    /// When a service's container was last started: each of its lives has another time.
    ///
    /// # Errors
    /// If there is no such container.
    pub async fn life(&self, service: &str) -> Result<String> {
        self.inspect(service, "{{.State.StartedAt}}").await
    }

    /// Waits until a service's container is healthy in another life than this.
    ///
    /// # Errors
    /// If it does not within a minute and a half.
    pub async fn healthy_after(&self, service: &str, life: &str) -> Result<()> {
        let mut pause = tokio::time::interval(Duration::from_millis(200));
        let format = "{{.State.Health.Status}} {{.State.StartedAt}}";
        let again = async {
            loop {
                pause.tick().await;
                match self.inspect(service, format).await?.split_once(' ') {
                    Some(("healthy", now)) if now != life => return anyhow::Ok(()),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(90), again)
            .await
            .with_context(|| format!("{service} was not started again"))?
    }

    /// What a service's container has logged.
    ///
    /// # Errors
    /// If there is none.
    pub async fn logs(&self) -> Result<String> {
        self.compose(&["logs", "--no-color", "--tail", "200"]).await
    }

    /// Stops and removes everything, volumes too.
    ///
    /// # Errors
    /// If something stays.
    pub async fn down(self) -> Result<()> {
        self.compose(&["down", "--volumes", "--remove-orphans"])
            .await?;
        for kind in ["container", "network", "volume"] {
            let filter = format!("name={}", self.project);
            let mut arguments = vec![kind, "ls", "--quiet", "--filter", &filter];
            if kind == "container" {
                arguments.push("--all");
            }
            let left = docker_in(&self.folder, &[], &arguments).await?;
            ensure!(left.is_empty(), "a {kind} is left: {left}");
        }
        Ok(())
    }
}
