//! `longshore build <handler>…`: `build/<handler>.zip`, the very bytes that AWS runs.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use function_package::{Architecture, Config, Linker, Package, Packager, Programs, Request};

use crate::exit::Exit;
use crate::settings::Settings;

/// What to build, as the command line says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildOptions {
    /// The functions: `demo`, `demo.rs` and `handlers/demo` are the same one.
    pub handlers: Vec<String>,
    /// All functions instead.
    pub all: bool,
    /// The processor to build for.
    pub architecture: Architecture,
    /// Extra files and folders, relative to the workspace.
    pub include: Vec<PathBuf>,
    /// Where packages go, relative to the workspace.
    pub out: PathBuf,
}

/// Builds, packs and checks each function and says what came of it.
///
/// # Errors
/// At the first function that does not compile, that Lambda would refuse, or that this
/// machine cannot build; packages made before it stay.
pub async fn run(settings: &Settings, options: &BuildOptions) -> anyhow::Result<Exit> {
    let out = settings.workspace.join(&options.out);
    let target_dir = settings.target_dir.join("packages");
    let packager = Packager::open(config(settings, target_dir, out)).await?;
    for problem in packager.problems() {
        eprintln!("warning: {problem}");
    }
    if *packager.linker() == Linker::Host {
        eprintln!(
            "no cargo-zigbuild here: linking with this machine's own glibc, which Lambda may not \
             have; `pip install cargo-zigbuild` brings it, with zig"
        );
    }
    let handlers = wanted(settings, options, packager.handlers());
    ensure!(
        !handlers.is_empty(),
        "name a function or say --all; there are: {}",
        packager.handlers().join(", ")
    );
    for handler in handlers {
        eprintln!("building {handler} for {} on Lambda", options.architecture);
        let request = Request {
            handler: handler.clone(),
            architecture: options.architecture,
            include: options.include.clone(),
        };
        let package = packager
            .package(&request)
            .await
            .with_context(|| format!("cannot package {handler}"))?;
        print!("{}", described(&package, &settings.workspace));
    }
    Ok(Exit::Success)
}

/// The packager's view of the settings.
pub(super) fn config(settings: &Settings, target_dir: PathBuf, out_dir: PathBuf) -> Config {
    Config {
        workspace: settings.workspace.clone(),
        handlers: settings.handlers.clone(),
        declarations: settings.declarations.clone(),
        target_dir,
        out_dir,
        programs: Programs::on_path(),
    }
}

fn wanted(settings: &Settings, options: &BuildOptions, all: Vec<String>) -> Vec<String> {
    if options.all {
        return all;
    }
    let folder = settings
        .handlers
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    options
        .handlers
        .iter()
        .map(|given| handler_name(given, &folder).to_owned())
        .collect()
}

/// The function's name in what the user typed: a name, a file's name, or a path below the
/// handlers' folder.
fn handler_name<'a>(given: &'a str, folder: &str) -> &'a str {
    let given = given.trim_start_matches("./").trim_end_matches('/');
    let below = given
        .strip_prefix(folder)
        .and_then(|rest| rest.strip_prefix('/'));
    let name = match below {
        Some(below) => below.split('/').next(),
        None => given.rsplit('/').next(),
    };
    let name = name.unwrap_or(given);
    // No function's name has a dot in it.
    name.split('.').next().unwrap_or(name)
}

fn described(package: &Package, workspace: &Path) -> String {
    let manifest = &package.manifest;
    let zip = package
        .zip
        .strip_prefix(workspace)
        .unwrap_or(&package.zip)
        .display();
    let floor = manifest
        .glibc_floor
        .map_or_else(|| "no glibc".to_owned(), |floor| format!("glibc {floor}"));
    format!(
        "{zip}  {} zipped, {} unzipped  {} {}, {floor}\n  sha256 {}\n",
        megabytes(manifest.size),
        megabytes(manifest.unzipped_size),
        manifest.runtime,
        manifest.architecture,
        manifest.sha256,
    )
}

fn megabytes(bytes: u64) -> String {
    let hundredths = bytes.div_ceil(10_000);
    format!("{}.{:02} MB", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_may_be_named_by_its_file() {
        for given in [
            "demo",
            "demo.rs",
            "demo.py",
            "handlers/demo",
            "./handlers/demo/",
            "handlers/demo/src/main.rs",
            "build/demo.zip",
        ] {
            assert_eq!(handler_name(given, "handlers"), "demo", "{given}");
        }
        assert_eq!(handler_name("handlers-2", "handlers"), "handlers-2");
    }

    #[test]
    fn sizes_are_megabytes_rounded_up() {
        for (bytes, text) in [
            (0, "0.00 MB"),
            (1, "0.01 MB"),
            (1_611_410, "1.62 MB"),
            (52_428_800, "52.43 MB"),
        ] {
            assert_eq!(megabytes(bytes), text);
        }
    }
}
