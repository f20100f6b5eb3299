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
    /// What of this another file says, which was laid over the manifest.
    over: Option<(&'a Value, &'a Path)>,
}

impl<'a> Section<'a> {
    /// The table `metadata` of `manifest`; `key` is how the manifest calls it.
    pub(crate) fn new(metadata: &'a Value, manifest: &'a Path, key: &str) -> Self {
        Self {
            table: metadata.as_object(),
            manifest,
            key: key.to_owned(),
            over: None,
        }
    }

    /// The same, as another file's `over` was laid over it: what is wrong with what that one
    /// says, and where its paths start, is its own.
    pub(crate) fn with(self, over: Option<(&'a Value, &'a Path)>) -> Self {
        Self { over, ..self }
    }

    /// The table below this one; empty when it is not there.
    pub(crate) fn section(&self, name: &str, problems: &mut Problems) -> Self {
        let key = self.key_of(name);
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
            over: self
                .over
                .and_then(|(over, file)| Some((over.get(name)?, file))),
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
        let file = self.says(name).display();
        format!("{file}: {}: {what}", self.key_of(name))
    }

    /// How the file calls `name`; the top has no name of its own.
    fn key_of(&self, name: &str) -> String {
        if self.key.is_empty() {
            return name.to_owned();
        }
        format!("{}.{name}", self.key)
    }

    /// The file that says `name`; that may be a path, `rest.stage`, with its last name or all
    /// of it in quotes.
    fn says(&self, name: &str) -> &'a Path {
        let Some((mut over, file)) = self.over else {
            return self.manifest;
        };
        let mut rest = name;
        while !rest.is_empty() {
            let (name, after) = match rest.strip_prefix('"') {
                Some(quoted) => (quoted.strip_suffix('"').unwrap_or(quoted), ""),
                None if over.get(rest).is_some() => (rest, ""),
                None => rest.split_once('.').unwrap_or((rest, "")),
            };
            match over.get(name) {
                Some(value) => (over, rest) = (value, after),
                None => return self.manifest,
            }
        }
        file
    }

    /// `path`, which stands at `name`, as its file means it: relative to the file's folder.
    pub(crate) fn resolve(&self, name: &str, path: &Path) -> PathBuf {
        let folder = self.says(name).parent().unwrap_or(Path::new(""));
        if path.as_os_str().is_empty() {
            // Joined, it would end in a slash.
            return folder.to_owned();
        }
        folder.join(path)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_is_located_in_the_file_that_says_it() {
        let (metadata, over) = (
            json!({"api": {"rest": {"stage": "b", "variables": 1}, "route": {"GET /a.b": {}}}}),
            json!({"rest": {"stage": "b"}, "route": {"GET /a.b": {}}}),
        );
        let (manifest, file) = (Path::new("/ws/Cargo.toml"), Path::new("/etc/over.toml"));
        let workspace = Section::new(&metadata, manifest, "workspace.metadata");
        let api = workspace.section("api", &mut Problems::new());
        let api = api.with(Some((&over, file)));
        for (name, said_by) in [
            ("rest", file),
            ("rest.stage", file),
            ("rest.variables", manifest),
            ("http", manifest),
            ("http.stage", manifest),
            (r#"route."GET /a.b""#, file),
            (r#"route."GET /c""#, manifest),
        ] {
            let expected = format!("{}: workspace.metadata.api.{name}: no", said_by.display());
            assert_eq!(api.problem(name, "no"), expected);
        }
        let rest = api.section("rest", &mut Problems::new());
        let keys = Path::new("keys.json");
        assert_eq!(rest.resolve("stage", keys), Path::new("/etc/keys.json"));
        assert_eq!(rest.resolve("variables", keys), Path::new("/ws/keys.json"));
    }
}
