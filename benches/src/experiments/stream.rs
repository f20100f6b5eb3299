//! A large NDJSON through the demo function's runner, beside the same job in Python on
//! the same servers: source, destination and callback are Longshore's for both.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hyper::Method;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use crate::arena::Arena;
use crate::children::{self, Program};
use crate::client::{Call, Connection};
use crate::records::{self, Written};
use crate::report::{Cell, Row, Section, Target, Unit};
use crate::tool::{Addresses, Profile, Server, Tool};

const TITLE: &str = "A large NDJSON through the runner";
const FUNCTION: &str = "demo";
const BUCKET: &str = "test-bucket";
const LARGE: &str = "bench-large.ndjson";
const SMALL: &str = "bench-small.ndjson";
/// Enough for a few batches.
const SMALL_BYTES: u64 = 2 << 20;
/// How long one job may take.
const JOB_PATIENCE: Duration = Duration::from_secs(1800);
/// How long the first, small one may take: the function is built for it.
const FIRST_JOB_PATIENCE: Duration = Duration::from_secs(600);
const SEEDED_WITHIN: Duration = Duration::from_secs(120);
const CALL_PATIENCE: Duration = Duration::from_secs(30);
const MIB: f64 = 1_048_576.0;

/// What one runner did with the file.
struct Run {
    seconds: f64,
    peak_bytes: Option<f64>,
}

pub(crate) async fn run(arena: &mut Arena) -> anyhow::Result<Section> {
    let python = arena.settings().python.clone();
    let mut columns = vec![
        "demo function (release)".to_owned(),
        "benches/python/runner.py".to_owned(),
    ];
    if let Some(absent) = arena.absent(Tool::Longshore) {
        let cells = vec![absent, Cell::said("needs Longshore's servers")];
        let rows = vec![Row::new("records", Unit::PerSecond, cells)];
        return Ok(Section {
            title: TITLE.to_owned(),
            method: "Not run.".to_owned(),
            columns,
            rows,
        });
    }
    let root = workspace(arena).await?;
    let data = root.join("fixtures").join("data");
    let size = arena.counts().stream_bytes;
    let written = tokio::task::spawn_blocking(move || {
        records::write_file(&data.join(SMALL), SMALL_BYTES)?;
        records::write_file(&data.join(LARGE), size)
    })
    .await??;
    let mut server = arena.launch(Tool::Longshore, &root, Profile::Release, &[])?;
    seeded(&mut server, written).await?;
    // The small job first: it builds the function, and starts its environment.
    through_function(&server, &root, SMALL, "bench-warm-up", FIRST_JOB_PATIENCE).await?;
    let ours = through_function(&server, &root, LARGE, "bench-rust", JOB_PATIENCE).await?;
    let (version, theirs) = through_python(arena, &python, server.addresses).await?;
    if let Some(version) = version {
        columns = vec![
            columns.remove(0),
            format!("benches/python/runner.py ({version})"),
        ];
    }
    let tool = children::memory(server.pid());
    server.stop().await?;
    Ok(section(
        columns,
        written,
        &ours,
        &theirs,
        super::memory::cell(tool, |memory| memory.peak),
    ))
}

