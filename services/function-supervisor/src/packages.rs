//! Functions that come as zips instead of from source: what is uploaded is what runs.
//!
//! Each zip is unpacked read-only and stands over the workspace's function of the same name,
//! whose settings it keeps. A zip that is replaced becomes the next generation; one that
//! cannot be run changes nothing but the function's build state.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use app_model::parity::ZIP_SIZE;
use app_model::{
    AppModel, CommandSource, Excess, Function, FunctionName, FunctionSettings, FunctionSource,
    Layers,
};
use function_package::{BOOTSTRAP, UnpackedArtifact, remove_unpacked, unpack};

use crate::{PackageSource, StartError};

/// The functions that come as zips, as they were last unpacked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packages {
    into: PathBuf,
    packages: BTreeMap<FunctionName, Packaged>,
}

#[derive(Clone, Debug)]
struct Packaged {
    zip: PathBuf,
    unpacked: UnpackedArtifact,
    /// Why the newest zip is not what is unpacked.
    refused: Option<String>,
}

impl Packages {
    /// Unpacks every zip below `state_dir`, whose lock is held, and removes what earlier runs
    /// left there.
    pub(crate) fn open(sources: &[PackageSource], state_dir: &Path) -> Result<Self, StartError> {
        let mut packages = Self {
            into: state_dir.join("packages"),
            packages: BTreeMap::new(),
        };
        for source in sources {
            let failed = |source: &PackageSource, why: Box<dyn Error + Send + Sync>| {
                let zip = source.zip.clone();
                StartError::Package { zip, why }
            };
            // Events name physical paths: ours must compare equal.
            let zip = source.zip.canonicalize();
            let zip = zip.map_err(|why| failed(source, why.into()))?;
            let unpacked =
                unpack(&zip, &packages.into).map_err(|why| failed(source, why.into()))?;
            let name = match &source.name {
                Some(name) => name.clone(),
                None => unpacked
                    .handler
                    .parse()
                    .map_err(|why: app_model::InvalidFunctionName| failed(source, why.into()))?,
            };
            let packaged = Packaged {
                zip,
                unpacked,
                refused: None,
            };
            if let Some(first) = packages.packages.insert(name.clone(), packaged) {
                return Err(StartError::PackageTwice {
                    function: name.to_string(),
                    first: first.zip,
                    second: source.zip.clone(),
                });
            }
        }
        packages.remove_stale();
        Ok(packages)
    }

    /// The zips, absolute.
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        let zips = self.packages.values().map(|packaged| packaged.zip.clone());
        zips.collect()
    }

    /// The functions.
    pub(crate) fn names(&self) -> BTreeSet<FunctionName> {
        self.packages.keys().cloned().collect()
    }

    /// Unpacks what has changed. Blocks: run it where blocking is allowed.
    pub(crate) fn refresh(mut self) -> Self {
        for packaged in self.packages.values_mut() {
            match unpack(&packaged.zip, &self.into) {
                Ok(unpacked) => {
                    packaged.unpacked = unpacked;
                    packaged.refused = None;
                }
                Err(error) => packaged.refused = Some(chain(&error)),
            }
        }
        self
    }

    /// Why the newest zip of a function is not the one that runs.
    pub(crate) fn refused(&self) -> impl Iterator<Item = (&FunctionName, Option<&str>)> {
        let packages = self.packages.iter();
        packages.map(|(name, packaged)| (name, packaged.refused.as_deref()))
    }

    /// Puts the functions over the workspace's.
    pub(crate) fn overlay(&self, model: &mut AppModel) {
        for (name, packaged) in &self.packages {
            let declared = model.functions.get(name);
            let root = &packaged.unpacked.task_root;
            let function = Function {
                name: name.clone(),
                source: FunctionSource::Command(CommandSource {
                    argv: vec![root.join(BOOTSTRAP).display().to_string()],
                    cwd: root.clone(),
                    watch: Vec::new(),
                }),
                settings: settings(declared, &model.layers, &packaged.unpacked),
                beyond: beyond(declared, packaged.unpacked.zip_bytes),
            };
            model.functions.insert(name.clone(), function);
            model.inputs.push(packaged.zip.clone());
        }
    }

    /// Nobody runs what an earlier run unpacked.
    fn remove_stale(&self) {
        let used: BTreeSet<&Path> = self
            .packages
            .values()
            .map(|packaged| packaged.unpacked.task_root.as_path())
            .collect();
        let Ok(folders) = std::fs::read_dir(&self.into) else {
            return;
        };
        for folder in folders.flatten().map(|entry| entry.path()) {
            let is_used = folder
                .canonicalize()
                .is_ok_and(|folder| used.contains(folder.as_path()));
            if !is_used && let Err(error) = remove_unpacked(&folder) {
                tracing::warn!(folder = %folder.display(), %error, "cannot remove an old package");
            }
        }
    }
}

/// What the workspace declares, else what the package says of itself, else AWS's defaults.
fn settings(
    declared: Option<&Function>,
    layers: &Layers,
    unpacked: &UnpackedArtifact,
) -> FunctionSettings {
    if let Some(declared) = declared {
        return declared.settings.clone();
    }
    let recorded = unpacked
        .manifest
        .as_ref()
        .map(|manifest| &manifest.settings);
    FunctionSettings {
        memory_mb: recorded.map_or(FunctionSettings::DEFAULT_MEMORY_MB, |it| it.memory_mb),
        timeout: recorded.map_or(FunctionSettings::DEFAULT_TIMEOUT, |it| {
            Duration::from_secs(it.timeout_seconds)
        }),
        env: BTreeMap::new(),
        handler: BOOTSTRAP.to_owned(),
        log_format: app_model::LogFormat::Text,
        recursive_loop: app_model::RecursiveLoop::Terminate,
        layers: layers.clone(),
    }
}

/// What AWS would refuse of the declaration, and of a zip of this size.
fn beyond(declared: Option<&Function>, zip_bytes: u64) -> Vec<Excess> {
    let mut beyond = declared.map_or_else(Vec::new, |declared| declared.beyond.clone());
    if zip_bytes > ZIP_SIZE.most {
        let found =
            format!("the zip has {zip_bytes} bytes: upload it by way of S3, or leave files out");
        beyond.push(ZIP_SIZE.broken(found));
    }
    beyond
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zip_of_more_than_50_mb_is_beyond_what_lambda_takes() {
        assert_eq!(beyond(None, ZIP_SIZE.most), []);
        let excesses = beyond(None, ZIP_SIZE.most + 1);
        assert_eq!(excesses[0].rule.name, "zip-size");
        assert!(excesses[0].to_string().contains("52428801 bytes"));
    }
}
