//! `longshore up` and the services alone: start, tell the user, wait, drain.

use anyhow::Context;

use crate::banner;
use crate::exit::Exit;
use crate::settings::Settings;
use crate::stack::{Parts, Stack};

use service_runtime::Shutdown;

/// Runs everything in one process.
///
/// # Errors
/// If a service cannot start or fails while it runs.
pub async fn up(settings: Settings) -> anyhow::Result<Exit> {
    run(settings, Parts::ALL).await
}

/// Runs these services until Ctrl-C.
///
/// # Errors
/// If a service cannot start or fails while it runs.
pub async fn run(settings: Settings, parts: Parts) -> anyhow::Result<Exit> {
    let shutdown = Shutdown::new();
    let signals = shutdown
        .follow_signals()
        .context("Ctrl-C cannot be listened for")?;
    let signals = tokio::spawn(signals);
    let stack = Stack::start(settings.clone(), parts, shutdown.clone()).await?;
    print!("{}", banner::services(stack.addresses(), &settings));
    if let Some(functions) = stack.functions_declared().await {
        print!(
            "{}",
            banner::functions(&functions, stack.addresses(), &settings)
        );
    }
    let announced = shutdown.clone();
    let announcement = tokio::spawn(async move {
        announced.draining().await;
        eprintln!("draining: requests in flight finish first; press Ctrl-C again to stop at once");
    });
    let ended = stack.join().await;
    signals.abort();
    announcement.abort();
    ended?;
    if shutdown.is_killed() {
        eprintln!("stopped at once");
        return Ok(Exit::Interrupted);
    }
    eprintln!("drained");
    Ok(Exit::Success)
}
