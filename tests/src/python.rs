//! A Python that has AWS's own clients: boto3, the AWS CLI, the runtime client.
//!
//! Made once, in a virtual environment in the target folder, of what
//! `clients/requirements.txt` names. A machine that has no Python, or cannot reach its
//! packages, leaves out the tests that need it and says so;
//! `LONGSHORE_CI_WITHOUT_PYTHON=deny` fails them instead. `LONGSHORE_TEST_PYTHON` names an
//! interpreter that has everything already.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use tokio::sync::OnceCell;

const REQUIREMENTS: &str = include_str!("../clients/requirements.txt");
/// Packages come over the network.
const MADE_WITHIN: Duration = Duration::from_secs(300);

/// Why there is none, if there is none.
type Found = Result<PathBuf, String>;

static FOUND: OnceCell<Found> = OnceCell::const_new();

/// The interpreter; none if there is none here, which is then said on standard error: `what`
/// is left out.
///
/// # Errors
/// If there is none and there must be one.
pub async fn interpreter(what: &str) -> Result<Option<PathBuf>> {
    let found = FOUND.get_or_init(|| async {
        let made = tokio::time::timeout(MADE_WITHIN, find()).await;
        made.unwrap_or_else(|_| Err(anyhow::anyhow!("its packages took over {MADE_WITHIN:?}")))
            .map_err(|error| format!("{error:#}"))
    });
    match found.await {
        Ok(python) => Ok(Some(python.clone())),
        Err(why) => {
            let denied = std::env::var_os("LONGSHORE_CI_WITHOUT_PYTHON");
            ensure!(
                denied.is_none_or(|word| word != "deny"),
                "LONGSHORE_CI_WITHOUT_PYTHON=deny wants {what}, but: {why}"
            );
            // Not by `eprintln!`: of a test that passes nobody would see it.
            writeln!(std::io::stderr(), "SKIPPED {what}: {why}")?;
            Ok(None)
        }
    }
}

async fn find() -> Result<PathBuf> {
    if let Some(python) = std::env::var_os("LONGSHORE_TEST_PYTHON") {
        let python = PathBuf::from(python);
        let imports = ["-c", "import awscli, awslambdaric, boto3"];
        run(&python, &imports).await?;
        return Ok(python);
    }
    let folder = crate::target().join("test-python");
    std::fs::create_dir_all(&folder)?;
    // Of several test programs one makes it and the others wait.
    let lock = File::create(folder.join("lock"))?;
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
    let made = make(&folder).await;
    drop(lock);
    made
}

async fn make(folder: &Path) -> Result<PathBuf> {
    let version = run(Path::new("python3"), &["--version"])
        .await
        .context("install Python 3 with venv, on Debian: apt-get install python3-venv")?;
    let (environment, note) = (folder.join("environment"), folder.join("made-of"));
    let python = environment.join("bin/python");
    let made_of = version + REQUIREMENTS;
    if std::fs::read_to_string(&note).is_ok_and(|noted| noted == made_of) && python.exists() {
        return Ok(python);
    }
    if environment.exists() {
        std::fs::remove_dir_all(&environment)?;
    }
    let environment = environment.to_string_lossy();
    run(Path::new("python3"), &["-m", "venv", &environment])
        .await
        .context("install Python's venv, on Debian: apt-get install python3-venv")?;
    let requirements = folder.join("requirements.txt");
    std::fs::write(&requirements, REQUIREMENTS)?;
    let requirements = requirements.to_string_lossy();
    let install = ["-m", "pip", "install", "--quiet", "--requirement"];
    run(&python, &[&install, &[&*requirements][..]].concat()).await?;
    // Last: what is half made is made anew.
    std::fs::write(note, made_of)?;
    Ok(python)
}

/// Runs a program to its end; what it printed.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that starts Python"
)]
async fn run(program: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(
        output.status.success(),
        "{} {}: {}",
        program.display(),
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs the `test_*.py` of a folder, with these variables beside the process's own; what
/// `unittest` said. That is in the error if one fails.
///
/// # Errors
/// If one fails, or they take too long.
#[expect(clippy::disallowed_methods, reason = "runs tests in Python")]
pub async fn unittest(
    python: &Path,
    folder: &Path,
    variables: &[(&str, &str)],
    within: Duration,
) -> Result<String> {
    let mut command = Command::new(python);
    // No `__pycache__` in the repository.
    command.args(["-B", "-m", "unittest", "discover", "--verbose"]);
    command.arg("--start-directory").arg(folder);
    command.envs(variables.iter().copied());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(within, command.output())
        .await
        .with_context(|| format!("{} takes over {within:?}", folder.display()))??;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success(),
        "{}:\n{}{said}",
        folder.display(),
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(said)
}
