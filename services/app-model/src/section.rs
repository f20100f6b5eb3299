//! A table of a manifest's metadata that remembers where it stands, so that whatever is
//! wrong in it is reported by file and key while the rest still counts.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What is wrong with the declarations, in words for the person who wrote them.
pub(crate) type Problems = Vec<String>;

/// A table of a manifest.
#[derive(Clone, Debug)]
pub(crate) struct Section<'a> {
    table: Option<&'a Map<String, Value>>,
    manifest: &'a Path,
    key: String,
}

impl<'a> Section<'a> {
    /// The table `metadata` of `manifest`; `key` is how the manifest calls it.
    pub(crate) fn new(metadata: &'a Value, manifest: &'a Path, key: &str) -> Self {
        Self {
            table: metadata.as_object(),
            manifest,
            key: key.to_owned(),
        }
    }

    /// The table below this one; empty when it is not there.
    pub(crate) fn section(&self, name: &str, problems: &mut Problems) -> Self {
        let key = format!("{}.{name}", self.key);
        let table = match self.value(name) {
            None => None,
            Some(Value::Object(table)) => Some(table),
            Some(_) => {
                problems.push(self.problem(name, "expected a table"));
                None
            }
        };
        Self {
            table,
            manifest: self.manifest,
            key,
        }
    }

    /// The value of `name`, when it is there and of the right type.
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        name: &str,
        problems: &mut Problems,
    ) -> Option<T> {
        match T::deserialize(self.value(name)?) {
            Ok(value) => Some(value),
            Err(error) => {
                problems.push(self.problem(name, &error.to_string()));
                None
            }
        }
    }

    /// The value of `name` as it stands.
    pub(crate) fn value(&self, name: &str) -> Option<&'a Value> {
        self.table?.get(name)
    }

    /// The names of this table, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.table
            .into_iter()
            .flat_map(|table| table.keys().map(String::as_str))
    }

    /// A problem with `name`, located.
    pub(crate) fn problem(&self, name: &str, what: &str) -> String {
        format!("{}: {}.{name}: {what}", self.manifest.display(), self.key)
    }

    /// `path` as the manifest means it: relative to the manifest's folder.
    pub(crate) fn resolve(&self, path: &Path) -> PathBuf {
        let folder = self.manifest.parent().unwrap_or(Path::new(""));
        if path.as_os_str().is_empty() {
            // Joined, it would end in a slash.
            return folder.to_owned();
        }
        folder.join(path)
    }
}
