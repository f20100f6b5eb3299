//! The application as its manifests declare it: functions, routes, and what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, Package, TargetKind};
use serde_json::Value;

use crate::api_settings::declared_api;
use crate::command_keys::declared_commands;
use crate::declarations::laid_over;
use crate::router_keys::{DeclaredRoute, declared_routes};
use crate::section::{Problems, Section};
use crate::settings::SettingsLayers;
use crate::{
    CargoTarget, Declarations, Function, FunctionName, FunctionSource, Layers, RouteDeclaration,
    RouteTable,
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
    /// Files besides the manifests that were read (`env_file`, declarations): a change in one of them
    /// makes this model stale.
    pub inputs: Vec<PathBuf>,
}

/// Where a model is declared.
#[derive(Clone, Copy, Debug)]
pub struct Declared<'a> {
    /// What cargo says of the workspace; none where there is no workspace.
    pub metadata: Option<&'a Metadata>,
    /// The folder of the functions' packages, relative to the workspace's root. When no
    /// package is there, the binaries of all packages of the workspace are functions, as in
    /// a cargo-lambda workspace.
    pub handlers_dir: &'a Path,
    /// A file that has the last word over the manifests.
    pub declarations: Option<&'a Declarations>,
    /// Functions that come from elsewhere, as zips: routes may lead to them.
    pub packaged: &'a BTreeSet<FunctionName>,
}

/// The tables of one file that are about the whole workspace.
struct Tables<'a> {
    lambda: Section<'a>,
    longshore: Section<'a>,
}

impl<'a> Tables<'a> {
    /// Those of a manifest.
    fn of_workspace(metadata: &'a Value, manifest: &'a Path, problems: &mut Problems) -> Self {
        let section = Section::new(metadata, manifest, "workspace.metadata");
        Self {
            lambda: section.section("lambda", problems),
            longshore: section.section("longshore", problems),
        }
    }

    /// Those of a file in which nothing else counts.
    fn of_declarations(declarations: &'a Declarations, problems: &mut Problems) -> Self {
        let file = declarations.file();
        let mut at = Section::new(declarations.root(), file, "");
        let mut value = declarations.root();
        for name in ["workspace", "metadata"] {
            only(&at, &[name], problems);
            at = at.section(name, problems);
            value = value.get(name).unwrap_or(&Value::Null);
        }
        only(&at, &["lambda", "longshore"], problems);
        Self::of_workspace(value, file, problems)
    }
}

/// Says what of a file of declarations does not count.
fn only(table: &Section<'_>, known: &[&str], problems: &mut Problems) {
    for name in table.names().filter(|name| !known.contains(name)) {
        let what = "only `workspace.metadata.lambda` and `workspace.metadata.longshore` count here";
        problems.push(table.problem(name, what));
    }
}

impl AppModel {
    /// Reads the model out of `cargo metadata`'s answer alone; see [`Declared::handlers_dir`].
    #[must_use]
    pub fn from_metadata(metadata: &Metadata, handlers_dir: &Path) -> Self {
        Self::of(Declared {
            metadata: Some(metadata),
            handlers_dir,
            declarations: None,
            packaged: &BTreeSet::new(),
        })
    }

