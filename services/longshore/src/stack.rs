//! The services in this process: bound first, so that their addresses are known, then
//! wired together by those addresses and run until shutdown.
//!
//! Services meet over HTTP only; this is the one place that knows them all.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use function_supervisor::{FunctionTable, Supervisor};
use service_runtime::{Shutdown, bind};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::settings::{self, Profile, Settings, Start, Watch};

/// The hosts of the reference system's snippets, and which service each one is.
const S3_ALIAS: &str = "fake_s3:4566";
const DESTINATION_ALIAS: &str = "api_destination:5005";

/// The credentials of every function, and those that signatures are checked against.
const ACCESS_KEY: &str = "test";
const SECRET_KEY: &str = "test";

/// Reading the workspace's metadata takes cargo a moment; not this long.
const METADATA_WITHIN: Duration = Duration::from_secs(60);

/// Which services run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    gateway: bool,
    aws_endpoint: bool,
    destination: bool,
    poller: bool,
}

impl Parts {
    const NONE: Self = Self {
        gateway: false,
        aws_endpoint: false,
        destination: false,
        poller: false,
    };
    /// All of them.
    pub const ALL: Self = Self {
        gateway: true,
        aws_endpoint: true,
        destination: true,
        poller: true,
    };
    /// The gateway and the functions behind it.
    pub const GATEWAY: Self = Self {
        gateway: true,
        ..Self::NONE
    };
    /// The embedded AWS endpoint.
    pub const AWS_ENDPOINT: Self = Self {
        aws_endpoint: true,
        ..Self::NONE
    };
    /// The mock destination.
    pub const DESTINATION: Self = Self {
        destination: true,
        ..Self::NONE
    };
    /// The callback poller.
    pub const POLLER: Self = Self {
        poller: true,
        ..Self::NONE
    };
}

/// Where the running services listen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// The mock gateway.
    pub gateway: Option<SocketAddr>,
    /// The embedded AWS endpoint.
    pub aws: Option<SocketAddr>,
    /// The mock destination.
    pub destination: Option<SocketAddr>,
    /// The callback poller.
    pub poller: Option<SocketAddr>,
}

/// Running services.
#[derive(Debug)]
pub struct Stack {
    addresses: Addresses,
    supervisor: Option<Supervisor>,
    tasks: JoinSet<anyhow::Result<()>>,
    shutdown: Shutdown,
    /// Removed, with the objects in it, once everything has ended.
    _ephemeral: Option<TempDir>,
}

struct Listeners {
    gateway: Option<TcpListener>,
    aws: Option<TcpListener>,
    destination: Option<TcpListener>,
    poller: Option<TcpListener>,
}

impl Listeners {
    async fn bind(settings: &Settings, parts: Parts) -> anyhow::Result<Self> {
        let open = async |wanted: bool, service, port, setting: &settings::Setting| {
            if !wanted {
                return Ok(None);
            }
            let address = SocketAddr::new(settings.host, port);
            let how = format!("--{} or {}", setting.flag, setting.variable);
            bind(service, address, &how).await.map(Some)
        };
        Ok(Self {
            gateway: open(
                parts.gateway,
                "gateway",
                settings.gateway_port,
                &settings::GATEWAY_PORT,
            )
            .await?,
            aws: open(
                parts.aws_endpoint,
                "AWS endpoint",
                settings.aws_port,
                &settings::AWS_PORT,
            )
            .await?,
            destination: open(
                parts.destination,
                "destination",
                settings.destination_port,
                &settings::DESTINATION_PORT,
            )
            .await?,
            poller: open(
                parts.poller,
                "poller",
                settings.poller_port,
                &settings::POLLER_PORT,
            )
            .await?,
        })
    }

    fn addresses(&self) -> std::io::Result<Addresses> {
        let address = |listener: &Option<TcpListener>| {
            listener.as_ref().map(TcpListener::local_addr).transpose()
        };
        Ok(Addresses {
            gateway: address(&self.gateway)?,
            aws: address(&self.aws)?,
            destination: address(&self.destination)?,
            poller: address(&self.poller)?,
        })
    }
}

