//! A six-second request that is under way while its function is edited.

use std::time::{Duration, Instant};

use tokio_util::task::AbortOnDropHandle;

use crate::arena::Arena;
use crate::client::{Call, Connection};
use crate::experiments::save_to_served::{SERVED_WITHIN, served};
use crate::experiments::{spread, tool_columns};
use crate::load::{OpenLoop, Pace};
use crate::report::{Cell, Row, Section, Target, Unit};
use crate::site::Function;
use crate::tool::{Profile, Tool};

const REQUEST: Duration = Duration::from_secs(6);
const EDIT_AFTER: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);
const PACE: Pace = Pace {
    every: Duration::from_millis(50),
    patience: Duration::from_secs(30),
    at_most: 1200,
    waiting_at_most: Some(50),
};

pub(crate) async fn run(arena: &mut Arena) -> anyhow::Result<Section> {
    let trials = arena.counts().in_flight;
    let mut columns = Vec::new();
    for tool in Tool::BOTH {
        columns.push(match arena.absent(tool) {
            Some(cell) => std::array::from_fn(|_| cell.clone()),
            None => measure(arena, tool, trials).await?,
        });
    }
    let [unanswered, took, new_code] = spread(columns);
    Ok(Section {
        title: "A request in flight across an edit".to_owned(),
        method: format!(
            "A request that sleeps {} s; its function is edited after {} s; the caller waits at most {} s. {trials} \
             times. New code: how long after the save others were answered by it.",
            REQUEST.as_secs(),
            EDIT_AFTER.as_secs(),
            PATIENCE.as_secs()
        ),
        columns: tool_columns(),
        rows: vec![
            Row::new("callers without their answer", Unit::Count, unanswered)
                .target(Target::AtMost(0.0)),
            Row::new("the answer took", Unit::Seconds, took),
            Row::new("new code for others after", Unit::Seconds, new_code),
        ],
    })
}

async fn measure(arena: &mut Arena, tool: Tool, trials: usize) -> anyhow::Result<[Cell; 3]> {
    let site = arena.site(tool.slug(), Profile::Dev).await?;
    let server = arena.serve(tool, &site, Profile::Dev, &[]).await?;
    let (address, mut unanswered) = (server.gateway(), 0);
    let (mut took, mut new_code) = (Vec::new(), Vec::new());
    for _ in 0..trials {
        let call = Call::get(Function::Slow.path(&format!("?ms={}", REQUEST.as_millis())));
        let sent = Instant::now();
        let in_flight = AbortOnDropHandle::new(tokio::spawn(async move {
            let answer = Connection::new(address).send(&call, PATIENCE).await;
            (answer, sent.elapsed())
        }));
        // The edit is meant to fall into the middle of the request.
        tokio::time::sleep(EDIT_AFTER).await;
        let version = arena.next_version();
        let saved = Instant::now();
        site.edit(Function::Slow, version).await?;
        let mut others = OpenLoop::start(address, Call::get(Function::Slow.path("")), PACE);
        new_code.extend(served(&mut others, saved, version).await);
        others.stop();
        match in_flight.await? {
            (Ok(answer), after) if answer.is_ok() => took.push(after),
            (Ok(_) | Err(_), _) => unanswered += 1,
        }
        while others.next().await.is_some() {}
    }
    server.stop().await?;
    let took = Cell::times(took, PATIENCE);
    let new_code = Cell::times(new_code, SERVED_WITHIN);
    Ok([Cell::count(unanswered), took, new_code])
}
