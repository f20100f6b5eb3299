//! Longshore beside its peers, in one run: the same functions, the same machine, the
//! same load, one after the other or interleaved. Only loopback is called; every loop
//! has a bound; every child is gone when this process is.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measuring program talks to the terminal"
)]

mod arena;
mod children;
mod cli;
mod client;
mod experiments;
mod load;
mod machine;
mod records;
mod report;
mod samples;
mod site;
mod tool;

use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::arena::Arena;
use crate::cli::{Cli, Experiment};
use crate::machine::Machine;
use crate::report::Section;

#[tokio::main]
async fn main() -> ExitCode {
    // Dropping the run kills what it started, so a signal only has to end it.
    let outcome = tokio::select! {
        outcome = run(Cli::parse()) => outcome,
        () = interrupted() => Err(anyhow::anyhow!("interrupted; nothing was written")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let settings = cli.settings();
    let mut experiments = match cli.experiment {
        Experiment::All => Experiment::EACH.to_vec(),
        one => vec![one],
    };
    if cli.experiment == Experiment::All && settings.earlier.is_none() {
        experiments.retain(|experiment| *experiment != Experiment::Earlier);
    }
    let mut arena = Arena::prepare(settings).await?;
    let mut sections = Vec::new();
    let mut stopped = Vec::new();
    for experiment in &experiments {
        let name = experiment.name();
        eprintln!("bench: {name}");
        // One that stops does not take the others' figures with it.
        let section = experiments::run(*experiment, &mut arena)
            .await
            .unwrap_or_else(|error| {
                eprintln!(
                    "bench: {name} stopped: {error:#}; logs are in {}",
                    arena.logs().display()
                );
                stopped.push(name.clone());
                Section::stopped(name, &error)
            });
        eprintln!("{}", section.markdown());
        sections.push(section);
    }
    let report = report::document(&Machine::here(), &arena, &sections);
    if cli.experiment == Experiment::All {
        let path = arena.results_path();
        tokio::fs::write(&path, &report)
            .await
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}", path.display());
    } else {
        println!("{report}");
    }
    ensure!(
        stopped.is_empty(),
        "{} stopped before the end",
        stopped.join(", ")
    );
    Ok(())
}

/// Resolves at the first Ctrl-C or TERM; never, if the signals cannot be had.
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
