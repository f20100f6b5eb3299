//! Where a case's extension has records posted, and what came.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::any;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::expect::{Kept, same};

/// A subscriber.
pub(crate) struct Sink {
    pub(crate) port: u16,
    posts: mpsc::UnboundedReceiver<Vec<Value>>,
    seen: Vec<Value>,
    /// Where the next record of the platform may be.
    cursor: usize,
    _server: JoinSet<()>,
}

/// A record that must come.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Told {
    #[serde(rename = "type")]
    kind: String,
    record: Value,
}

async fn take(State(posts): State<mpsc::UnboundedSender<Vec<Value>>>, body: Bytes) {
    // A case that has ended no longer listens.
    drop(posts.send(serde_json::from_slice(&body).unwrap()));
}

impl Sink {
    pub(crate) async fn start() -> Self {
        let (sender, posts) = mpsc::unbounded_channel();
        let router = Router::new().route("/", any(take)).with_state(sender);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            port,
            posts,
            seen: Vec::new(),
            cursor: 0,
            _server: server,
        }
    }

    /// Waits for a record: the platform's come in the order of the steps, printed lines at
    /// any time.
    ///
    /// # Errors
    /// It did not come, or differs.
    pub(crate) async fn await_record(
        &mut self,
        told: &Told,
        kept: &Kept,
        patience: Duration,
    ) -> Result<(), String> {
        let until = Instant::now() + patience;
        let of_platform = told.kind.starts_with("platform.");
        loop {
            let from = if of_platform { self.cursor } else { 0 };
            let mut rest = self.seen.iter().enumerate().skip(from);
            let found = rest.find(|(_, seen)| {
                // A process prints what it likes beside.
                let fits = of_platform || same(&told.record, &seen["record"], kept);
                seen["type"] == *told.kind && fits
            });
            if let Some((at, seen)) = found {
                if !same(&told.record, &seen["record"], kept) {
                    return Err(format!("{} is {seen}", told.kind));
                }
                if of_platform {
                    self.cursor = at + 1;
                }
                return Ok(());
            }
            match tokio::time::timeout_at(until, self.posts.recv()).await {
                Ok(Some(records)) => self.seen.extend(records),
                _ => return Err(format!("no {} among {:?}", told.kind, self.seen)),
            }
        }
    }
}
