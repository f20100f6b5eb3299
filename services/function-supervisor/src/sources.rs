//! Which folders hold sources, and which files in them count: everything that git would
//! not ignore, without build output, our own state and editors' temporary files.
//!
//! Folders are watched one by one, not recursively: a recursive watch on a workspace would
//! cover `target/` with its tens of thousands of folders and report every build's own
//! writes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// Folders that never hold sources.
const NEVER: [&str; 4] = [".git", ".hg", ".jj", ".longshore"];

/// The folders to watch and the rules that apply in them.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    roots: BTreeSet<PathBuf>,
    excluded: BTreeSet<PathBuf>,
    /// Single files that count wherever they lie; their folders count for nothing else.
    files: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
    /// Those of them that only hold one of the files.
    alone: BTreeSet<PathBuf>,
    ignores: BTreeMap<PathBuf, Gitignore>,
}

impl Sources {
    /// Takes over `roots`, without what lies below `excluded`, and finds their folders.
    /// `files` count wherever they lie.
    pub(crate) fn set(
        &mut self,
        roots: BTreeSet<PathBuf>,
        files: BTreeSet<PathBuf>,
        excluded: BTreeSet<PathBuf>,
    ) {
        self.roots = roots;
        self.files = files;
        self.excluded = excluded;
        self.folders.clear();
        self.ignores.clear();
        for root in self.roots.clone() {
            self.scan(&root);
        }
        self.alone = self.folders_of_files();
        self.folders.extend(self.alone.iter().cloned());
    }

    /// Folders that hold one of the files and are not among the roots' own.
    fn folders_of_files(&self) -> BTreeSet<PathBuf> {
        let parents = self.files.iter().filter_map(|file| file.parent());
        parents
            .filter(|folder| !self.folders.contains(*folder))
            .map(Path::to_owned)
            .collect()
    }

    /// Every folder that holds sources.
    pub(crate) fn folders(&self) -> &BTreeSet<PathBuf> {
        &self.folders
    }

    /// Adds `folder` and those below it; returns the new ones.
    pub(crate) fn scan(&mut self, folder: &Path) -> Vec<PathBuf> {
        let excluded = self.excluded.clone();
        let walk = WalkBuilder::new(folder)
            .hidden(false)
            .require_git(false)
            .filter_entry(move |entry| {
                let never = NEVER.iter().any(|name| entry.file_name() == *name);
                !never && !excluded.contains(entry.path())
            })
            .build();
        let mut new = Vec::new();
        for entry in walk {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    tracing::debug!(%error, "cannot look into a source folder");
                    continue;
                }
            };
            if entry.file_type().is_some_and(|kind| kind.is_dir()) {
                if self.folders.insert(entry.path().to_owned()) {
                    new.push(entry.path().to_owned());
                }
            } else if entry.file_name() == ".gitignore" {
                self.add_ignores(entry.path());
            }
        }
        new
    }

    fn add_ignores(&mut self, file: &Path) {
        let Some(dir) = file.parent() else { return };
        let mut builder = GitignoreBuilder::new(dir);
        if let Some(error) = builder.add(file) {
            tracing::debug!(%error, "part of an ignore file does not parse");
        }
        match builder.build() {
            Ok(rules) => {
                self.ignores.insert(dir.to_owned(), rules);
            }
            Err(error) => tracing::debug!(%error, "an ignore file does not parse"),
        }
    }

    /// Forgets `folder` and those below it; returns what was known of them.
    pub(crate) fn forget(&mut self, folder: &Path) -> Vec<PathBuf> {
        let gone: Vec<PathBuf> = self
            .folders
            .range(folder.to_owned()..)
            .take_while(|known| known.starts_with(folder))
            .cloned()
            .collect();
        for folder in &gone {
            self.folders.remove(folder);
        }
        gone
    }

    /// Whether `folder` is one that is watched.
    pub(crate) fn knows(&self, folder: &Path) -> bool {
        self.folders.contains(folder)
    }

    /// Whether a change of `path` means nothing.
    pub(crate) fn ignores(&self, path: &Path, is_dir: bool) -> bool {
        let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else {
            return true;
        };
        if self.files.contains(path) {
            return false;
        }
        if path
            .parent()
            .is_some_and(|folder| self.alone.contains(folder))
            || NEVER.iter().any(|never| name == *never)
            || self
                .excluded
                .iter()
                .any(|excluded| path.starts_with(excluded))
            || is_temporary(&name)
        {
            return true;
        }
        // The deepest rule that says anything decides, as in git.
        for dir in path.ancestors().skip(1) {
            if let Some(rules) = self.ignores.get(dir) {
                let verdict = rules.matched(path, is_dir);
                if !verdict.is_none() {
                    return verdict.is_ignore();
                }
            }
            if self.roots.contains(dir) {
                break;
            }
        }
        false
    }
}

/// Files that editors write beside the one being edited.
fn is_temporary(name: &str) -> bool {
    name == "4913"
        || name.ends_with('~')
        || name.starts_with(".#")
        || (name.starts_with('#') && name.ends_with('#'))
        || name.starts_with(".goutputstream-")
        || name.ends_with("___jb_tmp___")
        || name.ends_with("___jb_old___")
        || Path::new(name).extension().is_some_and(|extension| {
            ["swp", "swo", "swx", "tmp", "part", "crswap"]
                .iter()
                .any(|known| extension == *known)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_what_git_would_keep() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for dir in [
            "src/deep",
            "target/debug",
            ".git/objects",
            ".cargo",
            "out/x",
            "handlers/a/gen",
        ] {
            std::fs::create_dir_all(at(dir)).unwrap();
        }
        std::fs::write(at(".gitignore"), "/out\n*.log\n").unwrap();
        std::fs::write(at("handlers/a/.gitignore"), "gen/\n!keep.log\n").unwrap();
        let mut sources = Sources::default();
        sources.set(
            BTreeSet::from([root.path().to_owned()]),
            BTreeSet::from([at("target/debug/a.zip"), at("src/a.log.zip")]),
            BTreeSet::from([at("target")]),
        );
        let expected = [
            "",
            "target/debug",
            ".cargo",
            "handlers",
            "handlers/a",
            "src",
            "src/deep",
        ];
        let expected: BTreeSet<PathBuf> = expected
            .iter()
            .map(|dir| {
                if dir.is_empty() {
                    root.path().to_owned()
                } else {
                    at(dir)
                }
            })
            .collect();
        assert_eq!(*sources.folders(), expected);

        for (path, ignored) in [
            ("src/lib.rs", false),
            ("src/deep/mod.rs", false),
            (".cargo/config.toml", false),
            ("Cargo.toml", false),
            ("target/debug/a", true),
            ("target/debug/a.zip", false),
            ("src/a.log.zip", false),
            ("src/a.log", true),
            ("handlers/a/keep.log", false),
            ("handlers/a/other.log", true),
            ("src/.lib.rs.swp", true),
            ("src/lib.rs~", true),
            ("src/4913", true),
            ("src/.#lib.rs", true),
            (".git", true),
        ] {
            assert_eq!(sources.ignores(&at(path), false), ignored, "{path}");
        }
        assert!(sources.ignores(&at("handlers/a/gen"), true));

        std::fs::create_dir_all(at("handlers/new/src")).unwrap();
        assert_eq!(
            sources.scan(&at("handlers/new")),
            [at("handlers/new"), at("handlers/new/src")]
        );
        assert_eq!(sources.forget(&at("handlers")).len(), 4);
        assert!(!sources.knows(&at("handlers/a")) && sources.knows(&at("src")));
    }
}