impl Stack {
    /// Binds, wires and starts these services.
    ///
    /// # Errors
    /// If an address cannot be listened on, or the workspace, toolchain or state folder
    /// cannot be used. Nothing is left running.
    pub async fn start(
        settings: Settings,
        parts: Parts,
        shutdown: Shutdown,
    ) -> anyhow::Result<Self> {
        let listeners = Listeners::bind(&settings, parts).await?;
        let addresses = listeners.addresses().context("a listener has no address")?;
        let ephemeral = settings
            .ephemeral
            .then(TempDir::new)
            .transpose()
            .context("no temporary folder")?;
        let mut tasks = JoinSet::new();
        // The functions in flight need the others to the end, so these wait for the gateway.
        let front_ended = CancellationToken::new();
        let back_stop = {
            let (front, killed, draining) =
                (front_ended.clone(), shutdown.killed(), shutdown.draining());
            let has_front = parts.gateway;
            let stop = CancellationToken::new();
            let stopped = stop.clone();
            tasks.spawn(async move {
                let ended = async {
                    draining.await;
                    if has_front {
                        front.cancelled().await;
                    }
                };
                tokio::select! { () = ended => (), () = killed => () }
                stopped.cancel();
                Ok(())
            });
            stop
        };

        if let Some(listener) = listeners.aws {
            let config = aws_config(&settings, &addresses, ephemeral.as_ref())?;
            let stop = back_stop.clone().cancelled_owned();
            tasks.spawn(async move { Ok(aws_endpoint::run(listener, config, stop).await?) });
        }
        if let Some(listener) = listeners.poller {
            let config = poller_config(&settings, parts);
            let stop = back_stop.clone().cancelled_owned();
            tasks.spawn(async move { Ok(callback_poller::run(listener, config, stop).await?) });
        }
        if let Some(listener) = listeners.destination {
            let config = destination_config(&settings, parts, addresses.poller)?;
            let stop = back_stop.clone().cancelled_owned();
            tasks.spawn(async move { Ok(mock_destination::run(listener, config, stop).await?) });
        }
        let mut running_supervisor = None;
        if let Some(listener) = listeners.gateway {
            for excess in settings.excesses() {
                tracing::warn!(rule = excess.rule.name, "fails on AWS: {excess}");
            }
            let proxy = start_egress_proxy(&addresses, &back_stop, &mut tasks).await?;
            let state = ephemeral.as_ref().map(TempDir::path);
            let config = gateway_config(&settings, &addresses, proxy, state);
            let (supervisor, supervision) =
                function_supervisor::start(supervisor_config(&settings))?;
            running_supervisor = Some(supervisor.clone());
            tasks.spawn(run_gateway(
                listener,
                config,
                supervisor,
                shutdown.clone(),
                front_ended,
            ));
            let stop = shutdown.drain_token();
            tasks.spawn(async move {
                supervision.run(stop).await;
                Ok(())
            });
        }
        Ok(Self {
            addresses,
            supervisor: running_supervisor,
            tasks,
            shutdown,
            _ephemeral: ephemeral,
        })
    }

    /// Where the services listen.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The function table once the workspace was read; `None` without a gateway, or if
    /// draining began first.
    pub async fn functions_declared(&self) -> Option<Arc<FunctionTable>> {
        let supervisor = self.supervisor.as_ref()?;
        workspace_read(supervisor, &self.shutdown)
            .await
            .then(|| Arc::clone(&supervisor.functions().borrow()))
    }

    /// Waits until every service has ended. A service that fails drains the others.
    ///
    /// # Errors
    /// The first failure.
    pub async fn join(mut self) -> anyhow::Result<()> {
        let mut first = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            let ended = ended.context("a service panicked").and_then(|ended| ended);
            if ended.is_err() && first.is_ok() {
                self.shutdown.drain();
                first = ended;
            }
        }
        first
    }
}

