//! Memory, timeout and environment of a function, from cargo-lambda's keys.
//!
//! Layers, each over the one before: the workspace's `metadata.lambda`, its
//! `metadata.lambda.bin.<binary>`, then the same two of the package. Within a layer:
//! `env`, then `deploy`'s, then `watch`'s, as in cargo-lambda. Keys that Longshore has no
//! use for are left alone: they belong to cargo-lambda.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::parity::{MEMORY, Rule, TIMEOUT};
use crate::section::{Problems, Section};
use crate::{Excess, FunctionSettings, Layers, LogFormat, RecursiveLoop};

/// Lambda's bounds.
const MEMORY_MB: std::ops::RangeInclusive<u64> = 128..=10_240;
const TIMEOUT_SECONDS: std::ops::RangeInclusive<u64> = 1..=900;

/// What one or more layers set.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingsLayers {
    memory_mb: Option<u32>,
    timeout: Option<Duration>,
    env: BTreeMap<String, String>,
    log_format: Option<LogFormat>,
    recursive_loop: Option<RecursiveLoop>,
    /// What AWS would refuse: of each setting, what the innermost layer says.
    beyond: BTreeMap<&'static str, Excess>,
    layers: Layers,
    /// Files that were read on the way.
    pub(crate) inputs: Vec<PathBuf>,
}

/// `env` of a `deploy` or `watch` table: a table, or a list of `NAME=value`.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a table of strings or a list of \"NAME=value\""
)]
enum EnvKey {
    Table(BTreeMap<String, String>),
    List(Vec<String>),
}

impl SettingsLayers {
    /// Adds a `metadata.lambda` table: its own settings, then those for the binary.
    pub(crate) fn add_lambda(&mut self, lambda: &Section<'_>, bin: &str, problems: &mut Problems) {
        self.add_layer(lambda, problems);
        let bins = lambda.section("bin", problems);
        if bins.value(bin).is_some() {
            self.add_layer(&bins.section(bin, problems), problems);
        }
    }

    fn add_layer(&mut self, layer: &Section<'_>, problems: &mut Problems) {
        if let Some(env) = layer.get::<BTreeMap<String, String>>("env", problems) {
            self.env.extend(env);
        }
        let deploy = layer.section("deploy", problems);
        self.add_limits(&deploy, problems);
        self.add_log_format(&deploy, problems);
        self.add_recursive_loop(&deploy, problems);
        self.add_environment(&deploy, problems);
        self.add_environment(&layer.section("watch", problems), problems);
    }

    /// `memory` (MB) and `timeout` (seconds).
    pub(crate) fn add_limits(&mut self, table: &Section<'_>, problems: &mut Problems) {
        let mut bounded = |name: &'static str,
                           bounds: std::ops::RangeInclusive<u64>,
                           unit: &str,
                           rule: &'static Rule| {
            let value = table.get::<u64>(name, problems)?;
            if bounds.contains(&value) {
                self.beyond.remove(name);
                return u32::try_from(value).ok();
            }
            let (low, high) = bounds.into_inner();
            problems.push(table.problem(
                name,
                &format!("{value} is out of range: Lambda takes {low} to {high} {unit}"),
            ));
            let excess = rule.broken(format!("`{name} = {value}` is declared"));
            self.beyond.insert(name, excess);
            None
        };
        let memory = bounded("memory", MEMORY_MB, "MB", &MEMORY);
        let timeout = bounded("timeout", TIMEOUT_SECONDS, "seconds", &TIMEOUT);
        self.memory_mb = memory.or(self.memory_mb);
        self.timeout = timeout
            .map(|seconds| Duration::from_secs(seconds.into()))
            .or(self.timeout);
    }

    /// What AWS would refuse of what was declared.
    pub(crate) fn beyond(&self) -> Vec<Excess> {
        self.beyond.values().cloned().collect()
    }

    /// `extensions` and `layers`, beside those of the tables before.
    pub(crate) fn add_layers(&mut self, table: &Section<'_>, problems: &mut Problems) {
        self.layers.add(table, problems);
    }

    /// `log_format`: `text` or `json`, in Lambda's spelling too.
    pub(crate) fn add_log_format(&mut self, table: &Section<'_>, problems: &mut Problems) {
        let Some(text) = table.get::<String>("log_format", problems) else {
            return;
        };
        match text.to_ascii_lowercase().as_str() {
            "text" => self.log_format = Some(LogFormat::Text),
            "json" => self.log_format = Some(LogFormat::Json),
            _ => problems.push(table.problem(
                "log_format",
                &format!("`{text}` is no format: use `text` or `json`"),
            )),
        }
    }

    /// `recursive_loop`: `Allow` or `Terminate`, in any spelling.
    pub(crate) fn add_recursive_loop(&mut self, table: &Section<'_>, problems: &mut Problems) {
        let Some(text) = table.get::<String>("recursive_loop", problems) else {
            return;
        };
        match text.to_ascii_lowercase().as_str() {
            "allow" => self.recursive_loop = Some(RecursiveLoop::Allow),
            "terminate" => self.recursive_loop = Some(RecursiveLoop::Terminate),
            _ => problems.push(table.problem(
                "recursive_loop",
                &format!("`{text}` is no choice: use `Allow` or `Terminate`"),
            )),
        }
    }

    /// `env_file`, then `env` or `env_var`.
    pub(crate) fn add_environment(&mut self, table: &Section<'_>, problems: &mut Problems) {
        if let Some(file) = table.get::<PathBuf>("env_file", problems) {
            let path = table.resolve("env_file", &file);
            match read_env_file(&path) {
                Ok(env) => self.env.extend(env),
                Err(error) => problems.push(table.problem("env_file", &error)),
            }
            self.inputs.push(path);
        }
        for name in ["env", "env_var"] {
            match table.get::<EnvKey>(name, problems) {
                None => {}
                Some(EnvKey::Table(env)) => self.env.extend(env),
                Some(EnvKey::List(list)) => {
                    for entry in list {
                        match entry.split_once('=') {
                            Some((key, value)) if !key.trim().is_empty() => {
                                self.env
                                    .insert(key.trim().to_owned(), value.trim().to_owned());
                            }
                            _ => problems.push(
                                table.problem(name, &format!("`{entry}` is not `NAME=value`")),
                            ),
                        }
                    }
                }
            }
        }
    }

    /// The settings, with defaults where no layer says anything.
    pub(crate) fn into_settings(self, handler: &str) -> FunctionSettings {
        FunctionSettings {
            memory_mb: self
                .memory_mb
                .unwrap_or(FunctionSettings::DEFAULT_MEMORY_MB),
            timeout: self.timeout.unwrap_or(FunctionSettings::DEFAULT_TIMEOUT),
            env: self.env,
            handler: handler.to_owned(),
            log_format: self.log_format.unwrap_or_default(),
            recursive_loop: self.recursive_loop.unwrap_or_default(),
            layers: self.layers,
        }
    }
}

fn read_env_file(path: &std::path::Path) -> Result<Vec<(String, String)>, String> {
    let unreadable = |error: dotenvy::Error| format!("cannot read {}: {error}", path.display());
    dotenvy::from_path_iter(path)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)
}
