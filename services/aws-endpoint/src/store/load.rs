//! Opening the store: the folder's layout and the index rebuilt from its JSON files.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};

use serde::de::DeserializeOwned;

use super::{Bucket, Entry, Object, Objects, Store, Uploads};

pub(super) const BUCKETS: &str = "buckets";
/// Bodies on their way in, and parts of multipart uploads. Emptied at start.
pub(super) const DRAFTS: &str = "drafts";
pub(super) const BUCKET_FILE: &str = "bucket.json";

/// The object storage cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the object storage {}; check that the folder can be written, or delete it to start afresh", path.display())]
pub struct OpenError {
    /// The file or folder that failed.
    pub path: PathBuf,
    source: io::Error,
}

impl OpenError {
    fn at(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self {
            path: path.to_owned(),
            source,
        }
    }
}

impl Store {
    /// Opens the store in `root`, which is created if it is not there.
    ///
    /// # Errors
    /// [`OpenError`] names the file or folder that cannot be used.
    pub(crate) fn open(root: &Path) -> Result<Self, OpenError> {
        let drafts = root.join(DRAFTS);
        if drafts.exists() {
            fs::remove_dir_all(&drafts).map_err(OpenError::at(&drafts))?;
        }
        fs::create_dir_all(&drafts).map_err(OpenError::at(&drafts))?;
        let buckets = root.join(BUCKETS);
        fs::create_dir_all(&buckets).map_err(OpenError::at(&buckets))?;

        let mut index = BTreeMap::new();
        let mut greatest = 0;
        for folder in read_dir(&buckets)? {
            let described = folder.join(BUCKET_FILE);
            // A folder without it was being created when the process died.
            if !described.exists() {
                continue;
            }
            let bucket: Bucket = read_json(&described)?;
            let objects = load_objects(&folder)?;
            let last = objects.values().map(|object| object.id.0).max();
            greatest = greatest.max(last.unwrap_or(0));
            if let Some(name) = folder.file_name().and_then(|name| name.to_str()) {
                index.insert(name.to_owned(), Entry { bucket, objects });
            }
        }
        Ok(Self {
            root: root.to_owned(),
            index: RwLock::new(index),
            changing: Mutex::new(()),
            next_id: AtomicU64::new(greatest + 1),
            uploads: Uploads::default(),
        })
    }
}

fn load_objects(folder: &Path) -> Result<Objects, OpenError> {
    let mut objects = Objects::new();
    for path in read_dir(folder)? {
        if path.extension().is_none_or(|extension| extension != "json")
            || path.file_name().is_some_and(|name| name == BUCKET_FILE)
        {
            continue;
        }
        let object: Object = read_json(&path)?;
        if !path.with_extension("data").exists() {
            continue;
        }
        let newer = objects
            .get(&object.key)
            .is_none_or(|known| known.id < object.id);
        if newer {
            objects.insert(object.key.clone(), Arc::new(object));
        }
    }
    remove_strays(folder, &objects);
    Ok(objects)
}

/// Files that a process left when it died between two steps.
fn remove_strays(folder: &Path, objects: &Objects) {
    let known: std::collections::HashSet<String> = objects
        .values()
        .map(|object| format!("{:016x}", object.id.0))
        .collect();
    let Ok(paths) = read_dir(folder) else { return };
    for path in paths {
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let stray = stem.is_some_and(|stem| stem != "bucket" && !known.contains(stem));
        if stray && let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "cannot remove a stray file");
        }
    }
}

fn read_dir(folder: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let failed = OpenError::at(folder);
    let entries = fs::read_dir(folder).map_err(&failed)?;
    entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(&failed))
        .collect()
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, OpenError> {
    let failed = OpenError::at(path);
    let bytes = fs::read(path).map_err(&failed)?;
    serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))
}
