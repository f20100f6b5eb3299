//! Functions that come as zips: over a workspace, without one, replaced and spoilt while
//! they run; and a file that declares things where there is no workspace.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use function_supervisor::{
    Artifact, BuildState, Config, Debounce, FunctionEntry, FunctionTable, Launch, PackageSource,
    Profile, StartError, StartMode, Supervisor, WatchMode, start,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Longer than any wait here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A package as a test names it.
type Given<'a> = (Option<&'a str>, &'a Path);

/// A folder with zips in it, and perhaps a workspace.
struct Site {
    dir: TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().expect("there").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    /// A zip whose function prints `text` and what it finds in its folder, moved into its
    /// place as `longshore build` does.
    fn zip(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        let staging = path.with_extension("new");
        let mut zip = ZipWriter::new(File::create(&staging).expect("a zip"));
        let options = SimpleFileOptions::default();
        let script = format!("#!/bin/sh\necho {text} $(pwd) $(cat data.txt) $TABLE\n");
        for (name, content, mode) in [
            ("data.txt", "data", 0o644),
            ("bootstrap", script.as_str(), 0o755),
        ] {
            zip.start_file(name, options.unix_permissions(mode))
                .expect("an entry");
            zip.write_all(content.as_bytes()).expect("its content");
        }
        zip.finish().expect("the end");
        fs::rename(&staging, &path).expect("its place");
        path
    }

