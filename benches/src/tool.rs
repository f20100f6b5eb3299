//! The tools under measurement: how each is started, and how it says it serves.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::children::{Program, Running};
use crate::client::{Answer, Call, Connection};

/// Which tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tool {
    /// `longshore up`
    Longshore,
    /// `cargo lambda watch`
    CargoLambda,
    /// `longshore up` of an earlier build
    #[value(skip)]
    Earlier,
}

impl Tool {
    pub(crate) const BOTH: [Self; 2] = [Self::Longshore, Self::CargoLambda];

    /// A name for folders and logs.
    pub(crate) fn slug(self) -> &'static str {
        match self {
            Self::Longshore => "longshore",
            Self::CargoLambda => "cargo-lambda",
            Self::Earlier => "earlier",
        }
    }

    /// How it is told to build with the release profile.
    fn release(self) -> &'static [&'static str] {
        match self {
            Self::Longshore | Self::Earlier => &["--profile", "release"],
            Self::CargoLambda => &["--release"],
        }
    }

    /// The column's heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Longshore => "longshore up",
            Self::CargoLambda => "cargo lambda watch",
            Self::Earlier => "an earlier longshore up",
        }
    }
}

/// How the functions are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

impl Profile {
    pub(crate) fn slug(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Release => "release",
        }
    }
}

/// Where Longshore's services listen. The peer has the first one alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) gateway: SocketAddr,
    pub(crate) aws: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) poller: SocketAddr,
}

impl Addresses {
    /// Four ports that are free now.
    pub(crate) fn free() -> anyhow::Result<Self> {
        let mut held = Vec::new();
        let mut free = || -> std::io::Result<SocketAddr> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let address = listener.local_addr()?;
            // Held until all four are known, so that they differ.
            held.push(listener);
            Ok(address)
        };
        let mut next = || free().context("no free port on loopback");
        Ok(Self {
            gateway: next()?,
            aws: next()?,
            destination: next()?,
            poller: next()?,
        })
    }
}

/// A tool that was started.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) tool: Tool,
    pub(crate) addresses: Addresses,
    pub(crate) spawned: Instant,
    running: Running,
}

impl Server {
    /// Starts the tool on a workspace; it need not serve yet.
    pub(crate) fn start(
        tool: Tool,
        binary: &Path,
        workspace: &Path,
        profile: Profile,
        extra: &[&str],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let addresses = Addresses::free()?;
        let port = |address: SocketAddr| address.port().to_string();
        let mut args: Vec<String> = match tool {
            Tool::Longshore | Tool::Earlier => vec![
                "up".to_owned(),
                "--workspace".to_owned(),
                workspace.display().to_string(),
                "--gateway-port".to_owned(),
                port(addresses.gateway),
                "--aws-port".to_owned(),
                port(addresses.aws),
                "--destination-port".to_owned(),
                port(addresses.destination),
                "--poller-port".to_owned(),
                port(addresses.poller),
            ],
            Tool::CargoLambda => vec![
                "lambda".to_owned(),
                "watch".to_owned(),
                "--invoke-address".to_owned(),
                addresses.gateway.ip().to_string(),
                "--invoke-port".to_owned(),
                port(addresses.gateway),
            ],
        };
        if profile == Profile::Release {
            args.extend(tool.release().iter().map(|&arg| arg.to_owned()));
        }
        args.extend(extra.iter().map(|&arg| arg.to_owned()));
        let spawned = Instant::now();
        let running = Program::new(binary, args, workspace, log)
            .owning_folder()
            .start()?;
        Ok(Self {
            tool,
            addresses,
            spawned,
            running,
        })
    }

    pub(crate) fn gateway(&self) -> SocketAddr {
        self.addresses.gateway
    }

    pub(crate) fn pid(&self) -> i32 {
        self.running.pid()
    }

    /// Where its output goes.
    pub(crate) fn log(&self) -> &Path {
        self.running.log()
    }

    /// Asks until somebody answers 200. The error names the log.
    pub(crate) async fn first_ok(
        &mut self,
        call: &Call,
        every: Duration,
        within: Duration,
    ) -> anyhow::Result<Answer> {
        let mut connection = Connection::new(self.addresses.gateway);
        let asking = async {
            loop {
                match connection.send(call, within).await {
                    Ok(answer) if answer.is_ok() => return answer,
                    // Another program is starting, and tells nobody when it serves.
                    Ok(_) | Err(_) => tokio::time::sleep(every).await,
                }
            }
        };
        tokio::select! {
            answer = tokio::time::timeout(within, asking) => answer.with_context(|| {
                format!("{} gave no 200 at {} within {within:?}; see {}", self.tool.title(), call.path, self.running.log().display())
            }),
            ended = self.running.wait() => {
                bail!("{} ended by itself ({}); see {}", self.tool.title(), ended?, self.running.log().display())
            }
        }
    }

    /// Ends the tool and all it started.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.running.stop().await
    }
}
