//! Runs what is packaged: a zip, unpacked read-only as Lambda unpacks it to `/var/task`.
//!
//! Any zip will do that AWS would take for `provided.al2023`, whoever made it. Each is
//! unpacked once into a folder named by its content.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use crate::architecture::Architecture;
use crate::archive::{Archive, ArchiveError, BOOTSTRAP, Kind};
use crate::checks::{Fault, Limits};
use crate::digest::sha256;
use crate::elf::Executable;
use crate::error::{Faults, PackageError};
use crate::manifest::Manifest;

/// A package ready to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnpackedArtifact {
    /// The function's name: the manifest's, or else the zip's own, or else, where that is
    /// `bootstrap.zip` as cargo-lambda has it, its folder's.
    pub handler: String,
    /// The executable, absolute.
    pub bootstrap: PathBuf,
    /// The folder that stands for `/var/task`, absolute.
    pub task_root: PathBuf,
    /// Bytes of the zip.
    pub zip_bytes: u64,
    /// What the package is, where Longshore made it.
    pub manifest: Option<Manifest>,
}

/// Unpacks a zip below `into`, unless this very content is there already.
///
/// # Errors
/// If the zip cannot be read, leads out of its folder, has no executable `bootstrap`, or is
/// for another processor than this machine's.
pub fn unpack(zip: &Path, into: &Path) -> Result<UnpackedArtifact, PackageError> {
    let bytes = fs::read(zip).map_err(ArchiveError::file("read", zip))?;
    let (hash, zip_bytes) = (sha256(&bytes), bytes.len() as u64);
    // A manifest of another zip, or of another tool, describes nothing here.
    let manifest = Manifest::beside(zip).unwrap_or_default();
    let manifest = manifest.filter(|manifest| manifest.sha256 == hash);
    let mut archive = Archive::of(zip, bytes)?;
    let faults = faults_here(&mut archive)?;
    if !faults.is_empty() {
        return Err(PackageError::Refused(Faults(faults)));
    }
    fs::create_dir_all(into).map_err(ArchiveError::file("create", into))?;
    let into = into
        .canonicalize()
        .map_err(ArchiveError::file("find", into))?;
    let task_root = into.join(hash);
    if !task_root.is_dir() {
        extract(zip, &mut archive, &into, &task_root)?;
    }
    Ok(UnpackedArtifact {
        handler: manifest
            .as_ref()
            .map_or_else(|| name_of(zip), |manifest| manifest.handler.clone()),
        bootstrap: task_root.join(BOOTSTRAP),
        task_root,
        zip_bytes,
        manifest,
    })
}

fn name_of(zip: &Path) -> String {
    let stem = zip.file_stem().filter(|stem| *stem != BOOTSTRAP);
    let folder = || zip.parent().and_then(Path::file_name);
    let name = stem.or_else(folder).unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Removes an unpacked package; its folders are read-only and would resist.
///
/// # Errors
/// If the system refuses.
pub fn remove_unpacked(task_root: &Path) -> io::Result<()> {
    fs::set_permissions(task_root, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(task_root)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_unpacked(&entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir(task_root)
}

/// What keeps the zip from running on this machine. Not what only AWS would mind.
fn faults_here(archive: &mut Archive) -> Result<Vec<Fault>, ArchiveError> {
    let (size, limit) = (archive.unzipped_size(), Limits::LAMBDA.unzipped);
    if size > limit {
        return Ok(vec![Fault::UnzippedTooLarge { size, limit }]);
    }
    let Some(bootstrap) = archive.bootstrap() else {
        return Ok(vec![Fault::NoBootstrap]);
    };
    let mut faults = Vec::new();
    if archive.entries[bootstrap].kind == (Kind::File { executable: false }) {
        faults.push(Fault::NotExecutable);
    }
    match Executable::read(&archive.read(bootstrap)?) {
        Ok(Executable::Script) => {}
        Ok(Executable::Elf(binary)) => {
            let here = Architecture::of_this_machine();
            if let (Some(expected), Ok(found)) = (here, binary.architecture)
                && expected != found
            {
                faults.push(Fault::WrongArchitecture {
                    found: found.to_string(),
                    expected,
                });
            }
        }
        Err(error) => faults.push(Fault::NotRunnable(error.to_string())),
    }
    Ok(faults)
}

/// Unpacks beside the place and moves in whole: half a package is never run.
fn extract(
    zip: &Path,
    archive: &mut Archive,
    into: &Path,
    task_root: &Path,
) -> Result<(), ArchiveError> {
    let staging = tempfile::Builder::new()
        .prefix(".unpacking-")
        .tempdir_in(into);
    let staging = staging.map_err(ArchiveError::file("create a folder in", into))?;
    let root = staging.path().join("task");
    make_folders(&root)?;
    let mut links = Vec::new();
    for index in 0..archive.entries.len() {
        let listed = archive.entries[index].clone();
        let path = root.join(&listed.path);
        match listed.kind {
            Kind::Folder => make_folders(&path)?,
            Kind::File { executable } => {
                make_folders(path.parent().unwrap_or(&root))?;
                let bytes = archive.read(index)?;
                write_file(&path, &bytes, executable)
                    .map_err(ArchiveError::file("write", &path))?;
            }
            Kind::Link => links.push((listed.path, archive.read(index)?)),
        }
    }
    // Links come last: nothing is ever written through one.
    for (name, target) in links {
        let target = PathBuf::from(String::from_utf8_lossy(&target).into_owned());
        if !stays_inside(&name, &target) {
            let entry = format!("{} -> {}", name.display(), target.display());
            return Err(ArchiveError::Escapes {
                path: zip.to_owned(),
                entry,
            });
        }
        let path = root.join(&name);
        make_folders(path.parent().unwrap_or(&root))?;
        symlink(&target, &path).map_err(ArchiveError::file("link", &path))?;
    }
    match fs::rename(&root, task_root) {
        // Another process unpacked the same content first.
        Err(_) if task_root.is_dir() => Ok(()),
        moved => moved.map_err(ArchiveError::file("move the package to", task_root)),
    }?;
    seal(task_root).map_err(ArchiveError::file("write-protect", task_root))
}

fn make_folders(path: &Path) -> Result<(), ArchiveError> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(ArchiveError::file("create", path))
}

fn write_file(path: &Path, bytes: &[u8], executable: bool) -> io::Result<()> {
    let mode = if executable { 0o555 } else { 0o444 };
    // New: two entries of one name are no package.
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(bytes)
}

/// Whether a link of this name, pointing there, stays in the package.
fn stays_inside(name: &Path, target: &Path) -> bool {
    let mut depth = name.components().count().saturating_sub(1);
    for component in target.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

/// Takes the right to write from every folder, the root last.
fn seal(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            seal(&entry.path())?;
        }
    }
    fs::set_permissions(folder, Permissions::from_mode(0o555))
}
