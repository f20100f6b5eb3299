//! The zip itself: written so that the same files give the same bytes, read with care.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, System, ZipArchive, ZipWriter};

/// The file that Lambda starts in a `provided` runtime.
pub const BOOTSTRAP: &str = "bootstrap";

/// Above 9 the `zip` crate compresses with Zopfli, this level less 9 being its iterations.
/// Two find all but a thousandth of what fifteen do, in half the time (docs/artifacts.md).
const LEVEL: i64 = 11;

/// A file on its way into a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether it can be executed.
    pub executable: bool,
}

/// A zip could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file cannot be opened, read or written.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no zip, or a broken one.
    #[error("{} is not a readable zip", path.display())]
    Zip {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ZipError,
    },
    /// An entry's name leads out of the folder, or means nothing on Linux.
    #[error("{}: entry `{entry}` leads out of the package; Lambda needs names below its root", path.display())]
    Escapes {
        /// The file.
        path: PathBuf,
        /// The entry.
        entry: String,
    },
    /// An extra file that was asked for cannot go in.
    #[error("cannot include {}: {why}", path.display())]
    Include {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

impl ArchiveError {
    pub(crate) fn file(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            operation,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn zip(path: &Path) -> impl FnOnce(ZipError) -> Self {
        move |source| Self::Zip {
            path: path.to_owned(),
            source,
        }
    }
}

/// Writes `bootstrap` first, then the others by name. Times, modes and order are the same
/// every time, so the bytes are.
pub(crate) fn write(
    path: &Path,
    bootstrap: &[u8],
    others: &BTreeMap<String, Entry>,
) -> Result<(), ArchiveError> {
    let file = File::create(path).map_err(ArchiveError::file("create", path))?;
    let mut zip = ZipWriter::new(BufWriter::new(file));
    let mut add = |name: &str, bytes: &[u8], executable: bool| -> Result<(), ZipError> {
        zip.start_file(name, options(executable))?;
        Ok(zip.write_all(bytes)?)
    };
    add(BOOTSTRAP, bootstrap, true).map_err(ArchiveError::zip(path))?;
    for (name, entry) in others {
        add(name, &entry.bytes, entry.executable).map_err(ArchiveError::zip(path))?;
    }
    let mut file = zip.finish().map_err(ArchiveError::zip(path))?;
    file.flush().map_err(ArchiveError::file("write", path))
}

fn options(executable: bool) -> SimpleFileOptions {
    SimpleFileOptions::default()
        .system(System::Unix)
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(LEVEL))
        .last_modified_time(DateTime::DEFAULT)
        .unix_permissions(if executable { 0o755 } else { 0o644 })
}

/// Collects `--include` files, folders with all that is in them, each under its path below
/// `root`; what lies elsewhere goes to the package's root under its own name.
pub(crate) fn included(
    root: &Path,
    paths: &[PathBuf],
) -> Result<BTreeMap<String, Entry>, ArchiveError> {
    let mut entries = BTreeMap::new();
    for path in paths {
        let absolute = root.join(path);
        let absolute = absolute
            .canonicalize()
            .map_err(ArchiveError::file("include", &absolute))?;
        let base = if absolute.starts_with(root) {
            Some(root)
        } else {
            absolute.parent()
        };
        collect(&absolute, base.unwrap_or(root), &mut entries)?;
    }
    Ok(entries)
}

fn collect(
    path: &Path,
    base: &Path,
    entries: &mut BTreeMap<String, Entry>,
) -> Result<(), ArchiveError> {
    let refuse = |why: &str| ArchiveError::Include {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    let metadata = fs::metadata(path).map_err(ArchiveError::file("include", path))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path).map_err(ArchiveError::file("include", path))? {
            let entry = entry.map_err(ArchiveError::file("include", path))?;
            // A link to a folder could lead round in a circle.
            let kind = entry
                .file_type()
                .map_err(ArchiveError::file("include", path))?;
            if kind.is_symlink() && entry.path().is_dir() {
                return Err(refuse(
                    "it holds a link to a folder; include that folder by its name",
                ));
            }
            collect(&entry.path(), base, entries)?;
        }
        return Ok(());
    }
    if !metadata.is_file() {
        return Err(refuse("it is neither a file nor a folder"));
    }
    let name = path.strip_prefix(base).ok().and_then(Path::to_str);
    let name = name
        .ok_or_else(|| refuse("its name is not UTF-8"))?
        .replace('\\', "/");
    if name == BOOTSTRAP {
        return Err(refuse("`bootstrap` is the function itself"));
    }
    let bytes = fs::read(path).map_err(ArchiveError::file("include", path))?;
    let entry = Entry {
        bytes,
        executable: is_executable(&metadata),
    };
    if entries.get(&name).is_some_and(|other| *other != entry) {
        return Err(refuse(&format!(
            "another file is called `{name}` in the package"
        )));
    }
    entries.insert(name, entry);
    Ok(())
}

fn is_executable(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o100 != 0
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    File {
        executable: bool,
    },
    /// Its content is the path it points to.
    Link,
}

/// An entry of a zip as it stands in its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Where it goes, below the package's root.
    pub(crate) path: PathBuf,
    /// Bytes once unpacked, as the zip claims.
    pub(crate) size: u64,
    pub(crate) kind: Kind,
}

