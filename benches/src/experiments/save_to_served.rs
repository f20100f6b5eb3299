//! From saving a one-line edit to the first answer of the new code, beside a bare
//! `cargo build` of the same edit. The three take turns.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::arena::Arena;
use crate::client::Call;
use crate::load::{OpenLoop, Pace};
use crate::report::{Cell, Row, Section, Target, Unit};
use crate::samples::Samples;
use crate::site::{Function, Site, Version};
use crate::tool::{Profile, Server, Tool};

/// How often somebody asks: a request that hangs holds up nobody.
const PACE: Pace = Pace {
    every: Duration::from_millis(20),
    patience: Duration::from_secs(30),
    at_most: 2000,
    waiting_at_most: Some(50),
};
/// After this long an edit counts as never served.
pub(super) const SERVED_WITHIN: Duration = Duration::from_secs(30);

/// One tool and what it was seen to do.
struct Lane {
    tool: Tool,
    server: Option<Server>,
    site: Site,
    took: Vec<Duration>,
    never: usize,
}

impl Lane {
    /// Whatever the tool is stuck in, the next edit finds it fresh.
    async fn restart(&mut self, arena: &mut Arena) -> anyhow::Result<()> {
        // The old one goes first: a handle that is dropped sweeps its workspace.
        if let Some(server) = self.server.take() {
            server.stop().await?;
        }
        self.server = Some(
            arena
                .serve(self.tool, &self.site, Profile::Dev, &[])
                .await?,
        );
        Ok(())
    }
}

pub(crate) async fn run(arena: &mut Arena) -> anyhow::Result<Section> {
    let counts = arena.counts();
    let bare = arena.site("bare", Profile::Dev).await?;
    let mut bare_took = Vec::new();
    let mut lanes = Vec::new();
    for tool in Tool::BOTH {
        if arena.absent(tool).is_none() {
            let site = arena.site(tool.slug(), Profile::Dev).await?;
            let server = Some(arena.serve(tool, &site, Profile::Dev, &[]).await?);
            lanes.push(Lane {
                tool,
                server,
                site,
                took: Vec::new(),
                never: 0,
            });
        }
    }
    // The first edit of each is for warming up: it is not counted.
    for round in 0..=counts.saves {
        let version = arena.next_version();
        let saved = Instant::now();
        bare.edit(Function::Echo, version).await?;
        arena.cargo_build(bare.root(), Profile::Dev).await?;
        let built = saved.elapsed();
        if round > 0 {
            bare_took.push(built);
        }
        for lane in &mut lanes {
            let version = arena.next_version();
            match save(lane, version).await? {
                Some(served) if round > 0 => lane.took.push(served),
                Some(_) => {}
                None => {
                    lane.never += 1;
                    lane.restart(arena).await?;
                }
            }
        }
    }
    let bare_cell = Cell::Measured(bare_took.into_iter().collect());
    let mut cells = Vec::new();
    let (mut overheads, mut never) = (Vec::new(), Vec::new());
    for tool in Tool::BOTH {
        let lane = lanes.iter().find(|lane| lane.tool == tool);
        let figure = |of: &dyn Fn(&Lane) -> Cell| {
            lane.map(of)
                .or_else(|| arena.absent(tool))
                .unwrap_or(Cell::said("–"))
        };
        let cell = figure(&|lane| Cell::Measured(lane.took.iter().copied().collect::<Samples>()));
        never.push(figure(&|lane| Cell::count(lane.never)));
        overheads.push(match (cell.median(), bare_cell.median()) {
            (Some(served), Some(built)) if built > 0.0 => Cell::one(served / built),
            _ => Cell::said("–"),
        });
        cells.push(cell);
    }
    cells.push(bare_cell);
    overheads.push(Cell::one(1.0));
    never.push(Cell::count(0));
    for server in lanes.into_iter().filter_map(|lane| lane.server) {
        server.stop().await?;
    }
    let mut columns = super::tool_columns();
    columns.push("bare `cargo build`".to_owned());
    Ok(Section {
        title: "Save to served".to_owned(),
        method: format!(
            "One string literal of the handler is rewritten (dev profile); the function is asked every {} ms \
             until an answer carries the new literal. Beside it, the same edit and `cargo build` in a copy. \
             {} edits each, taking turns, after one that is not counted.",
            PACE.every.as_millis(),
            counts.saves
        ),
        columns,
        rows: vec![
            Row::new("save to served", Unit::Seconds, cells).target(Target::AtMost(1.0)),
            Row::new("over the bare build (medians)", Unit::Times, overheads)
                .target(Target::AtMost(1.3)),
            Row::new(
                format!("edits not served within {} s", SERVED_WITHIN.as_secs()),
                Unit::Count,
                never,
            )
            .target(Target::AtMost(0.0)),
        ],
    })
}

async fn save(lane: &Lane, version: Version) -> anyhow::Result<Option<Duration>> {
    let server = lane.server.as_ref().context("the tool is not up")?;
    let mut asking = OpenLoop::start(server.gateway(), Call::get(Function::Echo.path("")), PACE);
    let first = asking.next().await.context("nobody asked")?;
    anyhow::ensure!(
        first.is_ok(),
        "the function did not answer before the edit; see {}",
        server.log().display()
    );
    let saved = Instant::now();
    lane.site.edit(Function::Echo, version).await?;
    Ok(served(&mut asking, saved, version).await)
}

/// How long after `saved` the first answer of this version ended. `None`: never in time.
pub(super) async fn served(
    asking: &mut OpenLoop,
    saved: Instant,
    version: Version,
) -> Option<Duration> {
    let wanted = version.to_string();
    let looking = async {
        while let Some(shot) = asking.next().await {
            if shot.served(&wanted) {
                return Some(shot.ended - saved);
            }
        }
        None
    };
    tokio::time::timeout(SERVED_WITHIN, looking)
        .await
        .ok()
        .flatten()
}
