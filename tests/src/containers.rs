//! The world in which the services and LocalStack run in containers.
//!
//! LocalStack, the destination, the poller, the fixtures' sync and a gateway with this
//! repository's functions are started once for all tests, by the first that needs them. A
//! test that counts deliveries has them to itself, one after the other; a test with a
//! workspace or variables of its own gets a gateway of its own beside them.

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use testcontainers::bollard::models::{HostConfig, PortBinding};
use testcontainers::core::{ContainerPort, Healthcheck, IntoContainerPort, Mount, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, Image, ImageExt};
use tokio::runtime::Runtime;
use tokio::sync::{MutexGuard, OnceCell};

use crate::engine::{self, docker};
use crate::repository;
use crate::sandbox::{Running, Sandbox, Urls};
use crate::scratch::with_members;
use crate::world::{Kind, World};

const GATEWAY: ContainerPort = ContainerPort::Tcp(5555);
const AWS: ContainerPort = ContainerPort::Tcp(4566);
const DESTINATION: ContainerPort = ContainerPort::Tcp(5005);
const POLLER: ContainerPort = ContainerPort::Tcp(5006);

/// LocalStack takes the longest, on two busy cores.
const HEALTHY_WITHIN: Duration = Duration::from_secs(180);

type Container = ContainerAsync<GenericImage>;

/// One runtime for all tests: the containers they share are the runtime's too.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new().expect("a runtime needs threads, and there are none"));

static SHARED: OnceCell<Shared> = OnceCell::const_new();

/// Held by the test that counts deliveries.
static COUNTING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Runs a test's body in this world. Whatever the containers said meanwhile is printed if
/// it fails.
///
/// # Errors
/// What the body fails with.
pub fn run(body: impl AsyncFnOnce(&World) -> Result<()>) -> Result<()> {
    // Containers are removed from within the runtime.
    let _inside = RUNTIME.enter();
    let world = World(Kind::Containers(Containers::new()));
    let result = RUNTIME.block_on(body(&world));
    if result.is_err()
        && let Kind::Containers(containers) = &world.0
    {
        containers.print_logs();
    }
    result
}

/// What is there for every test.
#[derive(Debug)]
struct Shared {
    network: String,
    fixtures: PathBuf,
    urls: Urls,
    containers: Vec<Container>,
}

/// The containers of one test.
#[derive(Debug)]
pub(crate) struct Containers {
    since: SystemTime,
    own: Mutex<Vec<Container>>,
}

impl Drop for Containers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_logs();
        }
    }
}

/// What a sandbox has of the containers.
#[derive(Debug)]
pub(crate) struct Lease {
    /// A gateway that is this sandbox's own.
    gateway: Option<String>,
    _counting: Option<MutexGuard<'static, ()>>,
}

impl Lease {
    /// Lets go, and proves that a gateway of its own ends well when asked.
    pub(crate) async fn stop(self) -> Result<()> {
        let Some(gateway) = self.gateway else {
            return Ok(());
        };
        docker(&["stop", "--time", "30", &gateway]).await?;
        let code = docker(&["inspect", "--format", "{{.State.ExitCode}}", &gateway]).await?;
        ensure!(code == "0", "the gateway ended with {code}");
        Ok(())
    }
}

impl Containers {
    fn new() -> Self {
        Self {
            since: SystemTime::now(),
            own: Mutex::new(Vec::new()),
        }
    }

    #[expect(clippy::print_stderr, reason = "a failing test's output is for people")]
    fn print_logs(&self) {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = SHARED.get().map(|shared| shared.containers.iter());
        for container in shared.into_iter().flatten().chain(own.iter()) {
            eprintln!("--- {} {}", container.image().name(), container.id());
            eprintln!("{}", engine::logs(container.id(), self.since));
        }
    }

    pub(crate) async fn start(&self) -> Result<Sandbox> {
        let shared = shared().await?;
        let counting = COUNTING.lock().await;
        let lease = Lease {
            gateway: None,
            _counting: Some(counting),
        };
        let sandbox = shared.sandbox(shared.urls.gateway.clone(), lease)?;
        forget_deliveries(&sandbox).await?;
        Ok(sandbox)
    }

    pub(crate) async fn start_with(&self, variables: &[(&str, &str)]) -> Result<Sandbox> {
        let workspace = functions(variables)?;
        // Built before the wait: others count meanwhile.
        let (url, gateway) = self.gateway(&workspace).await?;
        let counting = COUNTING.lock().await;
        let lease = Lease {
            gateway: Some(gateway),
            _counting: Some(counting),
        };
        let sandbox = shared().await?.sandbox(url, lease)?;
        forget_deliveries(&sandbox).await?;
        Ok(sandbox)
    }

