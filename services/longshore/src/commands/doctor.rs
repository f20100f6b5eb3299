//! `longshore doctor`: what this machine has, what it lacks and how to get it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use function_package::Architecture;
use tokio::net::TcpListener;

use crate::exit::Exit;
use crate::settings::Settings;

/// A tool that does not answer within this time counts as missing.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Fewer inotify watches than this and a large workspace runs out of them.
const ENOUGH_WATCHES: u64 = 8_192;

/// How a check came out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Finding {
    Ok(String),
    /// Not there; Longshore runs, but something named in the text does not.
    Optional(String),
    /// Not there, and `longshore up` needs it.
    Missing(String),
}

/// Prints a line for each check; [`Exit::Environment`] if something needed is missing.
pub async fn run(settings: &Settings) -> Exit {
    let mut checks = vec![
        ("cargo", toolchain("cargo").await),
        ("rustc", toolchain("rustc").await),
        ("linker", linker().await),
        ("workspace", workspace(settings)),
        ("file watches", watches()),
        ("docker", docker().await),
        ("packaging", packaging().await),
        ("Lambda targets", targets().await),
    ];
    for (service, port) in [
        ("gateway port", settings.gateway_port),
        ("AWS port", settings.aws_port),
        ("destination port", settings.destination_port),
        ("poller port", settings.poller_port),
    ] {
        checks.push((
            service,
            free_port(SocketAddr::new(settings.host, port)).await,
        ));
    }
    let mut exit = Exit::Success;
    for (name, finding) in checks {
        let (mark, text) = match finding {
            Finding::Ok(text) => ("ok     ", text),
            Finding::Optional(text) => ("absent ", text),
            Finding::Missing(text) => {
                exit = Exit::Environment;
                ("MISSING", text)
            }
        };
        println!("{mark} {name:<16} {text}");
    }
    exit
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place in this crate that starts tools: no input, a bounded wait"
)]
async fn answer_of(program: &str, arguments: &[&str]) -> Option<Output> {
    let child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(ANSWER_WITHIN, child).await {
        Ok(Ok(output)) if output.status.success() => Some(output),
        _ => None,
    }
}

fn first_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

async fn toolchain(program: &str) -> Finding {
    match answer_of(program, &["--version"]).await {
        Some(output) => Finding::Ok(first_line(&output)),
        None => Finding::Missing(
            "install Rust with rustup (https://rustup.rs), then open a new shell".into(),
        ),
    }
}

async fn linker() -> Finding {
    match answer_of("cc", &["--version"]).await {
        Some(output) => Finding::Ok(first_line(&output)),
        None => Finding::Missing("install a C linker: `apt-get install gcc libc6-dev` on Debian, `xcode-select --install` on macOS".into()),
    }
}

fn workspace(settings: &Settings) -> Finding {
    if !settings.workspace.join("Cargo.toml").is_file() {
        return Finding::Missing(format!(
            "no Cargo.toml in {}; run in a Cargo workspace or name one with --workspace",
            settings.workspace.display()
        ));
    }
    Finding::Ok(settings.workspace.display().to_string())
}

fn watches() -> Finding {
    const LIMIT: &str = "/proc/sys/fs/inotify/max_user_watches";
    let Some(limit) = std::fs::read_to_string(Path::new(LIMIT))
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
    else {
        return Finding::Ok("no inotify limit on this system".into());
    };
    if limit < ENOUGH_WATCHES {
        Finding::Optional(format!(
            "only {limit} inotify watches, so a large workspace is polled; raise them with `sysctl fs.inotify.max_user_watches=524288`"
        ))
    } else {
        Finding::Ok(format!("{limit} inotify watches"))
    }
}

async fn docker() -> Finding {
    let Some(engine) = answer_of(
        "docker",
        &["version", "--format", "engine {{.Server.Version}}"],
    )
    .await
    else {
        return Finding::Optional(
            "no Docker engine answers; only `make up` and `make docker-test` need one (https://docs.docker.com/engine/install)".into(),
        );
    };
    match answer_of("docker", &["compose", "version", "--short"]).await {
        Some(compose) => Finding::Ok(format!("{}, compose {}", first_line(&engine), first_line(&compose))),
        None => Finding::Optional(
            "Docker has no Compose v2; only `make up` needs it (https://docs.docker.com/compose/install)".into(),
        ),
    }
}

/// What links for Lambda: zig knows every processor and the glibc to link against.
async fn packaging() -> Finding {
    let Some(zigbuild) = answer_of("cargo-zigbuild", &["--version"]).await else {
        return Finding::Optional(
            "no cargo-zigbuild; without it `longshore build` links with this machine's own glibc and for its own \
             processor: `pip install cargo-zigbuild` (it brings zig), with that folder on the PATH"
                .into(),
        );
    };
    for (program, arguments) in [
        ("zig", &["version"][..]),
        ("python3", &["-m", "ziglang", "version"][..]),
    ] {
        if let Some(zig) = answer_of(program, arguments).await {
            return Finding::Ok(format!(
                "{}, zig {}",
                first_line(&zigbuild),
                first_line(&zig)
            ));
        }
    }
    Finding::Optional(format!(
        "{}, but no zig: `pip install ziglang`",
        first_line(&zigbuild)
    ))
}

/// The standard libraries of Lambda's two processors.
async fn targets() -> Finding {
    let Some(sysroot) = answer_of("rustc", &["--print", "sysroot"]).await else {
        return Finding::Optional("no rustc to ask".into());
    };
    let libraries = Path::new(&first_line(&sysroot)).join("lib/rustlib");
    let (here, missing): (Vec<_>, Vec<_>) = [Architecture::X86_64, Architecture::Arm64]
        .into_iter()
        .map(Architecture::triple)
        .partition(|triple| libraries.join(triple).join("lib").is_dir());
    if missing.is_empty() {
        return Finding::Ok(here.join(", "));
    }
    Finding::Optional(format!(
        "packages for the other processor need `rustup target add {}`",
        missing.join(" ")
    ))
}

async fn free_port(address: SocketAddr) -> Finding {
    match TcpListener::bind(address).await {
        Ok(_) => Finding::Ok(format!("{address} is free")),
        Err(error) => Finding::Optional(format!(
            "{address} cannot be used now ({error}); is Longshore running?"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tool_that_is_not_there_is_missing() {
        assert!(answer_of("longshore-has-no-such-tool", &[]).await.is_none());
        assert!(matches!(
            toolchain("longshore-has-no-such-tool").await,
            Finding::Missing(_)
        ));
        assert!(matches!(toolchain("cargo").await, Finding::Ok(_)));
    }

    #[tokio::test]
    async fn a_port_in_use_is_told() {
        let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let finding = free_port(holder.local_addr().unwrap()).await;
        assert!(matches!(finding, Finding::Optional(_)), "{finding:?}");
    }
}
