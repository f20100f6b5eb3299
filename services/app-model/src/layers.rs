//! What is added to functions as Lambda's layers are: external extensions, and libraries.
//!
//! ```toml
//! [workspace.metadata.longshore]           # of every function
//! extensions = "target/lambda/extensions"  # a folder of programs, or a list of folders
//!
//! [package.metadata.longshore]             # of the package's functions, beside those
//! layers = ["layers/observability"]        # what a layer's zip holds: extensions/, lib/
//!
//! [workspace.metadata.longshore.function.old-transform]   # of a command, beside those
//! extensions = ["legacy/extensions"]
//! ```

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::section::{Problems, Section};

/// Which keys set it.
pub(crate) const KEYS: [&str; 2] = ["extensions", "layers"];

/// What is added to a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// Folders of extensions, absolute.
    extensions: Vec<PathBuf>,
    /// Folders as Lambda unpacks a layer to `/opt`, absolute.
    folders: Vec<PathBuf>,
}

/// One path, or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a path or a list of paths")]
enum Paths {
    One(PathBuf),
    Several(Vec<PathBuf>),
}

impl Layers {
    /// Adds what a table says.
    pub(crate) fn add(&mut self, table: &Section<'_>, problems: &mut Problems) {
        let mut read = |name: &str| -> Vec<PathBuf> {
            let paths = match table.get::<Paths>(name, problems) {
                None => Vec::new(),
                Some(Paths::One(path)) => vec![path],
                Some(Paths::Several(paths)) => paths,
            };
            let resolve = |path: &PathBuf| table.resolve(name, path);
            paths.iter().map(resolve).collect()
        };
        self.extensions.extend(read("extensions"));
        self.folders.extend(read("layers"));
    }

    /// Whether nothing is added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.extensions.is_empty() && self.folders.is_empty()
    }

    /// Folders whose programs are external extensions. One of a later folder stands for
    /// one of the same name before it, as with Lambda's layers.
    pub fn extensions(&self) -> impl Iterator<Item = ExtensionFolder> {
        let of_layers = self.folders.iter().map(|folder| ExtensionFolder {
            path: folder.join("extensions"),
            is_optional: true,
        });
        of_layers.chain(self.extensions.iter().map(|path| ExtensionFolder {
            path: path.clone(),
            is_optional: false,
        }))
    }

    /// Where shared libraries are looked for, after Lambda's own folders.
    pub fn libraries(&self) -> impl Iterator<Item = PathBuf> {
        self.folders.iter().map(|folder| folder.join("lib"))
    }

    /// Extensions from this folder alone, for tests and embedders.
    #[must_use]
    pub fn of_extensions(folder: &Path) -> Self {
        Self {
            extensions: vec![folder.to_owned()],
            folders: Vec::new(),
        }
    }
}

/// A folder of extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionFolder {
    /// Where it is.
    pub path: PathBuf,
    /// A layer need not hold one.
    pub is_optional: bool,
}
