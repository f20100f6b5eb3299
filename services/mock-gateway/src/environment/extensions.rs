//! The processes of one environment's external extensions.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use function_supervisor::{Artifact, OutputLine};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;

use crate::broker::{Broker, EnvironmentKey, MAX_EXTENSIONS};
use crate::outcome::{ExtensionFailure, ExtensionFault, InitFailure, RuntimeExit};
use crate::process::{NotLaunched, RunningProcess};

/// The extensions that run.
#[derive(Default)]
pub(super) struct Extensions(Vec<Extension>);

struct Extension {
    name: String,
    process: Box<dyn RunningProcess>,
    output: mpsc::Receiver<OutputLine>,
    prints: bool,
}

/// What one of them did.
pub(super) enum Happened {
    Printed(OutputLine),
    Exited { name: String, exit: RuntimeExit },
}

impl Extensions {
    /// The programs of an artifact's layers.
    pub(super) async fn programs(
        artifact: &Arc<Artifact>,
    ) -> Result<BTreeMap<String, PathBuf>, InitFailure> {
        let layers = artifact.function.settings.layers.clone();
        if layers.is_empty() {
            return Ok(BTreeMap::new());
        }
        let read = tokio::task::spawn_blocking(move || {
            function_supervisor::extension_programs(&layers).map_err(|error| error.to_string())
        });
        let read = read.await.map_err(|error| error.to_string());
        read.flatten().map_err(|why| not_launched(&why))
    }

    /// Starts them all; the first that cannot be started is the end of it.
    pub(super) fn start(
        broker: &Broker,
        key: EnvironmentKey,
        artifact: &Arc<Artifact>,
        programs: BTreeMap<String, PathBuf>,
        env: &[(String, String)],
    ) -> Result<Self, InitFailure> {
        if programs.is_empty() {
            return Ok(Self::default());
        }
        broker.expect_extensions(key, programs.keys());
        let launcher = &broker.shared.launcher;
        let mut extensions = Vec::new();
        for (name, path) in programs {
            let launched = if extensions.len() < MAX_EXTENSIONS {
                let launched = launcher.launch_extension(artifact.clone(), path, env.to_vec());
                launched.map_err(|NotLaunched { why, is_forbidden }| {
                    let error_type = if is_forbidden {
                        "PermissionDenied"
                    } else {
                        "UnknownError"
                    };
                    (error_type, why)
                })
            } else {
                let why = format!("extension limit ({MAX_EXTENSIONS}) reached");
                Err(("TooManyExtensions", why))
            };
            match launched {
                Ok(mut process) => extensions.push(Extension {
                    name,
                    output: process.take_output(),
                    process,
                    prints: true,
                }),
                Err((error_type, why)) => {
                    broker.extension_not_launched(key, &name, error_type);
                    return Err(not_launched(&why));
                }
            }
        }
        Ok(Self(extensions))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the next of them does; never, if there is none. Cancel-safe. The lines that
    /// one printed come before its end.
    pub(super) async fn next(&mut self) -> Happened {
        if self.0.is_empty() {
            // Most functions have none, and the environment asks several times a request.
            return std::future::pending().await;
        }
        loop {
            let (index, happened) = self.first().await;
            if let Some(Happened::Exited { .. }) = happened {
                drop(self.0.swap_remove(index));
            } else if happened.is_none()
                && let Some(extension) = self.0.get_mut(index)
            {
                extension.prints = false;
            }
            if let Some(happened) = happened {
                return happened;
            }
        }
    }

    async fn first(&mut self) -> (usize, Option<Happened>) {
        let mut lines = FuturesUnordered::new();
        let mut exits = FuturesUnordered::new();
        for (index, extension) in self.0.iter_mut().enumerate() {
            let Extension {
                name,
                process,
                output,
                prints,
            } = extension;
            if *prints {
                lines.push(async move { (index, output.recv().await) });
            }
            exits.push(async move { (index, name.clone(), process.wait().await) });
        }
        tokio::select! {
            biased;
            Some((index, line)) = lines.next() => (index, line.map(Happened::Printed)),
            Some((index, name, exit)) = exits.next() => {
                (index, Some(Happened::Exited { name, exit }))
            }
            else => std::future::pending().await,
        }
    }

    /// What they have printed.
    pub(super) fn printed(&mut self) -> Vec<OutputLine> {
        let mut lines = Vec::new();
        for extension in &mut self.0 {
            while let Ok(line) = extension.output.try_recv() {
                lines.push(line);
            }
        }
        lines
    }

    pub(super) fn freeze(&self, freeze: bool) {
        for extension in &self.0 {
            if freeze {
                extension.process.freeze();
            } else {
                extension.process.thaw();
            }
        }
    }

    /// Kills all but these.
    pub(super) fn kill_but(&self, spared: &[String]) {
        for extension in &self.0 {
            if !spared.contains(&extension.name) {
                extension.process.kill();
            }
        }
    }

    pub(super) fn kill(&self) {
        self.kill_but(&[]);
    }

    /// The most memory that they have had, together.
    pub(super) fn peak_memory_bytes(&self) -> u64 {
        let peaks = self.0.iter();
        peaks.filter_map(|e| e.process.peak_memory_bytes()).sum()
    }
}

fn not_launched(why: &str) -> InitFailure {
    InitFailure::Extension(ExtensionFailure {
        fault: ExtensionFault::Launch,
        why: why.to_owned(),
    })
}
