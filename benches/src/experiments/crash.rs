//! `exit(3)` in a handler: what that caller gets, and when the next one is served.

use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::client::{Call, Connection};
use crate::experiments::{spread, tool_columns};
use crate::report::{Cell, Row, Section, Target, Unit};
use crate::site::Function;
use crate::tool::{Profile, Tool};

/// How long the caller who caused it waits.
const CRASH_PATIENCE: Duration = Duration::from_secs(10);
/// How long the next caller waits.
const NEXT_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn run(arena: &mut Arena) -> anyhow::Result<Section> {
    let crashes = arena.counts().crashes;
    let mut columns = Vec::new();
    for tool in Tool::BOTH {
        columns.push(match arena.absent(tool) {
            Some(cell) => std::array::from_fn(|_| cell.clone()),
            None => measure(arena, tool, crashes).await?,
        });
    }
    let [answer, crash, next] = spread(columns);
    Ok(Section {
        title: "A crash".to_owned(),
        method: format!(
            "The handler calls `exit(3)`; as soon as its caller knows (or after {} s), another request is sent, again \
             until there is a 200 (at most {} s). {crashes} times, or once if it never comes back.",
            CRASH_PATIENCE.as_secs(),
            NEXT_PATIENCE.as_secs()
        ),
        columns: tool_columns(),
        rows: vec![
            Row::new("the caller gets", Unit::Count, answer),
            Row::new("after", Unit::Seconds, crash),
            Row::new("next 200 after", Unit::Seconds, next).target(Target::AtMost(0.3)),
        ],
    })
}

async fn measure(arena: &mut Arena, tool: Tool, crashes: usize) -> anyhow::Result<[Cell; 3]> {
    let site = arena.site(tool.slug(), Profile::Dev).await?;
    let mut server = arena.serve(tool, &site, Profile::Dev, &[]).await?;
    let crash = Call::get(Function::Slow.path("?exit=3"));
    let next = Call::get(Function::Slow.path(""));
    let mut told = String::new();
    let (mut crash_took, mut next_took) = (Vec::new(), Vec::new());
    for _ in 0..crashes {
        let sent = Instant::now();
        match Connection::new(server.gateway())
            .send(&crash, CRASH_PATIENCE)
            .await
        {
            Ok(answer) => {
                crash_took.push(sent.elapsed());
                told = answer.summary();
            }
            Err(error) => told = error.to_string(),
        }
        let known = Instant::now();
        if server
            .first_ok(&next, Duration::from_millis(5), NEXT_PATIENCE)
            .await
            .is_err()
        {
            break;
        }
        next_took.push(known.elapsed());
    }
    server.stop().await?;
    Ok([
        Cell::said(told),
        Cell::times(crash_took, CRASH_PATIENCE),
        Cell::times(next_took, NEXT_PATIENCE),
    ])
}
