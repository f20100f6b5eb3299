//! The command line: flags in, exit code out. Nothing below this file knows clap, but the
//! settings' own list of flags.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, Subcommand};
use function_package::Architecture;
use service_runtime::init_logs;

use crate::commands::build::BuildOptions;
use crate::commands::keep::KeepOptions;
use crate::commands::logs::LogsOptions;
use crate::commands::verify::VerifyOptions;
use crate::commands::{build, doctor, invoke, keep, logs, new, serve, sync_fixtures, verify};
use crate::env::ProcessEnvironment;
use crate::exit::Exit;
use crate::settings::{Flags, Settings};
use crate::stack::Parts;

#[derive(Debug, Parser)]
#[command(
    name = "longshore",
    version,
    about = "A local-first sandbox for AWS Lambda data pipelines",
    after_help = "Exit codes: 0 done or drained, 1 failed, 2 bad flag or setting, 3 port not available, \
                  4 workspace or toolchain not usable, 130 stopped by a second Ctrl-C."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process: gateway, AWS endpoint, destination and poller.
    Up,
    /// Run the mock API Gateway and the functions behind it alone.
    Gateway,
    /// Run the embedded AWS endpoint (S3) alone.
    AwsEndpoint,
    /// Run the mock destination alone.
    Destination,
    /// Run the callback poller alone.
    Poller,
    /// Invoke a function through the running gateway and print what it returns.
    Invoke {
        /// The function's name.
        function: String,
        /// The event as JSON; `@FILE` reads a file, `-` standard input. Default: `{}`.
        #[arg(long, short, default_value = "{}")]
        data: String,
    },
    /// Print what a function logged, and what the platform said of it.
    Logs {
        /// The function's name.
        function: String,
        /// Stay, and print what comes until Ctrl-C.
        #[arg(long, short)]
        follow: bool,
        /// Lines of this invocation only.
        #[arg(long, value_name = "ID")]
        request_id: Option<String>,
        /// The newest lines only, so many.
        #[arg(long, short = 'n', value_name = "COUNT")]
        lines: Option<usize>,
    },
    /// Make a handler from the template; a running Longshore serves it at the next request.
    New {
        /// The new function's name: lowercase letters, digits and hyphens.
        name: String,
    },
    /// Package functions for Lambda: build/<handler>.zip, with a manifest beside it.
    Build {
        /// The functions; `demo`, `demo.rs` and `handlers/demo` are the same one.
        #[arg(value_name = "HANDLER")]
        functions: Vec<String>,
        /// All functions.
        #[arg(long, conflicts_with = "functions")]
        all: bool,
        /// The processor to build for: x86_64 or arm64.
        #[arg(long, value_name = "ARCHITECTURE", default_value = "x86_64")]
        arch: Architecture,
        /// A file or folder to pack as well, relative to the workspace; may be repeated.
        #[arg(long, value_name = "PATH")]
        include: Vec<PathBuf>,
        /// Where packages go, relative to the workspace.
        #[arg(long, value_name = "DIR", default_value = "build")]
        out: PathBuf,
    },
    /// Check a package against its manifest, Lambda's rules and a rebuild of its source.
    Verify {
        /// The package; its manifest is beside it.
        zip: PathBuf,
        /// Check what is there, and do not build the function again.
        #[arg(long)]
        no_rebuild: bool,
    },
    /// Keep a bucket of another S3, such as LocalStack, in step with the fixtures folder.
    SyncFixtures,
    /// Start again what `docker kill` ends in a compose project; leave what was stopped.
    ///
    /// Follows the container engine's events. A container that dies of KILL, and was sent no
    /// stop signal before it, is started again, if it has a restart policy. Stopping,
    /// restarting, recreating and removing go their way. Nothing is ever stopped, killed or
    /// removed. `make up` runs this as the service `keeper`; see docs/decisions/0011-keeper.md.
    Keep {
        /// The compose project whose containers are kept.
        #[arg(long, value_name = "NAME")]
        project: String,
        /// The engine's Unix socket. Whoever may write to it is root on the engine's machine.
        #[arg(long, value_name = "PATH", default_value = "/var/run/docker.sock")]
        socket: PathBuf,
        /// A file to touch every two seconds while the engine is followed, for health checks.
        #[arg(long, value_name = "FILE")]
        touch: Option<PathBuf>,
    },
    /// Say what this machine has, what it lacks and how to get it.
    Doctor,
}

