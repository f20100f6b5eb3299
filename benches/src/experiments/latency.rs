//! Request latency and throughput of the same release handler behind each tool. Both
//! are up; their runs are interleaved A B A B, so that whatever else the machine does
//! falls on both.

use std::time::Duration;

use crate::arena::Arena;
use crate::cli::Counts;
use crate::client::Call;
use crate::experiments::tool_columns;
use crate::load::{ClosedLoop, closed_loop};
use crate::report::{Cell, Row, Section, Target, Unit};
use crate::samples::Samples;
use crate::site::Function;
use crate::tool::{Profile, Server, Tool};

pub(super) const CONNECTIONS: [usize; 3] = [1, 4, 16];
/// Long enough for a few hundred requests at every level.
pub(super) const WARM_UP: Duration = Duration::from_millis(500);
pub(super) const BODY: &str = r#"{"webhook_id":"bench","data_url":"http://127.0.0.1/none","callback_url":"http://127.0.0.1/none"}"#;

/// What one tool did at one number of connections: a figure for each round.
#[derive(Default)]
pub(super) struct Rounds {
    pub(super) p50: Vec<f64>,
    pub(super) p99: Vec<f64>,
    pub(super) rate: Vec<f64>,
    pub(super) errors: usize,
}

impl Rounds {
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    fn add(&mut self, seen: &ClosedLoop) {
        let micros: Samples = seen
            .took
            .iter()
            .map(|took| took.as_secs_f64() * 1e6)
            .collect();
        self.p50.extend(micros.percentile(0.5));
        self.p99.extend(micros.percentile(0.99));
        self.rate
            .push(seen.took.len() as f64 / seen.elapsed.as_secs_f64());
        self.errors += seen.errors;
    }
}

pub(crate) async fn run(arena: &mut Arena) -> anyhow::Result<Section> {
    let counts = arena.counts();
    let mut servers: Vec<Server> = Vec::new();
    for tool in Tool::BOTH {
        if arena.absent(tool).is_none() {
            let site = arena.site(tool.slug(), Profile::Release).await?;
            servers.push(arena.serve(tool, &site, Profile::Release, &[]).await?);
        }
    }
    let call = Call::post(Function::Echo.path(""), BODY);
    let mut rows = Vec::new();
    for connections in CONNECTIONS {
        let rounds = interleaved(&servers, &call, connections, counts).await;
        rows.extend(table(arena, connections, &servers, &rounds));
    }
    for server in servers {
        server.stop().await?;
    }
    Ok(Section {
        title: "Latency and throughput".to_owned(),
        method: format!(
            "`POST /lambda-url/echo/` with {} bytes, release profile, closed loop for {} s after {} s of warm-up, {} \
             rounds interleaved A B A B with both tools up; a figure of each round, then the median of rounds. \
             cargo-lambda runs one instance for each function, its default.",
            BODY.len(),
            counts.latency_run.as_secs_f64(),
            WARM_UP.as_secs_f64(),
            counts.latency_rounds,
        ),
        columns: tool_columns(),
        rows,
    })
}

/// What each server did, in turns.
pub(super) async fn interleaved(
    servers: &[Server],
    call: &Call,
    connections: usize,
    counts: Counts,
) -> Vec<Rounds> {
    let mut rounds: Vec<Rounds> = servers.iter().map(|_| Rounds::default()).collect();
    for _ in 0..counts.latency_rounds {
        for (server, rounds) in servers.iter().zip(&mut rounds) {
            closed_loop(server.gateway(), call, connections, WARM_UP).await;
            rounds.add(&closed_loop(server.gateway(), call, connections, counts.latency_run).await);
        }
    }
    rounds
}

fn table(arena: &Arena, connections: usize, servers: &[Server], rounds: &[Rounds]) -> Vec<Row> {
    let cells = |figure: fn(&Rounds) -> Cell| -> Vec<Cell> {
        let cell = |tool: Tool| {
            let at = servers.iter().position(|server| server.tool == tool);
            at.and_then(|at| rounds.get(at)).map(figure)
        };
        Tool::BOTH
            .into_iter()
            .map(|tool| {
                cell(tool)
                    .or_else(|| arena.absent(tool))
                    .unwrap_or(Cell::said("–"))
            })
            .collect()
    };
    let mut p50 = Row::new(
        format!("p50, {connections} conn."),
        Unit::Micros,
        cells(|seen| figure(&seen.p50)),
    );
    let mut p99 = Row::new(
        format!("p99, {connections} conn."),
        Unit::Micros,
        cells(|seen| figure(&seen.p99)),
    );
    if connections == 1 {
        p50 = p50.target(Target::AtMost(350.0));
        p99 = p99.target(Target::AtMost(1000.0));
    }
    vec![
        p50,
        p99,
        Row::new(
            format!("throughput, {connections} conn."),
            Unit::PerSecond,
            cells(|seen| figure(&seen.rate)),
        ),
        Row::new(
            format!("errors, {connections} conn."),
            Unit::Count,
            cells(|seen| Cell::count(seen.errors)),
        )
        .target(Target::AtMost(0.0)),
    ]
}

pub(super) fn figure(values: &[f64]) -> Cell {
    Cell::Measured(values.iter().copied().collect())
}
