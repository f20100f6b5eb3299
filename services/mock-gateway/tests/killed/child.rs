//! The process that is killed: a gateway whose function writes the number of every event
//! to a file.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use app_model::{
    CommandSource, Function, FunctionName, FunctionSettings, FunctionSource, LogFormat,
    RecursiveLoop,
};
use function_supervisor::{
    Artifact, BuildState, FunctionEntry, FunctionTable, Generation, OutputLine,
};
use mock_gateway::{Config, Launcher, NotLaunched, Pace, RunningProcess, RuntimeExit, run_with};
use service_runtime::Shutdown;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::settings;

/// The variable that holds the folder; without it this is no child.
pub(crate) const FOLDER: &str = "LONGSHORE_KILLED_FOLDER";
/// What the line begins with that tells the address.
pub(crate) const LISTENING: &str = "listening on ";
/// The file of numbers.
pub(crate) const DELIVERED: &str = "delivered";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that the other test starts and kills"]
async fn gateway() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_table, functions) = watch::channel(Arc::new(table()));
    let launcher = Arc::new(Functions {
        folder: folder.clone(),
    });
    let config = config(&folder);
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{LISTENING}{address}").unwrap();
    stdout.flush().unwrap();
    run_with(listener, functions, launcher, config, Shutdown::new())
        .await
        .unwrap();
}

fn config(folder: &Path) -> Config {
    Config {
        // A minute is 250 ms, and six hours, when an event is too old, are longer than a
        // machine with other work takes for all of them.
        pace: Pace::times(240.0).unwrap(),
        ..settings::config(folder.join("events"))
    }
}

fn table() -> FunctionTable {
    let function = Function {
        name: "demo".parse().unwrap(),
        source: FunctionSource::Command(CommandSource {
            argv: vec!["none".to_owned()],
            cwd: PathBuf::from("/"),
            watch: Vec::new(),
        }),
        settings: FunctionSettings {
            memory_mb: 128,
            timeout: Duration::from_secs(20),
            env: BTreeMap::new(),
            handler: "bootstrap".to_owned(),
            log_format: LogFormat::Text,
            recursive_loop: RecursiveLoop::Terminate,
            layers: app_model::Layers::default(),
        },
        beyond: Vec::new(),
    };
    let artifact = Artifact {
        generation: Generation(1),
        function: function.clone(),
        argv: vec!["none".to_owned()],
        cwd: PathBuf::from("/"),
        built_in: Duration::ZERO,
    };
    let mut table = FunctionTable::default();
    table.functions.insert(
        function.name.clone(),
        FunctionEntry {
            function,
            build: BuildState::Built,
            artifact: Some(Arc::new(artifact)),
        },
    );
    table
}

/// Starts tasks of this process that speak the Runtime API.
struct Functions {
    folder: PathBuf,
}

impl Launcher for Functions {
    fn launch(
        &self,
        _: Arc<Artifact>,
        env: Vec<(String, String)>,
    ) -> Result<Box<dyn RunningProcess>, String> {
        let env: BTreeMap<_, _> = env.into_iter().collect();
        let api = format!(
            "http://{}/2018-06-01/runtime/invocation",
            env["AWS_LAMBDA_RUNTIME_API"]
        );
        let killed = CancellationToken::new();
        let (death, folder) = (killed.clone(), self.folder.clone());
        Ok(Box::new(Running {
            task: tokio::spawn(async move {
                tokio::select! {
                    exit = deliver(api, folder) => exit,
                    () = death.cancelled() => RuntimeExit::Signal(9),
                }
            }),
            killed,
        }))
    }

    fn launch_extension(
        &self,
        _: Arc<Artifact>,
        path: PathBuf,
        _: Vec<(String, String)>,
    ) -> Result<Box<dyn RunningProcess>, NotLaunched> {
        Err(NotLaunched {
            why: format!("{}: no function here has extensions", path.display()),
            is_forbidden: false,
        })
    }

    fn request_build(&self, _: &FunctionName) {}
}

struct Running {
    task: tokio::task::JoinHandle<RuntimeExit>,
    killed: CancellationToken,
}

impl RunningProcess for Running {
    fn pid(&self) -> u32 {
        1
    }

    fn take_output(&mut self) -> mpsc::Receiver<OutputLine> {
        mpsc::channel(1).1
    }

    fn wait(&mut self) -> Pin<Box<dyn Future<Output = RuntimeExit> + Send + '_>> {
        Box::pin(async { (&mut self.task).await.unwrap_or(RuntimeExit::Status(101)) })
    }

    fn peak_memory_bytes(&self) -> Option<u64> {
        None
    }

    fn freeze(&self) {}

    fn thaw(&self) {}

    fn terminate(&self) {
        self.killed.cancel();
    }

    fn kill(&self) {
        self.killed.cancel();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.killed.cancel();
    }
}

/// Writes every event's number down. Every tenth number fails the first time it comes, in
/// whichever process, so that retries are under way when one is killed.
async fn deliver(api: String, folder: PathBuf) -> RuntimeExit {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut delivered = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join(DELIVERED))
        .unwrap();
    loop {
        let event = http.get(format!("{api}/next")).send().await.unwrap();
        let id = event.headers()["lambda-runtime-aws-request-id"].clone();
        let id = id.to_str().unwrap().to_owned();
        let event: serde_json::Value = serde_json::from_str(&event.text().await.unwrap()).unwrap();
        let n = event["n"].as_u64().unwrap();
        let refused = folder.join(format!("refused-{n}"));
        let refuses = n.is_multiple_of(10) && std::fs::File::create_new(refused).is_ok();
        let (what, body) = if refuses {
            ("error", r#"{"errorType":"Tenth","errorMessage":"not now"}"#)
        } else {
            // One write, whole or not at all.
            delivered.write_all(format!("{n}\n").as_bytes()).unwrap();
            ("response", "{}")
        };
        let answer = http.post(format!("{api}/{id}/{what}")).body(body);
        assert_eq!(answer.send().await.unwrap().status(), 202);
    }
}