    /// Reads the model.
    #[must_use]
    pub fn of(declared: Declared<'_>) -> Self {
        let mut model = Self::default();
        let mut routes = Vec::new();
        let mut problems = Problems::new();
        let metadata = declared.metadata;
        let root = metadata.map(|metadata| metadata.workspace_root.as_std_path());
        let root_manifest = root.unwrap_or(Path::new("")).join("Cargo.toml");
        let nothing = Value::Null;
        let table = metadata.map_or(&nothing, |metadata| &metadata.workspace_metadata);
        let workspace = Tables::of_workspace(table, &root_manifest, &mut problems);
        let over = declared
            .declarations
            .map(|declarations| Tables::of_declarations(declarations, &mut problems));
        let over_longshore = over.as_ref().map(|over| &over.longshore);

        model.layers.add(&workspace.longshore, &mut problems);
        if let Some(over) = over_longshore {
            model.layers.add(over, &mut problems);
        }
        if let Some(over) = &over {
            routes.extend(declared_routes(&over.lambda, &mut problems));
        }
        let packages = metadata.map_or_else(Vec::new, Metadata::workspace_packages);
        let handlers = root.unwrap_or(Path::new("")).join(declared.handlers_dir);
        for package in function_packages(&packages, &handlers) {
            model.add_binaries(package, &workspace, over.as_ref(), &mut problems);
        }
        for package in &packages {
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
            let around: Vec<_> = [&workspace.longshore, &longshore]
                .into_iter()
                .chain(over_longshore)
                .collect();
            let inputs = &mut model.inputs;
            for function in declared_commands(&longshore, &around, inputs, &mut problems) {
                model.add(function, package.manifest_path.as_std_path(), &mut problems);
            }
        }
        let around: Vec<_> = std::iter::once(&workspace.longshore)
            .chain(over_longshore)
            .collect();
        let inputs = &mut model.inputs;
        for function in declared_commands(&workspace.longshore, &around, inputs, &mut problems) {
            model.add(function, &root_manifest, &mut problems);
        }
        if let Some(over) = over_longshore {
            // The last word: what the manifests call so is not there.
            let inputs = &mut model.inputs;
            for function in declared_commands(over, &around, inputs, &mut problems) {
                model.functions.insert(function.name.clone(), function);
            }
        }
        // After the packages' own, which win over the workspace's.
        routes.extend(declared_routes(&workspace.lambda, &mut problems));

        model.problems = problems;
        let names: BTreeSet<FunctionName> = model
            .functions
            .keys()
            .chain(declared.packaged)
            .cloned()
            .collect();
        model.route(routes, &names);
        let mut api = workspace.longshore.section("api", &mut model.problems);
        let merged;
        if let (Some(over), Some(declarations)) = (over_longshore, declared.declarations) {
            // Says so if it is no table.
            over.section("api", &mut model.problems);
            let table = over.value("api");
            merged = laid_over(workspace.longshore.value("api"), table);
            let key = "workspace.metadata.longshore.api";
            api = Section::new(&merged, &root_manifest, key)
                .with(table.map(|table| (table, declarations.file())));
        }
        let api = declared_api(&api, &names, &model.routes, &mut model.problems);
        model.routes = std::mem::take(&mut model.routes).with_api(api);
        // The workspace's tables are read once per function.
        let mut seen = BTreeSet::new();
        model
            .problems
            .retain(|problem| seen.insert(problem.clone()));
        let file = declared.declarations.map(Declarations::file);
        model.inputs.extend(file.map(Path::to_owned));
        model.inputs.sort_unstable();
        model.inputs.dedup();
        model
    }

    /// The binaries of a package, each a function.
    fn add_binaries(
        &mut self,
        package: &Package,
        workspace: &Tables<'_>,
        over: Option<&Tables<'_>>,
        problems: &mut Problems,
    ) {
        let section = package_section(package);
        let lambda = section.section("lambda", problems);
        let longshore = section.section("longshore", problems);
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
            let over_lambda = over.map(|over| &over.lambda);
            for lambda in [&workspace.lambda, &lambda].into_iter().chain(over_lambda) {
                settings.add_lambda(lambda, &target.name, problems);
            }
            let over_longshore = over.map(|over| &over.longshore);
            let around = [&workspace.longshore, &longshore].into_iter();
            for longshore in around.chain(over_longshore) {
                settings.add_layers(longshore, problems);
            }
            self.inputs.append(&mut settings.inputs);
            self.add(
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
                problems,
            );
        }
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

    fn route(&mut self, declared: Vec<DeclaredRoute>, names: &BTreeSet<FunctionName>) {
        let mut declarations = Vec::new();
        for route in declared {
            match route.function.parse::<FunctionName>() {
                Ok(function) if names.contains(&function) => {
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
fn function_packages<'a>(packages: &[&'a Package], handlers: &Path) -> Vec<&'a Package> {
    let below: Vec<&Package> = packages
        .iter()
        .copied()
        .filter(|package| package.manifest_path.as_std_path().starts_with(handlers))
        .collect();
    if below.is_empty() {
        packages.to_vec()
    } else {
        below
    }
}
