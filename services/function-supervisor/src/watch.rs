//! Notices changed sources: the operating system's events, or reading the sources over and
//! over where a mount reports none.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{EventKind, ModifyKind, RenameMode};
use notify::{Event, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::affected::Changes;
use crate::sources::Sources;

/// Events waiting for the loop. When it overflows, everything counts as changed.
const EVENT_QUEUE: usize = 4096;

/// How often polled sources are read.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// How long the probe's event may take.
const PROBE_DEADLINE: Duration = Duration::from_millis(500);

/// How changes are being noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchStatus {
    /// Not decided yet.
    Starting,
    /// The operating system says what changed.
    Native,
    /// The sources are read over and over.
    Poll {
        /// Why.
        reason: String,
    },
    /// Nobody looks.
    Off,
}

/// Watches the sources.
pub(crate) struct SourceWatch {
    sources: Sources,
    watcher: Option<Box<dyn Watcher + Send>>,
    events: mpsc::Receiver<notify::Result<Event>>,
    overflow: Arc<AtomicBool>,
}

/// What the watch has to say.
#[derive(Debug)]
pub(crate) enum Noticed {
    /// Sources changed; never empty.
    Changes(Changes),
    /// The watch cannot go on like this; says why.
    Broken(String),
}

impl std::fmt::Debug for SourceWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceWatch")
            .field("folders", &self.sources.folders().len())
            .finish_non_exhaustive()
    }
}

impl SourceWatch {
    /// A watch that notices nothing until it is started.
    pub(crate) fn off() -> Self {
        Self {
            sources: Sources::default(),
            watcher: None,
            events: mpsc::channel(1).1,
            overflow: Arc::default(),
        }
    }

    /// Notices changes by the operating system's events from now on.
    pub(crate) fn start_native(&mut self) -> Result<(), String> {
        self.start(|notice| {
            RecommendedWatcher::new(notice, notify::Config::default())
                .map(|watcher| Box::new(watcher) as Box<dyn Watcher + Send>)
        })
    }

    /// Notices changes by reading the sources over and over from now on. Contents are
    /// compared: a time stamp of whole seconds would miss a quick second save.
    pub(crate) fn start_poll(&mut self) -> Result<(), String> {
        self.start(|notice| {
            let config = notify::Config::default()
                .with_poll_interval(POLL_INTERVAL)
                .with_compare_contents(true);
            PollWatcher::new(notice, config)
                .map(|watcher| Box::new(watcher) as Box<dyn Watcher + Send>)
        })
    }

    fn start(
        &mut self,
        create: impl FnOnce(EventSink) -> notify::Result<Box<dyn Watcher + Send>>,
    ) -> Result<(), String> {
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        self.overflow = Arc::default();
        let sink = EventSink {
            sender,
            overflow: Arc::clone(&self.overflow),
        };
        self.watcher = Some(create(sink).map_err(|error| explain(&error))?);
        self.events = events;
        let folders: Vec<PathBuf> = self.sources.folders().iter().cloned().collect();
        self.add(&folders)
    }

    /// Watches all folders with sources below `roots`, and `files` wherever they lie.
    pub(crate) fn set_roots(
        &mut self,
        roots: BTreeSet<PathBuf>,
        files: BTreeSet<PathBuf>,
        excluded: BTreeSet<PathBuf>,
    ) -> Result<(), String> {
        let before = self.sources.folders().clone();
        self.sources.set(roots, files, excluded);
        let after = self.sources.folders();
        let new: Vec<PathBuf> = after.difference(&before).cloned().collect();
        let gone: Vec<PathBuf> = before.difference(after).cloned().collect();
        self.remove(&gone);
        self.add(&new)
    }

    fn add(&mut self, folders: &[PathBuf]) -> Result<(), String> {
        let Some(watcher) = &mut self.watcher else {
            return Ok(());
        };
        let mut paths = watcher.paths_mut();
        for folder in folders {
            if let Err(error) = paths.add(folder, RecursiveMode::NonRecursive) {
                // A folder may go again while it is being added.
                if folder.is_dir() {
                    return Err(explain(&error));
                }
            }
        }
        paths.commit().map_err(|error| explain(&error))
    }

    fn remove(&mut self, folders: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for folder in folders {
            // Most are gone from the watcher already, with the folder itself.
            if let Err(error) = watcher.unwatch(folder) {
                tracing::trace!(folder = %folder.display(), %error, "folder was not watched");
            }
        }
    }

