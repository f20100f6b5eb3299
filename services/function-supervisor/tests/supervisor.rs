//! The whole supervisor over real, tiny Cargo workspaces: crates without dependencies that
//! build in a fraction of a second and print what they are.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use function_supervisor::{
    Artifact, BuildState, Config, Debounce, Exit, FunctionEntry, FunctionTable, Launch, Profile,
    StartError, StartMode, Supervisor, WatchMode, WatchStatus, start,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than any build here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A workspace on disk.
struct Site {
    dir: TempDir,
}

impl Site {
    /// A workspace with members below `handlers/`.
    fn new() -> Self {
        let site = Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
        };
        site.write(
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"handlers/*\"]\n",
        );
        std::fs::create_dir_all(site.path("handlers")).expect("a folder");
        site
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    fn package(&self, name: &str, more: &str) {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{more}"
        );
        self.write(&format!("handlers/{name}/Cargo.toml"), &manifest);
    }

    /// A function that prints `text`.
    fn function(&self, name: &str, text: &str) {
        self.package(name, "");
        self.prints(name, text);
    }

    fn prints(&self, name: &str, text: &str) {
        self.write(
            &format!("handlers/{name}/src/main.rs"),
            &format!("fn main() {{ println!(\"{text}\"); }}\n"),
        );
    }

    fn config(&self) -> Config {
        Config {
            workspace_dir: self.dir.path().to_owned(),
            handlers_dir: "handlers".into(),
            // Of its own, wherever CARGO_TARGET_DIR points: every site has a `hello`.
            target_dir: Some(self.path("target")),
            state_dir: self.path(".longshore"),
            cargo: "cargo".into(),
            profile: Profile::Dev,
            watch: WatchMode::Auto,
            debounce: Debounce::STANDARD,
            start: StartMode::Eager,
            declarations: None,
            packages: Vec::new(),
            timeout: None,
        }
    }

    fn start(&self) -> Running {
        self.start_with(|_| {})
    }

    fn start_with(&self, adjust: impl FnOnce(&mut Config)) -> Running {
        let mut config = self.config();
        adjust(&mut config);
        let (supervisor, task) = start(config).expect("it starts");
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(task.run(shutdown.clone()));
        Running {
            supervisor,
            shutdown,
            task,
        }
    }
}

/// A supervisor at work.
struct Running {
    supervisor: Supervisor,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Waits for a table that `enough` accepts.
    async fn table(
        &self,
        what: &str,
        enough: impl FnMut(&Arc<FunctionTable>) -> bool,
    ) -> Arc<FunctionTable> {
        let mut tables = self.supervisor.functions();
        match tokio::time::timeout(DEADLINE, tables.wait_for(enough)).await {
            Ok(table) => Arc::clone(&table.expect("the supervisor is there")),
            Err(_) => panic!(
                "never: {what}; last was {:#?}",
                self.supervisor.functions().borrow()
            ),
        }
    }

    /// Waits until `name` is built with a generation of at least `generation`.
    async fn built(&self, name: &str, generation: u64) -> Arc<Artifact> {
        let table = self
            .table(&format!("{name} {generation}"), |table| {
                entry(table, name).is_some_and(|entry| {
                    matches!(entry.build, BuildState::Built)
                        && entry
                            .artifact
                            .as_ref()
                            .is_some_and(|artifact| artifact.generation.0 >= generation)
                })
            })
            .await;
        let artifact = entry(&table, name)
            .and_then(|entry| entry.artifact.clone())
            .expect("built");
        assert_eq!(
            artifact.generation.0, generation,
            "one save, one generation"
        );
        artifact
    }

    /// Waits until the newest source of `name` has failed to build, with `words` among the
    /// diagnostics, and returns those.
    async fn failed(&self, name: &str, words: &str) -> (String, Option<u64>) {
        let diagnostics = |entry: &FunctionEntry| match &entry.build {
            BuildState::Failed { diagnostics, .. } => Some(diagnostics.to_string()),
            BuildState::NotBuilt | BuildState::Building { .. } | BuildState::Built => None,
        };
        let table = self
            .table(&format!("{name} fails with {words}"), |table| {
                entry(table, name)
                    .and_then(diagnostics)
                    .is_some_and(|text| text.contains(words))
            })
            .await;
        let entry = entry(&table, name).expect("an entry");
        (diagnostics(entry).expect("failed"), generation(entry))
    }

