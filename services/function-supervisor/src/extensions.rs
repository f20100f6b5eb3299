//! External extensions: the programs of a function's layers, which Lambda starts before it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use app_model::Layers;

/// The folder of a function's extensions cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the extensions in {}: build them, or correct `extensions` in the manifest", .folder.display())]
pub struct ExtensionsError {
    folder: PathBuf,
    /// Why.
    #[source]
    source: io::Error,
}

/// The extensions of these layers: file name to path. Like Lambda, takes every file for
/// one; those that are no programs fail when they are started.
///
/// # Errors
/// When a folder cannot be read.
pub fn extension_programs(layers: &Layers) -> Result<BTreeMap<String, PathBuf>, ExtensionsError> {
    let mut programs = BTreeMap::new();
    for folder in layers.extensions() {
        match read(&folder.path) {
            Ok(found) => programs.extend(found),
            Err(error) if folder.is_optional && error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                let folder = folder.path;
                return Err(ExtensionsError { folder, source });
            }
        }
    }
    Ok(programs)
}

fn read(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if !path.is_dir() {
            found.push((entry.file_name().to_string_lossy().into_owned(), path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_an_extension_and_a_later_folder_wins() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        std::fs::write(folder.path().join("watch"), "").unwrap();
        std::fs::write(folder.path().join("README"), "").unwrap();
        let layers = Layers::of_extensions(folder.path());
        let names: Vec<_> = extension_programs(&layers).unwrap().into_keys().collect();
        assert_eq!(names, ["README", "watch"]);

        let missing = Layers::of_extensions(&folder.path().join("none"));
        let error = extension_programs(&missing).unwrap_err().to_string();
        assert!(error.contains("none: build them"), "{error}");
    }
}