async fn run_gateway(
    listener: TcpListener,
    config: mock_gateway::Config,
    supervisor: Supervisor,
    shutdown: Shutdown,
    ended: CancellationToken,
) -> anyhow::Result<()> {
    let _ended = ended.drop_guard();
    // Connections wait in the listener's queue: a function is never unknown only because
    // its workspace was not read yet.
    workspace_read(&supervisor, &shutdown).await;
    Ok(mock_gateway::run(listener, supervisor, config, shutdown).await?)
}

/// Waits for the workspace's metadata; false if draining began first.
async fn workspace_read(supervisor: &Supervisor, shutdown: &Shutdown) -> bool {
    tokio::select! {
        read = tokio::time::timeout(METADATA_WITHIN, supervisor.loaded()) => {
            if read.is_err() {
                tracing::warn!(after = ?METADATA_WITHIN, "cargo still reads the workspace; functions are unknown until then");
            }
            true
        }
        () = shutdown.draining() => false,
    }
}

/// Functions reach `fake_s3` and `api_destination` through a proxy of ours: the names
/// resolve inside the compose network only.
async fn start_egress_proxy(
    addresses: &Addresses,
    stop: &CancellationToken,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("no loopback port for the egress proxy")?;
    let address = listener.local_addr()?;
    let aliases = host_aliases(addresses).into_iter().collect();
    let stop = stop.clone().cancelled_owned();
    tasks.spawn(async move {
        Ok(egress_proxy::run(listener, egress_proxy::Config { aliases }, stop).await?)
    });
    Ok(address)
}

/// The services of this process by their names in the compose network.
fn host_aliases(addresses: &Addresses) -> Vec<(String, SocketAddr)> {
    let aliases = [
        (S3_ALIAS, addresses.aws),
        (DESTINATION_ALIAS, addresses.destination),
    ];
    let running = aliases
        .into_iter()
        .filter_map(|(name, address)| Some((name.to_owned(), reachable(address?))));
    running.collect()
}

/// The address at which this machine reaches a listener: loopback where it listens
/// everywhere.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))
    } else {
        address
    }
}

fn url_or(setting: Option<&String>, own: Option<SocketAddr>, otherwise_port: u16) -> String {
    match (setting, own) {
        (Some(url), _) => url.clone(),
        (None, Some(address)) => format!("http://{}", reachable(address)),
        (None, None) => format!("http://127.0.0.1:{otherwise_port}"),
    }
}

fn aws_config(
    settings: &Settings,
    addresses: &Addresses,
    ephemeral: Option<&TempDir>,
) -> anyhow::Result<aws_endpoint::Config> {
    use aws_endpoint::{Config, Credentials, Fixtures, LOCAL_DOMAINS, Watch as Following};
    let storage = match ephemeral {
        Some(folder) => folder.path().join("s3"),
        None => settings.state_dir.join("s3"),
    };
    let gateway = addresses.gateway.map(reachable);
    let lambda = gateway.map(|address| format!("http://{address}").parse());
    Ok(Config {
        storage,
        region: settings.region.clone(),
        credentials: Credentials {
            access_key: ACCESS_KEY.into(),
            secret_key: SECRET_KEY.into(),
        },
        buckets: vec![settings.bucket.clone()],
        // A folder that is not there yet may be made later.
        fixtures: Some(Fixtures {
            dir: settings.fixtures.clone(),
            bucket: settings.bucket.clone(),
            watch: match settings.watch {
                Watch::Poll => Following::Poll,
                Watch::Off => Following::Off,
                Watch::Auto | Watch::Native => Following::Auto,
            },
        }),
        virtual_host_domains: LOCAL_DOMAINS.map(str::to_owned).into(),
        lambda: lambda
            .transpose()
            .context("the gateway's address is no URL")?,
    })
}

/// Where a service that runs alone keeps what it was sent. In one process with the functions
/// it dies with them: the next one begins with every webhook id free again.
fn kept_in(settings: &Settings, parts: Parts, service: &str) -> Option<PathBuf> {
    let alone = !parts.gateway && !settings.ephemeral;
    alone.then(|| settings.state_dir.join(service))
}