/// Parses the command line and carries it out.
#[must_use]
pub fn run() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let failed = error.use_stderr();
            // Help that nobody reads is no failure of ours.
            error.print().ok();
            return if failed { Exit::Usage } else { Exit::Success };
        }
    };
    match carry_out(&cli) {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("error: {error:#}");
            Exit::of(&error)
        }
    }
}

fn carry_out(cli: &Cli) -> anyhow::Result<Exit> {
    let current_dir = std::env::current_dir().context("the current folder cannot be read")?;
    let environment = ProcessEnvironment::with_dotenv(&dotenv_folder(cli, &current_dir))?;
    let settings = Settings::resolve(&cli.flags, &environment, &current_dir)?;
    let _logs = init_logs(settings.log_format, &settings.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the async runtime cannot be started")?;
    runtime.block_on(async {
        match &cli.command {
            Command::Up => serve::up(settings).await,
            Command::Gateway => serve::run(settings, Parts::GATEWAY).await,
            Command::AwsEndpoint => serve::run(settings, Parts::AWS_ENDPOINT).await,
            Command::Destination => serve::run(settings, Parts::DESTINATION).await,
            Command::Poller => serve::run(settings, Parts::POLLER).await,
            Command::Invoke { function, data } => invoke::run(&settings, function, data).await,
            Command::Logs {
                function,
                follow,
                request_id,
                lines,
            } => {
                let options = LogsOptions {
                    follow: *follow,
                    request_id: request_id.clone(),
                    limit: *lines,
                };
                logs::run(&settings, function, &options).await
            }
            Command::New { name } => new::run(&settings, name).await,
            Command::Build {
                functions,
                all,
                arch,
                include,
                out,
            } => {
                let options = BuildOptions {
                    handlers: functions.clone(),
                    all: *all,
                    architecture: *arch,
                    include: include.clone(),
                    out: out.clone(),
                };
                build::run(&settings, &options).await
            }
            Command::Verify { zip, no_rebuild } => {
                let options = VerifyOptions {
                    zip: zip.clone(),
                    rebuild: !no_rebuild,
                };
                verify::run(&settings, &options).await
            }
            Command::SyncFixtures => sync_fixtures::run(&settings).await,
            Command::Keep {
                project,
                socket,
                touch,
            } => {
                let options = KeepOptions {
                    project: project.clone(),
                    socket: socket.clone(),
                    touch: touch.clone(),
                };
                keep::run(options).await
            }
            Command::Doctor => Ok(doctor::run(&settings).await),
        }
    })
}

/// `.env` is read from the workspace where one is named on the command line.
fn dotenv_folder(cli: &Cli, current_dir: &Path) -> PathBuf {
    match cli.flags.0.get(crate::settings::WORKSPACE.flag) {
        Some(workspace) => current_dir.join(workspace),
        None => current_dir.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::settings::SETTINGS;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_subcommand_has_an_argument_with_a_settings_name() {
        // clap would take the one for the other without a word.
        let settings: Vec<&str> = SETTINGS.iter().map(|setting| setting.flag).collect();
        for command in Cli::command().get_subcommands() {
            for argument in command.get_arguments() {
                let (id, of) = (argument.get_id().as_str(), command.get_name());
                assert!(
                    !settings.contains(&id),
                    "`{id}` of `{of}` is a setting's name"
                );
            }
        }
        let cli = Cli::try_parse_from(["longshore", "build", "demo"]).unwrap();
        assert!(cli.flags.0.is_empty(), "{:?}", cli.flags);
    }

    #[test]
    fn settings_are_taken_before_and_after_the_subcommand() {
        for line in [
            ["longshore", "up", "--aws-port", "1"],
            ["longshore", "--aws-port", "1", "up"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.flags.0["aws-port"], "1", "{line:?}");
        }
        let cli = Cli::try_parse_from(["longshore", "up", "--ephemeral"]).unwrap();
        assert_eq!(cli.flags.0["ephemeral"], "true");
    }
}
