//! What tests share: settings, artifacts, and functions that are tasks of the test and
//! speak the Runtime API as a process would.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use app_model::{
    CommandSource, Function, FunctionName, FunctionSettings, FunctionSource, Layers, LogFormat,
    Parity, RecursiveLoop,
};
use bytes::Bytes;
use function_supervisor::{
    Artifact, BuildState, FunctionEntry, FunctionTable, Generation, OutputLine, OutputStream,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::asynchronous::Pace;
use crate::broker::Answer;
use crate::config::{Config, StartPolicy};
use crate::function_logs::Logs;
use crate::invocation::{Invocation, RequestId, TraceId};
use crate::outcome::{Outcome, RuntimeExit};
use crate::process::{Launcher, NotLaunched, RunningProcess};
use crate::sandbox::Sandbox;

pub(crate) fn config() -> Config {
    Config {
        account_id: "000000000000".to_owned(),
        region: "us-east-1".to_owned(),
        function_env: Vec::new(),
        host_aliases: Vec::new(),
        start: StartPolicy::Lazy,
        max_environments: 10,
        max_waiting: 100,
        build_wait: Duration::from_secs(10),
        rest_integration_timeout: Duration::from_secs(29),
        http_integration_timeout: Duration::from_secs(30),
        drain: Duration::from_secs(10),
        events_dir: PathBuf::from("/nowhere"),
        pace: Pace::AWS,
        aws_endpoint: None,
        init_timeout: Duration::from_secs(10),
        idle_timeout: None,
        freeze: false,
        logs_dir: None,
        parity: Parity::Warn,
        journal_entries: 100,
    }
}

pub(crate) fn function(name: &str) -> Function {
    Function {
        name: name.parse().unwrap(),
        source: FunctionSource::Command(CommandSource {
            argv: vec!["fake".to_owned()],
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
            layers: Layers::default(),
        },
        beyond: Vec::new(),
    }
}

/// A place for this artifact's process.
pub(crate) fn sandbox(artifact: &Artifact) -> Sandbox {
    let log = Logs::new().function(&artifact.function.name);
    let started = "2026-11-21T10:00:00Z".parse().unwrap();
    Sandbox::new(started, artifact, log)
}

pub(crate) fn artifact(name: &str, generation: u64) -> Artifact {
    Artifact {
        generation: Generation(generation),
        function: function(name),
        argv: vec!["fake".to_owned()],
        cwd: PathBuf::from("/"),
        built_in: Duration::ZERO,
    }
}

/// One with external extensions of these names; they are there as long as the folder is.
pub(crate) fn with_extensions(names: &[&str]) -> (FunctionTable, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let mut artifact = artifact("demo", 1);
    artifact.function.settings.layers = Layers::of_extensions(folder.path());
    (table(BuildState::Built, Some(Arc::new(artifact))), folder)
}

/// A function table with one function at this build.
pub(crate) fn table(build: BuildState, artifact: Option<Arc<Artifact>>) -> FunctionTable {
    let function = function("demo");
    let mut table = FunctionTable::default();
    table.functions.insert(
        function.name.clone(),
        FunctionEntry {
            function,
            build,
            artifact,
        },
    );
    table
}

/// The table once this generation is built.
pub(crate) fn built(generation: u64) -> FunctionTable {
    table(
        BuildState::Built,
        Some(Arc::new(artifact("demo", generation))),
    )
}

/// An invocation of `demo` with this event.
pub(crate) fn invocation(payload: &str) -> Invocation {
    Invocation {
        request_id: RequestId::random(),
        function: "demo".parse().unwrap(),
        payload: Bytes::from(payload.to_owned()),
        trace_id: TraceId::random(0),
        qualified: false,
        tenant: None,
        client_context: None,
        wants_log_tail: false,
    }
}

type Ends = Pin<Box<dyn Future<Output = RuntimeExit> + Send>>;

/// What a function does, instead of a program.
pub(crate) struct Script(Box<dyn Fn(FakeRuntime) -> Ends + Send + Sync>);

/// Starts scripts as if they were processes.
pub(crate) struct FakeLauncher {
    script: Script,
    /// What external extensions do, by their file's name; none can be started without.
    extensions: Option<Script>,
    pub(crate) launched: AtomicU32,
    pub(crate) builds_requested: AtomicU32,
}

impl FakeLauncher {
    pub(crate) fn new<F>(script: impl Fn(FakeRuntime) -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = RuntimeExit> + Send + 'static,
    {
        Arc::new(Self {
            script: Script(Box::new(move |runtime| Box::pin(script(runtime)))),
            extensions: None,
            launched: AtomicU32::new(0),
            builds_requested: AtomicU32::new(0),
        })
    }

    /// One whose functions have external extensions too, which do that.
    pub(crate) fn with_extensions<F, E>(
        script: impl Fn(FakeRuntime) -> F + Send + Sync + 'static,
        extension: impl Fn(FakeRuntime) -> E + Send + Sync + 'static,
    ) -> Arc<Self>
    where
        F: Future<Output = RuntimeExit> + Send + 'static,
        E: Future<Output = RuntimeExit> + Send + 'static,
    {
        Arc::new(Self {
            script: Script(Box::new(move |runtime| Box::pin(script(runtime)))),
            extensions: Some(Script(Box::new(move |runtime| {
                Box::pin(extension(runtime))
            }))),
            launched: AtomicU32::new(0),
            builds_requested: AtomicU32::new(0),
        })
    }

    pub(crate) fn count(&self) -> u32 {
        self.launched.load(Ordering::SeqCst)
    }
}

impl Launcher for FakeLauncher {
    fn launch(
        &self,
        artifact: Arc<Artifact>,
        env: Vec<(String, String)>,
    ) -> Result<Box<dyn RunningProcess>, String> {
        let number = self.launched.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(run(&self.script, number, &artifact, env, None))
    }

    fn launch_extension(
        &self,
        artifact: Arc<Artifact>,
        path: PathBuf,
        env: Vec<(String, String)>,
    ) -> Result<Box<dyn RunningProcess>, NotLaunched> {
        let Some(script) = &self.extensions else {
            return Err(NotLaunched {
                why: format!("fork/exec {}: permission denied", path.display()),
                is_forbidden: true,
            });
        };
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let number = self.launched.load(Ordering::SeqCst);
        Ok(run(script, number, &artifact, env, Some(name)))
    }

    fn request_build(&self, _: &FunctionName) {
        self.builds_requested.fetch_add(1, Ordering::SeqCst);
    }
}

fn run(
    script: &Script,
    number: u32,
    artifact: &Artifact,
    env: Vec<(String, String)>,
    extension: Option<String>,
) -> Box<dyn RunningProcess> {
    let env: BTreeMap<_, _> = env.into_iter().collect();
    let (lines, output) = mpsc::channel(64);
    let terminated = CancellationToken::new();
    let frozen = watch::Sender::new(false);
    let runtime = FakeRuntime {
        base: format!("http://{}", env["AWS_LAMBDA_RUNTIME_API"]),
        client: reqwest::Client::builder().no_proxy().build().unwrap(),
        number,
        extension,
        generation: artifact.generation.0,
        env,
        frozen: frozen.subscribe(),
        terminated: terminated.clone(),
        lines,
    };
    let killed = CancellationToken::new();
    let (death, script) = (killed.clone(), (script.0)(runtime));
    let task = tokio::spawn(async move {
        tokio::select! {
            exit = script => exit,
            () = death.cancelled() => RuntimeExit::Signal(9),
        }
    });
    Box::new(FakeProcess {
        pid: number,
        output: Some(output),
        terminated,
        killed,
        task,
        frozen,
    })
}

struct FakeProcess {
    pid: u32,
    output: Option<mpsc::Receiver<OutputLine>>,
    terminated: CancellationToken,
    killed: CancellationToken,
    task: tokio::task::JoinHandle<RuntimeExit>,
    frozen: watch::Sender<bool>,
}

impl RunningProcess for FakeProcess {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn take_output(&mut self) -> mpsc::Receiver<OutputLine> {
        self.output.take().unwrap()
    }

    fn wait(&mut self) -> Pin<Box<dyn Future<Output = RuntimeExit> + Send + '_>> {
        Box::pin(async { (&mut self.task).await.unwrap_or(RuntimeExit::Status(101)) })
    }

    fn peak_memory_bytes(&self) -> Option<u64> {
        Some(36 * 1024 * 1024)
    }

    fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    fn thaw(&self) {
        self.frozen.send_replace(false);
    }

    fn terminate(&self) {
        self.terminated.cancel();
    }

    fn kill(&self) {
        self.killed.cancel();
    }
}

impl Drop for FakeProcess {
    fn drop(&mut self) {
        self.killed.cancel();
    }
}

/// The other end of the Runtime API.
#[derive(Clone)]
pub(crate) struct FakeRuntime {
    pub(crate) base: String,
    pub(crate) client: reqwest::Client,
    /// Counts the launches.
    pub(crate) number: u32,
    /// Of an external extension, its file's name.
    pub(crate) extension: Option<String>,
    pub(crate) generation: u64,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) frozen: watch::Receiver<bool>,
    /// Set by SIGTERM.
    pub(crate) terminated: CancellationToken,
    lines: mpsc::Sender<OutputLine>,
}

/// An invocation as a runtime sees it.
pub(crate) struct Received {
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn id(&self) -> &str {
        self.header("lambda-runtime-aws-request-id")
    }
}

impl FakeRuntime {
    pub(crate) async fn next(&self) -> Received {
        let url = format!("{}/2018-06-01/runtime/invocation/next", self.base);
        let response = self.client.get(url).send().await.unwrap();
        assert_eq!(response.status(), 200);
        Received {
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        }
    }

    /// Posts to a path below `/2018-06-01/runtime/`; the status and the body's error type.
    pub(crate) async fn post(
        &self,
        path: &str,
        nonce: Option<&str>,
        body: String,
    ) -> (u16, String) {
        let url = format!("{}/2018-06-01/runtime/{path}", self.base);
        let mut request = self.client.post(url).body(body);
        if let Some(nonce) = nonce {
            request = request.header("lambda-runtime-invocation-id", nonce);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.text().await.unwrap();
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        (
            status,
            body["errorType"].as_str().unwrap_or_default().to_owned(),
        )
    }

    pub(crate) async fn respond(&self, to: &Received, body: &str) {
        let path = format!("invocation/{}/response", to.id());
        let nonce = to.header("lambda-runtime-invocation-id");
        let answer = self.post(&path, Some(nonce), body.to_owned()).await;
        assert_eq!(answer, (202, String::new()));
    }

    pub(crate) async fn print(&self, text: &str) {
        let line = OutputLine {
            stream: OutputStream::Stdout,
            text: text.to_owned(),
        };
        self.lines.send(line).await.unwrap();
    }

    /// Answers every event with the generation and the event.
    pub(crate) async fn echo(self) -> RuntimeExit {
        loop {
            let event = self.next().await;
            let answer = format!("{}:{}", self.generation, event.body);
            self.respond(&event, &answer).await;
        }
    }

    /// Says that an extension cannot go on: `init` or `exit`; the status.
    pub(crate) async fn extension_error(&self, id: &str, phase: &str) -> u16 {
        let url = format!("{}/2020-01-01/extension/{phase}/error", self.base);
        let request = self
            .client
            .post(url)
            .header("lambda-extension-identifier", id)
            .header("lambda-extension-function-error-type", "Mine.Broken");
        request.send().await.unwrap().status().as_u16()
    }

    /// Registers an extension; its identifier.
    pub(crate) async fn register(&self, events: &str) -> String {
        let name = self.extension.as_deref().unwrap_or("test");
        let url = format!("{}/2020-01-01/extension/register", self.base);
        let response = self
            .client
            .post(url)
            .header("lambda-extension-name", name)
            .body(format!(r#"{{"events":[{events}]}}"#))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let id = response.headers()["lambda-extension-identifier"].clone();
        id.to_str().unwrap().to_owned()
    }

    pub(crate) async fn extension_next(&self, id: &str) -> serde_json::Value {
        let url = format!("{}/2020-01-01/extension/event/next", self.base);
        let request = self
            .client
            .get(url)
            .header("lambda-extension-identifier", id);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        serde_json::from_str(&response.text().await.unwrap()).unwrap()
    }
}

/// Waits for something that is bound to happen, or says what did not.
pub(crate) async fn within<T>(what: &str, happens: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(10), happens).await {
        Ok(happened) => happened,
        Err(_) => panic!("did not happen within 10 s: {what}"),
    }
}

/// The text of a function's answer.
pub(crate) fn text(answer: &Answer) -> String {
    match &answer.outcome {
        Outcome::Response(response) => String::from_utf8(response.body.to_vec()).unwrap(),
        other => panic!("no answer: {other:?}"),
    }
}
