//! The zips that are uploaded, beside cargo-lambda's of the same source: how large they
//! are, and how long and how much memory a function takes to come up from them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use function_package::unpack;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::arena::{Arena, Contender};
use crate::children::{self, Program};
use crate::report::{Cell, Row, Section, Target, Unit};
use crate::samples::Samples;
use crate::tool::Tool;

/// A release build with link-time optimisation, from nothing, on a busy machine.
const BUILD_PATIENCE: Duration = Duration::from_secs(1800);
const INIT_PATIENCE: Duration = Duration::from_secs(10);

/// What a function asks of the Runtime API when it is ready.
const NEXT: &str = "GET /2018-06-01/runtime/invocation/next";

/// One tool's package of a function.
struct Package {
    zip_bytes: u64,
    binary_bytes: u64,
    bootstrap: PathBuf,
    init_ms: Vec<f64>,
    peak_mib: Vec<f64>,
}

pub(crate) async fn run(arena: &mut Arena) -> anyhow::Result<Section> {
    let starts = arena.counts().starts * 2;
    let mut rows = Vec::new();
    for handler in handlers(arena.project())? {
        let mut packages = Vec::new();
        for tool in Tool::BOTH {
            packages.push(match arena.contender(tool).clone() {
                Contender::Absent(why) => Err(Cell::said(why)),
                Contender::Ready { binary, .. } => {
                    Ok(package(arena, tool, &binary, &handler).await?)
                }
            });
        }
        for _ in 0..starts {
            for package in packages.iter_mut().flatten() {
                let log = arena.log("init");
                init(package, &log).await?;
            }
        }
        rows.extend(table_rows(&handler, &packages));
    }
    Ok(Section {
        title: "Packages".to_owned(),
        method: format!(
            "Each handler of this repository packaged for this machine's processor by `longshore build` and by \
             `cargo lambda build --release --output-format zip`. Init: from starting `bootstrap` out of the unpacked zip \
             to its first request for work; peak memory (`VmHWM`) at that moment. {starts} times, taking turns. \
             1 MB is 1,000,000 bytes."
        ),
        columns: vec![
            "longshore build".to_owned(),
            "cargo lambda build".to_owned(),
        ],
        rows,
    })
}

/// The packages below `handlers/` that have a binary.
fn handlers(project: &Path) -> anyhow::Result<Vec<String>> {
    let folder = project.join("handlers");
    let entries =
        std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join("src/main.rs").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

async fn package(
    arena: &mut Arena,
    tool: Tool,
    binary: &Path,
    handler: &str,
) -> anyhow::Result<Package> {
    let project = arena.project().to_owned();
    let out = arena.scratch().join(tool.slug());
    // Kept from run to run, apart from everybody else's.
    let target = project.join("target/bench-packages").join(tool.slug());
    let (out_text, target_text) = (out.display().to_string(), target.display().to_string());
    let arm = std::env::consts::ARCH == "aarch64";
    let (args, zip): (Vec<&str>, PathBuf) = match tool {
        Tool::Longshore | Tool::Earlier => (
            vec![
                "build",
                handler,
                "--arch",
                std::env::consts::ARCH,
                "--out",
                &out_text,
                "--target-dir",
                &target_text,
            ],
            out.join(format!("{handler}.zip")),
        ),
        Tool::CargoLambda => (
            vec![
                "lambda",
                "build",
                "--release",
                "--package",
                handler,
                "--output-format",
                "zip",
                if arm { "--arm64" } else { "--x86-64" },
                "--lambda-dir",
                &out_text,
            ],
            out.join(handler).join("bootstrap.zip"),
        ),
    };
    let log = arena.log(&format!("package-{handler}-{}", tool.slug()));
    Program::new(binary, args, &project, &log)
        .env("CARGO_TARGET_DIR", &target_text)
        .finish(BUILD_PATIENCE)
        .await?;
    let unpacked = unpack(&zip, &arena.scratch().join("unpacked"))?;
    let size = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.len());
    Ok(Package {
        zip_bytes: size(&zip)?,
        binary_bytes: size(&unpacked.bootstrap)?,
        bootstrap: unpacked.bootstrap,
        init_ms: Vec::new(),
        peak_mib: Vec::new(),
    })
}

/// Starts the function once, up to its first request for work.
async fn init(package: &mut Package, log: &Path) -> anyhow::Result<()> {
    let api = TcpListener::bind(("127.0.0.1", 0))
        .await
        .context("no loopback port for the Runtime API")?;
    let address = api.local_addr()?.to_string();
    let folder = package.bootstrap.parent().unwrap_or(Path::new("/"));
    let mut program = Program::new(&package.bootstrap, [""; 0], folder, log);
    for (name, value) in [
        ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
        ("AWS_LAMBDA_FUNCTION_NAME", "package"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/package"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/01/01/[$LATEST]0"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("_HANDLER", "bootstrap"),
    ] {
        program = program.env(name, value);
    }
    let started = Instant::now();
    let running = program.start()?;
    let asked = tokio::time::timeout(INIT_PATIENCE, async {
        let (mut connection, _) = api.accept().await?;
        let mut said = Vec::new();
        while !said.starts_with(NEXT.as_bytes()) {
            let count = connection.read_buf(&mut said).await?;
            anyhow::ensure!(
                count > 0,
                "hung up after {}",
                String::from_utf8_lossy(&said)
            );
        }
        // The connection comes along: closed, it would make the function give up.
        Ok((started.elapsed(), connection))
    });
    let (took, _connection) = asked
        .await
        .with_context(|| format!("it never asked for work; see {}", log.display()))??;
    let memory = children::memory(running.pid());
    running.stop().await?;
    package.init_ms.push(took.as_secs_f64() * 1e3);
    if let Some(memory) = memory {
        package.peak_mib.push(mebibytes(memory.peak));
    }
    Ok(())
}

fn table_rows(handler: &str, packages: &[Result<Package, Cell>]) -> [Row; 4] {
    let cells = |figure: fn(&Package) -> Cell| {
        let cell = |package: &Result<Package, Cell>| match package {
            Ok(package) => figure(package),
            Err(absent) => absent.clone(),
        };
        packages.iter().map(cell).collect::<Vec<_>>()
    };
    let zip = cells(|package| Cell::one(megabytes(package.zip_bytes)));
    let binary = cells(|package| Cell::one(megabytes(package.binary_bytes)));
    let init = cells(|package| measured(&package.init_ms));
    let peak = cells(|package| measured(&package.peak_mib));
    [
        Row::new(format!("`{handler}`: zip"), Unit::Megabytes, zip).target(Target::AtMost(2.5)),
        Row::new(format!("`{handler}`: binary"), Unit::Megabytes, binary),
        Row::new(format!("`{handler}`: init"), Unit::Millis, init).target(Target::AtMost(20.0)),
        Row::new(
            format!("`{handler}`: peak memory at init"),
            Unit::Mebibytes,
            peak,
        ),
    ]
}

fn measured(values: &[f64]) -> Cell {
    Cell::Measured(values.iter().copied().collect::<Samples>())
}

#[expect(clippy::cast_precision_loss, reason = "a size to be read by people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "a size to be read by people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
