//! What cargo says about the workspace: the model of the application and the graph of the
//! packages whose sources are on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use app_model::{AppModel, Declarations, Declared, FunctionName, InvalidDeclarations};
use cargo_metadata::{DependencyKind, Metadata, Package};
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::cargo::Cargo;

/// How many packages outside the workspace are followed.
const MAX_OUTSIDE_PACKAGES: usize = 256;

/// A workspace as cargo described it.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    /// The workspace's root.
    pub(crate) root: PathBuf,
    /// Cargo's own target directory.
    pub(crate) target_directory: PathBuf,
    /// Functions, routes, problems.
    pub(crate) model: AppModel,
    /// Who depends on whom.
    pub(crate) graph: Graph,
}

/// The packages on this machine and their dependencies among each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    pub(crate) packages: Vec<LocalPackage>,
}

/// A package whose source is on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalPackage {
    /// Its folder, absolute.
    pub(crate) dir: PathBuf,
    /// Cargo's id of it, as compiler messages carry it.
    pub(crate) id: String,
    /// The folders of the packages it needs to build.
    pub(crate) needs: Vec<PathBuf>,
}

/// What a workspace is to be read for.
#[derive(Clone, Debug)]
pub(crate) struct Sought {
    handlers_dir: PathBuf,
    declarations: Option<PathBuf>,
    /// Functions that come as zips.
    packaged: BTreeSet<FunctionName>,
}

impl Sought {
    pub(crate) fn of(config: &Config, packaged: BTreeSet<FunctionName>) -> Self {
        Self {
            handlers_dir: config.handlers_dir.clone(),
            declarations: config.declarations.clone(),
            packaged,
        }
    }

    /// Whether functions may come from elsewhere.
    fn is_optional(&self) -> bool {
        self.declarations.is_some() || !self.packaged.is_empty()
    }

    fn model(&self, metadata: Option<&Metadata>) -> Result<AppModel, InvalidDeclarations> {
        let declarations = self.declarations.as_deref().map(Declarations::read);
        Ok(AppModel::of(Declared {
            metadata,
            handlers_dir: &self.handlers_dir,
            declarations: declarations.transpose()?.as_ref(),
            packaged: &self.packaged,
        }))
    }
}

/// Why the workspace could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("cannot start cargo: {0}")]
    Start(#[source] io::Error),
    /// Cargo's own words.
    #[error("{0}")]
    Refused(String),
    #[error("cannot understand `cargo metadata`: {0}")]
    Format(#[source] serde_json::Error),
    #[error(transparent)]
    Declarations(#[from] InvalidDeclarations),
    #[error("cancelled")]
    Cancelled,
}

impl Workspace {
    /// A folder without a Cargo workspace: all functions come from elsewhere.
    fn without_packages(root: &Path, model: AppModel) -> Self {
        Self {
            root: root.to_owned(),
            target_directory: root.join("target"),
            model,
            graph: Graph::default(),
        }
    }
}

/// Reads the workspace, and the manifests of path dependencies outside of it.
pub(crate) async fn load(
    cargo: &Cargo,
    sought: &Sought,
    cancel: &CancellationToken,
) -> Result<Workspace, LoadError> {
    let manifest = cargo.workspace_dir.join("Cargo.toml");
    if sought.is_optional() && !manifest.exists() {
        let root = &cargo.workspace_dir;
        return Ok(Workspace::without_packages(root, sought.model(None)?));
    }
    let metadata = read(cargo, &manifest, cancel).await?;
    let mut packages: BTreeMap<PathBuf, LocalPackage> = metadata
        .packages
        .iter()
        .map(local_package)
        .map(|package| (package.dir.clone(), package))
        .collect();
    let mut outside = 0;
    while let Some(dir) = packages
        .values()
        .flat_map(|package| &package.needs)
        .find(|dir| !packages.contains_key(*dir))
        .cloned()
    {
        outside += 1;
        let found = if outside > MAX_OUTSIDE_PACKAGES {
            None
        } else {
            // One that cannot be read is cargo's to complain about when it builds.
            read(cargo, &dir.join("Cargo.toml"), cancel)
                .await
                .ok()
                .and_then(|metadata| {
                    metadata
                        .packages
                        .iter()
                        .map(local_package)
                        .find(|package| package.dir == dir)
                })
        };
        let package = found.unwrap_or_else(|| LocalPackage {
            dir: dir.clone(),
            id: String::new(),
            needs: Vec::new(),
        });
        packages.insert(dir, package);
    }
    if cancel.is_cancelled() {
        return Err(LoadError::Cancelled);
    }
    Ok(Workspace {
        root: metadata.workspace_root.clone().into_std_path_buf(),
        target_directory: metadata.target_directory.clone().into_std_path_buf(),
        model: sought.model(Some(&metadata))?,
        graph: Graph {
            packages: packages.into_values().collect(),
        },
    })
}

async fn read(
    cargo: &Cargo,
    manifest: &Path,
    cancel: &CancellationToken,
) -> Result<Metadata, LoadError> {
    let output = cargo
        .metadata(manifest, cancel)
        .await
        .ok_or(LoadError::Cancelled)?
        .map_err(LoadError::Start)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(LoadError::Refused(text.trim().to_owned()));
    }
    serde_json::from_slice(&output.stdout).map_err(LoadError::Format)
}

fn local_package(package: &Package) -> LocalPackage {
    let manifest = package.manifest_path.as_std_path();
    LocalPackage {
        dir: manifest.parent().unwrap_or(manifest).to_owned(),
        id: package.id.repr.clone(),
        needs: package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development)
            .filter_map(|dependency| dependency.path.as_ref())
            .map(|path| path.clone().into_std_path_buf())
            .collect(),
    }
}

impl Graph {
    /// The package that owns `path`: the one with the deepest folder above it.
    pub(crate) fn owner(&self, path: &Path) -> Option<&LocalPackage> {
        self.packages
            .iter()
            .filter(|package| path.starts_with(&package.dir))
            .max_by_key(|package| package.dir.components().count())
    }

    /// The package in `dir` and all it needs, directly or not.
    pub(crate) fn closure(&self, dir: &Path) -> Vec<&LocalPackage> {
        let mut found: Vec<&LocalPackage> = Vec::new();
        let mut next = vec![dir];
        while let Some(dir) = next.pop() {
            if found.iter().any(|package| package.dir == dir) {
                continue;
            }
            if let Some(package) = self.packages.iter().find(|package| package.dir == dir) {
                found.push(package);
                next.extend(package.needs.iter().map(PathBuf::as_path));
            }
        }
        found
    }
}
