//! Two ways to load a server: a closed loop (as many as it takes) and an open loop (at
//! its own pace, whatever the server does), which alone shows what a reload loses.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::client::{Answer, Call, CallError, Connection};

/// How long a request of a closed loop may take before it counts as an error.
const CLOSED_LOOP_PATIENCE: Duration = Duration::from_secs(10);

/// What a closed loop saw.
#[derive(Debug, Default)]
pub(crate) struct ClosedLoop {
    /// How long each good answer took.
    pub(crate) took: Vec<Duration>,
    /// Answers other than 200, and none at all.
    pub(crate) errors: usize,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
}

/// Sends for `run` on this many connections, each as soon as its last is answered.
pub(crate) async fn closed_loop(
    address: SocketAddr,
    call: &Call,
    connections: usize,
    run: Duration,
) -> ClosedLoop {
    let start = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        let call = call.clone();
        workers.spawn(async move {
            let (mut connection, mut took, mut errors) = (Connection::new(address), Vec::new(), 0);
            while start.elapsed() < run {
                let sent = Instant::now();
                match connection.send(&call, CLOSED_LOOP_PATIENCE).await {
                    Ok(answer) if answer.is_ok() => took.push(sent.elapsed()),
                    Ok(_) | Err(_) => errors += 1,
                }
            }
            (took, errors)
        });
    }
    let mut seen = ClosedLoop::default();
    for (took, errors) in workers.join_all().await {
        seen.took.extend(took);
        seen.errors += errors;
    }
    seen.elapsed = start.elapsed();
    seen
}

/// One request of an open loop.
#[derive(Debug)]
pub(crate) struct Shot {
    pub(crate) sent: Instant,
    pub(crate) ended: Instant,
    pub(crate) outcome: Result<Answer, CallError>,
}

impl Shot {
    pub(crate) fn took(&self) -> Duration {
        self.ended - self.sent
    }

    pub(crate) fn is_ok(&self) -> bool {
        matches!(&self.outcome, Ok(answer) if answer.is_ok())
    }

    /// Whether this is a 200 whose body holds the text.
    pub(crate) fn served(&self, text: &str) -> bool {
        matches!(&self.outcome, Ok(answer) if answer.is_ok() && answer.says(text))
    }
}

/// Pace and limits of an open loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// One request each.
    pub(crate) every: Duration,
    /// How long one may take before it counts as lost.
    pub(crate) patience: Duration,
    /// The loop ends by itself after this many.
    pub(crate) at_most: usize,
    /// While this many wait for their answer, no more are sent: asking when something is
    /// served must not fill the queue of a tool that holds requests meanwhile
    /// (cargo-lambda's, once full, stays stuck). `None` is a true open loop.
    pub(crate) waiting_at_most: Option<usize>,
}

/// An open loop under way: [`OpenLoop::next`] yields each request as it ends.
pub(crate) struct OpenLoop {
    shots: mpsc::Receiver<Shot>,
    stop: CancellationToken,
    _task: AbortOnDropHandle<()>,
}

impl OpenLoop {
    pub(crate) fn start(address: SocketAddr, call: Call, pace: Pace) -> Self {
        let stop = CancellationToken::new();
        let (ended, shots) = mpsc::channel(1024);
        let task = tokio::spawn(fire(address, call, pace, ended, stop.clone()));
        Self {
            shots,
            stop,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// The next request that ended, in order of ending. `None` when the loop is stopped
    /// and all have ended.
    pub(crate) async fn next(&mut self) -> Option<Shot> {
        self.shots.recv().await
    }

    /// Sends no more; those under way still end.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }
}

async fn fire(
    address: SocketAddr,
    call: Call,
    pace: Pace,
    ended: mpsc::Sender<Shot>,
    stop: CancellationToken,
) {
    let idle = Arc::new(Mutex::new(Vec::<Connection>::new()));
    let mut ticks = tokio::time::interval(pace.every);
    // Requests that were due during a stall of this process are still sent.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let room = Arc::new(Semaphore::new(
        pace.waiting_at_most.unwrap_or(Semaphore::MAX_PERMITS),
    ));
    let mut under_way = JoinSet::new();
    for _ in 0..pace.at_most {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            continue;
        };
        let (idle, call, ended) = (Arc::clone(&idle), call.clone(), ended.clone());
        under_way.spawn(async move {
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = kept.unwrap_or_else(|| Connection::new(address));
            let sent = Instant::now();
            let outcome = connection.send(&call, pace.patience).await;
            let shot = Shot {
                sent,
                ended: Instant::now(),
                outcome,
            };
            if shot.outcome.is_ok() {
                idle.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(connection);
            }
            drop(place);
            // Nobody listening means the experiment is over.
            ended.send(shot).await.ok();
        });
    }
    under_way.join_all().await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers on each connection until `silent_after` requests were seen, then goes quiet.
    async fn server(silent_after: usize) -> (SocketAddr, AbortOnDropHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let seen = Arc::new(Mutex::new(0));
            let mut connections = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let seen = Arc::clone(&seen);
                connections.spawn(async move {
                    let mut head = [0; 1024];
                    while stream.read(&mut head).await.unwrap() > 0 {
                        let number = {
                            let mut seen = seen.lock().unwrap();
                            *seen += 1;
                            *seen
                        };
                        if number <= silent_after {
                            stream
                                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nv1")
                                .await
                                .unwrap();
                        }
                    }
                });
            }
        });
        (address, AbortOnDropHandle::new(task))
    }

    #[tokio::test]
    async fn an_open_loop_reports_every_request_also_the_lost() {
        let (address, _server) = server(3).await;
        let pace = Pace {
            every: Duration::from_millis(2),
            patience: Duration::from_millis(100),
            at_most: 5,
            waiting_at_most: None,
        };
        let mut open = OpenLoop::start(address, Call::get("/"), pace);
        let (mut answered, mut lost) = (0, 0);
        while let Some(shot) = open.next().await {
            if shot.served("v1") {
                answered += 1
            } else {
                lost += 1
            }
        }
        assert_eq!((answered, lost), (3, 2));
    }

    #[tokio::test]
    async fn a_loop_with_little_room_holds_back() {
        let (address, _server) = server(0).await;
        let pace = Pace {
            every: Duration::from_millis(1),
            patience: Duration::from_millis(400),
            at_most: 40,
            waiting_at_most: Some(3),
        };
        let mut open = OpenLoop::start(address, Call::get("/"), pace);
        let mut sent = 0;
        while open.next().await.is_some() {
            sent += 1;
        }
        assert_eq!(sent, 3);
    }

    #[tokio::test]
    async fn a_stopped_loop_ends() {
        let (address, _server) = server(usize::MAX).await;
        let pace = Pace {
            every: Duration::from_millis(1),
            patience: Duration::from_secs(5),
            at_most: usize::MAX,
            waiting_at_most: None,
        };
        let mut open = OpenLoop::start(address, Call::get("/"), pace);
        assert!(open.next().await.unwrap().is_ok());
        open.stop();
        while open.next().await.is_some() {}
    }

    #[tokio::test]
    async fn a_closed_loop_counts_answers() {
        let (address, _server) = server(usize::MAX).await;
        let seen = closed_loop(address, &Call::get("/"), 2, Duration::from_millis(50)).await;
        assert!(seen.took.len() > 2 && seen.errors == 0);
    }
}