fn poller_config(settings: &Settings, parts: Parts) -> callback_poller::Config {
    callback_poller::Config {
        job_deadline: settings.job_timeout,
        job_silence: settings.job_silence,
        max_jobs: 10_000,
        max_reports_per_job: 10_000,
        state_dir: kept_in(settings, parts, "poller"),
        drain: settings.drain,
    }
}

fn destination_config(
    settings: &Settings,
    parts: Parts,
    poller: Option<SocketAddr>,
) -> anyhow::Result<mock_destination::Config> {
    use mock_destination::Config;
    let poller = url_or(settings.poller_url.as_ref(), poller, settings.poller_port);
    Ok(Config {
        poller: poller.parse().context("the poller's address is no URL")?,
        body_limit: Config::DEFAULT_BODY_LIMIT,
        deliveries: Config::DEFAULT_DELIVERIES,
        bodies: Config::DEFAULT_BODIES,
        body_kept: Config::DEFAULT_BODY_KEPT,
        state_dir: kept_in(settings, parts, "destination"),
        drain: settings.drain,
    })
}

fn gateway_config(
    settings: &Settings,
    addresses: &Addresses,
    proxy: SocketAddr,
    ephemeral: Option<&Path>,
) -> mock_gateway::Config {
    let aws = url_or(
        settings.aws_endpoint_url.as_ref(),
        addresses.aws,
        settings.aws_port,
    );
    let mut function_env: Vec<(String, String)> = vec![
        ("AWS_ENDPOINT_URL".into(), aws),
        ("http_proxy".into(), format!("http://{proxy}")),
        ("no_proxy".into(), "localhost,127.0.0.1,::1".into()),
    ];
    function_env.extend(settings.function_env.clone());
    // Functions and the word of how their events ended go to the same queues.
    let of_functions = function_env.iter().rev();
    let aws_endpoint = of_functions
        .filter(|(name, _)| name == "AWS_ENDPOINT_URL")
        .map(|(_, url)| url.clone())
        .next();
    mock_gateway::Config {
        account_id: "000000000000".into(),
        region: settings.region.clone(),
        function_env,
        host_aliases: host_aliases(addresses),
        start: match settings.start {
            Start::Eager => mock_gateway::StartPolicy::Eager,
            Start::Lazy => mock_gateway::StartPolicy::Lazy,
        },
        max_environments: settings.max_environments,
        max_waiting: 10_000,
        build_wait: Duration::from_secs(300),
        rest_integration_timeout: settings.integration_timeout,
        http_integration_timeout: Duration::from_secs(30),
        drain: settings.drain,
        events_dir: ephemeral.unwrap_or(&settings.state_dir).join("events"),
        logs_dir: Some(ephemeral.unwrap_or(&settings.state_dir).join("logs")),
        pace: settings.time_scale,
        aws_endpoint,
        init_timeout: settings.init_timeout,
        idle_timeout: (!settings.idle_timeout.is_zero()).then_some(settings.idle_timeout),
        freeze: settings.freeze,
        parity: settings.parity,
        journal_entries: 1_000,
    }
}

fn supervisor_config(settings: &Settings) -> function_supervisor::Config {
    use function_supervisor::{Config, Debounce, Profile as BuildProfile, StartMode, WatchMode};
    Config {
        workspace_dir: settings.workspace.clone(),
        handlers_dir: settings.handlers.clone(),
        target_dir: Some(settings.target_dir.clone()),
        state_dir: settings.state_dir.clone(),
        cargo: PathBuf::from("cargo"),
        profile: match settings.profile {
            Profile::Dev => BuildProfile::Dev,
            Profile::Release => BuildProfile::Release,
        },
        watch: match settings.watch {
            Watch::Auto => WatchMode::Auto,
            Watch::Native => WatchMode::Native,
            Watch::Poll => WatchMode::Poll,
            Watch::Off => WatchMode::Off,
        },
        debounce: Debounce::STANDARD,
        start: match settings.start {
            Start::Eager => StartMode::Eager,
            Start::Lazy => StartMode::Lazy,
        },
        declarations: settings.declarations.clone(),
        packages: settings.artifacts.clone(),
        timeout: settings.function_timeout,
    }
}
