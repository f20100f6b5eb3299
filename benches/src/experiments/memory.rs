//! Resident memory of the tool when it has served and rests.

use std::time::Duration;

use crate::arena::Arena;
use crate::children::{self, Memory};
use crate::client::Call;
use crate::experiments::{spread, tool_columns};
use crate::load::closed_loop;
use crate::report::{Cell, Row, Section, Target, Unit};
use crate::site::Function;
use crate::tool::{Profile, Tool};

const LOAD: Duration = Duration::from_secs(2);

pub(crate) async fn run(arena: &mut Arena) -> anyhow::Result<Section> {
    let idle = arena.counts().idle;
    let mut columns = Vec::new();
    for tool in Tool::BOTH {
        columns.push(match arena.absent(tool) {
            Some(cell) => std::array::from_fn(|_| cell.clone()),
            None => measure(arena, tool, idle).await?,
        });
    }
    let [started, served, peak, handler] = spread(columns);
    Ok(Section {
        title: "Memory".to_owned(),
        method: format!(
            "`VmRSS` of the tool's own process after {} s of rest: once when both functions have answered, and once more \
             after {} s of requests on four connections; `VmHWM` is the most it ever had. Handler: one echo process, dev \
             profile.",
            idle.as_secs(),
            LOAD.as_secs()
        ),
        columns: tool_columns(),
        rows: vec![
            Row::new("idle after the start", Unit::Mebibytes, started).target(Target::AtMost(30.0)),
            Row::new("idle after load", Unit::Mebibytes, served),
            Row::new("peak", Unit::Mebibytes, peak),
            Row::new("handler", Unit::Mebibytes, handler),
        ],
    })
}

async fn measure(arena: &mut Arena, tool: Tool, idle: Duration) -> anyhow::Result<[Cell; 4]> {
    let site = arena.site(tool.slug(), Profile::Dev).await?;
    let server = arena.serve(tool, &site, Profile::Dev, &[]).await?;
    // Rest is what is measured.
    tokio::time::sleep(idle).await;
    let started = children::memory(server.pid());
    closed_loop(
        server.gateway(),
        &Call::get(Function::Echo.path("")),
        4,
        LOAD,
    )
    .await;
    // At rest again.
    tokio::time::sleep(idle).await;
    let served = children::memory(server.pid());
    let handlers = children::processes_named(site.root(), Function::Echo.name());
    let handler = handlers.into_iter().find_map(children::memory);
    server.stop().await?;
    Ok([
        cell(started, |memory| memory.resident),
        cell(served, |memory| memory.resident),
        cell(served, |memory| memory.peak),
        cell(handler, |memory| memory.resident),
    ])
}

#[expect(clippy::cast_precision_loss, reason = "a size to be read by people")]
pub(super) fn cell(memory: Option<Memory>, which: fn(Memory) -> u64) -> Cell {
    memory.map_or(Cell::said("no /proc here"), |memory| {
        Cell::one(which(memory) as f64 / f64::from(1 << 20))
    })
}
