//! Buckets and objects: an index in memory over immutable files.
//!
//! An object is two files named by its id, `<id>.data` and `<id>.json`. The JSON is
//! renamed into place last, so an object exists whole or not at all; a replaced object's
//! files go away after the index points at the new ones, and whoever has the old file
//! open reads it to its end. At start the JSON files rebuild the index; of two with the
//! same key the greater id wins.
//!
//! Everything here blocks on files: callers are on blocking threads.

mod draft;
mod load;
mod object;
mod uploads;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

pub(crate) use draft::{Draft, Received, TemporaryFile, hex};
pub use load::OpenError;
pub(crate) use object::{
    Algorithm, BlobId, Checksums, Described, FileStamp, Headers, Object, Origin, Tags,
};
pub(crate) use uploads::{Part, Upload, Uploads};

/// The objects of one bucket, in the order of a listing.
pub(crate) type Objects = BTreeMap<String, Arc<Object>>;

/// What is kept of a bucket beside its objects.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Bucket {
    /// Milliseconds since the epoch.
    pub(crate) created_ms: u64,
    pub(crate) region: String,
    #[serde(default)]
    pub(crate) tags: Tags,
}

#[derive(Debug)]
struct Entry {
    bucket: Bucket,
    objects: Objects,
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("no such bucket")]
    NoSuchBucket,
    #[error("no such key")]
    NoSuchKey,
    #[error("the bucket exists")]
    BucketExists,
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    /// What the caller's condition says.
    #[error("{0}")]
    Precondition(&'static str),
    #[error("cannot {doing} in the object storage")]
    Io {
        doing: &'static str,
        source: io::Error,
    },
}

impl StoreError {
    fn io(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

/// Everything about an object but its bytes and its id.
#[derive(Clone, Debug)]
pub(crate) struct NewObject {
    pub(crate) key: String,
    pub(crate) etag: String,
    pub(crate) described: Described,
    pub(crate) checksums: Checksums,
    pub(crate) parts: Vec<u64>,
    pub(crate) origin: Origin,
}

/// The bytes of a new object.
pub(crate) enum Content {
    /// A file of its own.
    Received { file: TemporaryFile, size: u64 },
    /// Those of another object: files never change, so both names share one.
    SameAs { bucket: String, object: Arc<Object> },
}

/// Buckets and objects under one folder.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    /// Held for a look-up or a swap, never while touching files.
    index: RwLock<BTreeMap<String, Entry>>,
    /// Held while a change goes to disk and then into the index: one writer at a time, so
    /// that a condition checked still holds when its change lands. Readers do not wait.
    changing: Mutex<()>,
    next_id: AtomicU64,
    pub(crate) uploads: Uploads,
}

impl Store {
    pub(crate) fn create_bucket(&self, name: &str, region: &str) -> Result<(), StoreError> {
        let _changing = self.change();
        if self.bucket(name).is_ok() {
            return Err(StoreError::BucketExists);
        }
        let bucket = Bucket {
            created_ms: now_ms(),
            region: region.to_owned(),
            tags: Tags::new(),
        };
        fs::create_dir_all(self.folder(name)).map_err(StoreError::io("create a bucket"))?;
        self.write_bucket(name, &bucket)?;
        let entry = Entry {
            bucket,
            objects: Objects::new(),
        };
        self.index_mut().insert(name.to_owned(), entry);
        Ok(())
    }

    pub(crate) fn delete_bucket(&self, name: &str) -> Result<(), StoreError> {
        let _changing = self.change();
        if !self.with_objects(name, |objects| objects.is_empty())? {
            return Err(StoreError::BucketNotEmpty);
        }
        self.index_mut().remove(name);
        self.uploads.forget_bucket(name);
        fs::remove_dir_all(self.folder(name)).map_err(StoreError::io("delete a bucket"))
    }

    pub(crate) fn bucket(&self, name: &str) -> Result<Bucket, StoreError> {
        let index = self.index();
        let entry = index.get(name).ok_or(StoreError::NoSuchBucket)?;
        Ok(entry.bucket.clone())
    }

    pub(crate) fn buckets(&self) -> Vec<(String, Bucket)> {
        self.index()
            .iter()
            .map(|(name, entry)| (name.clone(), entry.bucket.clone()))
            .collect()
    }

    pub(crate) fn tag_bucket(&self, name: &str, tags: Tags) -> Result<(), StoreError> {
        let _changing = self.change();
        let mut bucket = self.bucket(name)?;
        bucket.tags = tags;
        self.write_bucket(name, &bucket)?;
        if let Some(entry) = self.index_mut().get_mut(name) {
            entry.bucket = bucket;
        }
        Ok(())
    }

    /// Reads the objects of a bucket under the index lock: look, do not work.
    pub(crate) fn with_objects<T>(
        &self,
        bucket: &str,
        look: impl FnOnce(&Objects) -> T,
    ) -> Result<T, StoreError> {
        let index = self.index();
        let entry = index.get(bucket).ok_or(StoreError::NoSuchBucket)?;
        Ok(look(&entry.objects))
    }

    pub(crate) fn object(&self, bucket: &str, key: &str) -> Result<Arc<Object>, StoreError> {
        self.with_objects(bucket, |objects| objects.get(key).cloned())?
            .ok_or(StoreError::NoSuchKey)
    }