    /// What the artifact prints.
    async fn output(&self, artifact: Arc<Artifact>) -> String {
        let mut process = self
            .supervisor
            .spawn(Launch {
                artifact,
                program: function_supervisor::Program::Function,
                env: Vec::new(),
            })
            .expect("it starts");
        let mut output = process.take_output();
        let exit = tokio::time::timeout(DEADLINE, process.wait())
            .await
            .expect("it ends");
        assert_eq!(exit, Exit::Code(0));
        let mut text = Vec::new();
        while let Some(line) = output.recv().await {
            text.push(line.text);
        }
        text.join("\n")
    }

    async fn watching(&self) -> WatchStatus {
        let mut watching = self.supervisor.watching();
        let decided = watching.wait_for(|status| *status != WatchStatus::Starting);
        tokio::time::timeout(DEADLINE, decided)
            .await
            .expect("decided")
            .expect("there")
            .clone()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(DEADLINE, self.task)
            .await
            .expect("it ends")
            .expect("without a panic");
    }
}

fn entry<'a>(table: &'a FunctionTable, name: &str) -> Option<&'a FunctionEntry> {
    table.functions.get(&name.parse().expect("a name"))
}

fn generation(entry: &FunctionEntry) -> Option<u64> {
    entry
        .artifact
        .as_ref()
        .map(|artifact| artifact.generation.0)
}

#[tokio::test]
async fn a_function_lives_through_edits_and_mistakes() {
    let site = Site::new();
    site.function("hello", "one");
    site.function("other", "other");
    let running = site.start();

    let first = running.built("hello", 1).await;
    let other = running.built("other", 1).await;
    assert_eq!(running.output(Arc::clone(&first)).await, "one");
    assert!(
        first.argv[0].starts_with(
            site.path(".longshore")
                .canonicalize()
                .unwrap()
                .to_str()
                .unwrap()
        )
    );

    site.prints("hello", "two");
    let second = running.built("hello", 2).await;
    assert_eq!(running.output(second).await, "two");
    assert!(!second_folder_is_gone(&first), "a generation in use stays");
    assert_eq!(running.output(Arc::clone(&first)).await, "one");

    site.write(
        "handlers/hello/src/main.rs",
        "fn main() { let x: u8 = \"text\"; }\n",
    );
    let (diagnostics, last_good) = running.failed("hello", "mismatched types").await;
    assert!(
        diagnostics.contains("handlers/hello/src/main.rs:1:"),
        "{diagnostics}"
    );
    assert!(!diagnostics.contains('\u{1b}'), "plain text: {diagnostics}");
    assert_eq!(last_good, Some(2));

    // The broken neighbour does not stand in the way.
    site.prints("other", "changed");
    let other_second = running.built("other", 2).await;
    assert_eq!(running.output(other_second).await, "changed");
    drop(other);

    site.prints("hello", "three");
    let third = running.built("hello", 3).await;
    assert_eq!(running.output(third).await, "three");

    // Once nobody uses the first generation, its binary goes with the next publication.
    let folder = Path::new(&first.argv[0]).parent().unwrap().to_owned();
    drop(first);
    site.prints("hello", "four");
    running.built("hello", 4).await;
    running.table("pruned", |_| !folder.exists()).await;
    running.stop().await;
}

fn second_folder_is_gone(artifact: &Artifact) -> bool {
    !Path::new(&artifact.argv[0]).exists()
}

#[tokio::test]
async fn a_change_without_effect_makes_no_generation() {
    let site = Site::new();
    site.function("hello", "one");
    let running = site.start();
    running.built("hello", 1).await;
    // A file that no build reads, then one that it does: only the second counts.
    site.write("handlers/hello/NOTES.md", "notes");
    let building = |table: &Arc<FunctionTable>| {
        entry(table, "hello")
            .is_some_and(|entry| matches!(entry.build, BuildState::Building { .. }))
    };
    running.table("building again", building).await;
    running.built("hello", 1).await;
    site.prints("hello", "two");
    let artifact = running.built("hello", 2).await;
    assert_eq!(running.output(artifact).await, "two");
    running.stop().await;
}

