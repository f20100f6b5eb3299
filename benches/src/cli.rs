//! The command line, and the counts it stands for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::tool::Tool;

/// Measures Longshore beside its peers.
#[derive(Debug, Parser)]
pub(crate) struct Cli {
    /// What to measure; `all` writes benches/RESULTS.md, one alone prints its table
    #[arg(value_enum)]
    pub(crate) experiment: Experiment,
    /// Small counts: to see that the harness works, not to quote
    #[arg(long)]
    quick: bool,
    /// Measure this tool alone
    #[arg(long, value_enum)]
    only: Option<Tool>,
    /// The longshore binary; by default it is built with `cargo build --release`
    #[arg(long, env = "BENCH_LONGSHORE")]
    longshore: Option<PathBuf>,
    /// A longshore binary of an earlier commit, to measure this one beside it
    #[arg(long, env = "BENCH_EARLIER")]
    earlier: Option<PathBuf>,
    /// The cargo-lambda binary (pip install cargo-lambda)
    #[arg(long, env = "BENCH_CARGO_LAMBDA", default_value = "cargo-lambda")]
    cargo_lambda: PathBuf,
    /// A Python that has `requests`, for the reference runner
    #[arg(long, env = "BENCH_PYTHON", default_value = "python3")]
    python: PathBuf,
    /// Where scratch workspaces and generated inputs go; removed at the end
    #[arg(long, env = "BENCH_SCRATCH")]
    scratch: Option<PathBuf>,
    /// Size of the generated NDJSON, in MiB
    #[arg(long)]
    stream_mib: Option<u64>,
    /// Where `all` writes its page; benches/RESULTS.md if not given
    #[arg(long)]
    output: Option<PathBuf>,
}

/// One thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Experiment {
    /// p50, p99 and throughput at 1, 4 and 16 connections
    Latency,
    /// The same at this commit and at an earlier one; needs --earlier
    Earlier,
    /// From saving a one-line edit to the first answer of the new code
    SaveToServed,
    /// Requests lost while the source is edited under an open loop
    EditsUnderLoad,
    /// A six-second request across an edit
    InFlight,
    /// From saving a broken edit to somebody being told
    CompileError,
    /// `exit(3)` in a handler to the next 200
    Crash,
    /// Five one-second requests at once
    Parallel,
    /// Spawn to first 200, everything built
    Start,
    /// Resident memory of the idle tool
    Memory,
    /// A large NDJSON through the runner, beside the same job in Python
    Stream,
    /// The zips for Lambda: size, init and memory
    Packages,
    /// Everything, written to RESULTS.md
    All,
}

impl Experiment {
    /// Every experiment but `all`, in the order of the page.
    pub(crate) const EACH: [Self; 12] = [
        Self::Latency,
        Self::Earlier,
        Self::SaveToServed,
        Self::EditsUnderLoad,
        Self::InFlight,
        Self::CompileError,
        Self::Crash,
        Self::Parallel,
        Self::Start,
        Self::Memory,
        Self::Stream,
        Self::Packages,
    ];

    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// How often and how long. Everything is bounded here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) latency_rounds: usize,
    pub(crate) latency_run: Duration,
    pub(crate) saves: usize,
    pub(crate) edits_under_load: usize,
    pub(crate) in_flight: usize,
    pub(crate) compile_errors: usize,
    pub(crate) crashes: usize,
    pub(crate) parallel: usize,
    pub(crate) starts: usize,
    pub(crate) idle: Duration,
    pub(crate) stream_bytes: u64,
}

impl Counts {
    fn full() -> Self {
        Self {
            latency_rounds: 5,
            latency_run: Duration::from_secs(5),
            saves: 10,
            edits_under_load: 50,
            in_flight: 3,
            compile_errors: 5,
            crashes: 10,
            parallel: 3,
            starts: 10,
            idle: Duration::from_secs(10),
            stream_bytes: 1 << 30,
        }
    }

    fn quick() -> Self {
        Self {
            latency_rounds: 2,
            latency_run: Duration::from_secs(1),
            saves: 2,
            edits_under_load: 2,
            in_flight: 1,
            compile_errors: 1,
            crashes: 2,
            parallel: 1,
            starts: 2,
            idle: Duration::from_secs(1),
            stream_bytes: 16 << 20,
        }
    }
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) quick: bool,
    pub(crate) counts: Counts,
    pub(crate) only: Option<Tool>,
    pub(crate) longshore: Option<PathBuf>,
    pub(crate) earlier: Option<PathBuf>,
    pub(crate) cargo_lambda: PathBuf,
    pub(crate) python: PathBuf,
    pub(crate) scratch: PathBuf,
    pub(crate) output: Option<PathBuf>,
}

impl Cli {
    pub(crate) fn settings(&self) -> Settings {
        let mut counts = if self.quick {
            Counts::quick()
        } else {
            Counts::full()
        };
        if let Some(mib) = self.stream_mib {
            counts.stream_bytes = mib << 20;
        }
        Settings {
            quick: self.quick,
            counts,
            only: self.only,
            longshore: self.longshore.clone(),
            earlier: self.earlier.clone(),
            cargo_lambda: self.cargo_lambda.clone(),
            python: self.python.clone(),
            scratch: self.scratch.clone().unwrap_or_else(std::env::temp_dir),
            output: self.output.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_experiment_is_part_of_all() {
        let missing = Experiment::value_variants()
            .iter()
            .filter(|one| **one != Experiment::All && !Experiment::EACH.contains(one))
            .count();
        assert_eq!(missing, 0);
    }
}
