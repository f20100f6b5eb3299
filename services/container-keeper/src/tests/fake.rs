//! An engine at a socket of its own, which answers as a test wants.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::{Config, RunError, nanoseconds, run};

/// Nothing here takes longer, but for a machine in trouble.
const WITHIN: Duration = Duration::from_secs(30);

/// Who asks for events is handed to the test: the query, and where to send lines.
type Asked = (String, mpsc::UnboundedSender<Value>);

struct Fake {
    asked: mpsc::UnboundedSender<Asked>,
    starts: mpsc::UnboundedSender<String>,
    /// What the next starts of a container answer; 204 when there are no more.
    answers: Mutex<HashMap<String, Vec<u16>>>,
    refuses_events: bool,
}

async fn answer(State(fake): State<Arc<Fake>>, request: Request) -> Response {
    let path = request.uri().path();
    let path = path.trim_start_matches('/');
    // Most paths begin with the version that was agreed on.
    let path = match path.split_once('/') {
        Some((version, rest)) if version.starts_with("v1.") => rest,
        _ => path,
    };
    let words: Vec<&str> = path.split('/').collect();
    let code = |code: u16, message: &str| {
        let status = StatusCode::from_u16(code).unwrap();
        (status, json!({"message": message}).to_string()).into_response()
    };
    match words[..] {
        ["version"] => json!({"ApiVersion": "1.41"}).to_string().into_response(),
        ["_ping"] => "OK".into_response(),
        ["events"] if fake.refuses_events => code(403, "not for you"),
        ["events"] => {
            let (lines, sent) = mpsc::unbounded_channel();
            let query = request.uri().query().unwrap_or_default().to_owned();
            fake.asked.send((query, lines)).unwrap();
            let lines = UnboundedReceiverStream::new(sent)
                .map(|line: Value| Ok::<_, std::io::Error>(format!("{line}\n")));
            Body::from_stream(lines).into_response()
        }
        ["containers", "gone", "json"] => code(404, "no such container"),
        ["containers", _, "json"] => json!({
            "State": {"Status": "exited"},
            "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}},
            "Config": {},
        })
        .to_string()
        .into_response(),
        ["containers", id, "start"] => {
            let next = fake.answers.lock().unwrap().get_mut(id).and_then(Vec::pop);
            fake.starts.send(id.to_owned()).unwrap();
            match next {
                Some(next) => code(next, "as the test wants"),
                None => StatusCode::NO_CONTENT.into_response(),
            }
        }
        _ => code(404, path),
    }
}

/// A keeper, and the engine that it follows.
struct World {
    folder: TempDir,
    asked: mpsc::UnboundedReceiver<Asked>,
    starts: mpsc::UnboundedReceiver<String>,
    keeper: tokio::task::JoinHandle<Result<(), RunError>>,
    stop: oneshot::Sender<()>,
    clock: i64,
}

impl World {
    fn start(answers: &[(&str, &[u16])], refuses_events: bool) -> Self {
        let folder = TempDir::new().unwrap();
        let listener = UnixListener::bind(folder.path().join("engine.sock")).unwrap();
        let (asked, asked_of) = mpsc::unbounded_channel();
        let (starts, started) = mpsc::unbounded_channel();
        let answers = answers.iter();
        let fake = Fake {
            asked,
            starts,
            answers: Mutex::new(
                answers
                    .map(|(id, codes)| ((*id).to_owned(), codes.iter().rev().copied().collect()))
                    .collect(),
            ),
            refuses_events,
        };
        let router = Router::new().fallback(answer).with_state(Arc::new(fake));
        tokio::spawn(async { axum::serve(listener, router).await });
        let config = Config {
            patience: Duration::from_secs(1),
            ..config(&folder)
        };
        let (stop, stopped) = oneshot::channel();
        let keeper = tokio::spawn(run(config, async { drop(stopped.await) }));
        Self {
            folder,
            asked: asked_of,
            starts: started,
            keeper,
            stop,
            clock: nanoseconds(std::time::SystemTime::now()) + 60_000_000_000,
        }
    }

    async fn asked(&mut self) -> Asked {
        let asked = tokio::time::timeout(WITHIN, self.asked.recv());
        asked.await.expect("nobody asks for events").unwrap()
    }

