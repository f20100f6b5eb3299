//! The import table of ARCHITECTURE.md, held against `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Every crate of `services/` and what it may import of the workspace. Handlers may import
/// `pipeline-contract` and the libraries among themselves.
const TABLE: &[(&str, &[&str])] = &[
    ("pipeline-contract", &[]),
    ("service-runtime", &[]),
    ("journal", &[]),
    ("app-model", &[]),
    ("function-supervisor", &["app-model", "function-package"]),
    (
        "mock-gateway",
        &[
            "service-runtime",
            "app-model",
            "function-supervisor",
            "journal",
        ],
    ),
    ("aws-endpoint", &["service-runtime"]),
    (
        "mock-destination",
        &["service-runtime", "pipeline-contract", "journal"],
    ),
    (
        "callback-poller",
        &["service-runtime", "pipeline-contract", "journal"],
    ),
    ("egress-proxy", &["service-runtime"]),
    ("container-keeper", &[]),
    ("function-package", &["app-model"]),
];

/// Crates from outside that a crate must not know.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "pipeline-contract",
        &["tokio", "axum", "reqwest", "aws-sdk-s3"],
    ),
    ("app-model", &["axum", "tokio", "hyper"]),
    ("function-supervisor", &["axum", "hyper", "service-runtime"]),
    ("mock-gateway", &["notify", "cargo_metadata"]),
];

fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let metadata = MetadataCommand::new()
        .manifest_path(manifest)
        .no_deps()
        .exec()
        .expect("cargo metadata");
    let normal = |package: &cargo_metadata::Package| {
        let dependencies = package.dependencies.iter();
        dependencies
            .filter(|dependency| dependency.kind == DependencyKind::Normal)
            .map(|dependency| dependency.name.clone())
            .collect()
    };
    metadata
        .packages
        .iter()
        .map(|package| (package.name.to_string(), normal(package)))
        .collect()
}

fn folder_of(name: &str) -> Option<&'static str> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    ["services", "handlers"]
        .into_iter()
        .find(|folder| root.join(folder).join(name).is_dir())
}

#[test]
fn services_import_only_what_the_table_allows() {
    let imports = imports();
    let of_workspace: BTreeSet<_> = imports.keys().cloned().collect();
    for (name, allowed) in TABLE {
        let used = imports
            .get(*name)
            .unwrap_or_else(|| panic!("there is no crate {name}: mend the table"));
        let foreign: Vec<_> = used
            .intersection(&of_workspace)
            .filter(|import| !allowed.contains(&import.as_str()))
            .collect();
        assert!(
            foreign.is_empty(),
            "{name} imports {foreign:?}, which ARCHITECTURE.md does not allow"
        );
    }
    for (name, forbidden) in FORBIDDEN {
        let known: Vec<_> = forbidden
            .iter()
            .filter(|import| imports[*name].contains(**import))
            .collect();
        assert!(known.is_empty(), "{name} must not know {known:?}");
    }
}

#[test]
fn every_service_is_in_the_table() {
    let known: BTreeSet<_> = TABLE.iter().map(|(name, _)| *name).collect();
    for name in imports()
        .keys()
        .filter(|name| folder_of(name) == Some("services"))
    {
        assert!(
            known.contains(name.as_str()) || name == "longshore",
            "{name} has no row in the table"
        );
    }
}

#[test]
fn handlers_know_nothing_of_the_services() {
    let imports = imports();
    for (name, used) in imports
        .iter()
        .filter(|(name, _)| folder_of(name) == Some("handlers"))
    {
        let services: Vec<_> = used
            .iter()
            .filter(|import| {
                folder_of(import) == Some("services") && *import != "pipeline-contract"
            })
            .collect();
        assert!(
            services.is_empty(),
            "{name} imports {services:?}: it ships to AWS, they do not"
        );
    }
}