    fn config(&self, packages: &[Given<'_>]) -> Config {
        let package = |(name, zip): &Given<'_>| PackageSource {
            name: name.map(|name| name.parse().expect("a name")),
            zip: (*zip).to_owned(),
        };
        Config {
            workspace_dir: self.path(""),
            handlers_dir: "handlers".into(),
            target_dir: Some(self.path("target")),
            state_dir: self.path(".longshore"),
            cargo: "cargo".into(),
            profile: Profile::Dev,
            watch: WatchMode::Auto,
            debounce: Debounce::STANDARD,
            start: StartMode::Eager,
            declarations: None,
            packages: packages.iter().map(package).collect(),
            timeout: None,
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
    fn start(config: Config) -> Self {
        let (supervisor, task) = start(config).expect("it starts");
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(task.run(shutdown.clone()));
        Self {
            supervisor,
            shutdown,
            task,
        }
    }

    /// Waits for an entry of `name` that `enough` accepts.
    async fn entry(&self, name: &str, enough: impl Fn(&FunctionEntry) -> bool) -> FunctionEntry {
        let find = |table: &Arc<FunctionTable>| {
            let entry = table.functions.get(&name.parse().expect("a name"));
            entry.filter(|entry| enough(entry)).cloned()
        };
        let mut tables = self.supervisor.functions();
        let found = tokio::time::timeout(DEADLINE, tables.wait_for(|table| find(table).is_some()));
        let found = found.await.map(|table| find(&table.expect("it runs")));
        match found {
            Ok(entry) => entry.expect("just seen"),
            Err(_) => panic!("never; last: {:#?}", self.supervisor.functions().borrow()),
        }
    }

    async fn artifact(&self, name: &str, generation: u64) -> Arc<Artifact> {
        let is = |entry: &FunctionEntry| {
            let artifact = entry.artifact.as_ref();
            matches!(entry.build, BuildState::Built)
                && artifact.is_some_and(|artifact| artifact.generation.0 == generation)
        };
        self.entry(name, is).await.artifact.expect("just seen")
    }

    /// The words that the function prints.
    async fn words(&self, artifact: &Arc<Artifact>) -> Vec<String> {
        let launch = Launch {
            artifact: Arc::clone(artifact),
            program: function_supervisor::Program::Function,
            env: artifact.function.settings.env.clone().into_iter().collect(),
        };
        let mut process = self.supervisor.spawn(launch).expect("it starts");
        let mut output = process.take_output();
        let ended = tokio::time::timeout(DEADLINE, process.wait());
        ended.await.expect("it ends");
        let line = output.recv().await.expect("a line").text;
        line.split(' ').map(str::to_owned).collect()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.task).await;
        ended.expect("it ends").expect("without a panic");
    }
}

#[tokio::test]
async fn a_zip_stands_over_the_workspaces_function_and_is_followed() {
    let site = Site::new();
    site.write(
        "Cargo.toml",
        "[workspace]\nmembers = [\"handlers/*\"]\nresolver = \"3\"\n",
    );
    site.write(
        "handlers/hello/Cargo.toml",
        "[package]\nname = \"hello\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         [package.metadata.lambda.deploy]\nmemory = 512\n\
         [package.metadata.lambda.env]\nTABLE = \"orders\"\n",
    );
    site.write("handlers/hello/src/main.rs", "this does not compile");
    // Where cargo-lambda puts it, below the folder of build output that is not watched.
    let zip = site.zip("target/lambda/hello/bootstrap.zip", "first");
    let running = Running::start(site.config(&[(None, &zip)]));

    let first = running.artifact("hello", 1).await;
    let settings = &first.function.settings;
    assert_eq!(
        (settings.memory_mb, &*settings.env["TABLE"]),
        (512, "orders")
    );
    let root = first.cwd.display().to_string();
    let words = running.words(&first).await;
    assert_eq!(words, ["first", &root, "data", "orders"]);
    assert!(first.cwd.starts_with(site.path(".longshore/packages")));

    // Replaced: the next generation, while the first still has its files.
    let mut watching = running.supervisor.watching();
    let decided = watching.wait_for(|status| format!("{status:?}") != "Starting");
    tokio::time::timeout(DEADLINE, decided)
        .await
        .expect("decided")
        .expect("it runs");
    site.zip("target/lambda/hello/bootstrap.zip", "second");
    let second = running.artifact("hello", 2).await;
    assert_eq!(running.words(&second).await[0], "second");
    assert_eq!(running.words(&first).await[0], "first");

    // Spoilt: the last good one serves on, and the reason shows.
    fs::write(&zip, "no zip").expect("written");
    let spoilt = running
        .entry("hello", |entry| {
            matches!(&entry.build, BuildState::Failed { diagnostics, .. }
                if diagnostics.contains("not a readable zip"))
        })
        .await;
    assert_eq!(spoilt.artifact.expect("kept").generation.0, 2);

    // Mended with what was there before: no new generation, and no failure any more.
    site.zip("target/lambda/hello/bootstrap.zip", "second");
    let mended = running.artifact("hello", 2).await;
    assert_eq!(mended.argv, second.argv);
    running.stop().await;
}

#[tokio::test]
async fn no_workspace_and_no_cargo_are_needed_and_old_packages_go() {
    let site = Site::new();
    let old = site.zip("other.zip", "old");
    let (one, two) = (site.zip("one.zip", "1"), site.zip("two.zip", "2"));
    for (packages, expected) in [
        (vec![(None, old.as_path())], vec!["other"]),
        (
            vec![(None, one.as_path()), (Some("named"), &two)],
            vec!["named", "one"],
        ),
    ] {
        let mut config = site.config(&packages);
        config.cargo = "longshore-has-no-such-tool".into();
        let running = Running::start(config);
        for name in &expected {
            let artifact = running.artifact(name, 1).await;
            assert_eq!(artifact.function.settings.memory_mb, 128);
        }
        let table = running.supervisor.functions().borrow().clone();
        let names: Vec<&str> = table.functions.keys().map(|name| name.as_str()).collect();
        assert_eq!(names, expected);
        running.stop().await;
        let kept: BTreeSet<PathBuf> = fs::read_dir(site.path(".longshore/packages"))
            .expect("there")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        assert_eq!(kept.len(), expected.len(), "{kept:?}");
    }
}

#[tokio::test]
async fn a_zip_that_cannot_run_or_a_name_taken_twice_stops_the_start() {
    let site = Site::new();
    let (good, bad) = (site.zip("good.zip", "1"), site.path("bad.zip"));
    fs::write(&bad, "no zip").expect("written");
    let cases: [(&[Given<'_>], &str); 4] = [
        (&[(None, &bad)], "cannot run the package"),
        (&[(None, &site.path("gone.zip"))], "cannot run the package"),
        (
            &[(None, &good), (Some("good"), &good)],
            "comes from two packages",
        ),
        (&[], "no Cargo.toml"),
    ];
    for (packages, words) in cases {
        let error = start(site.config(packages)).expect_err("refused");
        assert!(error.to_string().contains(words), "{error}");
        if let StartError::Package { zip, .. } = error {
            assert_eq!(zip, packages[0].1);
        }
    }
}

#[tokio::test]
async fn declarations_need_no_workspace_and_are_followed() {
    let site = Site::new();
    let zip = site.zip("zips/zipped.zip", "1");
    // Outside of the workspace's folder, beside a file that is nobody's business.
    let declare = |stage: &str| {
        let text = format!(
            "[workspace.metadata.lambda.watch.router]\n\"/zipped\" = \"zipped\"\n\
             [workspace.metadata.longshore.function.script]\ncommand = [\"echo\", \"script\"]\n\
             [workspace.metadata.longshore.api.http]\n{stage}\n"
        );
        site.write("mine/new.toml", &text);
        fs::rename(
            site.path("mine/new.toml"),
            site.path("mine/declarations.toml"),
        )
        .expect("moved");
    };
    declare("stage = 'dev'");
    fs::create_dir(site.path("theirs")).expect("a folder");
    let mut config = site.config(&[(None, &zip)]);
    config.workspace_dir = site.path("theirs");
    config.declarations = Some(site.path("mine/declarations.toml"));
    config.cargo = "longshore-has-no-such-tool".into();
    let running = Running::start(config);

    running.artifact("zipped", 1).await;
    let script = running.artifact("script", 1).await;
    assert_eq!(script.cwd, site.path("mine"));
    assert_eq!(running.words(&script).await, ["script"]);
    let table = running.supervisor.functions().borrow().clone();
    assert_eq!(table.problems, Vec::<String>::new());
    let route = table.routes.resolve("GET", "/zipped").expect("a route");
    assert_eq!(route.function.as_str(), "zipped");

    let mut watching = running.supervisor.watching();
    let decided = watching.wait_for(|status| format!("{status:?}") != "Starting");
    let decided = tokio::time::timeout(DEADLINE, decided).await;
    decided.expect("decided").expect("it runs");
    // Changed, spoilt, mended: what is spoilt is said and changes nothing else.
    for (stage, stands, problem) in [
        ("stage = 'prod'", "prod", None),
        ("stage = ", "prod", Some("declarations.toml are no TOML")),
        ("stage = 'last'", "last", None),
    ] {
        declare(stage);
        let as_declared = |table: &Arc<FunctionTable>| {
            let said = match problem {
                None => table.problems.is_empty(),
                Some(problem) => table.problems.iter().any(|said| said.contains(problem)),
            };
            said && table.routes.api().http.stage == stands
        };
        let mut tables = running.supervisor.functions();
        let found = tokio::time::timeout(DEADLINE, tables.wait_for(as_declared));
        let table = found.await.expect(stage).expect("it runs").clone();
        assert_eq!(table.functions.len(), 2, "{stage}");
    }
    running.stop().await;
}