    async fn started(&mut self) -> String {
        let started = tokio::time::timeout(WITHIN, self.starts.recv());
        started.await.expect("nothing is started").unwrap()
    }

    /// The lines of a container that is killed, later than whatever was sent before.
    fn killed(&mut self, id: &str) -> [Value; 2] {
        let mut line = |action: &str, attributes: Value| {
            self.clock += 1_000_000;
            json!({"Type": "container", "Action": action,
                   "Actor": {"ID": id, "Attributes": attributes}, "timeNano": self.clock})
        };
        [
            line("kill", json!({"name": id, "signal": "9"})),
            line("die", json!({"name": id, "exitCode": "137"})),
        ]
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        let ended = tokio::time::timeout(WITHIN, self.keeper).await;
        ended.expect("it does not end").unwrap().unwrap();
        assert!(self.starts.is_empty(), "more was started");
    }
}

fn config(folder: &TempDir) -> Config {
    Config {
        socket: folder.path().join("engine.sock"),
        project: "mine".into(),
        beat: Some(folder.path().join("beat")),
        patience: Duration::from_millis(300),
    }
}

fn beat(world: &World) -> PathBuf {
    world.folder.path().join("beat")
}

#[tokio::test]
async fn a_killed_container_is_started_once_and_it_says_that_it_is_well() {
    let mut world = World::start(&[], false);
    let (query, lines) = world.asked().await;
    let project = "com.docker.compose.project%3Dmine";
    assert!(
        query.contains(project) && query.contains("oneoff%3DFalse"),
        "{query}"
    );
    for line in world.killed("a") {
        lines.send(line).unwrap();
    }
    assert_eq!(world.started().await, "a");
    let well = async {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        while !beat(&world).exists() {
            looks.tick().await;
        }
    };
    tokio::time::timeout(WITHIN, well).await.expect("no beat");
    world.end().await;
}

#[tokio::test]
async fn a_start_that_fails_is_tried_again_and_one_that_cannot_work_is_not() {
    let answers: [(&str, &[u16]); 2] = [("taken", &[500, 500]), ("going", &[409])];
    let mut world = World::start(&answers, false);
    let (_, lines) = world.asked().await;
    for id in ["gone", "going", "taken"] {
        for line in world.killed(id) {
            lines.send(line).unwrap();
        }
    }
    let mut started = Vec::new();
    while started.iter().filter(|id| *id == "taken").count() < 3 {
        started.push(world.started().await);
    }
    assert_eq!(started.iter().filter(|id| *id == "going").count(), 1);
    assert_eq!(started.len(), 4, "{started:?}");
    world.end().await;
}

#[tokio::test]
async fn an_engine_that_is_lost_is_asked_for_what_was_missed() {
    let mut world = World::start(&[], false);
    let (_, lines) = world.asked().await;
    let (a, b) = (world.killed("a"), world.killed("b"));
    lines.send(a[0].clone()).unwrap();
    // Once it has begun to act on this, it has heard the line before.
    for line in &b {
        lines.send(line.clone()).unwrap();
    }
    assert_eq!(world.started().await, "b");
    drop(lines);
    let (query, lines) = world.asked().await;
    assert!(query.contains("since="), "{query}");
    for line in [&a[0], &b[0], &b[1], &a[1]] {
        lines.send(line.clone()).unwrap();
    }
    // Told again, and out of order as it may be.
    assert_eq!(world.started().await, "a");
    world.end().await;
}

#[tokio::test]
async fn an_engine_that_cannot_be_followed_is_named_with_the_way_out() {
    let folder = TempDir::new().unwrap();
    let nobody = run(config(&folder), std::future::pending())
        .await
        .unwrap_err();
    let refused = World::start(&[], true);
    let ended = tokio::time::timeout(WITHIN, refused.keeper).await.unwrap();
    for error in [nobody, ended.unwrap().unwrap_err()] {
        let text = error.to_string();
        for word in [
            "engine.sock",
            "LONGSHORE_DOCKER_SOCKET=",
            "COMPOSE_PROFILES=",
        ] {
            assert!(text.contains(word), "no {word} in: {text}");
        }
    }
    let beat = refused.folder.path().join("beat");
    assert!(!beat.exists(), "it says that it is well");
}
