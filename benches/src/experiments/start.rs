//! From spawning the tool to the first 200 of a function, when everything is built.

use std::time::Duration;

use crate::arena::Arena;
use crate::client::Call;
use crate::experiments::tool_columns;
use crate::report::{Cell, Row, Section, Target, Unit};
use crate::samples::Samples;
use crate::site::Function;
use crate::tool::{Profile, Tool};

const EVERY: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn run(arena: &mut Arena) -> anyhow::Result<Section> {
    let starts = arena.counts().starts;
    let mut took: Vec<(Tool, Vec<f64>)> = Vec::new();
    for tool in Tool::BOTH {
        if arena.absent(tool).is_none() {
            // Once through the tool itself: whatever it builds is built.
            let site = arena.site(tool.slug(), Profile::Dev).await?;
            arena
                .serve(tool, &site, Profile::Dev, &[])
                .await?
                .stop()
                .await?;
            took.push((tool, Vec::new()));
        }
    }
    for _ in 0..starts {
        for (tool, took) in &mut took {
            let site = arena.site(tool.slug(), Profile::Dev).await?;
            let mut server = arena.launch(*tool, site.root(), Profile::Dev, &[])?;
            server
                .first_ok(&Call::get(Function::Echo.path("")), EVERY, PATIENCE)
                .await?;
            took.push(server.spawned.elapsed().as_secs_f64());
            server.stop().await?;
        }
    }
    let cells = Tool::BOTH
        .into_iter()
        .map(|tool| match took.iter().find(|(one, _)| *one == tool) {
            Some((_, took)) => Cell::Measured(took.iter().copied().collect::<Samples>()),
            None => arena.absent(tool).unwrap_or(Cell::said("–")),
        })
        .collect();
    Ok(Section {
        title: "Start to first 200".to_owned(),
        method: format!(
            "Everything is built (dev profile); the tool is spawned and asked every {} ms until a function answers 200. \
             {starts} times, taking turns.",
            EVERY.as_millis()
        ),
        columns: tool_columns(),
        rows: vec![
            Row::new("spawn to first 200", Unit::Seconds, cells).target(Target::AtMost(0.5)),
        ],
    })
}
