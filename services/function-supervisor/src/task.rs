//! The supervisor's work: one loop that owns everything and turns events into builds and
//! tables.
//!
//! `watch -> debounce -> (reload) -> affected -> build -> set aside -> publish`. At most one
//! cargo runs at a time. A change during a build stops it and starts it again, once: if
//! changes keep coming, the second run ends before the next begins, so that something is
//! always served.

mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use app_model::{FunctionName, FunctionSource};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::affected::{Changes, Inputs, affected, needs_reload};
use crate::artifacts::ArtifactStore;
use crate::build::{BuildEnd, BuildRequest, BuildTarget, Built, build};
use crate::cargo::Cargo;
use crate::debounce::Debouncer;
use crate::packages::Packages;
use crate::slots::Slots;
use crate::supervisor::Shared;
use crate::watch::{Noticed, SourceWatch};
use crate::workspace::{LoadError, Sought, Workspace, load};
use crate::{Config, StartMode, WatchStatus};

/// Binaries handed on and not yet published.
const BUILT_QUEUE: usize = 16;

/// The supervisor's work. Nothing happens until it is run.
#[derive(Debug)]
pub struct SupervisorTask {
    shared: Arc<Shared>,
    config: Config,
    store: ArtifactStore,
    packages: Packages,
}

/// Everything that can happen to the loop.
#[derive(Debug)]
enum Event {
    /// The watch has something to say.
    Noticed(Noticed),
    /// The burst of changes is over.
    Quiet,
    /// Somebody asked for a function.
    Requested,
    /// A function's binary is set aside.
    Built(Built),
    /// A job has ended.
    Done(Done),
    Shutdown,
}

/// How a job ended.
#[derive(Debug)]
enum Done {
    Loaded(Box<Result<Workspace, LoadError>>, Packages),
    Build(BuildEnd),
    /// An error says why native events cannot be relied on.
    Probed(Result<(), String>),
    /// The job itself broke.
    Lost(String),
}

/// Whether the loop goes on.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Continue,
    Stop,
}

/// The one build under way.
#[derive(Debug)]
struct RunningBuild {
    functions: BTreeSet<FunctionName>,
    since: Instant,
    cancel: CancellationToken,
    /// It has been stopped once for a newer change; it ends now whatever comes.
    restarted: bool,
}

/// Reading the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loading {
    Idle,
    Running,
    /// Something changed while it was read: once more.
    Again,
}

impl SupervisorTask {
    pub(crate) fn new(
        shared: Arc<Shared>,
        config: Config,
        store: ArtifactStore,
        packages: Packages,
    ) -> Self {
        Self {
            shared,
            config,
            store,
            packages,
        }
    }

    /// Watches, builds and publishes until `shutdown`; then stops a running cargo and
    /// returns once it is reaped. Function processes are not the task's: their holders stop
    /// them.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut work = Work::new(self);
        work.begin();
        loop {
            let event = work.next(&shutdown).await;
            if work.handle(event) == Next::Stop {
                break;
            }
        }
        work.end().await;
    }
}

/// The loop's state.
struct Work {
    shared: Arc<Shared>,
    config: Config,
    cargo: Cargo,
    store: ArtifactStore,
    slots: Slots,
    packages: Packages,
    workspace: Option<Workspace>,
    /// The last attempt to read the workspace failed.
    broken: bool,
    loading: Loading,
    watch: SourceWatch,
    debouncer: Debouncer,
    /// Changes of the current burst, and those that wait for the workspace to be read.
    changes: Changes,
    changed_at: Option<Instant>,
    /// Cargo functions that are kept built.
    wanted: BTreeSet<FunctionName>,
    /// Those of them whose newest source has not been built.
    dirty: BTreeSet<FunctionName>,
    dirty_since: Option<Instant>,
    /// What the last build of each function was made of.
    inputs: Inputs,
    /// What changed while a build ran.
    meanwhile: Changes,
    build: Option<RunningBuild>,
    built: mpsc::Receiver<Built>,
    /// Kept so that `built` never closes.
    built_sender: mpsc::Sender<Built>,
    jobs: JoinSet<Done>,
    /// Ends every job.
    stop: CancellationToken,
}

