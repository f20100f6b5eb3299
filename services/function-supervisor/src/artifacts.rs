//! Binaries set aside: a running function's file is never the one cargo writes to.
//!
//! `<state>/functions/<function>/<generation>/<binary>`. A copy, never a hard link: cargo
//! links its own outputs to one another and a linker may write in place, which would change
//! a program under a running process. Where the filesystem can share blocks, the copy does.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use app_model::FunctionName;

use crate::{Artifact, Generation, StartError};

/// What identifies the file a copy was made of without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    modified: (i64, i64),
    size: u64,
    inode: u64,
}

/// A binary set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binary {
    /// Where it is now.
    pub(crate) path: PathBuf,
    /// What it was copied from.
    stamp: Stamp,
}

/// What setting a binary aside came to.
#[derive(Debug)]
pub(crate) enum SetAside {
    /// It is, byte for byte, the one already there.
    Same(Binary),
    /// A new one, in a folder that waits for its generation.
    New(Incoming),
}

/// A copied binary that has no generation yet.
#[derive(Debug)]
pub(crate) struct Incoming {
    folder: PathBuf,
    name: std::ffi::OsString,
    stamp: Stamp,
}

/// The folder of binaries. One supervisor owns it, by a lock.
#[derive(Debug)]
pub(crate) struct ArtifactStore {
    functions: PathBuf,
    kept: Vec<(Weak<Artifact>, PathBuf)>,
    /// Held for as long as the store is used.
    _lock: File,
}

impl ArtifactStore {
    /// Takes the state directory over and empties it of an earlier run's binaries.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, StartError> {
        let unusable = |source: io::Error| StartError::StateDir {
            dir: state_dir.to_owned(),
            source,
        };
        let functions = state_dir.join("functions");
        fs::create_dir_all(state_dir).map_err(unusable)?;
        // Nothing in here is anybody's source.
        fs::write(state_dir.join(".gitignore"), "*\n").map_err(unusable)?;
        let lock = File::create(state_dir.join("lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(StartError::StateDirInUse {
                    dir: state_dir.to_owned(),
                });
            }
            Err(fs::TryLockError::Error(source)) => return Err(unusable(source)),
        }
        if functions.exists() {
            fs::remove_dir_all(&functions).map_err(unusable)?;
        }
        fs::create_dir_all(&functions).map_err(unusable)?;
        Ok(Self {
            functions,
            kept: Vec::new(),
            _lock: lock,
        })
    }

    /// Where `function`'s binaries go.
    pub(crate) fn folder(&self, function: &FunctionName) -> PathBuf {
        self.functions.join(function.as_str())
    }

    /// Gives an incoming binary its generation.
    pub(crate) fn adopt(
        &self,
        function: &FunctionName,
        incoming: Incoming,
        generation: Generation,
    ) -> io::Result<Binary> {
        let folder = self.folder(function).join(generation.to_string());
        fs::rename(&incoming.folder, &folder)?;
        Ok(Binary {
            path: folder.join(incoming.name),
            stamp: incoming.stamp,
        })
    }

    /// Keeps the folder of `artifact`'s binary for as long as `artifact` is used.
    pub(crate) fn keep(&mut self, artifact: &Arc<Artifact>, binary: &Binary) {
        if let Some(folder) = binary.path.parent() {
            self.kept
                .push((Arc::downgrade(artifact), folder.to_owned()));
        }
    }

    /// Removes the folders nobody uses any more.
    pub(crate) fn prune(&mut self) {
        let (used, unused): (Vec<_>, Vec<_>) = self
            .kept
            .drain(..)
            .partition(|(artifact, _)| artifact.strong_count() > 0);
        for (_, folder) in unused {
            let shared = used.iter().any(|(_, other)| *other == folder);
            if !shared
                && folder.exists()
                && let Err(error) = fs::remove_dir_all(&folder)
            {
                tracing::warn!(folder = %folder.display(), %error, "cannot remove an old binary");
            }
        }
        self.kept = used;
    }
}

/// Copies `source` into a new folder below `function_folder`, unless it is what `current`
/// holds. Blocks: run it where blocking is allowed.
pub(crate) fn set_aside(
    source: &Path,
    function_folder: &Path,
    current: Option<&Binary>,
) -> io::Result<SetAside> {
    let stamp = Stamp::of(source)?;
    if let Some(current) = current {
        if current.stamp == stamp {
            return Ok(SetAside::Same(current.clone()));
        }
        if same_bytes(source, &current.path)? {
            return Ok(SetAside::Same(Binary {
                path: current.path.clone(),
                stamp,
            }));
        }
    }
    let folder = function_folder.join(format!("incoming-{}-{}", stamp.inode, stamp.modified.1));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let name = source
        .file_name()
        .ok_or(io::ErrorKind::InvalidInput)?
        .to_owned();
    let path = folder.join(&name);
    fs::copy(source, &path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(SetAside::New(Incoming {
        folder,
        name,
        stamp,
    }))
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.size(),
            inode: metadata.ino(),
        })
    }
}

/// Stops at the first difference.
fn same_bytes(left: &Path, right: &Path) -> io::Result<bool> {
    let (Ok(mut left), Ok(mut right)) = (File::open(left), File::open(right)) else {
        return Ok(false);
    };
    if left.metadata()?.len() != right.metadata()?.len() {
        return Ok(false);
    }
    let mut left_bytes = vec![0; 256 * 1024];
    let mut right_bytes = left_bytes.clone();
    loop {
        let count = left.read(&mut left_bytes)?;
        if count == 0 {
            return Ok(true);
        }
        right.read_exact(&mut right_bytes[..count])?;
        if left_bytes[..count] != right_bytes[..count] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_bytes_are_set_aside_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = ArtifactStore::open(dir.path()).unwrap();
        let name: FunctionName = "hello".parse().unwrap();
        let source = dir.path().join("built");
        let mut current = None;
        for (bytes, generation) in [
            ("one", Some(1)),
            ("one", None),
            ("two", Some(2)),
            ("longer", Some(3)),
        ] {
            // Written anew each time, as a linker does.
            fs::write(dir.path().join("new"), bytes).unwrap();
            fs::rename(dir.path().join("new"), &source).unwrap();
            let binary = match set_aside(&source, &store.folder(&name), current.as_ref()).unwrap() {
                SetAside::Same(binary) => {
                    assert_eq!(generation, None, "{bytes}");
                    binary
                }
                SetAside::New(incoming) => {
                    let generation = Generation(generation.expect("the bytes are others"));
                    store.adopt(&name, incoming, generation).unwrap()
                }
            };
            assert_eq!(fs::read_to_string(&binary.path).unwrap(), bytes);
            assert_ne!(
                fs::metadata(&binary.path).unwrap().ino(),
                fs::metadata(&source).unwrap().ino()
            );
            // Unchanged: not even read.
            let again = set_aside(&source, &store.folder(&name), Some(&binary)).unwrap();
            assert!(matches!(again, SetAside::Same(same) if same == binary));
            current = Some(binary);
        }
        assert_eq!(fs::read_dir(store.folder(&name)).unwrap().count(), 3);
    }
}
