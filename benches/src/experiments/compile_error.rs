//! From saving an edit that does not compile to somebody being told over HTTP, and what
//! happens to the callers meanwhile.

use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::client::{Answer, Call};
use crate::experiments::{spread, tool_columns};
use crate::load::{OpenLoop, Pace};
use crate::report::{Cell, Row, Section, Target, Unit};
use crate::site::Function;
use crate::tool::{Profile, Tool};

const PACE: Pace = Pace {
    every: Duration::from_millis(20),
    patience: Duration::from_secs(30),
    at_most: 1500,
    waiting_at_most: Some(50),
};
/// The source stays broken this long.
const BROKEN_FOR: Duration = Duration::from_secs(5);
/// A caller who waits longer than this while the source is broken is not being served.
const SERVED_WITHIN: Duration = Duration::from_secs(2);

pub(crate) async fn run(arena: &mut Arena) -> anyhow::Result<Section> {
    let trials = arena.counts().compile_errors;
    let mut columns = Vec::new();
    for tool in Tool::BOTH {
        columns.push(match arena.absent(tool) {
            Some(cell) => std::array::from_fn(|_| cell.clone()),
            None => measure(arena, tool, trials).await?,
        });
    }
    let [told, sent, stalled, mended] = spread(columns);
    Ok(Section {
        title: "A compile error".to_owned(),
        method: format!(
            "An edit that does not compile is saved; the function is asked every {} ms for {} s; then the edit is \
             mended. Told: the first answer with `x-longshore-build: failed`, or the compiler's words in its body. Not \
             served: no 200 within {} s. {trials} times.",
            PACE.every.as_millis(),
            BROKEN_FOR.as_secs(),
            SERVED_WITHIN.as_secs()
        ),
        columns: tool_columns(),
        rows: vec![
            Row::new("save to told", Unit::Seconds, told).target(Target::AtMost(1.5)),
            Row::new("requests while broken", Unit::Count, sent),
            Row::new("of these not served", Unit::Count, stalled).target(Target::AtMost(0.0)),
            Row::new("mended to served", Unit::Seconds, mended),
        ],
    })
}

async fn measure(arena: &mut Arena, tool: Tool, trials: usize) -> anyhow::Result<[Cell; 4]> {
    let site = arena.site(tool.slug(), Profile::Dev).await?;
    let server = arena.serve(tool, &site, Profile::Dev, &[]).await?;
    let (mut told, mut mended) = (Vec::new(), Vec::new());
    let (mut sent, mut stalled) = (0, 0);
    for _ in 0..trials {
        let mut asking =
            OpenLoop::start(server.gateway(), Call::get(Function::Echo.path("")), PACE);
        let broken = arena.next_version();
        let saved = Instant::now();
        site.break_source(Function::Echo, broken).await?;
        let until = saved + BROKEN_FOR;
        let mut first_told = None;
        let mut ended = 0;
        while let Ok(Some(shot)) = tokio::time::timeout_at(until.into(), asking.next()).await {
            ended += 1;
            if first_told.is_none() && shot.outcome.as_ref().is_ok_and(tells) {
                first_told = Some(shot.ended - saved);
            }
            stalled += usize::from(!shot.is_ok() || shot.took() > SERVED_WITHIN);
        }
        told.extend(first_told);
        let version = arena.next_version();
        let saved = Instant::now();
        site.edit(Function::Echo, version).await?;
        // Whoever was asked while it was broken and answers only now has stalled.
        let answered_late = async {
            let mut late = 0;
            let mut seen = None;
            while let Some(shot) = asking.next().await {
                if shot.sent < saved {
                    ended += 1;
                    late += usize::from(!shot.is_ok() || shot.took() > SERVED_WITHIN);
                }
                if seen.is_none() && shot.served(&version.to_string()) {
                    seen = Some(shot.ended - saved);
                    asking.stop();
                }
            }
            (late, seen)
        };
        let (late, seen) = answered_late.await;
        stalled += late;
        sent += ended;
        match seen {
            Some(seen) => mended.push(seen),
            // It serves nobody any more: further trials would say nothing.
            None => break,
        }
    }
    server.stop().await?;
    Ok([
        Cell::times(told, BROKEN_FOR),
        Cell::count(sent),
        Cell::count(stalled),
        Cell::times(mended, PACE.patience),
    ])
}

/// Whether an answer lets its caller know of the broken build.
fn tells(answer: &Answer) -> bool {
    let header = answer
        .headers
        .get("x-longshore-build")
        .and_then(|value| value.to_str().ok());
    header.is_some_and(|value| value.contains("failed")) || answer.says("mismatched types")
}