#[expect(clippy::cast_precision_loss, reason = "sizes to be read by people")]
fn section(
    columns: Vec<String>,
    written: Written,
    ours: &Run,
    theirs: &Result<Run, String>,
    tool_peak: Cell,
) -> Section {
    let cells = |figure: &dyn Fn(&Run) -> Option<f64>| -> Vec<Cell> {
        let cell = |value: Option<f64>| value.map_or(Cell::said("not measured here"), Cell::one);
        let other = match theirs {
            Ok(run) => cell(figure(run)),
            Err(why) => Cell::said(why),
        };
        vec![cell(figure(ours)), other]
    };
    let faster = theirs.as_ref().map_or(Cell::said("–"), |run| {
        Cell::one(run.seconds / ours.seconds)
    });
    Section {
        title: TITLE.to_owned(),
        method: format!(
            "{} generated records, {:.0} MiB, from the embedded S3 to the mock destination in batches of 500, a status \
             report after each, all in one `longshore up`. Ours: from the webhook to `succeeded` at the poller, the \
             function's environment warm. Python: the same URLs, from the first report to the last, its start not \
             counted. Peaks are `VmHWM` and `ru_maxrss`.",
            written.records,
            written.bytes as f64 / MIB
        ),
        columns,
        rows: vec![
            Row::new("whole job", Unit::Seconds, cells(&|run| Some(run.seconds))),
            Row::new(
                "records",
                Unit::PerSecond,
                cells(&|run| Some(written.records as f64 / run.seconds)),
            ),
            Row::new(
                "data",
                Unit::MebibytesPerSecond,
                cells(&|run| Some(written.bytes as f64 / MIB / run.seconds)),
            ),
            Row::new(
                "peak memory of the runner",
                Unit::Mebibytes,
                cells(&|run| run.peak_bytes.map(|peak| peak / MIB)),
            )
            .target(Target::AtMost(32.0)),
            Row::new(
                "times as fast as Python",
                Unit::Times,
                vec![faster, Cell::one(1.0)],
            )
            .target(Target::AtLeast(10.0)),
            Row::new(
                "peak memory of `longshore up`",
                Unit::Mebibytes,
                vec![tool_peak, Cell::said("the same servers")],
            ),
        ],
    }
}

/// The repository's handlers in a workspace of their own, so that neither its fixtures
/// nor its state are touched.
async fn workspace(arena: &mut Arena) -> anyhow::Result<std::path::PathBuf> {
    let root = arena.scratch().join("stream");
    for folder in ["services", "fixtures/data"] {
        tokio::fs::create_dir_all(root.join(folder))
            .await
            .context("cannot create the stream workspace")?;
    }
    let project = arena.project().to_owned();
    for (from, to) in [
        ("handlers", "."),
        ("services/pipeline-contract", "services"),
        ("Cargo.lock", "."),
    ] {
        let log = arena.log("copy");
        let copy = [
            Path::new("-a").to_owned(),
            project.join(from),
            root.join(to),
        ];
        Program::new(Path::new("cp"), copy, arena.scratch(), &log)
            .finish(CALL_PATIENCE)
            .await?;
    }
    let manifest = tokio::fs::read_to_string(project.join("Cargo.toml"))
        .await
        .context("cannot read Cargo.toml")?;
    let members = |line: &str| {
        if line.starts_with("members") {
            "members = [\"handlers/*\"]".to_owned()
        } else {
            line.to_owned()
        }
    };
    let manifest: Vec<String> = manifest.lines().map(members).collect();
    tokio::fs::write(root.join("Cargo.toml"), manifest.join("\n") + "\n")
        .await
        .context("cannot write Cargo.toml")?;
    Ok(root)
}

