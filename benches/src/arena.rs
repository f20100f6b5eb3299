//! Where a run takes place: the scratch folder, the tools found, the workspaces built.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::children::Program;
use crate::cli::{Counts, Settings};
use crate::client::Call;
use crate::report::Cell;
use crate::site::{Function, Site, Version};
use crate::tool::{Profile, Server, Tool};

/// How long one build of everything may take.
const BUILD_PATIENCE: Duration = Duration::from_secs(900);
/// How long `--version` may take.
const VERSION_PATIENCE: Duration = Duration::from_secs(10);
/// How long a tool may take to its first 200 when it may have to build.
const FIRST_PATIENCE: Duration = Duration::from_secs(600);
const FIRST_EVERY: Duration = Duration::from_millis(50);

/// Whether a tool can be measured.
#[derive(Clone, Debug)]
pub(crate) enum Contender {
    /// It is here: its binary and what it says its version is.
    Ready { binary: PathBuf, version: String },
    /// It is not: what the table says instead.
    Absent(String),
}

/// One run.
#[derive(Debug)]
pub(crate) struct Arena {
    settings: Settings,
    project: PathBuf,
    scratch: TempDir,
    logs: PathBuf,
    longshore: Contender,
    cargo_lambda: Contender,
    earlier: Contender,
    rustc: String,
    edits: u32,
    launches: u32,
}

impl Arena {
    /// Finds the tools; builds ours.
    pub(crate) async fn prepare(settings: Settings) -> anyhow::Result<Self> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("benches/ has no parent")?
            .to_owned();
        let logs = project.join("target").join("bench-logs");
        tokio::fs::create_dir_all(&logs)
            .await
            .with_context(|| format!("cannot create {}", logs.display()))?;
        tokio::fs::create_dir_all(&settings.scratch)
            .await
            .context("cannot create the scratch folder")?;
        let real = settings
            .scratch
            .canonicalize()
            .context("cannot find the scratch folder")?;
        let scratch = tempfile::Builder::new()
            .prefix("longshore-bench-")
            .tempdir_in(real)
            .context("no scratch folder")?;
        let rustc = version_of(Path::new("rustc"), &["--version"], &project)
            .await
            .unwrap_or_default();
        let longshore = match settings.only {
            Some(Tool::CargoLambda) => Contender::Absent("not run: --only cargo-lambda".to_owned()),
            Some(Tool::Longshore | Tool::Earlier) | None => {
                find_longshore(&settings, &project, &logs).await?
            }
        };
        let cargo_lambda = match settings.only {
            Some(Tool::Longshore) => Contender::Absent("not run: --only longshore".to_owned()),
            Some(Tool::CargoLambda | Tool::Earlier) | None => {
                find_cargo_lambda(&settings.cargo_lambda, &project).await
            }
        };
        let earlier = match &settings.earlier {
            Some(binary) => earlier_longshore(binary, &project).await?,
            None => Contender::Absent("not run: name an earlier build with --earlier".to_owned()),
        };
        Ok(Self {
            settings,
            project,
            scratch,
            logs,
            longshore,
            cargo_lambda,
            earlier,
            rustc,
            edits: 0,
            launches: 0,
        })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn counts(&self) -> Counts {
        self.settings.counts
    }

    pub(crate) fn logs(&self) -> &Path {
        &self.logs
    }

    /// The repository's root.
    pub(crate) fn project(&self) -> &Path {
        &self.project
    }

