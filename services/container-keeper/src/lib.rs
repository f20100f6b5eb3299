//! Brings back containers of its own compose project that `docker kill` has ended.
//!
//! To the engine `docker kill` is a manual stop, which no restart policy undoes. Here it is
//! an accident that is being tried out: who wants a container to stay away stops it, and a
//! stop begins with another signal than KILL. Nothing here stops, kills or removes.

mod engine;
mod life;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use backon::{BackoffBuilder, ExponentialBuilder, Retryable};
use bollard::errors::Error;
use futures::StreamExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::engine::{Engine, is_gone};
use crate::life::{Killed, Lives, Verdict};

/// How often the engine is asked whether it is there.
const BEAT: Duration = Duration::from_secs(2);

/// How long the engine may take to refuse its events; that it grants them is not said.
const REFUSED_WITHIN: Duration = Duration::from_millis(500);

/// How far back the engine is asked at first: a container that is being stopped just now was
/// asked to before we came. Longer than any stop of ours takes.
const LOOK_BACK: Duration = Duration::from_secs(30);

/// Events carry the time they happened, and may come in another order.
const OVERLAP: Duration = Duration::from_secs(2);

/// What to keep, and where the engine is.
#[derive(Clone, Debug)]
pub struct Config {
    /// The engine's Unix socket.
    pub socket: PathBuf,
    /// The compose project.
    pub project: String,
    /// A file that is touched every two seconds while the engine is being followed.
    pub beat: Option<PathBuf>,
    /// How long to try to reach the engine until giving up. In a container, the next life
    /// has the socket mounted anew, as an engine that has started again made it.
    pub patience: Duration,
}

/// Nothing can be kept.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// For as long as the patience lasts.
    #[error(
        "the engine cannot be followed at {socket}; in .env, say where its socket is \
         (LONGSHORE_DOCKER_SOCKET=/run/user/1000/docker.sock), or do without what brings killed \
         containers back (COMPOSE_PROFILES=)"
    )]
    NoEngine {
        /// Where it was looked for.
        socket: String,
        /// What happened at the last attempt.
        source: SessionError,
    },
}

/// Why the engine is followed no longer, or not yet.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// It refuses, or nobody answers.
    #[error(transparent)]
    Engine(#[from] Error),
    /// It has ended the stream of events.
    #[error("the engine ended its events")]
    Ended,
    /// Whoever looks after us would not see that we are well.
    #[error("cannot write {path}")]
    Beat {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Follows the engine until shutdown.
///
/// # Errors
/// If it cannot be reached for longer than the patience.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    let mut shutdown = pin!(shutdown);
    let mut lives = Lives::new(nanoseconds(SystemTime::now()));
    let mut starts = JoinSet::new();
    let mut pauses = pauses();
    let mut give_up = Instant::now() + config.patience;
    loop {
        let mut followed = false;
        let session = follow(&config, &mut lives, &mut starts, &mut followed);
        let error = tokio::select! {
            () = &mut shutdown => return Ok(()),
            error = session => error,
        };
        if followed {
            tracing::warn!("the engine is followed again as soon as it answers: {error}");
            pauses = self::pauses();
            give_up = Instant::now() + config.patience;
        }
        let pause = pauses.next().unwrap_or_default();
        if Instant::now() + pause >= give_up {
            return Err(RunError::NoEngine {
                socket: config.socket.display().to_string(),
                source: error,
            });
        }
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            // An engine that is away cannot say when it is back.
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// How long to wait between attempts to reach the engine.
fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(5))
        .without_max_times()
        .build()
}

/// Follows the engine until it is lost; `followed` tells whether it was found.
async fn follow(
    config: &Config,
    lives: &mut Lives,
    starts: &mut JoinSet<()>,
    followed: &mut bool,
) -> SessionError {
    let engine = match Engine::connect(&config.socket).await {
        Ok(engine) => engine,
        Err(error) => return error.into(),
    };
    let since = match lives.latest() {
        Some(latest) => latest - duration(OVERLAP),
        None => nanoseconds(SystemTime::now()) - duration(LOOK_BACK),
    };
    let mut events = pin!(engine.events(&config.project, since));
    // An engine that refuses its events has done so by the first beat.
    let mut beats = tokio::time::interval_at(Instant::now() + REFUSED_WITHIN, BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(observed)) => {
                    if let Some(killed) = lives.observe(&observed) {
                        starts.spawn(bring_back(engine.clone(), killed));
                    }
                }
                Some(Err(error)) => return error.into(),
                None => return SessionError::Ended,
            },
            _ = beats.tick() => {
                if let Err(error) = engine.ping().await {
                    return error.into();
                }
                if !*followed {
                    tracing::info!(project = config.project, "following the engine's events");
                    *followed = true;
                }
                if let Some(path) = &config.beat
                    && let Err(source) = touch(path).await
                {
                    return SessionError::Beat { path: path.display().to_string(), source };
                }
            }
            Some(ended) = starts.join_next() => if let Err(error) = ended {
                tracing::error!("bringing a container back panicked: {error}");
            },
        }
    }
}

async fn touch(path: &Path) -> std::io::Result<()> {
    tokio::fs::write(path, "").await
}

/// Starts a killed container, unless it is to stay away. A start that fails, as while the
/// port is still taken, is tried again for ten seconds or so.
async fn bring_back(engine: Engine, killed: Killed) {
    let attempt = async || {
        let verdict = killed.verdict(&engine.inspect(&killed.id).await?);
        if verdict == Verdict::Start {
            engine.start(&killed.id).await?;
        }
        Ok::<_, Error>(verdict)
    };
    let attempts = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_times(6);
    let done = attempt.retry(attempts).when(|error| !is_gone(error)).await;
    let container = &killed.name;
    match done {
        Ok(Verdict::Start) => tracing::info!(container, "was killed: started again"),
        Ok(Verdict::Leave(why)) => tracing::debug!(container, "was killed and is left: {why}"),
        Err(error) if is_gone(&error) => {
            tracing::debug!(container, "was killed and is left: {error}");
        }
        Err(error) => {
            tracing::error!(
                container,
                "was killed and does not start: {error}; `make up` tries again"
            );
        }
    }
}

fn nanoseconds(time: SystemTime) -> i64 {
    duration(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn duration(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