/// A zip opened for reading: any one that Lambda would take.
#[derive(Debug)]
pub(crate) struct Archive {
    path: PathBuf,
    zip: ZipArchive<Cursor<Vec<u8>>>,
    pub(crate) entries: Vec<Listed>,
}

impl Archive {
    pub(crate) fn open(path: &Path) -> Result<Self, ArchiveError> {
        let bytes = fs::read(path).map_err(ArchiveError::file("read", path))?;
        Self::of(path, bytes)
    }

    /// These bytes, read from `path`: the file may be another one by now.
    pub(crate) fn of(path: &Path, bytes: Vec<u8>) -> Result<Self, ArchiveError> {
        let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(ArchiveError::zip(path))?;
        let mut entries = Vec::with_capacity(zip.len());
        for index in 0..zip.len() {
            let file = zip.by_index(index).map_err(ArchiveError::zip(path))?;
            let escapes = || ArchiveError::Escapes {
                path: path.to_owned(),
                entry: String::from_utf8_lossy(file.name_raw()).into_owned(),
            };
            let name = file.enclosed_name().ok_or_else(escapes)?;
            let kind = if file.is_dir() {
                Kind::Folder
            } else if file.is_symlink() {
                Kind::Link
            } else {
                // A zip made where files have no mode gives none: Lambda cannot run it.
                let executable = file.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
                Kind::File { executable }
            };
            if name.as_os_str().is_empty() && kind != Kind::Folder {
                return Err(escapes());
            }
            entries.push(Listed {
                path: name,
                size: file.size(),
                kind,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            zip,
            entries,
        })
    }

    /// The entry that Lambda would start.
    pub(crate) fn bootstrap(&self) -> Option<usize> {
        self.entries.iter().position(|entry| {
            entry.path == Path::new(BOOTSTRAP) && matches!(entry.kind, Kind::File { .. })
        })
    }

    /// An entry's bytes. One that holds more than the zip claims is broken.
    pub(crate) fn read(&mut self, index: usize) -> Result<Vec<u8>, ArchiveError> {
        let claimed = self.entries[index].size;
        let file = self
            .zip
            .by_index(index)
            .map_err(ArchiveError::zip(&self.path))?;
        let mut bytes = Vec::new();
        let limit = claimed.saturating_add(1);
        file.take(limit)
            .read_to_end(&mut bytes)
            .map_err(ArchiveError::file("read", &self.path))?;
        if bytes.len() as u64 != claimed {
            let why = io::Error::other("an entry has another size than the zip says");
            return Err(ArchiveError::file("read", &self.path)(why));
        }
        Ok(bytes)
    }

    /// Bytes once unpacked.
    pub(crate) fn unzipped_size(&self) -> u64 {
        self.entries
            .iter()
            .fold(0, |sum: u64, entry| sum.saturating_add(entry.size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::sha256;

    fn entry(text: &str, executable: bool) -> Entry {
        Entry {
            bytes: text.as_bytes().to_vec(),
            executable,
        }
    }

    #[test]
    fn the_same_files_give_the_same_bytes_on_every_machine() {
        let folder = tempfile::tempdir().unwrap();
        let others = BTreeMap::from([
            (
                "b/data.json".to_owned(),
                entry("{\"a\": [1, 2, 3, 1, 2, 3]}", false),
            ),
            ("a.sh".to_owned(), entry("#!/bin/sh\n", true)),
        ]);
        let path = folder.path().join("x.zip");
        write(&path, b"#!/bin/sh\nexec true true true true\n", &others).unwrap();
        // A change of this hash is a change of every package: say so in CHANGELOG.md.
        assert_eq!(
            sha256(&fs::read(&path).unwrap()),
            "79415935bacf2ee04701282350e96b6f6fd7e5991e01fb1b33681945a8816643"
        );
        let mut archive = Archive::open(&path).unwrap();
        let names: Vec<_> = archive
            .entries
            .iter()
            .map(|entry| entry.path.to_str().unwrap())
            .collect();
        assert_eq!(names, ["bootstrap", "a.sh", "b/data.json"]);
        assert_eq!(archive.bootstrap(), Some(0));
        assert_eq!(archive.entries[0].kind, Kind::File { executable: true });
        assert_eq!(archive.entries[2].kind, Kind::File { executable: false });
        assert_eq!(archive.read(1).unwrap(), b"#!/bin/sh\n");
    }

    #[test]
    fn included_files_keep_their_place_below_the_workspace() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("workspace");
        for (file, text) in [
            ("workspace/data/x/1.txt", "1"),
            ("workspace/data/2.txt", "2"),
            ("far.txt", "3"),
        ] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let entries = included(
            &root,
            &["data".into(), "data/2.txt".into(), "../far.txt".into()],
        )
        .unwrap();
        assert_eq!(
            entries.keys().collect::<Vec<_>>(),
            ["data/2.txt", "data/x/1.txt", "far.txt"]
        );
        fs::write(root.join(BOOTSTRAP), "").unwrap();
        let error = included(&root, &[BOOTSTRAP.into()])
            .unwrap_err()
            .to_string();
        assert!(error.contains("the function itself"), "{error}");
        assert!(included(&root, &["nowhere".into()]).is_err());
    }
}