    /// A folder that is removed at the end.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    pub(crate) fn results_path(&self) -> PathBuf {
        self.settings
            .output
            .clone()
            .unwrap_or_else(|| self.project.join("benches").join("RESULTS.md"))
    }

    /// The versions of everything, as a Markdown list.
    pub(crate) fn versions(&self) -> String {
        let mut text = format!("- Toolchain: {}\n", self.rustc);
        for tool in Tool::BOTH {
            let said = match self.contender(tool) {
                Contender::Ready { version, .. } => version,
                Contender::Absent(why) => why,
            };
            // Writing to a String cannot fail.
            writeln!(text, "- `{}`: {said}", tool.title()).ok();
        }
        text
    }

    pub(crate) fn contender(&self, tool: Tool) -> &Contender {
        match tool {
            Tool::Longshore => &self.longshore,
            Tool::CargoLambda => &self.cargo_lambda,
            Tool::Earlier => &self.earlier,
        }
    }

    /// The cell for a tool that cannot be measured; `None` if it can.
    pub(crate) fn absent(&self, tool: Tool) -> Option<Cell> {
        match self.contender(tool) {
            Contender::Ready { .. } => None,
            Contender::Absent(why) => Some(Cell::said(why)),
        }
    }

    /// A version literal that no function has had yet.
    pub(crate) fn next_version(&mut self) -> Version {
        self.edits += 1;
        Version(self.edits)
    }

    /// A log file of its own for one more program.
    pub(crate) fn log(&mut self, name: &str) -> PathBuf {
        self.launches += 1;
        self.logs.join(format!("{:03}-{name}.log", self.launches))
    }

    /// The scratch workspace of this name, built with this profile. Each name is a copy
    /// of one that was built once: an edit in one is nobody else's.
    pub(crate) async fn site(&mut self, name: &str, profile: Profile) -> anyhow::Result<Site> {
        let root = self.scratch().join(format!("{name}-{}", profile.slug()));
        if root.exists() {
            return Ok(Site::at(root));
        }
        let seed = self.scratch().join(format!("seed-{}", profile.slug()));
        if !seed.exists() {
            let version = self.next_version();
            Site::create(seed.clone(), version).await?;
        }
        self.cargo_build(&seed, profile).await?;
        let log = self.log("copy");
        // Modification times are kept: cargo compares them.
        let copy = [Path::new("-a"), &seed, &root];
        Program::new(Path::new("cp"), copy, self.scratch(), &log)
            .finish(BUILD_PATIENCE)
            .await?;
        let site = Site::at(root);
        for function in Function::ALL {
            let version = self.next_version();
            site.edit(function, version).await?;
        }
        self.cargo_build(site.root(), profile).await?;
        Ok(site)
    }

    /// A bare `cargo build` of a scratch workspace.
    pub(crate) async fn cargo_build(
        &mut self,
        root: &Path,
        profile: Profile,
    ) -> anyhow::Result<()> {
        let mut args = vec!["build", "--quiet"];
        if profile == Profile::Release {
            args.push("--release");
        }
        let log = self.log("cargo-build");
        Program::new(Path::new("cargo"), args, root, &log)
            .owning_folder()
            .finish(BUILD_PATIENCE)
            .await
    }

    /// Starts a tool on a site; it need not serve yet.
    pub(crate) fn launch(
        &mut self,
        tool: Tool,
        root: &Path,
        profile: Profile,
        extra: &[&str],
    ) -> anyhow::Result<Server> {
        let Contender::Ready { binary, .. } = self.contender(tool).clone() else {
            anyhow::bail!("{} is not here", tool.title());
        };
        let log = self.log(tool.slug());
        Server::start(tool, &binary, root, profile, extra, &log)
    }

    /// Starts a tool on a site and waits until both functions have answered.
    pub(crate) async fn serve(
        &mut self,
        tool: Tool,
        site: &Site,
        profile: Profile,
        extra: &[&str],
    ) -> anyhow::Result<Server> {
        let mut server = self.launch(tool, site.root(), profile, extra)?;
        for function in Function::ALL {
            server
                .first_ok(&Call::get(function.path("")), FIRST_EVERY, FIRST_PATIENCE)
                .await?;
        }
        Ok(server)
    }
}

async fn version_of(program: &Path, args: &[&str], folder: &Path) -> Option<String> {
    Program::new(program, args, folder, Path::new("/dev/null"))
        .output(VERSION_PATIENCE)
        .await
}

async fn find_longshore(
    settings: &Settings,
    project: &Path,
    logs: &Path,
) -> anyhow::Result<Contender> {
    let binary = match &settings.longshore {
        Some(binary) => binary
            .canonicalize()
            .with_context(|| format!("there is no {}", binary.display()))?,
        None => {
            let log = logs.join("build-longshore.log");
            let args = ["build", "--release", "--package", "longshore"];
            Program::new(Path::new("cargo"), args, project, &log)
                .finish(BUILD_PATIENCE)
                .await?;
            // This program's own folder is the profile's: target/release.
            let own = std::env::current_exe().context("cannot find this program")?;
            let target = own
                .parent()
                .and_then(Path::parent)
                .context("this program is in no target folder")?;
            target.join("release").join("longshore")
        }
    };
    ensure!(
        binary.exists(),
        "there is no {}; name it with --longshore",
        binary.display()
    );
    let version = version_of(&binary, &["--version"], project)
        .await
        .unwrap_or_else(|| "unknown version".to_owned());
    let commit = version_of(Path::new("git"), &["rev-parse", "--short", "HEAD"], project).await;
    let version = commit.map_or(version.clone(), |commit| {
        format!("{version}, commit {commit}")
    });
    Ok(Contender::Ready { binary, version })
}

async fn earlier_longshore(binary: &Path, project: &Path) -> anyhow::Result<Contender> {
    let binary = binary
        .canonicalize()
        .with_context(|| format!("there is no {}", binary.display()))?;
    let version = version_of(&binary, &["--version"], project)
        .await
        .with_context(|| format!("{} does not say its version", binary.display()))?;
    Ok(Contender::Ready { binary, version })
}

async fn find_cargo_lambda(binary: &Path, project: &Path) -> Contender {
    match version_of(binary, &["lambda", "--version"], project).await {
        Some(version) => Contender::Ready {
            binary: binary.to_owned(),
            version,
        },
        None => Contender::Absent("not installed: pip install cargo-lambda".to_owned()),
    }
}
