//! Which functions a change concerns. Pure: changed paths and the package graph in, a
//! verdict out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use app_model::{AppModel, Function, FunctionName, FunctionSource};

use crate::workspace::{Graph, Workspace};

/// What changed on disk since the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Files that appeared, changed or went.
    pub(crate) files: BTreeSet<PathBuf>,
    /// Folders that appeared or went.
    pub(crate) folders: BTreeSet<PathBuf>,
    /// Something was missed: anything may have changed.
    pub(crate) unknown: bool,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.folders.is_empty() && !self.unknown
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.files.extend(other.files);
        self.folders.extend(other.folders);
        self.unknown |= other.unknown;
    }
}

/// Whether the workspace must be read again before anything else.
pub(crate) fn needs_reload(model: &AppModel, changes: &Changes) -> bool {
    changes.unknown
        || !changes.folders.is_empty()
        || changes.files.iter().any(|path| {
            file_name(path) == "Cargo.toml" || concerns_all(path) || model.inputs.contains(path)
        })
}

/// The local files that a function's binary was made of, as its last build told.
pub(crate) type Inputs = BTreeMap<FunctionName, BTreeSet<PathBuf>>;

/// The functions that `changes` concern: by the packages they are made of, and by files
/// outside of those that `inputs` names (`include_str!("../../fixtures/x.json")`).
pub(crate) fn affected(
    workspace: &Workspace,
    inputs: &Inputs,
    changes: &Changes,
) -> BTreeSet<FunctionName> {
    let root_manifest = workspace.root.join("Cargo.toml");
    let all = changes.unknown
        || changes
            .files
            .iter()
            .any(|path| concerns_all(path) || *path == root_manifest);
    workspace
        .model
        .functions
        .values()
        .filter(|function| {
            changes.unknown
                || inputs
                    .get(&function.name)
                    .is_some_and(|inputs| changes.files.iter().any(|path| inputs.contains(path)))
                || match &function.source {
                    FunctionSource::Cargo(target) => {
                        all || target.manifest_path.parent().is_some_and(|dir| {
                            let mut paths = changes.files.iter().chain(&changes.folders);
                            paths.any(|path| touches(&workspace.graph, dir, path))
                        })
                    }
                    FunctionSource::Command(command) => {
                        changes.files.iter().chain(&changes.folders).any(|path| {
                            command
                                .watch
                                .iter()
                                .any(|watched| path.starts_with(watched))
                        })
                    }
                }
        })
        .map(|function: &Function| function.name.clone())
        .collect()
}

/// Whether `path` belongs to the package in `dir` or to one it needs.
fn touches(graph: &Graph, dir: &Path, path: &Path) -> bool {
    graph.owner(path).is_some_and(|owner| {
        graph
            .closure(dir)
            .iter()
            .any(|package| package.dir == owner.dir)
    })
}

/// Files that change how everything is built.
fn concerns_all(path: &Path) -> bool {
    let in_cargo_folder = || path.parent().is_some_and(|dir| file_name(dir) == ".cargo");
    match file_name(path) {
        "Cargo.lock" | "rust-toolchain" | "rust-toolchain.toml" => true,
        "config" | "config.toml" => in_cargo_folder(),
        _ => false,
    }
}