    /// Waits for the next change that counts; for ever when nothing is watched.
    /// Cancel-safe.
    pub(crate) async fn noticed(&mut self) -> Noticed {
        loop {
            let Some(event) = self.events.recv().await else {
                // Off, or the watcher went with its sender: nothing will come any more.
                return std::future::pending().await;
            };
            let mut changes = Changes {
                unknown: self.overflow.swap(false, Ordering::Relaxed),
                ..Changes::default()
            };
            match event {
                Ok(event) => {
                    if let Err(broken) = self.classify(&event, &mut changes) {
                        return Noticed::Broken(broken);
                    }
                }
                Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
                Err(error) => return Noticed::Broken(explain(&error)),
            }
            if !changes.is_empty() {
                return Noticed::Changes(changes);
            }
        }
    }

    fn classify(&mut self, event: &Event, changes: &mut Changes) -> Result<(), String> {
        changes.unknown |= event.need_rescan();
        let removal = matches!(
            event.kind,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From))
        );
        let content_only = matches!(
            event.kind,
            EventKind::Modify(ModifyKind::Metadata(_) | ModifyKind::Data(_) | ModifyKind::Any)
        );
        for path in &event.paths {
            let known = self.sources.knows(path);
            let is_dir = path.is_dir();
            if known && is_dir && content_only {
                // A folder's own time stamp: what changed inside is reported by itself.
                continue;
            }
            if known && (removal || !is_dir) {
                let gone = self.sources.forget(path);
                self.remove(&gone);
                changes.folders.insert(path.clone());
            }
            if self.sources.ignores(path, is_dir) {
                continue;
            }
            if is_dir {
                let new = self.sources.scan(path);
                if !new.is_empty() {
                    self.add(&new)?;
                    changes.folders.insert(path.clone());
                }
            } else if !known {
                // New ignore rules: look at everything again.
                changes.unknown |= path.file_name().is_some_and(|name| name == ".gitignore");
                changes.files.insert(path.clone());
            }
        }
        Ok(())
    }
}

/// Where a watcher's thread puts its events. It does no work and never waits.
struct EventSink {
    sender: mpsc::Sender<notify::Result<Event>>,
    overflow: Arc<AtomicBool>,
}

impl notify::EventHandler for EventSink {
    fn handle_event(&mut self, event: notify::Result<Event>) {
        if matches!(&event, Ok(event) if event.kind.is_access()) {
            return;
        }
        if let Err(mpsc::error::TrySendError::Full(_)) = self.sender.try_send(event) {
            // Whoever empties the full queue sees this.
            self.overflow.store(true, Ordering::Relaxed);
        }
    }
}

fn explain(error: &notify::Error) -> String {
    let too_many = match &error.kind {
        notify::ErrorKind::MaxFilesWatch => true,
        notify::ErrorKind::Io(error) => matches!(error.raw_os_error(), Some(24 | 28)),
        notify::ErrorKind::Generic(_)
        | notify::ErrorKind::PathNotFound
        | notify::ErrorKind::WatchNotFound
        | notify::ErrorKind::InvalidConfig(_) => false,
    };
    if too_many {
        "the system allows no more file watches: raise fs.inotify.max_user_watches and \
         fs.inotify.max_user_instances (sysctl)"
            .to_owned()
    } else {
        error.to_string()
    }
}

/// Why events from `dir` cannot be trusted, judging by its filesystem: a network or
/// virtual-machine mount reports this machine's own writes at best.
pub(crate) fn untrusted_filesystem(dir: &Path) -> Option<&'static str> {
    #[cfg(target_os = "linux")]
    {
        // linux/magic.h, and the filesystems' own sources.
        const UNTRUSTED: [(u32, &str); 7] = [
            (0x6969, "NFS"),
            (0xff53_4d42, "CIFS"),
            (0xfe53_4d42, "SMB2"),
            (0x0102_1997, "9p"),
            (0x6573_5546, "FUSE"),
            (0x786f_4256, "a VirtualBox share"),
            (0xbacb_acbc, "a VMware share"),
        ];
        let kind = rustix::fs::statfs(dir).ok()?.f_type;
        UNTRUSTED
            .iter()
            .find(|(magic, _)| is_magic(kind, *magic))
            .map(|(_, name)| *name)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _unused = dir;
        None
    }
}

/// Compares a filesystem's magic number, whose type differs between architectures.
#[cfg(target_os = "linux")]
fn is_magic<T: TryInto<i64>>(kind: T, magic: u32) -> bool {
    kind.try_into().is_ok_and(|kind| kind == i64::from(magic))
}

/// Where a probe of `root`'s events may write: `state_dir` when it is on the same
/// filesystem, else `root` itself.
fn probe_dir<'a>(root: &'a Path, state_dir: &'a Path) -> &'a Path {
    use std::os::unix::fs::MetadataExt;
    let device = |dir: &Path| std::fs::metadata(dir).map(|metadata| metadata.dev()).ok();
    if device(root).is_some() && device(root) == device(state_dir) {
        state_dir
    } else {
        root
    }
}

