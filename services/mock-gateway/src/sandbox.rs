//! What stays of an execution environment when its process is killed and started again: its
//! `/tmp` and its log stream.

use std::io;
use std::path::Path;
use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tempfile::TempDir;
use uuid::Uuid;

/// A place for one process after the other. Its folder goes with it.
#[derive(Debug)]
pub(crate) struct Sandbox {
    log_stream: String,
    scratch: OnceLock<TempDir>,
}

impl Sandbox {
    /// A new one, without its folder yet.
    pub(crate) fn new(started: Timestamp) -> Self {
        let day = started.to_zoned(TimeZone::UTC).date();
        Self {
            log_stream: format!(
                "{:04}/{:02}/{:02}/[$LATEST]{}",
                day.year(),
                day.month(),
                day.day(),
                Uuid::new_v4().simple()
            ),
            scratch: OnceLock::new(),
        }
    }

    /// `YYYY/MM/DD/[$LATEST]<32 hex digits>`.
    pub(crate) fn log_stream(&self) -> &str {
        &self.log_stream
    }

    /// Makes its folder, unless it is there.
    pub(crate) fn open(&self) -> io::Result<()> {
        if self.scratch.get().is_none() {
            let folder = tempfile::Builder::new().prefix("longshore-").tempdir()?;
            if let Err(surplus) = self.scratch.set(folder) {
                drop(surplus);
            }
        }
        Ok(())
    }

    /// Its folder, once open.
    pub(crate) fn scratch(&self) -> Option<&Path> {
        self.scratch.get().map(TempDir::path)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let Some(folder) = self.scratch.take() else {
            return;
        };
        // A function may leave a lot: the threads that serve requests do not clean up.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn_blocking(move || drop(folder)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_folder_is_its_own_and_goes_with_it() {
        let [one, other] = [(); 2].map(|()| Sandbox::new(Timestamp::now()));
        assert_eq!(one.scratch(), None);
        for sandbox in [&one, &other] {
            sandbox.open().unwrap();
        }
        let folder = one.scratch().unwrap().to_owned();
        assert_ne!(Some(folder.as_path()), other.scratch());
        std::fs::write(folder.join("left"), "behind").unwrap();
        one.open().unwrap();
        assert!(folder.join("left").exists(), "opened again, it is the same");
        drop(one);
        assert!(!folder.exists());
    }
}
