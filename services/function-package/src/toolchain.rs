//! What this machine builds with: cargo, rustc, and a linker that knows the glibc floor.

use std::path::{Path, PathBuf};

use cargo_config2::{Config, ResolveOptions, cargo_home_with_cwd};

use crate::architecture::Architecture;
use crate::error::PackageError;
use crate::glibc::GlibcVersion;
use crate::manifest::ToolchainRecord;
use crate::tools::{Call, Tools};

/// The programs that are started, found on the PATH unless they are paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// Cargo.
    pub cargo: PathBuf,
    /// cargo-zigbuild: cargo with zig as the linker, for any processor and any glibc.
    pub zigbuild: PathBuf,
}

impl Programs {
    /// By their usual names.
    #[must_use]
    pub fn on_path() -> Self {
        Self {
            cargo: "cargo".into(),
            zigbuild: "cargo-zigbuild".into(),
        }
    }
}

/// What links for Lambda.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Linker {
    /// zig, through cargo-zigbuild: links against the glibc asked for.
    Zig {
        /// cargo-zigbuild's own words about its version.
        zigbuild: String,
        /// zig's version, where zig said it.
        zig: Option<String>,
    },
    /// This machine's own: the glibc floor is whatever this machine has.
    Host,
}

/// The toolchain, looked up once.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    pub(crate) programs: Programs,
    pub(crate) linker: Linker,
    pub(crate) sysroot: PathBuf,
    host: String,
    cargo: String,
    rustc: String,
}

impl Toolchain {
    pub(crate) async fn find(tools: &Tools, programs: Programs) -> Result<Self, PackageError> {
        let cargo = tools
            .answer(&Call::new(&programs.cargo).arg("--version"))
            .await?;
        let verbose = tools.answer(&Call::new("rustc").arg("-vV")).await?;
        let sysroot = tools
            .answer(&Call::new("rustc").args(["--print", "sysroot"]))
            .await?;
        let rustc = verbose.lines().next().unwrap_or_default().to_owned();
        let host = verbose.lines().find_map(|line| line.strip_prefix("host: "));
        let linker = match tools
            .answer(&Call::new(&programs.zigbuild).arg("--version"))
            .await
        {
            Ok(zigbuild) => Linker::Zig {
                zigbuild,
                zig: zig_version(tools).await,
            },
            Err(_) => Linker::Host,
        };
        Ok(Self {
            programs,
            linker,
            sysroot: sysroot.into(),
            host: host.unwrap_or_default().to_owned(),
            cargo,
            rustc,
        })
    }

    /// Fails, with the way out, where this machine cannot build for the architecture.
    pub(crate) fn require(&self, architecture: Architecture) -> Result<(), PackageError> {
        let triple = architecture.triple();
        if self.linker == Linker::Host && self.host != triple {
            return Err(PackageError::NoCrossLinker {
                architecture,
                host: self.host.clone(),
            });
        }
        if !self
            .sysroot
            .join("lib/rustlib")
            .join(triple)
            .join("lib")
            .is_dir()
        {
            return Err(PackageError::NoStandardLibrary { triple });
        }
        if !self.objcopy().is_file() {
            return Err(PackageError::NoObjcopy {
                path: self.objcopy(),
            });
        }
        Ok(())
    }

    /// The call that compiles, up to the profile: it names the target.
    pub(crate) fn build_call(&self, architecture: Architecture, floor: GlibcVersion) -> Call {
        let triple = architecture.triple();
        match self.linker {
            Linker::Zig { .. } => {
                let call = Call::new(&self.programs.zigbuild).arg("zigbuild");
                call.args(["--target", &format!("{triple}.{floor}")])
            }
            Linker::Host => Call::new(&self.programs.cargo)
                .arg("build")
                .args(["--target", triple]),
        }
    }

    /// The toolchain's own objcopy: it knows every processor, and its version is rustc's.
    pub(crate) fn objcopy_call(&self) -> Call {
        let libraries = self.sysroot.join("lib");
        Call::new(self.objcopy())
            .env("LD_LIBRARY_PATH", &libraries)
            .env("DYLD_FALLBACK_LIBRARY_PATH", &libraries)
    }

    fn objcopy(&self) -> PathBuf {
        self.sysroot
            .join("lib/rustlib")
            .join(&self.host)
            .join("bin/rust-objcopy")
    }