/// Writes a file and waits for its event. An error says why events cannot be relied on.
pub(crate) async fn probe(root: &Path, state_dir: &Path) -> Result<(), String> {
    let dir = probe_dir(root, state_dir);
    let (sender, mut events) = mpsc::channel(EVENT_QUEUE);
    let sink = EventSink {
        sender,
        overflow: Arc::default(),
    };
    let mut watcher = RecommendedWatcher::new(sink, notify::Config::default())
        .map_err(|error| explain(&error))?;
    watcher
        .watch(dir, RecursiveMode::NonRecursive)
        .map_err(|error| explain(&error))?;
    let file = dir.join(format!(".watch-probe-{}.tmp", std::process::id()));
    let cannot_write = |error: std::io::Error| format!("cannot write {}: {error}", file.display());
    tokio::fs::write(&file, b"probe")
        .await
        .map_err(cannot_write)?;
    let arrived = async {
        while let Some(event) = events.recv().await {
            if event.is_ok_and(|event| event.paths.contains(&file)) {
                return true;
            }
        }
        false
    };
    let seen = tokio::time::timeout(PROBE_DEADLINE, arrived).await;
    tokio::fs::remove_file(&file).await.map_err(cannot_write)?;
    match seen {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(format!(
            "a file written in {} was not reported within {} ms",
            dir.display(),
            PROBE_DEADLINE.as_millis()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough for an event on a busy machine.
    const DEADLINE: Duration = Duration::from_secs(20);

    async fn next(watch: &mut SourceWatch) -> Noticed {
        tokio::time::timeout(DEADLINE, watch.noticed())
            .await
            .expect("noticed in time")
    }

    fn watched(root: &Path) -> SourceWatch {
        let mut watch = SourceWatch::off();
        watch
            .set_roots(
                BTreeSet::from([root.to_owned()]),
                BTreeSet::new(),
                BTreeSet::from([root.join("target")]),
            )
            .unwrap();
        watch
    }

    #[tokio::test]
    async fn a_probe_says_whether_events_arrive() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("state");
        std::fs::create_dir(&state).unwrap();
        assert_eq!(probe(root.path(), &state).await, Ok(()));
        assert_eq!(
            std::fs::read_dir(&state).unwrap().count(),
            0,
            "nothing is left behind"
        );
        let error = probe(&root.path().join("gone"), &state).await.unwrap_err();
        assert!(!error.is_empty());
        assert_eq!(untrusted_filesystem(Path::new("/proc")), None);
    }

    #[tokio::test]
    async fn a_full_queue_makes_everything_count_as_changed() {
        let root = tempfile::tempdir().unwrap();
        let mut watch = watched(root.path());
        let (sender, events) = mpsc::channel(1);
        watch.events = events;
        let mut sink = EventSink {
            sender,
            overflow: Arc::clone(&watch.overflow),
        };
        let event = |name: &str| Ok(Event::new(EventKind::Any).add_path(root.path().join(name)));
        use notify::EventHandler;
        sink.handle_event(event("kept.rs"));
        sink.handle_event(event("lost.rs"));
        let Noticed::Changes(changes) = next(&mut watch).await else {
            panic!("not broken")
        };
        assert!(changes.unknown, "{changes:?}");
        sink.handle_event(event("later.rs"));
        let Noticed::Changes(changes) = next(&mut watch).await else {
            panic!("not broken")
        };
        let later = BTreeSet::from([root.path().join("later.rs")]);
        assert_eq!((changes.unknown, changes.files), (false, later));
        let too_many = notify::Error::new(notify::ErrorKind::MaxFilesWatch);
        sink.handle_event(Err(too_many));
        let Noticed::Broken(why) = next(&mut watch).await else {
            panic!("broken")
        };
        assert!(why.contains("fs.inotify.max_user_watches"), "{why}");
    }

    #[tokio::test]
    async fn build_output_is_not_noticed_and_new_folders_are_watched() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("target/debug")).unwrap();
        let mut watch = watched(root.path());
        watch.start_native().unwrap();
        std::fs::write(root.path().join("target/debug/out"), "x").unwrap();
        std::fs::write(root.path().join("target/out"), "x").unwrap();
        std::fs::write(root.path().join(".lib.rs.swp"), "x").unwrap();
        let folder = root.path().join("handlers/new");
        std::fs::create_dir_all(&folder).unwrap();
        let Noticed::Changes(changes) = next(&mut watch).await else {
            panic!("not broken")
        };
        assert_eq!(
            changes.folders,
            BTreeSet::from([root.path().join("handlers")])
        );
        assert_eq!(changes.files, BTreeSet::new());
        let file = folder.join("lib.rs");
        std::fs::write(&file, "x").unwrap();
        while let Noticed::Changes(changes) = next(&mut watch).await {
            if changes.files.contains(&file) {
                return;
            }
        }
        panic!("the new folder's file was never noticed");
    }
}