#[tokio::test]
async fn shared_code_rebuilds_those_who_use_it() {
    let site = Site::new();
    site.package("shared", "");
    site.write(
        "handlers/shared/src/lib.rs",
        "pub const TEXT: &str = \"one\";\n",
    );
    for name in ["left", "right"] {
        site.package(name, "[dependencies]\nshared = { path = \"../shared\" }\n");
        site.write(
            &format!("handlers/{name}/src/main.rs"),
            "fn main() { println!(\"{}\", shared::TEXT); }\n",
        );
    }
    site.function("apart", "apart");
    let running = site.start();
    for name in ["left", "right", "apart"] {
        running.built(name, 1).await;
    }
    site.write(
        "handlers/shared/src/lib.rs",
        "pub const TEXT: &str = \"two\";\n",
    );
    for name in ["left", "right"] {
        let artifact = running.built(name, 2).await;
        assert_eq!(running.output(artifact).await, "two");
    }
    site.write("handlers/shared/src/lib.rs", "pub const TEXT: &str = 1;\n");
    for name in ["left", "right"] {
        let (_, last_good) = running.failed(name, "handlers/shared/src/lib.rs:1:").await;
        assert_eq!(last_good, Some(2));
    }
    running.built("apart", 1).await;
    running.stop().await;
}

#[tokio::test]
async fn a_file_included_from_outside_the_package_counts() {
    let site = Site::new();
    site.write("fixtures/my data/text.txt", "one");
    site.package("hello", "");
    site.write(
        "handlers/hello/src/main.rs",
        "fn main() { println!(\"{}\", include_str!(\"../../../fixtures/my data/text.txt\")); }\n",
    );
    let running = site.start();
    running.built("hello", 1).await;
    site.write("fixtures/my data/text.txt", "two");
    let artifact = running.built("hello", 2).await;
    assert_eq!(running.output(artifact).await, "two");
    running.stop().await;
}

#[tokio::test]
async fn functions_come_and_go_with_their_folders() {
    let site = Site::new();
    site.function("hello", "hello");
    let running = site.start();
    running.built("hello", 1).await;

    site.function("newcomer", "new");
    let artifact = running.built("newcomer", 1).await;
    assert_eq!(running.output(artifact).await, "new");

    std::fs::remove_dir_all(site.path("handlers/newcomer")).unwrap();
    running
        .table("newcomer is gone", |table| {
            entry(table, "newcomer").is_none()
        })
        .await;

    // What comes back counts on, so that no two builds share a number.
    site.function("newcomer", "back");
    let artifact = running.built("newcomer", 2).await;
    assert_eq!(running.output(artifact).await, "back");
    running.built("hello", 1).await;
    running.stop().await;
}

#[tokio::test]
async fn settings_and_broken_manifests() {
    let site = Site::new();
    site.function("hello", "hello");
    let running = site.start();
    running.built("hello", 1).await;

    site.package("hello", "[package.metadata.lambda.deploy]\ntimeout = 7\n");
    let second = running.built("hello", 2).await;
    assert_eq!(second.function.settings.timeout, Duration::from_secs(7));
    assert_eq!(running.output(second).await, "hello");

    site.write("handlers/hello/Cargo.toml", "[package\n");
    let (diagnostics, last_good) = running.failed("hello", "handlers/hello/Cargo.toml").await;
    assert_eq!(last_good, Some(2), "{diagnostics}");
    let table = running.supervisor.functions().borrow().clone();
    assert_eq!(table.problems.len(), 1, "{:?}", table.problems);

    site.package("hello", "[package.metadata.lambda.deploy]\ntimeout = 7\n");
    running.built("hello", 2).await;
    assert_eq!(
        running.supervisor.functions().borrow().problems,
        Vec::<String>::new()
    );
    running.stop().await;
}

#[tokio::test]
async fn a_timeout_set_for_all_goes_before_the_packages_own() {
    let site = Site::new();
    site.package("hello", "[package.metadata.lambda.deploy]\ntimeout = 7\n");
    site.prints("hello", "hello");
    let running = site.start_with(|config| {
        config.start = StartMode::Lazy;
        config.timeout = Some(Duration::from_millis(1500));
    });
    running.supervisor.loaded().await;
    let table = running.supervisor.functions().borrow().clone();
    let hello = entry(&table, "hello").unwrap();
    assert_eq!(hello.function.settings.timeout, Duration::from_millis(1500));
    running.stop().await;
}

