//! From a function's name to `build/<handler>.zip`, its manifest and its symbols.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use app_model::{AppModel, CargoTarget, Declarations, Declared, Function, FunctionSource};
use cargo_metadata::Metadata;

use crate::architecture::Architecture;
use crate::archive::{self, Archive, BOOTSTRAP};
use crate::checks::{Expected, Limits, check_environment, check_zip};
use crate::digest::sha256;
use crate::elf::Executable;
use crate::error::{Faults, PackageError};
use crate::glibc::GlibcVersion;
use crate::manifest::{FileRecord, Manifest, RUNTIME, SettingsRecord};
use crate::profile::{self, LambdaProfile};
use crate::revision::revision;
use crate::toolchain::{Linker, Programs, Toolchain};
use crate::tools::{Call, Tools};

/// Where things are. All paths absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The Cargo workspace.
    pub workspace: PathBuf,
    /// The folder of the handler packages.
    pub handlers: PathBuf,
    /// A file that has the last word over the manifests.
    pub declarations: Option<PathBuf>,
    /// Cargo's target directory for packages; apart from others', which have other flags.
    pub target_dir: PathBuf,
    /// Where packages go.
    pub out_dir: PathBuf,
    /// The tools.
    pub programs: Programs,
}

/// What to package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The function's name.
    pub handler: String,
    /// The processor to build for.
    pub architecture: Architecture,
    /// Extra files and folders, relative to the workspace.
    pub include: Vec<PathBuf>,
}

/// A package on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The zip.
    pub zip: PathBuf,
    /// What it is; also in the file beside the zip.
    pub manifest: Manifest,
}

/// Makes packages of one workspace's functions.
#[derive(Debug)]
pub struct Packager {
    config: Config,
    tools: Tools,
    toolchain: Toolchain,
    model: AppModel,
    has_lockfile: bool,
}

impl Packager {
    /// Reads the workspace and looks the toolchain up.
    ///
    /// # Errors
    /// If there is no usable toolchain or workspace.
    pub async fn open(config: Config) -> Result<Self, PackageError> {
        let tools = Tools::new(&config.workspace);
        let toolchain = Toolchain::find(&tools, config.programs.clone()).await?;
        let call = Call::new(&config.programs.cargo);
        let answer = tools
            .answer(&call.args(["metadata", "--format-version=1", "--no-deps"]))
            .await?;
        let metadata: Metadata =
            serde_json::from_str(&answer).map_err(PackageError::ReadMetadata)?;
        let root = metadata.workspace_root.as_std_path();
        let handlers = config
            .handlers
            .strip_prefix(root)
            .unwrap_or(&config.handlers);
        let declarations = config.declarations.as_deref().map(Declarations::read);
        let model = AppModel::of(Declared {
            metadata: Some(&metadata),
            handlers_dir: handlers,
            declarations: declarations.transpose()?.as_ref(),
            packaged: &BTreeSet::new(),
        });
        let has_lockfile = root.join("Cargo.lock").is_file();
        Ok(Self {
            config,
            tools,
            toolchain,
            model,
            has_lockfile,
        })
    }

    /// What links, and so whether the glibc floor can be chosen.
    #[must_use]
    pub fn linker(&self) -> &Linker {
        &self.toolchain.linker
    }

    /// The functions that can be packaged, by name.
    #[must_use]
    pub fn handlers(&self) -> Vec<String> {
        let functions = self.model.functions.values();
        let cargo =
            functions.filter(|function| matches!(function.source, FunctionSource::Cargo(_)));
        cargo.map(|function| function.name.to_string()).collect()
    }

