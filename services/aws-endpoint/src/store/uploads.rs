//! Multipart uploads under way. They live as long as the process: a client that comes
//! back after a restart is told `NoSuchUpload` and starts again.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::draft::TemporaryFile;
use super::now_ms;
use super::object::{Algorithm, Checksums, Described};

/// What the client calls an upload.
type UploadId = String;

/// One upload under way.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) described: Described,
    pub(crate) algorithm: Option<Algorithm>,
    /// The object's checksum is over its bytes, not over those of the parts.
    pub(crate) full_object: bool,
    /// Milliseconds since the epoch.
    pub(crate) started_ms: u64,
    /// By part number.
    pub(crate) parts: BTreeMap<i32, Arc<Part>>,
}

/// One part; its file goes when the last user of it does.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) file: TemporaryFile,
    pub(crate) size: u64,
    pub(crate) md5: [u8; 16],
    pub(crate) checksums: Checksums,
    /// Milliseconds since the epoch.
    pub(crate) modified_ms: u64,
}

/// All uploads under way.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    next: AtomicU64,
    uploads: Mutex<HashMap<UploadId, Upload>>,
}

impl Uploads {
    pub(crate) fn start(&self, upload: Upload) -> UploadId {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        // The time tells an upload of an earlier process from one of this.
        let id = format!("{:x}-{count:x}", now_ms());
        self.lock().insert(id.clone(), upload);
        id
    }

    /// A snapshot of the upload of this id, if it is for this object.
    pub(crate) fn get(&self, id: &str, bucket: &str, key: &str) -> Option<Upload> {
        let uploads = self.lock();
        uploads
            .get(id)
            .filter(|upload| upload.bucket == bucket && upload.key == key)
            .cloned()
    }

    /// Adds or replaces a part; false if the upload has ended meanwhile.
    pub(crate) fn add_part(&self, id: &str, number: i32, part: Part) -> bool {
        let replaced;
        {
            let mut uploads = self.lock();
            let Some(upload) = uploads.get_mut(id) else {
                return false;
            };
            replaced = upload.parts.insert(number, Arc::new(part));
        }
        // Its file is removed outside the lock.
        drop(replaced);
        true
    }

    /// Ends an upload; false if it had ended.
    pub(crate) fn end(&self, id: &str) -> bool {
        let ended = self.lock().remove(id);
        ended.is_some()
    }

    /// All uploads of a bucket by key, then by when they started.
    pub(crate) fn of_bucket(&self, bucket: &str) -> Vec<(UploadId, Upload)> {
        let mut found: Vec<_> = self
            .lock()
            .iter()
            .filter(|(_, upload)| upload.bucket == bucket)
            .map(|(id, upload)| (id.clone(), upload.clone()))
            .collect();
        found.sort_by(|(id, a), (other, b)| (&a.key, id).cmp(&(&b.key, other)));
        found
    }

    pub(super) fn forget_bucket(&self, bucket: &str) {
        self.lock().retain(|_, upload| upload.bucket != bucket);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Upload>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
