//! A scratch workspace that both tools can serve: two functions on `lambda_http`, each
//! with a version literal to edit.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::fs;

const MANIFEST: &str = r#"[workspace]
resolver = "3"
members = ["handlers/*"]

[workspace.dependencies]
lambda_http = "1"
tokio = { version = "1", features = ["macros", "rt-multi-thread", "time"] }
"#;

const ECHO: &str = r#"use lambda_http::{Body, Error, Request, Response, run, service_fn};

const VERSION: &str = "@VERSION@";

async fn answer(request: Request) -> Result<Response<Body>, Error> {
    let text = format!("{{\"version\":\"{VERSION}\",\"bytes\":{}}}", request.body().len());
    Ok(Response::builder().header("content-type", "application/json").body(text.into())?)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(service_fn(answer)).await
}
"#;

const SLOW: &str = r#"use std::time::Duration;

use lambda_http::{Body, Error, Request, RequestExt, Response, run, service_fn};

const VERSION: &str = "@VERSION@";

async fn answer(request: Request) -> Result<Response<Body>, Error> {
    let query = request.query_string_parameters();
    if let Some(code) = query.first("exit") {
        std::process::exit(code.parse()?);
    }
    let millis = query.first("ms").unwrap_or("0").parse()?;
    // As slow as its caller wants it.
    tokio::time::sleep(Duration::from_millis(millis)).await;
    let text = format!("{{\"version\":\"{VERSION}\",\"slept_ms\":{millis}}}");
    Ok(Response::builder().header("content-type", "application/json").body(text.into())?)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(service_fn(answer)).await
}
"#;

/// Leaves the source one edit away from compiling.
const BROKEN: &str = "const BROKEN: u32 = \"this is no number\";\n";

/// A function of the scratch workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    /// Answers with its version and the size of the body.
    Echo,
    /// Sleeps for `?ms=`, or ends the process with `?exit=`.
    Slow,
}

impl Function {
    pub(crate) const ALL: [Self; 2] = [Self::Echo, Self::Slow];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Slow => "slow",
        }
    }

    /// The path at which either tool serves it, as a function URL (payload 2.0).
    pub(crate) fn path(self, query: &str) -> String {
        format!("/lambda-url/{}/{query}", self.name())
    }

    fn source(self, version: Version) -> String {
        let template = match self {
            Self::Echo => ECHO,
            Self::Slow => SLOW,
        };
        template.replace("@VERSION@", &version.to_string())
    }
}

/// The literal in a function's answer: tells which source it was built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version(pub(crate) u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One width, so that an edit changes as little as possible.
        write!(f, "v{:06}", self.0)
    }
}

/// A scratch workspace on disk.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    root: PathBuf,
}

impl Site {
    /// Writes the workspace.
    pub(crate) async fn create(root: PathBuf, version: Version) -> anyhow::Result<Self> {
        let site = Self { root };
        write(&site.root.join("Cargo.toml"), MANIFEST).await?;
        write(&site.root.join(".gitignore"), "/target\n/.longshore\n").await?;
        for function in Function::ALL {
            let name = function.name();
            let manifest = format!(
                "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
                 [dependencies]\nlambda_http.workspace = true\ntokio.workspace = true\n"
            );
            write(
                &site.root.join("handlers").join(name).join("Cargo.toml"),
                &manifest,
            )
            .await?;
            site.edit(function, version).await?;
        }
        Ok(site)
    }

    /// Takes a workspace that is there already, say a copy.
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Changes one line: the version literal.
    pub(crate) async fn edit(&self, function: Function, version: Version) -> anyhow::Result<()> {
        write(&self.source_path(function), &function.source(version)).await
    }

    /// Saves an edit that does not compile.
    pub(crate) async fn break_source(
        &self,
        function: Function,
        version: Version,
    ) -> anyhow::Result<()> {
        write(
            &self.source_path(function),
            &format!("{}{BROKEN}", function.source(version)),
        )
        .await
    }

    fn source_path(&self, function: Function) -> PathBuf {
        self.root
            .join("handlers")
            .join(function.name())
            .join("src")
            .join("main.rs")
    }
}

async fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .await
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(path, text)
        .await
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_edit_changes_exactly_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let site = Site::create(folder.path().join("site"), Version(1))
            .await
            .unwrap();
        for function in Function::ALL {
            let path = site.source_path(function);
            let before = std::fs::read_to_string(&path).unwrap();
            site.edit(function, Version(2)).await.unwrap();
            let after = std::fs::read_to_string(&path).unwrap();
            let changed: Vec<_> = before
                .lines()
                .zip(after.lines())
                .filter(|(a, b)| a != b)
                .collect();
            assert_eq!(
                changed,
                [(
                    r#"const VERSION: &str = "v000001";"#,
                    r#"const VERSION: &str = "v000002";"#
                )]
            );
            assert_eq!(before.lines().count(), after.lines().count());
        }
    }
}
