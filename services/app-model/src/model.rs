//! The application as its manifests declare it: functions, routes, and what is wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, Package, TargetKind};

use crate::api_settings::declared_api;
use crate::command_keys::declared_commands;
use crate::router_keys::{DeclaredRoute, declared_routes};
use crate::section::{Problems, Section};
use crate::settings::SettingsLayers;
use crate::{
    CargoTarget, Function, FunctionName, FunctionSource, Layers, RouteDeclaration, RouteTable,
};

/// The application as its manifests declare it.
#[derive(Clone, Debug, Default)]
pub struct AppModel {
    /// The functions, by name.
    pub functions: BTreeMap<FunctionName, Function>,
    /// Which routes lead to them.
    pub routes: RouteTable,
    /// What is added to every function.
    pub layers: Layers,
    /// What is wrong with the declarations, each naming its file and key. What is not named
    /// here counts.
    pub problems: Vec<String>,
    /// Files besides the manifests that were read (`env_file`): a change in one of them
    /// makes this model stale.
    pub inputs: Vec<PathBuf>,
}

impl AppModel {
    /// Reads the model out of `cargo metadata`'s answer. Functions are the binaries of the
    /// packages below `handlers_dir` (relative to the workspace's root); when no package is
    /// there, the binaries of all packages of the workspace, as in a cargo-lambda workspace.
    #[must_use]
    pub fn from_metadata(metadata: &Metadata, handlers_dir: &Path) -> Self {
        let mut model = Self::default();
        let mut routes = Vec::new();
        let root_manifest = metadata.workspace_root.join("Cargo.toml");
        let workspace = Section::new(
            &metadata.workspace_metadata,
            root_manifest.as_std_path(),
            "workspace.metadata",
        );

        let mut problems = Problems::new();
        let workspace_lambda = workspace.section("lambda", &mut problems);
        let workspace_longshore = workspace.section("longshore", &mut problems);
        model.layers.add(&workspace_longshore, &mut problems);
        let handlers = metadata.workspace_root.as_std_path().join(handlers_dir);
        for package in function_packages(metadata, &handlers) {
            let section = package_section(package);
            let lambda = section.section("lambda", &mut problems);
            let longshore = section.section("longshore", &mut problems);
            for target in package
                .targets
                .iter()
                .filter(|target| target.kind.contains(&TargetKind::Bin))
            {
                if !target.required_features.is_empty() {
                    problems.push(format!(
                        "{}: binary `{}` is no function because it needs features ({}): make them default to have it",
                        package.manifest_path, target.name, target.required_features.join(", "),
                    ));
                    continue;
                }
                let name: FunctionName = match target.name.parse() {
                    Ok(name) => name,
                    Err(error) => {
                        problems.push(format!("{}: {error}", package.manifest_path));
                        continue;
                    }
                };
                let mut settings = SettingsLayers::default();
                settings.add_lambda(&workspace_lambda, &target.name, &mut problems);
                settings.add_lambda(&lambda, &target.name, &mut problems);
                settings.add_layers(&workspace_longshore, &mut problems);
                settings.add_layers(&longshore, &mut problems);
                model.inputs.append(&mut settings.inputs);
                model.add(
                    Function {
                        name,
                        source: FunctionSource::Cargo(CargoTarget {
                            package: package.name.to_string(),
                            bin: target.name.clone(),
                            manifest_path: package.manifest_path.clone().into_std_path_buf(),
                        }),
                        beyond: settings.beyond(),
                        settings: settings.into_settings("bootstrap"),
                    },
                    package.manifest_path.as_std_path(),
                    &mut problems,
                );
            }
        }
        for package in metadata.workspace_packages() {
            let section = package_section(package);
            let lambda = section.section("lambda", &mut problems);
            routes.extend(declared_routes(&lambda, &mut problems));
            let longshore = section.section("longshore", &mut problems);
            if longshore.value("api").is_some() {
                problems.push(longshore.problem(
                    "api",
                    "APIs are the whole workspace's: move this to `workspace.metadata.longshore.api`",
                ));
            }
            let around = [&workspace_longshore, &longshore];
            let inputs = &mut model.inputs;
            for function in declared_commands(&longshore, &around, inputs, &mut problems) {
                model.add(function, package.manifest_path.as_std_path(), &mut problems);
            }
        }
        let longshore = &workspace_longshore;
        let api = longshore.section("api", &mut problems);
        let inputs = &mut model.inputs;
        for function in declared_commands(longshore, &[longshore], inputs, &mut problems) {
            model.add(function, root_manifest.as_std_path(), &mut problems);
        }
        // After the packages' own, which win over the workspace's.
        routes.extend(declared_routes(&workspace_lambda, &mut problems));

        model.problems = problems;
        model.route(routes);
        let api = declared_api(&api, &model.functions, &model.routes, &mut model.problems);
        model.routes = std::mem::take(&mut model.routes).with_api(api);
        // The workspace's tables are read once per function.
        let mut seen = std::collections::BTreeSet::new();
        model
            .problems
            .retain(|problem| seen.insert(problem.clone()));
        model.inputs.sort_unstable();
        model.inputs.dedup();
        model
    }

    fn add(&mut self, function: Function, manifest: &Path, problems: &mut Problems) {
        if let Some(first) = self.functions.get(&function.name) {
            problems.push(format!(
                "{}: function `{}` is declared twice, first by {}: rename one of them",
                manifest.display(),
                function.name,
                match &first.source {
                    FunctionSource::Cargo(target) => format!("package `{}`", target.package),
                    FunctionSource::Command(_) => "a command".to_owned(),
                },
            ));
            return;
        }
        self.functions.insert(function.name.clone(), function);
    }

    fn route(&mut self, declared: Vec<DeclaredRoute>) {
        let mut declarations = Vec::new();
        for route in declared {
            match route.function.parse::<FunctionName>() {
                Ok(function) if self.functions.contains_key(&function) => {
                    declarations.push(RouteDeclaration {
                        resource: route.path,
                        methods: route.methods,
                        function,
                    });
                }
                _ => self.problems.push(format!(
                    "{}there is no function `{}`",
                    route.at, route.function
                )),
            }
        }
        let (routes, problems) = RouteTable::new(declarations);
        self.routes = routes;
        self.problems.extend(
            problems
                .iter()
                .map(|problem| format!("metadata.lambda.watch.router: {problem}")),
        );
    }
}

fn package_section(package: &Package) -> Section<'_> {
    Section::new(
        &package.metadata,
        package.manifest_path.as_std_path(),
        "package.metadata",
    )
}

/// The packages whose binaries are functions, in the order cargo lists them.
fn function_packages<'a>(metadata: &'a Metadata, handlers: &Path) -> Vec<&'a Package> {
    let below: Vec<&Package> = metadata
        .workspace_packages()
        .into_iter()
        .filter(|package| package.manifest_path.as_std_path().starts_with(handlers))
        .collect();
    if below.is_empty() {
        metadata.workspace_packages()
    } else {
        below
    }
}
