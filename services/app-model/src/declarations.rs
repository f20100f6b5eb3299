//! A file that declares functions, routes and APIs beside a workspace that nobody edits:
//! somebody else's repository, or a folder of zips.
//!
//! It is written as the workspace's `Cargo.toml` would be, with these tables alone:
//!
//! ```toml
//! [workspace.metadata.lambda.watch.router]
//! "/hello/{name}" = "hello"
//!
//! [workspace.metadata.longshore.api.rest]
//! stage = "prod"
//! ```
//!
//! It has the last word over the workspace's and the packages' manifests. Paths in it start
//! at its own folder.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// What such a file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Declarations {
    file: PathBuf,
    metadata: Value,
}

/// Why such a file says nothing.
#[derive(Debug, thiserror::Error)]
pub enum InvalidDeclarations {
    /// It is not there, or not ours to read.
    #[error("cannot read the declarations in {}: {why}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        why: std::io::Error,
    },
    /// It is not TOML.
    #[error("the declarations in {} are no TOML: {why}", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// Where, and what was expected.
        #[source]
        why: Box<toml::de::Error>,
    },
}

impl Declarations {
    /// Reads the file; an absolute path.
    ///
    /// # Errors
    /// If it cannot be read, or is not TOML. What is wrong in it otherwise is reported by
    /// the model.
    pub fn read(file: &Path) -> Result<Self, InvalidDeclarations> {
        let text = std::fs::read_to_string(file).map_err(|why| InvalidDeclarations::Read {
            file: file.to_owned(),
            why,
        })?;
        Self::parse(file, &text)
    }

    /// What `text` says, as if it stood in `file`.
    ///
    /// # Errors
    /// If it is not TOML.
    pub fn parse(file: &Path, text: &str) -> Result<Self, InvalidDeclarations> {
        let metadata = toml::from_str(text).map_err(|why| InvalidDeclarations::Format {
            file: file.to_owned(),
            why: Box::new(why),
        })?;
        Ok(Self {
            file: file.to_owned(),
            metadata,
        })
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// All of it, from the top.
    pub(crate) fn root(&self) -> &Value {
        &self.metadata
    }
}

/// `base` with what `over` says in its place, table by table.
pub(crate) fn laid_over(base: Option<&Value>, over: Option<&Value>) -> Value {
    match (base, over) {
        (None, None) => Value::Null,
        (Some(only), None) | (None, Some(only)) => only.clone(),
        (Some(Value::Object(base)), Some(Value::Object(over))) => {
            let mut both: Map<String, Value> = base.clone();
            for (name, value) in over {
                let value = laid_over(base.get(name), Some(value));
                both.insert(name.clone(), value);
            }
            Value::Object(both)
        }
        (Some(_), Some(over)) => over.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_are_joined_and_everything_else_is_replaced() {
        let base = json!({"http": {"stage": "a", "cors": {"max_age": 1}}, "list": [1, 2]});
        for (over, expected) in [
            (json!({}), base.clone()),
            (
                json!({"http": {"stage": "b"}, "list": [3]}),
                json!({"http": {"stage": "b", "cors": {"max_age": 1}}, "list": [3]}),
            ),
            (
                json!({"http": "none", "rest": {"stage": "c"}}),
                json!({"http": "none", "list": [1, 2], "rest": {"stage": "c"}}),
            ),
        ] {
            assert_eq!(laid_over(Some(&base), Some(&over)), expected, "{over}");
        }
        assert_eq!(laid_over(None, Some(&base)), base);
        assert_eq!(laid_over(Some(&base), None), base);
    }
}