    pub(crate) fn record(&self) -> ToolchainRecord {
        ToolchainRecord {
            rustc: self.rustc.clone(),
            cargo: self.cargo.clone(),
            linker: match &self.linker {
                Linker::Zig {
                    zigbuild,
                    zig: Some(zig),
                } => format!("zig {zig}, {zigbuild}"),
                Linker::Zig {
                    zigbuild,
                    zig: None,
                } => zigbuild.clone(),
                Linker::Host => format!("cc of {}", self.host),
            },
            longshore: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// The compiler's flags: the project's own (`.cargo/config.toml` of the workspace, never
    /// this user's), then what makes this machine's folders disappear from the bytes.
    pub(crate) fn rustflags(
        &self,
        tools: &Tools,
        target_dir: &Path,
        triple: &str,
    ) -> Result<String, PackageError> {
        let options = ResolveOptions::default()
            .env(std::iter::empty::<(String, String)>())
            .cargo_home(None)
            .host_triple(self.host.clone());
        let config = Config::load_with_options(&tools.workspace, options)
            .map_err(PackageError::ReadConfig)?;
        let mut flags = config
            .rustflags(triple)
            .map_err(PackageError::ReadConfig)?
            .unwrap_or_default();
        for (from, to) in self.remapped(&tools.workspace, target_dir) {
            flags.push(format!("--remap-path-prefix={}={to}", from.display()));
        }
        // A build id hashes the debug information too, and with it zig's own folder.
        flags.push("-Clink-arg=-Wl,--build-id=none");
        flags.encode().map_err(PackageError::ReadConfig)
    }

    /// The C compiler's flags for the same end: `__FILE__` is in many a C library's errors.
    pub(crate) fn cflags(&self, workspace: &Path, target_dir: &Path) -> String {
        let flag =
            |(from, to): (PathBuf, &str)| format!("-ffile-prefix-map={}={to}", from.display());
        let flags: Vec<_> = self
            .remapped(workspace, target_dir)
            .into_iter()
            .map(flag)
            .collect();
        flags.join(" ")
    }

    /// Folders of this machine and the names that stand for them. Of two that match the
    /// compiler takes the later, so the more exact comes later.
    fn remapped(&self, workspace: &Path, target_dir: &Path) -> Vec<(PathBuf, &'static str)> {
        let mut folders = vec![(self.sysroot.clone(), "/rust")];
        if let Some(cargo_home) = cargo_home_with_cwd(workspace) {
            folders.push((cargo_home, "/cargo"));
        }
        folders.push((workspace.to_owned(), "/workspace"));
        folders.push((target_dir.to_owned(), "/target"));
        folders
    }
}

/// zig as cargo-zigbuild looks for it: a program, or the Python package.
async fn zig_version(tools: &Tools) -> Option<String> {
    let calls = [
        Call::new("zig").arg("version"),
        Call::new("python3").args(["-m", "ziglang", "version"]),
        Call::new("python").args(["-m", "ziglang", "version"]),
    ];
    for call in calls {
        if let Ok(version) = tools.answer(&call).await {
            return Some(version);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_command_that_installs_it() {
        let sysroot = tempfile::tempdir().unwrap();
        let triple = Architecture::Arm64.triple();
        let mut toolchain = Toolchain {
            programs: Programs::on_path(),
            linker: Linker::Host,
            sysroot: sysroot.path().to_owned(),
            host: Architecture::X86_64.triple().to_owned(),
            cargo: String::new(),
            rustc: String::new(),
        };
        let missing = |toolchain: &Toolchain| {
            let error = toolchain.require(Architecture::Arm64).unwrap_err();
            assert!(error.is_of_this_machine());
            error.to_string()
        };
        assert!(missing(&toolchain).contains("run `pip install cargo-zigbuild`"));
        toolchain.linker = Linker::Zig {
            zigbuild: String::new(),
            zig: None,
        };
        assert!(missing(&toolchain).contains("run `rustup target add aarch64-unknown-linux-gnu`"));
        let library = sysroot.path().join("lib/rustlib").join(triple).join("lib");
        std::fs::create_dir_all(library).unwrap();
        assert!(missing(&toolchain).contains("no rust-objcopy"));
        let objcopy = toolchain.objcopy();
        std::fs::create_dir_all(objcopy.parent().unwrap()).unwrap();
        std::fs::write(objcopy, "").unwrap();
        toolchain.require(Architecture::Arm64).unwrap();
    }
}
