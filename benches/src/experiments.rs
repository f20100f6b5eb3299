//! One file for each thing that is measured.

mod compile_error;
mod crash;
mod earlier;
mod edits_under_load;
mod in_flight;
mod latency;
mod memory;
mod packages;
mod parallel;
mod save_to_served;
mod start;
mod stream;

use crate::arena::Arena;
use crate::cli::Experiment;
use crate::report::{Cell, Section};
use crate::tool::Tool;

/// Measures one thing.
pub(crate) async fn run(experiment: Experiment, arena: &mut Arena) -> anyhow::Result<Section> {
    match experiment {
        Experiment::Latency => latency::run(arena).await,
        Experiment::Earlier => earlier::run(arena).await,
        Experiment::SaveToServed => save_to_served::run(arena).await,
        Experiment::EditsUnderLoad => edits_under_load::run(arena).await,
        Experiment::InFlight => in_flight::run(arena).await,
        Experiment::CompileError => compile_error::run(arena).await,
        Experiment::Crash => crash::run(arena).await,
        Experiment::Parallel => parallel::run(arena).await,
        Experiment::Start => start::run(arena).await,
        Experiment::Memory => memory::run(arena).await,
        Experiment::Packages => packages::run(arena).await,
        Experiment::Stream => stream::run(arena).await,
        Experiment::All => anyhow::bail!("`all` is every other experiment, one by one"),
    }
}

/// The headings of a table with a column for each tool.
fn tool_columns() -> Vec<String> {
    Tool::BOTH
        .iter()
        .map(|tool| tool.title().to_owned())
        .collect()
}

/// Turns a cell for each measure and tool into rows: a tool that is absent says so in
/// each of them.
fn spread<const MEASURES: usize>(cells: Vec<[Cell; MEASURES]>) -> [Vec<Cell>; MEASURES] {
    let mut rows = std::array::from_fn(|_| Vec::with_capacity(cells.len()));
    for column in cells {
        for (row, cell) in rows.iter_mut().zip(column) {
            row.push(cell);
        }
    }
    rows
}