    /// What is wrong with the functions' declarations.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.model.problems
    }

    /// Builds, packs, checks and describes one function. An older package of the same name
    /// is replaced only by one that passes every check.
    ///
    /// # Errors
    /// [`PackageError::Refused`] lists all that Lambda would not take.
    pub async fn package(&self, request: &Request) -> Result<Package, PackageError> {
        let (function, target) = self.function(&request.handler)?;
        self.toolchain.require(request.architecture)?;
        let faults = check_environment(&function.settings.env);
        if !faults.is_empty() {
            return Err(PackageError::Refused(Faults(faults)));
        }
        let unstripped = self.compile(target, request.architecture).await?;
        let out = &self.config.out_dir;
        create_dir(out)?;
        // Built beside its place and moved in whole, by the same name every time.
        let staging = tempfile::Builder::new()
            .prefix(".longshore-")
            .tempdir_in(out);
        let staging = staging.map_err(file_error("create a folder in", out))?;
        let stripped = staging.path().join(BOOTSTRAP);
        let symbols = staging.path().join("symbols");
        self.strip(&unstripped, &stripped, &symbols).await?;

        let zip = staging.path().join("package.zip");
        let (root, include) = (self.config.workspace.clone(), request.include.clone());
        let (from, to) = (stripped.clone(), zip.clone());
        let pack = move || pack(&from, &to, &root, &include);
        tokio::task::spawn_blocking(pack)
            .await
            .map_err(PackageError::Interrupted)??;

        let expected = Expected {
            architecture: request.architecture,
            glibc: GlibcVersion::AL2023,
            limits: Limits::LAMBDA,
        };
        let faults = check_zip(&zip, &expected)?;
        if !faults.is_empty() {
            return Err(PackageError::Refused(Faults(faults)));
        }
        let manifest = self
            .describe(function, request, &zip, &stripped, &symbols)
            .await?;
        let path = out.join(format!("{}.zip", function.name));
        let described = staging.path().join("manifest");
        fs::write(&described, manifest.to_json()).map_err(file_error("write", &described))?;
        for (from, to) in [
            (symbols, path.with_extension("debug")),
            (zip, path.clone()),
            (described, Manifest::path_of(&path)),
        ] {
            fs::rename(&from, &to).map_err(file_error("write", &to))?;
        }
        Ok(Package {
            zip: path,
            manifest,
        })
    }

    fn function(&self, name: &str) -> Result<(&Function, &CargoTarget), PackageError> {
        let found = self
            .model
            .functions
            .values()
            .find(|function| function.name.as_str() == name);
        let function = found.ok_or_else(|| PackageError::UnknownFunction {
            name: name.to_owned(),
            known: self.handlers(),
        })?;
        match &function.source {
            FunctionSource::Cargo(target) => Ok((function, target)),
            FunctionSource::Command(_) => Err(PackageError::NotCargo(name.to_owned())),
        }
    }

    /// One function at a time: built together, functions would get one another's features,
    /// and a package would depend on what else was packaged.
    async fn compile(
        &self,
        target: &CargoTarget,
        architecture: Architecture,
    ) -> Result<PathBuf, PackageError> {
        let (triple, target_dir) = (architecture.triple(), &self.config.target_dir);
        create_dir(target_dir)?;
        let target_dir = &target_dir
            .canonicalize()
            .map_err(file_error("find", target_dir))?;
        let rustflags = self.toolchain.rustflags(&self.tools, target_dir, triple)?;
        let cflags = self.toolchain.cflags(&self.tools.workspace, target_dir);
        let variable = triple.replace('-', "_");
        let mut call = self
            .toolchain
            .build_call(architecture, GlibcVersion::AL2023)
            .args(["--package", &target.package, "--bin", &target.bin])
            .args(["--profile", profile::NAME])
            .arg("--target-dir")
            .arg(target_dir);
        if self.has_lockfile {
            call = call.arg("--locked");
        }
        for setting in LambdaProfile::current().cargo_config() {
            call = call.args(["--config".to_owned(), setting]);
        }
        let call = call
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags)
            .env(format!("CFLAGS_{variable}"), &cflags)
            .env(format!("CXXFLAGS_{variable}"), &cflags)
            // 1980-01-01, the zip's own time: what asks for a date gets the same one.
            .env("SOURCE_DATE_EPOCH", "315532800");
        self.tools.work(&call).await?;
        Ok(target_dir
            .join(triple)
            .join(profile::NAME)
            .join(&target.bin))
    }

    async fn strip(&self, from: &Path, to: &Path, symbols: &Path) -> Result<(), PackageError> {
        let keep = self
            .toolchain
            .objcopy_call()
            .arg("--only-keep-debug")
            .arg(from)
            .arg(symbols);
        self.tools.answer(&keep).await?;
        // The comment names the linker and its build, which says nothing to Lambda.
        let strip = self.toolchain.objcopy_call();
        let strip = strip
            .args(["--strip-all", "--remove-section=.comment"])
            .arg(from)
            .arg(to);
        self.tools.answer(&strip).await?;
        Ok(())
    }

    async fn describe(
        &self,
        function: &Function,
        request: &Request,
        zip: &Path,
        bootstrap: &Path,
        symbols: &Path,
    ) -> Result<Manifest, PackageError> {
        let name = function.name.as_str();
        let bytes = read(bootstrap)?;
        let glibc_floor = match Executable::read(&bytes) {
            Ok(Executable::Elf(binary)) => binary.glibc_floor,
            Ok(Executable::Script) | Err(_) => None,
        };
        let zipped = read(zip)?;
        Ok(Manifest {
            handler: name.to_owned(),
            sha256: sha256(&zipped),
            size: zipped.len() as u64,
            unzipped_size: Archive::open(zip)?.unzipped_size(),
            architecture: request.architecture,
            glibc_floor,
            runtime: RUNTIME.to_owned(),
            bootstrap: record(BOOTSTRAP.to_owned(), &bytes),
            symbols: record(format!("{name}.debug"), &read(symbols)?),
            include: request.include.clone(),
            revision: revision(&self.tools).await,
            toolchain: self.toolchain.record(),
            profile: LambdaProfile::current(),
            settings: SettingsRecord::from(&function.settings),
        })
    }
}

fn pack(
    bootstrap: &Path,
    zip: &Path,
    root: &Path,
    include: &[PathBuf],
) -> Result<(), PackageError> {
    let others = archive::included(root, include)?;
    archive::write(zip, &read(bootstrap)?, &others)?;
    Ok(())
}

fn record(name: String, bytes: &[u8]) -> FileRecord {
    FileRecord {
        name,
        sha256: sha256(bytes),
        size: bytes.len() as u64,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PackageError> {
    fs::read(path).map_err(file_error("read", path))
}

fn create_dir(path: &Path) -> Result<(), PackageError> {
    fs::create_dir_all(path).map_err(file_error("create", path))
}

fn file_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PackageError {
    move |source| PackageError::File {
        operation,
        path: path.to_owned(),
        source,
    }
}
