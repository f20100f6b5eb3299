//! `longshore keep`: the compose service that brings back what `docker kill` has ended.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use container_keeper::Config;
use service_runtime::Shutdown;

use crate::exit::Exit;

/// An engine that starts again answers within this, and who waits for us to be healthy
/// waits no longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to keep.
#[derive(Debug)]
pub struct KeepOptions {
    /// The compose project.
    pub project: String,
    /// The engine's socket.
    pub socket: PathBuf,
    /// A file that is touched while all is well.
    pub touch: Option<PathBuf>,
}

/// Follows the engine until Ctrl-C.
///
/// # Errors
/// If the engine cannot be reached.
pub async fn run(options: KeepOptions) -> anyhow::Result<Exit> {
    let shutdown = Shutdown::new();
    let signals = shutdown
        .follow_signals()
        .context("Ctrl-C cannot be listened for")?;
    let signals = tokio::spawn(signals);
    let config = Config {
        socket: options.socket,
        project: options.project,
        beat: options.touch,
        patience: PATIENCE,
    };
    let ended = container_keeper::run(config, shutdown.draining()).await;
    signals.abort();
    ended?;
    Ok(Exit::Success)
}
