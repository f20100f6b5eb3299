//! Bytes on their way in: a temporary file that is hashed as it is written and removed
//! unless it becomes an object.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};

use super::object::{Algorithm, Checksums};

/// A file that is deleted when it is dropped.
#[derive(Debug)]
pub(crate) struct TemporaryFile(PathBuf);

impl TemporaryFile {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Moves the file to where it stays. Readers see all of it or nothing.
    pub(crate) fn keep_as(self, to: &Path) -> io::Result<()> {
        // The drop that follows finds nothing to remove.
        fs::rename(&self.0, to)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove a temporary file");
        }
    }
}

/// A body being received.
pub(crate) struct Draft {
    file: File,
    path: TemporaryFile,
    md5: Md5,
    checksums: ChecksumHasher,
    size: u64,
}

/// A body received whole.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) file: TemporaryFile,
    pub(crate) size: u64,
    pub(crate) md5: [u8; 16],
    pub(crate) checksums: Checksums,
}

impl Draft {
    pub(super) fn create(path: PathBuf, algorithms: &[Algorithm]) -> io::Result<Self> {
        let mut checksums = ChecksumHasher::default();
        for algorithm in algorithms {
            algorithm.enable(&mut checksums);
        }
        Ok(Self {
            file: File::create_new(&path)?,
            path: TemporaryFile(path),
            md5: Md5::new(),
            checksums,
            size: 0,
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.md5.update(bytes);
        self.checksums.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Writes all that `from` has.
    pub(crate) fn write_from(&mut self, mut from: impl Read) -> io::Result<()> {
        let mut buffer = vec![0; 256 << 10];
        loop {
            match from.read(&mut buffer)? {
                0 => return Ok(()),
                read => self.write(&buffer[..read])?,
            }
        }
    }

    /// Appends a file without looking at its bytes: they do not count in the digests.
    pub(crate) fn append_file(&mut self, from: &mut File) -> io::Result<()> {
        self.size += io::copy(from, &mut self.file)?;
        Ok(())
    }

    pub(crate) fn finish(self) -> Received {
        Received {
            file: self.path,
            size: self.size,
            md5: self.md5.finalize(),
            checksums: self.checksums.finalize().into(),
        }
    }
}

impl Received {
    /// The ETag of a body put in one request.
    pub(crate) fn etag(&self) -> String {
        hex(&self.md5)
    }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        if write!(text, "{byte:02x}").is_err() {
            text.clear();
        }
        text
    })
}
