//! How an environment ends: the runtime first, then whoever wants to be told.

use std::time::{Duration, Instant};

use super::extensions::Happened;
use super::{Running, Stop, log_initialisations};
use crate::broker::{StopReason, Work};
use crate::outcome::{InitFailure, RuntimeExit};
use crate::telemetry::Kind;

/// From TERM to KILL when an extension of the function's own process is registered.
const GRACE_INTERNAL: Duration = Duration::from_millis(500);
/// From TERM to KILL of a runtime when there are external extensions only.
const GRACE_RUNTIME: Duration = Duration::from_millis(300);
/// From the beginning of the end to the KILL of external extensions.
const GRACE_EXTERNAL: Duration = Duration::from_secs(2);
/// How long external extensions that have subscribed wait to be told of the end, for the
/// last records to reach them first.
const LAST_RECORDS: Duration = Duration::from_millis(200);
/// How long connections of a dead process may take to be read to their end.
const LAST_WORDS: Duration = Duration::from_millis(200);

impl Running {
    /// As AWS does it: no time at all for a bare runtime, TERM and a moment once there is an
    /// extension. External ones are told when the runtime has ended.
    pub(super) fn begin_stop(&mut self, reason: StopReason) {
        self.read_memory(true);
        if self.is_frozen {
            self.freeze(false);
        }
        drop(self.sandbox.telemetry().flush());
        let now = Instant::now();
        self.end = Some((reason, now + GRACE_EXTERNAL));
        let has_internal = self.broker.has_internal_extensions(self.key);
        let grace = match (has_internal, self.had_extensions) {
            (true, _) => Some(GRACE_INTERNAL),
            (false, true) => Some(GRACE_RUNTIME),
            (false, false) => None,
        };
        self.stop = match (reason, grace, &self.runtime) {
            (_, _, None) => Stop::Asked { kill_at: now },
            // It has said why it fails and ends by itself.
            (StopReason::Failure, _, Some(_)) if !self.had_extensions => Stop::Asked {
                kill_at: now + GRACE_INTERNAL,
            },
            (_, Some(grace), Some(runtime)) => {
                runtime.process.terminate();
                Stop::Asked {
                    kill_at: now + grace,
                }
            }
            (_, None, Some(runtime)) => {
                runtime.process.kill();
                Stop::Killed
            }
        };
    }

    /// The runtime is gone, or never was: what it sent last is read, then its invocation is
    /// ended, then the extensions are.
    pub(super) async fn finish(mut self, exit: Option<RuntimeExit>) {
        let failure = match exit {
            Some(exit) => {
                self.read_last_words().await;
                if matches!(self.stop, Stop::No) {
                    tracing::warn!(
                        function = %self.artifact.function.name,
                        generation = %self.artifact.generation,
                        "{exit}"
                    );
                }
                InitFailure::Exited(exit)
            }
            None => InitFailure::NotStarted("the environment ends before its runtime".to_owned()),
        };
        self.runtime = None;
        if !self.extensions.is_empty() {
            self.broker.lost(self.key, &failure);
            let left = self.broker.work(self.key);
            self.tell_what_is_left(left).await;
            self.end_extensions().await;
        }
        self.connections.shutdown().await;
        let mut left = self.broker.work(self.key);
        let ended = self.broker.ended(self.key, &failure);
        left.init_reports.extend(ended.init_reports);
        left.finished.extend(ended.finished);
        self.tell_what_is_left(left).await;
        self.sandbox.telemetry().end();
    }

    /// What a runtime that has ended has sent and printed.
    async fn read_last_words(&mut self) {
        while let Ok(accepted) = tokio::time::timeout(Duration::ZERO, self.listener.accept()).await
        {
            self.connect(accepted.map(|(stream, _)| stream));
        }
        let connections = &mut self.connections;
        let read = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WORDS, read).await.is_err() && self.extensions.is_empty() {
            tracing::debug!("somebody else holds a dead runtime's connection");
        }
        self.print_what_is_there();
    }

    async fn tell_what_is_left(&mut self, left: Work) {
        log_initialisations(&self.sandbox, &left.init_reports);
        for finished in left.finished {
            self.report(finished, false).await;
        }
    }

    /// Extensions that want to know are told of the end and have until then; the others
    /// are killed.
    async fn end_extensions(&mut self) {
        let (reason, deadline) = self
            .end
            .unwrap_or_else(|| (StopReason::Failure, Instant::now() + GRACE_EXTERNAL));
        let flushed = self.sandbox.telemetry().flush();
        if tokio::time::timeout(LAST_RECORDS, flushed).await.is_err() {
            tracing::debug!("a subscriber has not taken its last records");
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let told = self.broker.tell_shutdown(self.key, reason, left);
        self.extensions.kill_but(&told);
        let killing = self.broker.shared.killing.clone();
        let deadline = tokio::time::Instant::from_std(deadline);
        let mut is_killed = false;
        while !self.extensions.is_empty() {
            tokio::select! {
                happened = self.extensions.next() => match happened {
                    Happened::Printed(line) => self.print(Kind::Extension, &line),
                    Happened::Exited { name, exit } => {
                        tracing::debug!(extension = name, "{}", exit.of_extension());
                    }
                },
                accepted = self.listener.accept() => self.connect(accepted.map(|(s, _)| s)),
                Some(_) = self.connections.join_next() => {}
                () = tokio::time::sleep_until(deadline), if !is_killed => {
                    tracing::debug!("extensions have not ended in time");
                    self.extensions.kill();
                    is_killed = true;
                }
                () = killing.cancelled(), if !is_killed => {
                    self.extensions.kill();
                    is_killed = true;
                }
            }
        }
    }
}
