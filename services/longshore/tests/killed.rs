//! What the destination and the poller have answered with 200 survives SIGKILL: each runs in
//! a process of its own and is killed again and again under load, and in the end everything
//! that was accepted is there.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

const KILLS: usize = 4;
const CALLERS: usize = 16;
/// With those that came twice, fewer than the bodies that are kept.
const REQUESTS: usize = 800;
/// Nothing here takes longer than this, but for a machine in trouble.
const WITHIN: Duration = Duration::from_secs(120);

struct Service {
    process: Child,
    url: String,
}

impl Service {
    #[expect(
        clippy::disallowed_methods,
        reason = "the program under test is started here"
    )]
    async fn start(service: &str, folder: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_longshore"))
            .current_dir(folder)
            .args([service, "--destination-port=0", "--poller-port=0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let listening = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("it ended early");
                let mut words = line.split_whitespace();
                if words.next() == Some(service) {
                    return words.next().unwrap().to_owned();
                }
            }
        };
        let url = tokio::time::timeout(WITHIN, listening).await.unwrap();
        Self { process, url }
    }

    /// SIGKILL; returns once it is reaped.
    async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }
}

/// What is sent as the n-th request, and what must be there if it was accepted.
type Request = fn(&reqwest::Client, &str, usize) -> reqwest::RequestBuilder;

fn delivery(http: &reqwest::Client, url: &str, n: usize) -> reqwest::RequestBuilder {
    http.post(format!("{url}/mock/destination"))
        .body(format!(r#"[{{"n":{n}}}]"#))
}

/// Twenty jobs, told apart by the reports' errors.
fn report(http: &reqwest::Client, url: &str, n: usize) -> reqwest::RequestBuilder {
    http.put(format!("{url}/mock/poll/wh-{}", n % 20))
        .header("content-type", "application/json")
        .body(format!(
            r#"{{"state":"running","progress":0,"errors":["{n}"]}}"#
        ))
}

/// Sends requests until each was accepted once, to whichever process runs.
async fn call(
    request: Request,
    next: Arc<AtomicUsize>,
    url: watch::Receiver<String>,
    accepted: Arc<watch::Sender<usize>>,
) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= REQUESTS {
            return;
        }
        loop {
            let mut url = url.clone();
            let at = url.borrow_and_update().clone();
            match request(&http, &at, n).send().await {
                Ok(answer) => {
                    assert_eq!(answer.status(), 200);
                    accepted.send_modify(|count| *count += 1);
                    break;
                }
                // Killed under way: again, once another one runs.
                Err(_) => url.changed().await.unwrap(),
            }
        }
    }
}

/// Kills the service while it is called, and gives the one that runs in the end.
async fn killed_under_load(name: &str, folder: &Path, request: Request) -> Service {
    let mut service = Service::start(name, folder).await;
    let (url, urls) = watch::channel(service.url.clone());
    let (accepted, mut count) = watch::channel(0);
    let accepted = Arc::new(accepted);
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (next, urls, accepted) = (next.clone(), urls.clone(), accepted.clone());
        callers.spawn(call(request, next, urls, accepted));
    }
    for kill in 1..=KILLS {
        let enough = REQUESTS * kill / (KILLS + 1);
        let reached = count.wait_for(|count| *count >= enough);
        drop(tokio::time::timeout(WITHIN, reached).await.unwrap());
        service.kill().await;
        service = Service::start(name, folder).await;
        url.send(service.url.clone()).unwrap();
    }
    let all = async { while callers.join_next().await.transpose().unwrap().is_some() {} };
    tokio::time::timeout(WITHIN, all).await.unwrap();
    service
}

async fn get(url: &str) -> Value {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.get(url).send().await.unwrap();
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_delivery_that_was_accepted_is_lost_though_the_destination_is_killed() {
    let folder = TempDir::new().unwrap();
    let service = killed_under_load("destination", folder.path(), delivery).await;
    let mut there = BTreeSet::new();
    let mut since = 0;
    loop {
        let url = format!(
            "{}/_longshore/deliveries?since={since}&limit=500",
            service.url
        );
        let page = get(&url).await;
        let deliveries = page["deliveries"].as_array().unwrap();
        let Some(last) = deliveries.last() else {
            assert_eq!(page["evicted"], 0);
            break;
        };
        since = last["id"].as_u64().unwrap();
        there.extend(deliveries.iter().map(|delivery| {
            let n = delivery["body"][0]["n"].as_u64();
            n.unwrap_or_else(|| panic!("a delivery without its body: {delivery}"))
        }));
    }
    let lost: Vec<_> = (0..REQUESTS as u64)
        .filter(|n| !there.contains(n))
        .collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    service.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_report_that_was_accepted_is_lost_though_the_poller_is_killed() {
    let folder = TempDir::new().unwrap();
    let service = killed_under_load("poller", folder.path(), report).await;
    let mut there = BTreeSet::new();
    for job in 0..20 {
        let job = get(&format!("{}/_longshore/jobs/wh-{job}", service.url)).await;
        assert_eq!(job["complete"], true, "{job}");
        let errors = job["errors"].as_array().unwrap().iter();
        there.extend(errors.map(|error| error.as_str().unwrap().parse::<usize>().unwrap()));
    }
    let lost: Vec<_> = (0..REQUESTS).filter(|n| !there.contains(n)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    service.kill().await;
}