    /// The object and its bytes, both of the same write.
    pub(crate) fn open_object(
        &self,
        bucket: &str,
        key: &str,
    ) -> Result<(Arc<Object>, File), StoreError> {
        let mut object = self.object(bucket, key)?;
        loop {
            match File::open(self.data_path(bucket, object.id)) {
                Ok(file) => return Ok((object, file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // Replaced or deleted since we looked: look again, unless it was neither.
                    let now = self.object(bucket, key)?;
                    if now.id == object.id {
                        return Err(StoreError::io("read an object")(error));
                    }
                    object = now;
                }
                Err(error) => return Err(StoreError::io("read an object")(error)),
            }
        }
    }

    /// A temporary file to receive a body in.
    pub(crate) fn draft(&self, algorithms: &[Algorithm]) -> Result<Draft, StoreError> {
        let path = self.drafts().join(format!("{:016x}", self.take_id().0));
        Draft::create(path, algorithms).map_err(StoreError::io("create a file"))
    }

    /// Puts an object in place of whatever its key held, if `condition` holds for that.
    pub(crate) fn put(
        &self,
        bucket: &str,
        content: Content,
        new: NewObject,
        condition: impl FnOnce(Option<&Object>) -> Result<(), &'static str>,
    ) -> Result<Arc<Object>, StoreError> {
        let _changing = self.change();
        let before = self.with_objects(bucket, |objects| objects.get(&new.key).cloned())?;
        condition(before.as_deref()).map_err(StoreError::Precondition)?;

        let id = self.take_id();
        let data = self.data_path(bucket, id);
        let size = match content {
            Content::Received { file, size } => {
                file.keep_as(&data)
                    .map_err(StoreError::io("store an object"))?;
                size
            }
            Content::SameAs { bucket, object } => {
                let linked = fs::hard_link(self.data_path(&bucket, object.id), &data);
                linked.map_err(|error| match error.kind() {
                    // The source was deleted since the caller looked it up.
                    io::ErrorKind::NotFound => StoreError::NoSuchKey,
                    _ => StoreError::io("copy an object")(error),
                })?;
                object.size
            }
        };
        let object = Arc::new(Object {
            id,
            key: new.key,
            size,
            etag: new.etag,
            modified_ms: now_ms(),
            described: new.described,
            checksums: new.checksums,
            parts: new.parts,
            origin: new.origin,
        });
        self.write_object(bucket, &object)?;
        self.insert(bucket, &object);
        if let Some(before) = before {
            self.remove_files(bucket, before.id);
        }
        Ok(object)
    }

    /// Removes an object if it is there and `condition` holds for it; says whether it did.
    pub(crate) fn delete(
        &self,
        bucket: &str,
        key: &str,
        condition: impl FnOnce(&Object) -> Result<(), &'static str>,
    ) -> Result<bool, StoreError> {
        let _changing = self.change();
        let Some(object) = self.with_objects(bucket, |objects| objects.get(key).cloned())? else {
            return Ok(false);
        };
        condition(&object).map_err(StoreError::Precondition)?;
        if let Some(entry) = self.index_mut().get_mut(bucket) {
            entry.objects.remove(key);
        }
        self.remove_files(bucket, object.id);
        Ok(true)
    }

    pub(crate) fn tag_object(&self, bucket: &str, key: &str, tags: Tags) -> Result<(), StoreError> {
        let _changing = self.change();
        let mut object = Object::clone(&*self.object(bucket, key)?);
        object.described.tags = tags;
        let object = Arc::new(object);
        self.write_object(bucket, &object)?;
        self.insert(bucket, &object);
        Ok(())
    }

    fn insert(&self, bucket: &str, object: &Arc<Object>) {
        if let Some(entry) = self.index_mut().get_mut(bucket) {
            entry.objects.insert(object.key.clone(), object.clone());
        }
    }

    fn write_object(&self, bucket: &str, object: &Object) -> Result<(), StoreError> {
        self.write_json(&self.json_path(bucket, object.id), object)
    }

    fn write_bucket(&self, name: &str, bucket: &Bucket) -> Result<(), StoreError> {
        self.write_json(&self.folder(name).join(load::BUCKET_FILE), bucket)
    }

    fn write_json(&self, path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
        let failed = StoreError::io("write the index");
        let bytes = serde_json::to_vec(value).map_err(|error| failed(error.into()))?;
        let mut draft = self.draft(&[])?;
        draft.write(&bytes).map_err(&failed)?;
        draft.finish().file.keep_as(path).map_err(&failed)
    }

    /// The index no longer names these files, so failing leaves litter and loses nothing.
    fn remove_files(&self, bucket: &str, id: BlobId) {
        for path in [self.json_path(bucket, id), self.data_path(bucket, id)] {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove a replaced object's file");
            }
        }
    }

    fn folder(&self, bucket: &str) -> PathBuf {
        self.root.join(load::BUCKETS).join(bucket)
    }

    fn drafts(&self) -> PathBuf {
        self.root.join(load::DRAFTS)
    }

    fn data_path(&self, bucket: &str, id: BlobId) -> PathBuf {
        self.folder(bucket).join(format!("{:016x}.data", id.0))
    }

    fn json_path(&self, bucket: &str, id: BlobId) -> PathBuf {
        self.folder(bucket).join(format!("{:016x}.json", id.0))
    }

    fn take_id(&self) -> BlobId {
        BlobId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Entry>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Entry>> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
