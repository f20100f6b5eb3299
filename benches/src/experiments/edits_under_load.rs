//! Requests lost while the source is edited again and again under an open loop.

use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::client::{Call, CallError};
use crate::experiments::{spread, tool_columns};
use crate::load::{OpenLoop, Pace, Shot};
use crate::report::{Cell, Row, Section, Target, Unit};
use crate::site::Function;
use crate::tool::{Profile, Tool};

/// Twenty requests a second, for at most an hour.
const PACE: Pace = Pace {
    every: Duration::from_millis(50),
    patience: Duration::from_secs(30),
    at_most: 72_000,
    waiting_at_most: None,
};
/// After this long without the new code, the next edit is made all the same.
const SERVED_WITHIN: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Tally {
    sent: usize,
    lost: usize,
    errors: usize,
    worst: Duration,
    first_fault: Option<String>,
}

impl Tally {
    fn add(&mut self, shot: &Shot) {
        self.sent += 1;
        match &shot.outcome {
            Ok(answer) if answer.is_ok() => self.worst = self.worst.max(shot.took()),
            Ok(answer) => {
                self.errors += 1;
                self.first_fault.get_or_insert_with(|| answer.summary());
            }
            Err(
                error @ (CallError::TimedOut(_) | CallError::Broken(_) | CallError::Unreachable(_)),
            ) => {
                self.lost += 1;
                self.first_fault.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

pub(crate) async fn run(arena: &mut Arena) -> anyhow::Result<Section> {
    let edits = arena.counts().edits_under_load;
    let mut columns = Vec::new();
    for tool in Tool::BOTH {
        columns.push(match arena.absent(tool) {
            Some(cell) => std::array::from_fn(|_| cell.clone()),
            None => measure(arena, tool, edits).await?,
        });
    }
    let [sent, lost, errors, worst, served, fault] = spread(columns);
    Ok(Section {
        title: "Edits under load".to_owned(),
        method: format!(
            "Open loop of {} requests a second; {edits} one-line edits, each saved as soon as the one before is served \
             (or after {} s). Lost: no answer within {} s, or the connection broke. Errors: any status but 200.",
            1000 / PACE.every.as_millis(),
            SERVED_WITHIN.as_secs(),
            PACE.patience.as_secs(),
        ),
        columns: tool_columns(),
        rows: vec![
            Row::new("requests sent", Unit::Count, sent),
            Row::new("lost", Unit::Count, lost).target(Target::AtMost(0.0)),
            Row::new("errors", Unit::Count, errors).target(Target::AtMost(0.0)),
            Row::new("slowest good answer", Unit::Seconds, worst),
            Row::new("edits served", Unit::Count, served),
            Row::new("first fault", Unit::Count, fault),
        ],
    })
}

async fn measure(arena: &mut Arena, tool: Tool, edits: usize) -> anyhow::Result<[Cell; 6]> {
    let site = arena.site(tool.slug(), Profile::Dev).await?;
    let server = arena.serve(tool, &site, Profile::Dev, &[]).await?;
    let mut load = OpenLoop::start(server.gateway(), Call::get(Function::Echo.path("")), PACE);
    let mut tally = Tally::default();
    let mut served = 0;
    for _ in 0..edits {
        let version = arena.next_version();
        site.edit(Function::Echo, version).await?;
        let wanted = version.to_string();
        let due = Instant::now() + SERVED_WITHIN;
        while let Ok(Some(shot)) = tokio::time::timeout_at(due.into(), load.next()).await {
            tally.add(&shot);
            if shot.served(&wanted) {
                served += 1;
                break;
            }
        }
    }
    load.stop();
    while let Some(shot) = load.next().await {
        tally.add(&shot);
    }
    server.stop().await?;
    Ok([
        Cell::count(tally.sent),
        Cell::count(tally.lost),
        Cell::count(tally.errors),
        Cell::one(tally.worst.as_secs_f64()),
        Cell::count(served),
        Cell::said(tally.first_fault.unwrap_or_else(|| "none".to_owned())),
    ])
}
