//! The process's environment and `.env`: the one place that reads variables.

use std::collections::BTreeMap;
use std::path::Path;

/// Where variables come from; a trait so that tests need not touch the process's own.
pub trait Environment {
    /// The value of a variable, the process's own before `.env`'s.
    fn get(&self, name: &str) -> Option<String>;

    /// What `.env` says that is not a setting of ours: it is meant for the functions.
    fn file_variables(&self) -> BTreeMap<String, String>;
}

/// `.env` could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}; mend the line or move the file away")]
pub struct DotenvError {
    path: String,
    source: dotenvy::Error,
}

/// The process's environment over a `.env` file.
#[derive(Clone, Debug, Default)]
pub struct ProcessEnvironment {
    file: BTreeMap<String, String>,
}

impl ProcessEnvironment {
    /// Reads `.env` in this folder, if there is one. The process's own environment is
    /// never changed.
    ///
    /// # Errors
    /// [`DotenvError`] if the file is there and does not parse.
    pub fn with_dotenv(folder: &Path) -> Result<Self, DotenvError> {
        let path = folder.join(".env");
        if !path.exists() {
            return Ok(Self::default());
        }
        let error = |source| DotenvError {
            path: path.display().to_string(),
            source,
        };
        let file = dotenvy::from_path_iter(&path)
            .map_err(error)?
            .collect::<Result<_, _>>()
            .map_err(error)?;
        Ok(Self { file })
    }
}

impl Environment for ProcessEnvironment {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the process's environment"
    )]
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name)
            .ok()
            .or_else(|| self.file.get(name).cloned())
    }

    fn file_variables(&self) -> BTreeMap<String, String> {
        for_functions(&self.file)
    }
}

/// Longshore's and Compose's own settings do not go to the functions.
fn for_functions(file: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let ours = |name: &str| {
        name.starts_with("LONGSHORE_") || name.starts_with("COMPOSE_") || name == "LAMBDA_TIMEOUT"
    };
    file.iter()
        .filter(|(name, _)| !ours(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// A fixed set of variables, for tests.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub(crate) struct MapEnvironment(BTreeMap<String, String>);

#[cfg(test)]
impl MapEnvironment {
    pub(crate) fn new(variables: &[(&str, &str)]) -> Self {
        Self(
            variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }
}

#[cfg(test)]
impl Environment for MapEnvironment {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn file_variables(&self) -> BTreeMap<String, String> {
        for_functions(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotenv_reaches_the_functions_but_for_our_own_settings() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join(".env"),
            "LONGSHORE_AWS_PORT=1\nAPI_KEY='se cret'\nLAMBDA_TIMEOUT=5\n",
        )
        .unwrap();
        let environment = ProcessEnvironment::with_dotenv(folder.path()).unwrap();
        assert_eq!(environment.get("LONGSHORE_AWS_PORT").as_deref(), Some("1"));
        assert_eq!(
            environment.file_variables(),
            BTreeMap::from([("API_KEY".into(), "se cret".into())])
        );
    }

    #[test]
    fn a_broken_dotenv_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".env"), "no equals sign\n").unwrap();
        let error = ProcessEnvironment::with_dotenv(folder.path()).unwrap_err();
        assert!(error.to_string().contains(".env"), "{error}");
    }
}