    pub(crate) async fn of_workspace(&self, workspace: &Path) -> Result<Sandbox> {
        let (url, gateway) = self.gateway(workspace).await?;
        let lease = Lease {
            gateway: Some(gateway),
            _counting: None,
        };
        shared().await?.sandbox(url, lease)
    }

    async fn gateway(&self, workspace: &Path) -> Result<(String, String)> {
        let gateway = gateway(&shared().await?.network, workspace).await?;
        let started = (url(&gateway, GATEWAY).await?, gateway.id().to_owned());
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.push(gateway);
        Ok(started)
    }
}

async fn forget_deliveries(sandbox: &Sandbox) -> Result<()> {
    for url in [
        sandbox.destination("/_longshore/deliveries"),
        sandbox.poller("/_longshore/jobs"),
    ] {
        let answer = sandbox.delete(&url).await?;
        ensure!(answer.status.is_success(), "{url}: {answer:?}");
    }
    Ok(())
}

impl Shared {
    fn sandbox(&self, gateway: String, lease: Lease) -> Result<Sandbox> {
        let urls = Urls {
            gateway,
            ..self.urls.clone()
        };
        let inside = Urls {
            gateway: "http://gateway:5555".into(),
            aws: "http://fake_s3:4566".into(),
            destination: "http://api_destination:5005".into(),
            poller: "http://poller:5006".into(),
        };
        Sandbox::new(
            urls,
            inside,
            self.fixtures.clone(),
            Running::Containers(lease),
        )
    }
}

async fn shared() -> Result<&'static Shared> {
    SHARED.get_or_try_init(start_shared).await
}

async fn start_shared() -> Result<Shared> {
    let run = engine::run();
    negotiate().await?;
    let network = run.name("network");
    let label = format!("{}={}", engine::LABEL, run.id);
    docker(&["network", "create", "--label", &label, &network]).await?;
    let fixtures = run.folder("fixtures")?;
    std::fs::copy(
        repository().join("fixtures/data/sample.ndjson"),
        fixtures.join("sample.ndjson"),
    )?;
    let (localstack, poller, destination, gateway) = tokio::try_join!(
        localstack(&network, &fixtures),
        service(&network, "poller", &[], POLLER, "poller"),
        service(
            &network,
            "destination",
            &[("LONGSHORE_POLLER_URL", "http://poller:5006")],
            DESTINATION,
            "api_destination"
        ),
        async { gateway(&network, &functions(&[])?).await },
    )?;
    let sync = fixtures_sync(&network, &fixtures).await?;
    Ok(Shared {
        urls: Urls {
            gateway: url(&gateway, GATEWAY).await?,
            aws: url(&localstack, AWS).await?,
            destination: url(&destination, DESTINATION).await?,
            poller: url(&poller, POLLER).await?,
        },
        network,
        fixtures,
        containers: vec![localstack, poller, destination, sync, gateway],
    })
}

/// The client speaks its newest protocol unless told to ask what the engine speaks.
async fn negotiate() -> Result<()> {
    let client = testcontainers::core::client::docker_client_instance().await?;
    client.negotiate_version().await?;
    Ok(())
}

/// A workspace of this repository's functions alone, with these variables for them.
fn functions(variables: &[(&str, &str)]) -> Result<PathBuf> {
    let workspace = engine::run().folder("workspace")?;
    let from = repository();
    for folder in ["handlers", "services/pipeline-contract"] {
        crate::compose::copy_tree(&from.join(folder), &workspace.join(folder))?;
    }
    std::fs::copy(from.join("Cargo.lock"), workspace.join("Cargo.lock"))?;
    let manifest = std::fs::read_to_string(from.join("Cargo.toml"))?;
    let members = r#"["handlers/*", "services/pipeline-contract"]"#;
    std::fs::write(
        workspace.join("Cargo.toml"),
        with_members(&manifest, members),
    )?;
    let env: String = variables
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    std::fs::write(workspace.join(".env"), env)?;
    Ok(workspace)
}

/// What all containers have in common: this machine alone reaches their ports.
fn request(
    image: GenericImage,
    port: Option<ContainerPort>,
    name: &str,
) -> ContainerRequest<GenericImage> {
    let run = engine::run();
    let published = move |host: &mut HostConfig| {
        let anywhere_here = PortBinding {
            host_ip: Some("127.0.0.1".into()),
            host_port: Some("0".into()),
        };
        host.publish_all_ports = Some(false);
        let bindings = port.map(|port| (port.to_string(), Some(vec![anywhere_here])));
        host.port_bindings = Some(bindings.into_iter().collect());
    };
    image
        .with_host_config_modifier(published)
        .with_container_name(run.name(name))
        .with_label(engine::LABEL, &run.id)
        .with_startup_timeout(HEALTHY_WITHIN)
}

