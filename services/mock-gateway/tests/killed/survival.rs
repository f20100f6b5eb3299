//! Callers, kills, and the counting at the end.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

const KILLS: usize = 5;
const CALLERS: usize = 32;
/// Nothing here takes longer than this, but for a machine in trouble.
const WITHIN: Duration = Duration::from_secs(120);

/// A gateway in its own process.
struct Gateway {
    process: Child,
    address: SocketAddr,
}

impl Gateway {
    async fn start(folder: &Path) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place of this test that starts a process"
        )]
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut process = command
            .args(["--exact", "child::gateway", "--ignored", "--nocapture"])
            .env(crate::child::FOLDER, folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let listening = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("it ended early");
                if let Some((_, address)) = line.split_once(crate::child::LISTENING) {
                    return address.parse().unwrap();
                }
            }
        };
        let address = tokio::time::timeout(WITHIN, listening).await.unwrap();
        Self { process, address }
    }

    /// SIGKILL; returns once it is reaped.
    async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }
}

/// Sends events until each was accepted once: to whichever gateway runs.
async fn call(
    next: Arc<AtomicUsize>,
    events: usize,
    address: watch::Receiver<SocketAddr>,
    accepted: Arc<watch::Sender<usize>>,
) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= events {
            return;
        }
        loop {
            let mut address = address.clone();
            let at = *address.borrow_and_update();
            let sent = http
                .post(format!("http://{at}/2015-03-31/functions/demo/invocations"))
                .header("x-amz-invocation-type", "Event")
                .body(format!(r#"{{"n":{n}}}"#))
                .send()
                .await;
            match sent {
                Ok(answer) => {
                    assert_eq!(answer.status(), 202);
                    accepted.send_modify(|count| *count += 1);
                    break;
                }
                // Killed under way: again, once another one runs.
                Err(_) => address.changed().await.unwrap(),
            }
        }
    }
}

fn delivered(file: &PathBuf) -> BTreeMap<usize, usize> {
    let mut times = BTreeMap::new();
    for line in std::fs::read_to_string(file).unwrap_or_default().lines() {
        *times.entry(line.parse().unwrap()).or_default() += 1;
    }
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_accepted_event_is_lost_though_the_gateway_is_killed_five_times() {
    let events = std::env::var_os("LONGSHORE_TEST_EVENTS")
        .and_then(|count| count.to_str()?.parse().ok())
        .unwrap_or(10_000);
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(folder.path()).await;
    let (address, addresses) = watch::channel(gateway.address);
    let (accepted, mut count) = watch::channel(0);
    let accepted = Arc::new(accepted);
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(call(
            next.clone(),
            events,
            addresses.clone(),
            accepted.clone(),
        ));
    }
    for kill in 1..=KILLS {
        let enough = events * kill / (KILLS + 1);
        let reached = count.wait_for(|count| *count >= enough);
        drop(tokio::time::timeout(WITHIN, reached).await.unwrap());
        gateway.kill().await;
        gateway = Gateway::start(folder.path()).await;
        address.send(gateway.address).unwrap();
    }
    tokio::time::timeout(WITHIN, async {
        while let Some(ended) = callers.join_next().await {
            ended.unwrap();
        }
    })
    .await
    .expect("every event is accepted");
    let accepted_in = began.elapsed();

    let file = folder.path().join(crate::child::DELIVERED);
    let mut pause = tokio::time::interval(Duration::from_millis(50));
    let give_up = Instant::now() + WITHIN;
    while delivered(&file).len() < events && Instant::now() < give_up {
        pause.tick().await;
    }
    let all_in = began.elapsed();
    gateway.kill().await;

    let times = delivered(&file);
    let lost: Vec<_> = (0..events).filter(|n| !times.contains_key(n)).collect();
    let twice = times.values().filter(|times| **times > 1).count();
    let figure = format!(
        "{events} events accepted with {KILLS} SIGKILLs between, in {accepted_in:.1?} ({:.0} a second); {} delivered after {all_in:.1?}, {twice} of them more than once, {} lost",
        events as f64 / accepted_in.as_secs_f64(),
        times.len(),
        lost.len(),
    );
    // Not by `println!`: of a test that passes nobody would see it.
    writeln!(std::io::stderr(), "{figure}").unwrap();
    assert!(lost.is_empty(), "{figure}: {lost:?}");
}