impl Work {
    fn new(task: SupervisorTask) -> Self {
        let (built_sender, built) = mpsc::channel(BUILT_QUEUE);
        Self {
            cargo: Cargo {
                program: task.config.cargo.clone(),
                workspace_dir: task.config.workspace_dir.clone(),
            },
            debouncer: Debouncer::new(task.config.debounce),
            shared: task.shared,
            config: task.config,
            store: task.store,
            packages: task.packages,
            slots: Slots::default(),
            workspace: None,
            broken: false,
            loading: Loading::Idle,
            watch: SourceWatch::off(),
            changes: Changes::default(),
            changed_at: None,
            wanted: BTreeSet::new(),
            dirty: BTreeSet::new(),
            dirty_since: None,
            inputs: Inputs::new(),
            meanwhile: Changes::default(),
            build: None,
            built,
            built_sender,
            jobs: JoinSet::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Watches from before the first look, so that no change falls between.
    fn begin(&mut self) {
        self.begin_watching();
        self.reload();
    }

    async fn next(&mut self, shutdown: &CancellationToken) -> Event {
        tokio::select! {
            () = shutdown.cancelled() => Event::Shutdown,
            // The sender is ours: the channel never closes.
            Some(built) = self.built.recv() => Event::Built(built),
            Some(done) = self.jobs.join_next() => {
                Event::Done(done.unwrap_or_else(|error| Done::Lost(error.to_string())))
            }
            () = self.shared.wake.notified() => Event::Requested,
            noticed = self.watch.noticed() => Event::Noticed(noticed),
            () = self.debouncer.over() => Event::Quiet,
        }
    }

    fn handle(&mut self, event: Event) -> Next {
        match event {
            Event::Noticed(Noticed::Changes(changes)) => {
                self.changes.merge(changes);
                self.debouncer.note(Instant::now());
            }
            Event::Noticed(Noticed::Broken(why)) => self.poll(&why),
            Event::Quiet => self.settle(),
            Event::Requested => self.want_requested(),
            Event::Built(built) => self.publish_built(built),
            Event::Done(Done::Loaded(result, packages)) => self.loaded(*result, packages),
            Event::Done(Done::Build(end)) => self.build_ended(end),
            Event::Done(Done::Probed(Ok(()))) => self.report_watching(WatchStatus::Native),
            Event::Done(Done::Probed(Err(why))) => self.poll(&why),
            Event::Done(Done::Lost(why)) => self.job_lost(&why),
            Event::Shutdown => return Next::Stop,
        }
        Next::Continue
    }

    /// Stops the jobs and waits for each.
    async fn end(mut self) {
        self.stop.cancel();
        self.built.close();
        while self.jobs.join_next().await.is_some() {}
        tracing::debug!("supervisor stopped");
    }

    /// A burst of changes is over.
    fn settle(&mut self) {
        let first = self.debouncer.take();
        self.changed_at = self.changed_at.or(first);
        let reload = match &self.workspace {
            Some(workspace) => self.broken || needs_reload(&workspace.model, &self.changes),
            None => true,
        };
        if reload || self.loading != Loading::Idle {
            self.reload();
        } else {
            self.apply_changes();
        }
    }

    fn reload(&mut self) {
        if self.loading != Loading::Idle {
            self.loading = Loading::Again;
            return;
        }
        self.loading = Loading::Running;
        let (cargo, stop) = (self.cargo.clone(), self.stop.clone());
        let packages = self.packages.clone();
        let sought = Sought::of(&self.config, packages.names());
        self.jobs.spawn(async move {
            let unpacking = spawn_blocking(|| packages.refresh());
            let workspace = load(&cargo, &sought, &stop).await;
            match unpacking.await {
                Ok(packages) => Done::Loaded(Box::new(workspace), packages),
                Err(error) => Done::Lost(error.to_string()),
            }
        });
    }

    fn loaded(&mut self, result: Result<Workspace, LoadError>, packages: Packages) {
        if std::mem::replace(&mut self.loading, Loading::Idle) == Loading::Again {
            self.reload();
            return;
        }
        match result {
            Ok(mut workspace) => {
                self.packages = packages;
                self.packages.overlay(&mut workspace.model);
                if let Some(timeout) = self.config.timeout {
                    for function in workspace.model.functions.values_mut() {
                        function.settings.timeout = timeout;
                    }
                }
                let first = self.workspace.is_none();
                let unbuilt = self.slots.declare(&workspace.model, &mut self.store);
                self.report_packages();
                for problem in &workspace.model.problems {
                    tracing::warn!(problem, "a declaration does not count");
                }
                self.inputs
                    .retain(|name, _| workspace.model.functions.contains_key(name));
                self.workspace = Some(workspace);
                self.set_watch_roots();
                if self.config.start == StartMode::Eager {
                    self.wanted.extend(unbuilt.iter().cloned());
                }
                self.want_requested();
                self.mark_dirty(unbuilt);
                if std::mem::take(&mut self.broken) || first {
                    self.mark_dirty(self.wanted.clone());
                }
                // What came while the workspace was read may be a manifest: the end of that
                // burst decides.
                if self.debouncer.due().is_none() {
                    self.apply_changes();
                }
            }
            Err(LoadError::Cancelled) => return,
            Err(error) => {
                self.broken = true;
                let text = error.to_string();
                tracing::error!("the workspace cannot be read\n{text}");
                self.slots.manifests_broken(&text);
            }
        }
        self.publish();
        self.shared.loaded.send_replace(true);
    }

    /// A zip that cannot be run is a build that failed.
    fn report_packages(&mut self) {
        for (name, refused) in self.packages.refused() {
            match refused {
                None => self.slots.packaged(name),
                Some(why) => {
                    tracing::warn!(function = %name, "the new package cannot be run\n{why}");
                    self.slots.failed(name, why);
                }
            }
        }
    }

    /// Finds out what the changes concern.
    fn apply_changes(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        let Some(workspace) = &self.workspace else {
            return;
        };
        if !changes.is_empty() {
            let concerned = affected(workspace, &self.inputs, &changes);
            tracing::debug!(
                files = changes.files.len(),
                functions = concerned.len(),
                "sources changed"
            );
            let (cargo, commands): (BTreeSet<_>, BTreeSet<_>) =
                concerned.into_iter().partition(|name| {
                    let function = workspace.model.functions.get(name);
                    function
                        .is_some_and(|function| matches!(function.source, FunctionSource::Cargo(_)))
                });
            for command in &commands {
                self.slots.restart_command(command);
            }
            if !commands.is_empty() {
                self.publish();
            }
            self.mark_dirty(cargo);
        }
        if self.build.is_some() {
            self.meanwhile.merge(changes.clone());
        }
        self.changed_at = None;
        // Cargo itself writes the lock file when a build begins: that build goes on.
        let lock_only = !changes.files.is_empty()
            && changes
                .files
                .iter()
                .all(|path| path.ends_with("Cargo.lock"));
        if !lock_only || changes.unknown || self.build.is_none() {
            self.build_or_restart();
        }
    }

    fn want_requested(&mut self) {
        let Some(workspace) = &self.workspace else {
            return;
        };
        let new: BTreeSet<FunctionName> = self
            .shared
            .requested()
            .into_iter()
            .filter(|name| !self.wanted.contains(name))
            .filter(|name| {
                let function = workspace.model.functions.get(name);
                function.is_some_and(|function| matches!(function.source, FunctionSource::Cargo(_)))
            })
            .collect();
        if new.is_empty() {
            return;
        }
        self.wanted.extend(new.iter().cloned());
        self.mark_dirty(new);
        self.start_build(false);
    }

    fn mark_dirty(&mut self, functions: BTreeSet<FunctionName>) {
        let before = self.dirty.len();
        self.dirty.extend(
            functions
                .into_iter()
                .filter(|name| self.wanted.contains(name)),
        );
        if self.dirty.len() > before {
            let since = self.changed_at.unwrap_or_else(Instant::now);
            self.dirty_since = Some(self.dirty_since.map_or(since, |known| known.min(since)));
        }
    }

    /// Builds what is dirty; a running build is older than that, so it is stopped first.
    fn build_or_restart(&mut self) {
        if self.dirty.is_empty() {
            return;
        }
        match &self.build {
            Some(build) if !build.restarted => build.cancel.cancel(),
            Some(_) => {}
            None => self.start_build(false),
        }
    }

    fn start_build(&mut self, restarted: bool) {
        let Some(workspace) = &self.workspace else {
            return;
        };
        if self.build.is_some() || self.broken {
            return;
        }
        self.dirty
            .retain(|name| workspace.model.functions.contains_key(name));
        if self.dirty.is_empty() {
            return;
        }
        let mut functions = BTreeMap::new();
        for name in &self.wanted {
            let Some(function) = workspace.model.functions.get(name) else {
                continue;
            };
            let FunctionSource::Cargo(target) = &function.source else {
                continue;
            };
            let Some(dir) = target.manifest_path.parent() else {
                continue;
            };
            let closure = workspace.graph.closure(dir);
            functions.insert(
                name.clone(),
                BuildTarget {
                    target: target.clone(),
                    concerns: closure.iter().map(|package| package.id.clone()).collect(),
                    package_id: closure
                        .first()
                        .map(|package| package.id.clone())
                        .unwrap_or_default(),
                    folder: self.store.folder(name),
                    current: self.slots.binary(name).cloned(),
                },
            );
        }
        let request = BuildRequest {
            target_dir: self
                .config
                .target_dir
                .clone()
                .unwrap_or_else(|| workspace.target_directory.join("longshore")),
            profile: self.config.profile,
            functions,
        };
        let dirty = std::mem::take(&mut self.dirty);
        tracing::info!(functions = listed(&dirty), "building");
        let cancel = self.stop.child_token();
        let (cargo, built) = (self.cargo.clone(), self.built_sender.clone());
        let job_cancel = cancel.clone();
        self.jobs
            .spawn(async move { Done::Build(build(cargo, request, built, job_cancel).await) });
        self.slots.building(&dirty);
        self.build = Some(RunningBuild {
            functions: dirty,
            since: self.dirty_since.take().unwrap_or_else(Instant::now),
            cancel,
            restarted,
        });
        self.publish();
    }

    fn publish_built(&mut self, built: Built) {
        let built_in = self
            .build
            .as_ref()
            .map_or(Duration::ZERO, |build| build.since.elapsed());
        let new = self
            .slots
            .built(&built.function, built.binary, built_in, &mut self.store);
        if let Some(generation) = new {
            tracing::info!(function = %built.function, %generation, ?built_in, "function built");
        }
        if self.dirty.contains(&built.function) {
            // Built from a source that has changed since.
            self.slots.building(&BTreeSet::from([built.function]));
        }
        self.publish();
    }

    fn build_ended(&mut self, end: BuildEnd) {
        // What was handed on before the end comes first.
        while let Ok(built) = self.built.try_recv() {
            self.publish_built(built);
        }
        let Some(build) = self.build.take() else {
            return;
        };
        match end {
            BuildEnd::Cancelled => {
                self.dirty.extend(build.functions);
                self.dirty_since = Some(
                    self.dirty_since
                        .map_or(build.since, |since| since.min(build.since)),
                );
                self.start_build(true);
            }
            BuildEnd::Finished { failed, inputs } => {
                self.inputs.extend(inputs);
                self.recall_changes(&build.functions);
                for (name, diagnostics) in &failed {
                    tracing::warn!(function = %name, "function does not build\n{diagnostics}");
                    self.slots.failed(name, diagnostics);
                }
                self.publish();
                self.start_build(false);
            }
        }
    }

    /// While a build ran nobody knew all that it read: what changed meanwhile is held
    /// against that now.
    fn recall_changes(&mut self, built: &BTreeSet<FunctionName>) {
        let meanwhile = std::mem::take(&mut self.meanwhile);
        let inputs = &self.inputs;
        let reads = |name: &&FunctionName| {
            inputs
                .get(*name)
                .is_some_and(|inputs| !inputs.is_disjoint(&meanwhile.files))
        };
        self.mark_dirty(built.iter().filter(reads).cloned().collect());
    }

    fn job_lost(&mut self, why: &str) {
        tracing::error!(error = why, "a job of the supervisor broke");
        if self.loading != Loading::Idle {
            self.loading = Loading::Idle;
        }
        if let Some(build) = self.build.take() {
            for name in &build.functions {
                self.slots
                    .failed(name, "the build broke off: save again to repeat it");
            }
        }
        self.publish();
    }

    fn publish(&mut self) {
        self.shared.table.send_replace(Arc::new(self.slots.table()));
        self.store.prune();
    }
}

/// Names as one reads them: `demo, echo`.
fn listed(functions: &BTreeSet<FunctionName>) -> String {
    let names: Vec<&str> = functions.iter().map(FunctionName::as_str).collect();
    names.join(", ")
}