/// An image of this project, healthy when `healthcheck` says so.
fn image(name: &str, port: ContainerPort) -> GenericImage {
    GenericImage::new(name, "local")
        .with_exposed_port(port)
        .with_wait_for(WaitFor::healthcheck())
}

fn health(command: &[&str]) -> Healthcheck {
    Healthcheck::cmd(command.iter().copied())
        .with_interval(Duration::from_millis(300))
        .with_timeout(Duration::from_secs(5))
        .with_retries(5)
        .with_start_period(HEALTHY_WITHIN)
}

async fn localstack(network: &str, fixtures: &Path) -> Result<Container> {
    let init = repository().join("init-localstack");
    let image = GenericImage::new("localstack/localstack", "4.14.0")
        .with_exposed_port(AWS)
        .with_wait_for(WaitFor::healthcheck());
    let request = request(image, Some(AWS), "localstack")
        .with_health_check(health(&["healthcheck"]))
        .with_mount(read_only(
            &init.join("ready.d"),
            "/etc/localstack/init/ready.d",
        ))
        .with_mount(read_only(
            &init.join("healthcheck"),
            "/usr/local/bin/healthcheck",
        ))
        .with_mount(read_only(fixtures, "/fixtures"));
    let settings = [
        ("SERVICES", "s3,sqs"),
        ("EAGER_SERVICE_LOADING", "1"),
        ("SKIP_SSL_CERT_DOWNLOAD", "1"),
        ("DISABLE_EVENTS", "1"),
        ("DNS_ADDRESS", "0"),
        ("LOCALSTACK_HOST", "fake_s3:4566"),
        ("S3_SKIP_SIGNATURE_VALIDATION", "1"),
        ("LS_LOG", "warning"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ];
    let request = settings
        .into_iter()
        .fold(request, |request, (name, value)| {
            request.with_env_var(name, value)
        });
    let container = request.start().await.context("LocalStack does not start")?;
    connect(network, &container, "fake_s3").await?;
    Ok(container)
}

async fn service(
    network: &str,
    name: &'static str,
    settings: &[(&str, &str)],
    port: ContainerPort,
    alias: &str,
) -> Result<Container> {
    let request = request(image("longshore", port), Some(port), name)
        .with_cmd([name])
        .with_health_check(health(&["healthcheck", &port.as_u16().to_string()]));
    let request = settings.iter().fold(request, |request, (name, value)| {
        request.with_env_var(*name, *value)
    });
    let container = request.start().await.with_context(|| {
        format!("the {name} does not start; `make docker-build` makes the images")
    })?;
    connect(network, &container, alias).await?;
    Ok(container)
}

async fn fixtures_sync(network: &str, fixtures: &Path) -> Result<Container> {
    let image = GenericImage::new("longshore", "local");
    let request = request(image, None, "fixtures")
        .with_cmd(["sync-fixtures"])
        .with_network(network)
        .with_mount(read_only(fixtures, "/fixtures"))
        .with_env_var("LONGSHORE_AWS_ENDPOINT_URL", "http://fake_s3:4566")
        .with_env_var("LONGSHORE_FIXTURES", "/fixtures");
    Ok(request.start().await?)
}

async fn gateway(network: &str, workspace: &Path) -> Result<Container> {
    let (user, group) = engine::caller(workspace)?;
    let request = request(
        image("longshore-gateway", GATEWAY),
        Some(GATEWAY),
        "gateway",
    )
    .with_network(network)
    .with_user(format!("{user}:{group}"))
    .with_mount(Mount::bind_mount(
        workspace.display().to_string(),
        "/workspace",
    ))
    .with_health_check(health(&["healthcheck", "5555"]))
    .with_env_var("LONGSHORE_START", "lazy")
    .with_env_var("LONGSHORE_AWS_ENDPOINT_URL", "http://fake_s3:4566");
    request
        .start()
        .await
        .context("the gateway does not start; `make docker-build` makes the images")
}

fn read_only(from: &Path, to: &str) -> Mount {
    Mount::bind_mount(from.display().to_string(), to)
        .with_access_mode(testcontainers::core::AccessMode::ReadOnly)
}

/// Gives the container a second name in the network, which testcontainers cannot.
async fn connect(network: &str, container: &Container, alias: &str) -> Result<()> {
    docker(&[
        "network",
        "connect",
        "--alias",
        alias,
        network,
        container.id(),
    ])
    .await?;
    Ok(())
}

async fn url(container: &Container, port: ContainerPort) -> Result<String> {
    let port = container
        .get_host_port_ipv4(port.as_u16().tcp())
        .await
        .with_context(|| format!("{port:?} is not published"))?;
    Ok(format!("http://127.0.0.1:{port}"))
}