#[tokio::test]
async fn lazy_functions_wait_to_be_asked_for() {
    let site = Site::new();
    site.function("asked", "asked");
    site.function("unasked", "unasked");
    let running = site.start_with(|config| config.start = StartMode::Lazy);
    running.supervisor.loaded().await;
    let name = "asked".parse().unwrap();
    running.supervisor.request_build(&name);
    running.supervisor.request_build(&name);
    let artifact = running.built("asked", 1).await;
    assert_eq!(running.output(artifact).await, "asked");
    site.prints("asked", "again");
    running.built("asked", 2).await;
    let table = running.supervisor.functions().borrow().clone();
    let unasked = entry(&table, "unasked").unwrap();
    assert!(matches!(unasked.build, BuildState::NotBuilt) && unasked.artifact.is_none());
    running.stop().await;
}

#[tokio::test]
async fn a_command_is_a_function_and_restarts_when_its_files_change() {
    let site = Site::new();
    site.write(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"handlers/*\"]\n\
         [workspace.metadata.longshore.function.script]\n\
         command = [\"./run.sh\"]\ncwd = \"scripts\"\nwatch = [\"scripts\"]\n",
    );
    site.function("hello", "hello");
    site.write("scripts/run.sh", "#!/bin/sh\necho script one\n");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(site.path("scripts/run.sh"), executable).unwrap();
    let running = site.start();
    let artifact = running.built("script", 1).await;
    assert_eq!(running.output(artifact).await, "script one");
    running.built("hello", 1).await;
    site.write("scripts/run.sh", "#!/bin/sh\necho script two\n");
    let artifact = running.built("script", 2).await;
    assert_eq!(running.output(artifact).await, "script two");
    running.stop().await;
}

#[tokio::test]
async fn polling_serves_where_nothing_is_reported() {
    let site = Site::new();
    site.function("hello", "one");
    let running = site.start_with(|config| config.watch = WatchMode::Poll);
    assert!(matches!(running.watching().await, WatchStatus::Poll { .. }));
    running.built("hello", 1).await;
    site.prints("hello", "two");
    let artifact = running.built("hello", 2).await;
    assert_eq!(running.output(artifact).await, "two");
    site.function("newcomer", "new");
    running.built("newcomer", 1).await;
    running.stop().await;
}

#[tokio::test]
async fn a_save_during_a_build_is_built_too() {
    let site = Site::new();
    site.function("hello", "one");
    // A build script that takes its time stands for a long compilation.
    let build_rs = "fn main() { println!(\"cargo::rerun-if-changed=build.rs\"); \
                    std::thread::sleep(std::time::Duration::from_millis(1500)); }\n";
    site.write("handlers/hello/build.rs", build_rs);
    let running = site.start();
    let building = |table: &Arc<FunctionTable>| {
        entry(table, "hello")
            .is_some_and(|entry| matches!(entry.build, BuildState::Building { .. }))
    };
    running.table("building", building).await;
    site.prints("hello", "two");
    let artifact = running.built("hello", 1).await;
    assert_eq!(
        running.output(artifact).await,
        "two",
        "the stale build was stopped"
    );
    running.stop().await;
}

#[tokio::test]
async fn stopping_ends_a_running_cargo() {
    let site = Site::new();
    site.function("hello", "one");
    site.write(
        "handlers/hello/build.rs",
        "fn main() { std::fs::write(\"../../build.pid\", std::process::id().to_string()).unwrap(); \
         std::thread::sleep(std::time::Duration::from_secs(600)); }\n",
    );
    let running = site.start();
    let pid_file = site.path("build.pid");
    let pid = tokio::time::timeout(DEADLINE, async {
        loop {
            match std::fs::read_to_string(&pid_file) {
                Ok(pid) if !pid.is_empty() => return pid,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await
    .expect("the build script runs");
    running.stop().await;
    let gone = async {
        while std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, gone)
        .await
        .expect("no child is left behind");
}

#[test]
fn what_is_missing_at_the_start_is_named() {
    let site = Site::new();
    let message = |config: Config| start(config).map(|_| ()).unwrap_err().to_string();

    let mut config = site.config();
    config.workspace_dir = site.path("handlers");
    assert!(message(config).starts_with("there is no Cargo.toml in "));

    let mut config = site.config();
    config.cargo = "no-such-cargo".into();
    assert!(message(config).starts_with("cannot find `no-such-cargo`: install Rust"));

    let mut config = site.config();
    site.write("file", "in the way");
    config.state_dir = site.path("file");
    assert!(message(config).contains("make it writable or choose another one with --state-dir"));

    let held = start(site.config()).unwrap();
    let second = start(site.config());
    assert!(matches!(second, Err(StartError::StateDirInUse { .. })));
    drop((held, second));
    start(site.config()).unwrap();
}
