//! A listening gateway with the real supervisor behind it, and the strings of the puppets
//! that it starts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use function_supervisor::{Debounce, Profile, StartMode, WatchMode};
use mock_gateway::{Config, Pace, Parity};
use service_runtime::Shutdown;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::puppet::{Hello, Order, Reply, Request, STRINGS};
use crate::table::Setting;

/// How long a gateway waits for a function here; AWS's 29 s and 30 s are the settings'. Well
/// beyond the second that a function has at least, on a busy machine, too.
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(4);

/// Everything that is running.
pub(crate) struct Stage {
    pub(crate) gateway: SocketAddr,
    shutdown: Shutdown,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    served: JoinHandle<()>,
    _folder: TempDir,
}

/// Where a function's processes show up, one after the other.
pub(crate) type Arrivals = mpsc::UnboundedReceiver<Puppet>;

/// One process of a function.
pub(crate) struct Puppet {
    pub(crate) hello: Hello,
    writer: OwnedWriteHalf,
    calls: Calls,
    last_call: u64,
    /// Its process has ended.
    pub(crate) ended: CancellationToken,
}

type Calls = Arc<Mutex<BTreeMap<u64, oneshot::Sender<Reply>>>>;

impl Stage {
    /// Starts a gateway with these functions, each at a route of an HTTP API too:
    /// `/at/<function>`.
    pub(crate) async fn start(
        functions: &BTreeMap<String, Setting>,
        parity: Parity,
    ) -> (Self, BTreeMap<String, Arrivals>) {
        let folder = tempfile::tempdir().unwrap();
        let strings = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let manifest = manifest(functions, strings.local_addr().unwrap(), folder.path());
        std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();

        let (mut senders, mut arrivals) = (BTreeMap::new(), BTreeMap::new());
        for name in functions.keys() {
            for name in [name.clone(), extensions_of(name)] {
                let (sender, receiver) = mpsc::unbounded_channel();
                senders.insert(name.clone(), sender);
                arrivals.insert(name, receiver);
            }
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(receive(strings, senders));

        let stop = CancellationToken::new();
        let (supervisor, task) = function_supervisor::start(of_supervisor(folder.path())).unwrap();
        let stopped = stop.clone();
        tasks.spawn(async move {
            task.run(stopped).await;
        });
        tokio::time::timeout(Duration::from_secs(60), supervisor.loaded())
            .await
            .expect("cargo reads an empty workspace");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let served = mock_gateway::run(
            listener,
            supervisor,
            of_gateway(folder.path(), parity),
            shutdown.clone(),
        );
        let stage = Self {
            gateway,
            shutdown,
            stop,
            tasks,
            served: tokio::spawn(async move { served.await.unwrap() }),
            _folder: folder,
        };
        (stage, arrivals)
    }

    /// Ends everything.
    pub(crate) async fn stop(mut self) {
        self.shutdown.drain();
        self.shutdown.kill();
        let served = tokio::time::timeout(Duration::from_secs(20), self.served);
        served.await.expect("the gateway ends").unwrap();
        self.stop.cancel();
        self.tasks.shutdown().await;
    }
}

/// Where the processes of a function's external extensions show up.
pub(crate) fn extensions_of(function: &str) -> String {
    format!("{function}/extensions")
}

/// Writes programs that become puppets.
fn write_extensions(folder: &Path, names: &[String]) {
    use std::os::unix::fs::PermissionsExt;
    let puppet = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\nexec '{}' --exact puppet::process --ignored --nocapture\n",
        puppet.display()
    );
    std::fs::create_dir(folder).unwrap();
    for name in names {
        let file = folder.join(name);
        std::fs::write(&file, &script).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn manifest(functions: &BTreeMap<String, Setting>, strings: SocketAddr, folder: &Path) -> String {
    let puppet = std::env::current_exe().unwrap();
    let arguments = ["--exact", "puppet::process", "--ignored", "--nocapture"];
    let mut manifest = "[workspace]\nresolver = \"3\"\nmembers = []\n".to_owned();
    for (name, setting) in functions {
        let mut env = setting.env.clone();
        env.insert(STRINGS.to_owned(), strings.to_string());
        if setting.env_bytes > 0 {
            env.insert("MANY".to_owned(), "x".repeat(setting.env_bytes));
        }
        let env: Vec<String> = env.iter().map(|(n, v)| format!("{n:?} = {v:?}")).collect();
        manifest += &format!(
            "[workspace.metadata.longshore.function.{name}]\ncommand = [{puppet:?}, \"{}\"]\n\
             timeout = {}\nmemory = {}\nhandler = {:?}\nenv = {{ {} }}\n",
            arguments.join("\", \""),
            setting.timeout,
            setting.memory,
            setting.handler,
            env.join(", "),
        );
        if !setting.extensions.is_empty() {
            let extensions = folder.join(format!("extensions-of-{name}"));
            write_extensions(&extensions, &setting.extensions);
            manifest += &format!("extensions = {extensions:?}\n");
        }
    }
    manifest += "[workspace.metadata.lambda.watch.router]\n";
    for name in functions.keys() {
        manifest += &format!("\"/at/{name}\" = {name:?}\n");
    }
    manifest
}

fn of_supervisor(folder: &Path) -> function_supervisor::Config {
    function_supervisor::Config {
        workspace_dir: folder.to_owned(),
        handlers_dir: "handlers".into(),
        target_dir: Some(folder.join("target")),
        state_dir: folder.join("state"),
        cargo: "cargo".into(),
        profile: Profile::Dev,
        watch: WatchMode::Off,
        debounce: Debounce::STANDARD,
        start: StartMode::Lazy,
        declarations: None,
        packages: Vec::new(),
        timeout: None,
    }
}

fn of_gateway(folder: &Path, parity: Parity) -> Config {
    Config {
        max_waiting: 100,
        rest_integration_timeout: INTEGRATION_TIMEOUT,
        http_integration_timeout: INTEGRATION_TIMEOUT,
        drain: Duration::from_secs(1),
        // A minute is a quarter of a second.
        pace: Pace::times(240.0).unwrap(),
        parity,
        ..crate::settings::config(folder.join("events"))
    }
}

async fn receive(strings: TcpListener, arrivals: BTreeMap<String, mpsc::UnboundedSender<Puppet>>) {
    let mut readers = JoinSet::new();
    while let Ok((stream, _)) = strings.accept().await {
        let Some(puppet) = Puppet::greet(stream, &mut readers).await else {
            continue;
        };
        let mut name = puppet.hello.env["AWS_LAMBDA_FUNCTION_NAME"].clone();
        if !puppet.hello.env.contains_key("_HANDLER") {
            name = extensions_of(&name);
        }
        // A case that has ended no longer listens.
        drop(arrivals[&name].send(puppet));
    }
}

impl Puppet {
    async fn greet(stream: TcpStream, readers: &mut JoinSet<()>) -> Option<Self> {
        let (reader, writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        let hello = lines.next_line().await.ok()??;
        let calls = Calls::default();
        let ended = CancellationToken::new();
        let (waiting, end) = (calls.clone(), ended.clone());
        readers.spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let (number, reply): (u64, Reply) = serde_json::from_str(&line).unwrap();
                if let Some(caller) = waiting.lock().unwrap().remove(&number) {
                    drop(caller.send(reply));
                }
            }
            waiting.lock().unwrap().clear();
            end.cancel();
        });
        Some(Self {
            hello: serde_json::from_str(&hello).unwrap(),
            writer,
            calls,
            last_call: 0,
            ended,
        })
    }

    /// Makes a call, and does not wait for its answer.
    pub(crate) async fn call(&mut self, request: Request) -> oneshot::Receiver<Reply> {
        let (number, answer) = self.expect();
        self.order(&Order::Call(number, request)).await;
        answer
    }

    /// Reads a file where the process is.
    pub(crate) async fn read(&mut self, path: String) -> oneshot::Receiver<Reply> {
        let (number, answer) = self.expect();
        self.order(&Order::Read(number, path)).await;
        answer
    }

    fn expect(&mut self) -> (u64, oneshot::Receiver<Reply>) {
        self.last_call += 1;
        let (sender, answer) = oneshot::channel();
        self.calls.lock().unwrap().insert(self.last_call, sender);
        (self.last_call, answer)
    }

    pub(crate) async fn order(&mut self, order: &Order) {
        let line = serde_json::to_string(order).unwrap() + "\n";
        // A process that has ended cannot be told anything; the case notices.
        drop(self.writer.write_all(line.as_bytes()).await);
    }
}