/// Waits until the bucket holds the whole file.
async fn seeded(server: &mut Server, written: Written) -> anyhow::Result<()> {
    let head = Call {
        method: Method::HEAD,
        ..Call::get(format!("/{BUCKET}/{LARGE}"))
    };
    let mut connection = Connection::new(server.addresses.aws);
    let asking = async {
        loop {
            let answer = connection.send(&head, CALL_PATIENCE).await;
            let length = answer.ok().and_then(|answer| {
                answer
                    .headers
                    .get("content-length")?
                    .to_str()
                    .ok()?
                    .parse()
                    .ok()
            });
            if length == Some(written.bytes) {
                return;
            }
            // Another process puts it there, and tells nobody; `SEEDED_WITHIN` bounds this.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SEEDED_WITHIN, asking)
        .await
        .with_context(|| {
            format!(
                "{LARGE} was not in the bucket within {SEEDED_WITHIN:?}; see {}",
                server.log().display()
            )
        })
}

async fn through_function(
    server: &Server,
    root: &Path,
    key: &str,
    id: &str,
    within: Duration,
) -> anyhow::Result<Run> {
    let Addresses {
        gateway,
        aws,
        poller,
        ..
    } = server.addresses;
    let webhook = json!({
        "webhook_id": id,
        "data_url": format!("http://{aws}/{BUCKET}/{key}"),
        "callback_url": format!("http://{poller}/mock/poll/"),
        "access_token": "bench",
        "tenant_id": "bench",
        "label_name": "bench",
        "settings": {},
    });
    let call = Call::post(format!("/lambda/{FUNCTION}"), webhook.to_string());
    let start = Instant::now();
    // The gateway gives up long before the job ends: the poller knows how it went.
    let sending = AbortOnDropHandle::new(tokio::spawn(async move {
        Connection::new(gateway).send(&call, within).await
    }));
    let state = tokio::time::timeout(within, ended(poller, id)).await;
    let seconds = start.elapsed().as_secs_f64();
    match state {
        Ok(state) if state == "succeeded" => {}
        Ok(state) => bail!("job {id} ended {state}; see {}", server.log().display()),
        Err(_) => {
            let answer = if sending.is_finished() {
                format!("{:?}", sending.await)
            } else {
                "nothing yet".to_owned()
            };
            bail!(
                "job {id} did not end within {within:?}; the gateway said {answer}; see {}",
                server.log().display()
            );
        }
    }
    let peaks = children::processes_named(root, FUNCTION)
        .into_iter()
        .filter_map(children::memory);
    #[expect(clippy::cast_precision_loss, reason = "a size to be read by people")]
    let peak_bytes = peaks.map(|memory| memory.peak as f64).reduce(f64::max);
    Ok(Run {
        seconds,
        peak_bytes,
    })
}

/// The state a job ended in.
async fn ended(poller: std::net::SocketAddr, id: &str) -> String {
    let call = Call::get(format!("/_longshore/jobs/{id}?wait=10s"));
    let mut connection = Connection::new(poller);
    loop {
        if let Ok(answer) = connection.send(&call, CALL_PATIENCE).await
            && answer.is_ok()
            && let Ok(job) = serde_json::from_slice::<Value>(&answer.body)
            && let Some(state) = job["state"].as_str()
            && !["pending", "waiting", "running"].contains(&state)
        {
            return state.to_owned();
        }
        // The wait is on the poller's side once it knows the job.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The same job by the yardstick: its version, and its run or why there is none.
async fn through_python(
    arena: &mut Arena,
    python: &Path,
    addresses: Addresses,
) -> anyhow::Result<(Option<String>, Result<Run, String>)> {
    let folder = arena.scratch().to_owned();
    let probe = "import platform, requests; print('Python', platform.python_version() + ', requests', requests.__version__)";
    let version = Program::new(python, ["-c", probe], &folder, Path::new("/dev/null"))
        .output(CALL_PATIENCE)
        .await;
    let Some(version) = version else {
        return Ok((None, Err("not installed: pip install requests".to_owned())));
    };
    let script = arena
        .project()
        .join("benches")
        .join("python")
        .join("runner.py");
    let args = [
        script.display().to_string(),
        "--data-url".to_owned(),
        format!("http://{}/{BUCKET}/{LARGE}", addresses.aws),
        "--callback-url".to_owned(),
        format!("http://{}/mock/poll/", addresses.poller),
        "--webhook-id".to_owned(),
        "bench-python".to_owned(),
        "--destination-url".to_owned(),
        format!("http://{}/mock/destination", addresses.destination),
    ];
    let log = arena.log("python");
    Program::new(python, args, &folder, &log)
        .finish(JOB_PATIENCE)
        .await?;
    let text = tokio::fs::read_to_string(&log)
        .await
        .context("cannot read the Python runner's log")?;
    let last: Value = serde_json::from_str(text.lines().next_back().unwrap_or_default())
        .with_context(|| {
            format!(
                "the Python runner said nothing of itself; see {}",
                log.display()
            )
        })?;
    let seconds = last["seconds"]
        .as_f64()
        .context("the Python runner gave no time")?;
    Ok((
        Some(version),
        Ok(Run {
            seconds,
            peak_bytes: last["peak_bytes"].as_f64(),
        }),
    ))
}
