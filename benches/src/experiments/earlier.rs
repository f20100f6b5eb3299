//! The plain path of this build beside an earlier one's: what was added since may not slow
//! the requests that do not use it. Interleaved, as the tools are in `latency`.

use crate::arena::Arena;
use crate::cli::Counts;
use crate::client::Call;
use crate::experiments::latency::{BODY, CONNECTIONS, Rounds, WARM_UP, figure, interleaved};
use crate::report::{Cell, Row, Section, Target, Unit};
use crate::site::Function;
use crate::tool::{Profile, Server, Tool};

const TITLE: &str = "Beside an earlier build";
/// How much slower than the earlier build one may be.
const BOUND: f64 = 1.05;
/// Two builds are a few per cent apart, and so are two rounds of one build: many short
/// rounds tell them apart better than few long ones.
const ROUNDS_FOR_ONE: u32 = 3;

pub(crate) async fn run(arena: &mut Arena) -> anyhow::Result<Section> {
    let all = arena.counts();
    let counts = Counts {
        latency_rounds: all.latency_rounds * ROUNDS_FOR_ONE as usize,
        latency_run: all.latency_run / ROUNDS_FOR_ONE,
        ..all
    };
    let tools = [Tool::Longshore, Tool::Earlier];
    if let Some(absent) = tools.into_iter().find_map(|tool| arena.absent(tool)) {
        return Ok(Section {
            title: TITLE.to_owned(),
            method: "Not run.".to_owned(),
            columns: vec![Tool::Longshore.title().to_owned()],
            rows: vec![Row::new("p50", Unit::Micros, vec![absent])],
        });
    }
    let mut servers: Vec<Server> = Vec::new();
    for tool in tools {
        let site = arena.site(tool.slug(), Profile::Release).await?;
        servers.push(arena.serve(tool, &site, Profile::Release, &[]).await?);
    }
    let call = Call::post(Function::Echo.path(""), BODY);
    let mut rows = Vec::new();
    for connections in CONNECTIONS {
        let rounds = interleaved(&servers, &call, connections, counts).await;
        rows.extend(table(connections, &rounds));
    }
    for server in servers {
        server.stop().await?;
    }
    Ok(Section {
        title: TITLE.to_owned(),
        method: format!(
            "The requests of \"Latency and throughput\" to two builds of Longshore, both up: {:.1} s after {} s of \
             warm-up, {} rounds interleaved A B A B. *As slow as*: in each round, this one's p50 divided by the \
             earlier one's right after it; then the median of rounds.",
            counts.latency_run.as_secs_f64(),
            WARM_UP.as_secs_f64(),
            counts.latency_rounds,
        ),
        columns: tools.map(|tool| tool.title().to_owned()).into(),
        rows,
    })
}

fn table(connections: usize, rounds: &[Rounds]) -> [Row; 4] {
    let cells = |cell: fn(&Rounds) -> Cell| rounds.iter().map(cell).collect::<Vec<_>>();
    let slower = match rounds {
        [now, earlier] if !now.p50.is_empty() && !earlier.p50.is_empty() => {
            let pairs = now.p50.iter().zip(&earlier.p50);
            figure(
                &pairs
                    .map(|(now, earlier)| now / earlier)
                    .collect::<Vec<_>>(),
            )
        }
        _ => Cell::said("no answers"),
    };
    [
        Row::new(
            format!("p50, {connections} conn."),
            Unit::Micros,
            cells(|seen| figure(&seen.p50)),
        ),
        Row::new(
            format!("throughput, {connections} conn."),
            Unit::PerSecond,
            cells(|seen| figure(&seen.rate)),
        ),
        Row::new(
            format!("as slow as, {connections} conn."),
            Unit::Times,
            vec![slower, Cell::one(1.0)],
        )
        .target(Target::AtMost(BOUND)),
        Row::new(
            format!("errors, {connections} conn."),
            Unit::Count,
            cells(|seen| Cell::count(seen.errors)),
        )
        .target(Target::AtMost(0.0)),
    ]
}
