//! Two-step shutdown: the first signal drains, the second one stops at once.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Tells services when to drain and when to stop waiting.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    kill: CancellationToken,
}

impl Shutdown {
    /// A shutdown that nothing has asked for yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everything to finish what it has and end.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Asks everything to end now.
    pub fn kill(&self) {
        self.drain.cancel();
        self.kill.cancel();
    }

    /// Resolves once draining was asked for.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        self.drain.clone().cancelled_owned()
    }

    /// Resolves once ending at once was asked for.
    pub fn killed(&self) -> impl Future<Output = ()> + Send + 'static {
        self.kill.clone().cancelled_owned()
    }

    /// Whether ending at once was asked for.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.kill.is_cancelled()
    }

    /// The token behind [`draining`](Self::draining), for tasks that keep one.
    #[must_use]
    pub fn drain_token(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// The token behind [`killed`](Self::killed).
    #[must_use]
    pub fn kill_token(&self) -> CancellationToken {
        self.kill.clone()
    }

    /// Turns SIGINT and SIGTERM into [`drain`](Self::drain), then [`kill`](Self::kill).
    ///
    /// The handlers are in place when this returns, so that no signal finds the process
    /// unprepared once it has said that it is up. The future never ends; the caller owns
    /// the task that runs it.
    ///
    /// # Errors
    /// If the signal handlers cannot be installed.
    pub fn follow_signals(&self) -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let shutdown = self.clone();
        Ok(async move {
            loop {
                tokio::select! {
                    received = interrupt.recv() => if received.is_none() { std::future::pending::<()>().await },
                    received = terminate.recv() => if received.is_none() { std::future::pending::<()>().await },
                }
                if shutdown.drain.is_cancelled() {
                    shutdown.kill();
                } else {
                    shutdown.drain();
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn kill_implies_drain() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.is_killed());
        shutdown.kill();
        shutdown.draining().await;
        shutdown.killed().await;
    }
}