fn file_name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::LocalPackage;
    use app_model::{CargoTarget, CommandSource, FunctionSettings};

    fn package(dir: &str, needs: &[&str]) -> LocalPackage {
        LocalPackage {
            dir: dir.into(),
            id: format!("path+file://{dir}#0.1.0"),
            needs: needs.iter().map(PathBuf::from).collect(),
        }
    }

    fn function(name: &str, source: FunctionSource) -> (FunctionName, Function) {
        let name: FunctionName = name.parse().unwrap();
        let settings = FunctionSettings {
            memory_mb: 128,
            timeout: FunctionSettings::DEFAULT_TIMEOUT,
            env: std::collections::BTreeMap::new(),
            handler: "bootstrap".into(),
            log_format: app_model::LogFormat::Text,
            recursive_loop: app_model::RecursiveLoop::Terminate,
            layers: app_model::Layers::default(),
        };
        (
            name.clone(),
            Function {
                name,
                source,
                settings,
                beyond: Vec::new(),
            },
        )
    }

    /// `demo` and `echo` need `runner`; `demo` needs `outside`, which needs `deep`; `solo`
    /// needs nothing; `old` is a command.
    fn workspace() -> Workspace {
        let cargo = |name: &str| {
            function(
                name,
                FunctionSource::Cargo(CargoTarget {
                    package: name.into(),
                    bin: name.into(),
                    manifest_path: format!("/ws/handlers/{name}/Cargo.toml").into(),
                }),
            )
        };
        let mut model = AppModel::default();
        model
            .functions
            .extend([cargo("demo"), cargo("echo"), cargo("solo")]);
        model.functions.extend([function(
            "old",
            FunctionSource::Command(CommandSource {
                argv: vec!["python3".into()],
                cwd: "/ws/legacy".into(),
                watch: vec!["/ws/legacy".into()],
            }),
        )]);
        model.inputs.push("/ws/handlers/demo/local.env".into());
        Workspace {
            root: "/ws".into(),
            target_directory: "/ws/target".into(),
            model,
            graph: Graph {
                packages: vec![
                    package(
                        "/ws/handlers/demo",
                        &["/ws/handlers/runner", "/elsewhere/outside"],
                    ),
                    package("/ws/handlers/echo", &["/ws/handlers/runner"]),
                    package("/ws/handlers/solo", &[]),
                    package("/ws/handlers/runner", &[]),
                    package("/elsewhere/outside", &["/elsewhere/deep"]),
                    package("/elsewhere/deep", &["/elsewhere/outside"]),
                ],
            },
        }
    }

    #[test]
    fn a_change_concerns_its_package_and_all_that_need_it() {
        let workspace = workspace();
        let solo: FunctionName = "solo".parse().unwrap();
        let inputs = Inputs::from([(solo, BTreeSet::from(["/ws/fixtures/table.json".into()]))]);
        for (path, reload, expected) in [
            ("/ws/handlers/demo/src/lib.rs", false, "demo"),
            ("/ws/handlers/demo/data/table.json", false, "demo"),
            ("/ws/handlers/runner/src/lib.rs", false, "demo echo"),
            ("/ws/handlers/runner/Cargo.toml", true, "demo echo"),
            ("/ws/handlers/solo/build.rs", false, "solo"),
            ("/elsewhere/deep/src/lib.rs", false, "demo"),
            ("/ws/Cargo.toml", true, "demo echo solo"),
            ("/ws/Cargo.lock", true, "demo echo solo"),
            ("/ws/rust-toolchain.toml", true, "demo echo solo"),
            ("/ws/.cargo/config.toml", true, "demo echo solo"),
            ("/ws/handlers/demo/config.toml", false, "demo"),
            ("/ws/handlers/demo/local.env", true, "demo"),
            ("/ws/handlers/new/Cargo.toml", true, ""),
            ("/ws/legacy/app.py", false, "old"),
            ("/ws/fixtures/table.json", false, "solo"),
            ("/ws/README.md", false, ""),
            ("/ws/handlers/demonstration/src/lib.rs", false, ""),
        ] {
            let changes = Changes {
                files: BTreeSet::from([path.into()]),
                ..Changes::default()
            };
            let functions = affected(&workspace, &inputs, &changes);
            let names: Vec<&str> = functions.iter().map(FunctionName::as_str).collect();
            assert_eq!(names.join(" "), expected, "{path}");
            assert_eq!(needs_reload(&workspace.model, &changes), reload, "{path}");
        }
    }

    #[test]
    fn folders_reload_and_a_gap_concerns_everything() {
        let (workspace, inputs) = (workspace(), Inputs::new());
        let folder = Changes {
            folders: BTreeSet::from(["/ws/handlers/new".into()]),
            ..Changes::default()
        };
        assert!(needs_reload(&workspace.model, &folder));
        assert!(affected(&workspace, &inputs, &folder).is_empty());
        let gap = Changes {
            unknown: true,
            ..Changes::default()
        };
        assert!(needs_reload(&workspace.model, &gap));
        assert_eq!(affected(&workspace, &inputs, &gap).len(), 4);
    }
}
