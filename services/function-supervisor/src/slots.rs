//! What the supervisor knows of each function, and how that becomes the published table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use app_model::{AppModel, Function, FunctionName, FunctionSource, RouteTable};

use crate::artifacts::{ArtifactStore, Binary, SetAside};
use crate::{Artifact, BuildState, FunctionEntry, FunctionTable, Generation};

/// All functions.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: BTreeMap<FunctionName, Slot>,
    routes: RouteTable,
    problems: Vec<String>,
    /// The newest generation of every function there ever was: a function that comes back
    /// counts on.
    generations: BTreeMap<FunctionName, u64>,
}

#[derive(Debug)]
struct Slot {
    entry: FunctionEntry,
    binary: Option<Binary>,
}

impl Slots {
    /// The published form.
    pub(crate) fn table(&self) -> FunctionTable {
        FunctionTable {
            functions: self
                .slots
                .iter()
                .map(|(name, slot)| (name.clone(), slot.entry.clone()))
                .collect(),
            routes: self.routes.clone(),
            problems: self.problems.clone(),
        }
    }

    /// The binary set aside for `name`.
    pub(crate) fn binary(&self, name: &FunctionName) -> Option<&Binary> {
        self.slots.get(name)?.binary.as_ref()
    }

    /// Takes over what the manifests declare now. Functions that are gone go; those declared
    /// anew appear; those declared otherwise get a new generation. Returns the Cargo
    /// functions that are new or come from somewhere else.
    pub(crate) fn declare(
        &mut self,
        model: &AppModel,
        store: &mut ArtifactStore,
    ) -> BTreeSet<FunctionName> {
        self.routes = model.routes.clone();
        self.problems = model.problems.clone();
        self.slots
            .retain(|name, _| model.functions.contains_key(name));
        let mut unbuilt = BTreeSet::new();
        for (name, function) in &model.functions {
            let known = self.slots.get(name).map(|slot| &slot.entry.function);
            if known == Some(function) {
                continue;
            }
            let same_source = known.is_some_and(|known| known.source == function.source);
            match &function.source {
                FunctionSource::Command(_) => self.declare_command(function),
                FunctionSource::Cargo(_) if same_source => self.redeclare(function, store),
                FunctionSource::Cargo(_) => {
                    self.slots.insert(
                        name.clone(),
                        Slot {
                            entry: FunctionEntry {
                                function: function.clone(),
                                build: BuildState::NotBuilt,
                                artifact: None,
                            },
                            binary: None,
                        },
                    );
                    unbuilt.insert(name.clone());
                }
            }
        }
        unbuilt
    }

    /// A command starts anew: what it runs has changed.
    pub(crate) fn restart_command(&mut self, name: &FunctionName) {
        let Some(slot) = self.slots.get(name) else {
            return;
        };
        let function = slot.entry.function.clone();
        self.declare_command(&function);
    }

    /// The same binary with other settings: a generation of its own.
    fn redeclare(&mut self, function: &Function, store: &mut ArtifactStore) {
        let Some(slot) = self.slots.get_mut(&function.name) else {
            return;
        };
        slot.entry.function = function.clone();
        if let (Some(binary), Some(_)) = (slot.binary.clone(), &slot.entry.artifact) {
            self.publish_binary(&function.name, &binary, Duration::ZERO, store);
        }
    }

    fn declare_command(&mut self, function: &Function) {
        let FunctionSource::Command(command) = &function.source else {
            return;
        };
        let mut argv = command.argv.clone();
        if let Some(program) = argv.first_mut()
            && program.contains('/')
        {
            *program = command.cwd.join(&*program).display().to_string();
        }
        let artifact = Artifact {
            generation: self.next_generation(&function.name),
            function: function.clone(),
            argv,
            cwd: command.cwd.clone(),
            built_in: Duration::ZERO,
        };
        let entry = FunctionEntry {
            function: function.clone(),
            build: BuildState::Built,
            artifact: Some(Arc::new(artifact)),
        };
        self.slots.insert(
            function.name.clone(),
            Slot {
                entry,
                binary: None,
            },
        );
    }

    /// A build of `names` is under way.
    pub(crate) fn building(&mut self, names: &BTreeSet<FunctionName>) {
        let since = SystemTime::now();
        for name in names {
            if let Some(slot) = self.slots.get_mut(name)
                && !matches!(slot.entry.build, BuildState::Building { .. })
            {
                slot.entry.build = BuildState::Building { since };
            }
        }
    }

    /// A build gave `name` a binary. Says whether that is a new generation.
    pub(crate) fn built(
        &mut self,
        name: &FunctionName,
        binary: SetAside,
        built_in: Duration,
        store: &mut ArtifactStore,
    ) -> Option<Generation> {
        let slot = self.slots.get_mut(name)?;
        match binary {
            SetAside::Same(binary) => {
                slot.binary = Some(binary);
                slot.entry.build = BuildState::Built;
                None
            }
            SetAside::New(incoming) => {
                let next = Generation(self.generations.get(name).copied().unwrap_or(0) + 1);
                match store.adopt(name, incoming, next) {
                    Ok(binary) => {
                        slot.entry.build = BuildState::Built;
                        self.publish_binary(name, &binary, built_in, store)
                    }
                    Err(error) => {
                        self.failed(name, &format!("cannot set the binary aside: {error}"));
                        None
                    }
                }
            }
        }
    }

    fn publish_binary(
        &mut self,
        name: &FunctionName,
        binary: &Binary,
        built_in: Duration,
        store: &mut ArtifactStore,
    ) -> Option<Generation> {
        let generation = self.next_generation(name);
        let slot = self.slots.get_mut(name)?;
        let FunctionSource::Cargo(target) = &slot.entry.function.source else {
            return None;
        };
        let artifact = Arc::new(Artifact {
            generation,
            function: slot.entry.function.clone(),
            argv: vec![binary.path.display().to_string()],
            cwd: target
                .manifest_path
                .parent()
                .map(PathBuf::from)
                .unwrap_or_default(),
            built_in,
        });
        store.keep(&artifact, binary);
        slot.entry.artifact = Some(artifact);
        slot.binary = Some(binary.clone());
        Some(generation)
    }

    /// The newest source of `name` does not build. What was built before stays.
    pub(crate) fn failed(&mut self, name: &FunctionName, diagnostics: &str) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.entry.build = BuildState::Failed {
                diagnostics: Arc::from(diagnostics),
                at: SystemTime::now(),
            };
        }
    }

    /// The newest zip of `name` is the one that runs.
    pub(crate) fn packaged(&mut self, name: &FunctionName) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.entry.build = BuildState::Built;
        }
    }

    /// The manifests cannot be read: nothing that cargo builds can be built.
    pub(crate) fn manifests_broken(&mut self, why: &str) {
        self.problems = vec![why.to_owned()];
        let names: Vec<FunctionName> = self
            .slots
            .values()
            .filter(|slot| matches!(slot.entry.function.source, FunctionSource::Cargo(_)))
            .filter(|slot| !matches!(slot.entry.build, BuildState::NotBuilt))
            .map(|slot| slot.entry.function.name.clone())
            .collect();
        for name in names {
            self.failed(&name, why);
        }
    }

    fn next_generation(&mut self, name: &FunctionName) -> Generation {
        let newest = self.generations.entry(name.clone()).or_insert(0);
        *newest += 1;
        Generation(*newest)
    }
}
