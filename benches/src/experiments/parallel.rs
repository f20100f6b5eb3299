//! Five one-second requests at once: one after the other, or together?

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::arena::Arena;
use crate::client::{Call, Connection};
use crate::report::{Cell, Row, Section, Target, Unit};
use crate::samples::Samples;
use crate::site::Function;
use crate::tool::{Profile, Tool};

const AT_ONCE: usize = 5;
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn run(arena: &mut Arena) -> anyhow::Result<Section> {
    let trials = arena.counts().parallel;
    // cargo-lambda is measured as it comes, and as it is when told how many to expect.
    let columns: [(Tool, &[&str]); 3] = [
        (Tool::Longshore, &[]),
        (Tool::CargoLambda, &[]),
        (Tool::CargoLambda, &["--concurrency", "5"]),
    ];
    let mut titles = Vec::new();
    let (mut firsts, mut laters) = (Vec::new(), Vec::new());
    for (tool, extra) in columns {
        titles.push([&[tool.title()], extra].concat().join(" "));
        let (first, later) = match arena.absent(tool) {
            Some(cell) => (cell.clone(), cell),
            None => measure(arena, tool, extra, trials).await?,
        };
        firsts.push(first);
        laters.push(later);
    }
    Ok(Section {
        title: "Five requests of one second at once".to_owned(),
        method: format!(
            "{AT_ONCE} requests that sleep 1 s each, sent together; wall time until all have their 200. First: only one \
             instance has run so far. Then {trials} times again."
        ),
        columns: titles,
        rows: vec![
            Row::new("first", Unit::Seconds, firsts).target(Target::AtMost(1.5)),
            Row::new("again", Unit::Seconds, laters).target(Target::AtMost(1.2)),
        ],
    })
}

async fn measure(
    arena: &mut Arena,
    tool: Tool,
    extra: &[&str],
    trials: usize,
) -> anyhow::Result<(Cell, Cell)> {
    let site = arena.site(tool.slug(), Profile::Dev).await?;
    let server = arena.serve(tool, &site, Profile::Dev, extra).await?;
    let mut took = Vec::new();
    for _ in 0..=trials {
        let start = Instant::now();
        let mut callers = JoinSet::new();
        for _ in 0..AT_ONCE {
            let address = server.gateway();
            callers.spawn(async move {
                Connection::new(address)
                    .send(&Call::get(Function::Slow.path("?ms=1000")), PATIENCE)
                    .await
            });
        }
        for answer in callers.join_all().await {
            let answer = answer?;
            anyhow::ensure!(
                answer.is_ok(),
                "{} answered {}",
                tool.title(),
                answer.summary()
            );
        }
        took.push(start.elapsed().as_secs_f64());
    }
    server.stop().await?;
    let later: Samples = took.iter().skip(1).copied().collect();
    Ok((
        took.first()
            .map_or(Cell::said("–"), |first| Cell::one(*first)),
        Cell::Measured(later),
    ))
}
