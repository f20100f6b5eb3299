//! The rows of the contract and the cases that prove them, as `cases/conformance/*.json`
//! spells them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::script::Step;

/// One section of the contract: a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    /// Its number in the contract, `4.1`.
    pub(crate) section: String,
    pub(crate) title: String,
    pub(crate) rows: Vec<Row>,
}

/// One row. Without a reason it conforms, and every case passes; with one it does not, and
/// a case, if there is any, shows it by failing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) row: String,
    /// What AWS does.
    pub(crate) aws: String,
    /// Why Longshore does not.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) cases: Vec<Case>,
}

/// What proves a row.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Case {
    /// Steps against a gateway.
    Played(Played),
    /// A case of the pure mappings, `event/rest_v1.json: <name>`: run by the `contract`
    /// tests.
    Mapping { see: String },
    /// A test of this crate, `src/asynchronous/tests.rs: <function>`.
    Test { test: String },
}

/// Steps, and the function they are about.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Played {
    #[serde(default)]
    pub(crate) function: Setting,
    /// Whether this is so with `--parity enforce` only.
    #[serde(default)]
    pub(crate) enforced: bool,
    pub(crate) steps: Vec<Step>,
}

/// How the function is declared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Setting {
    pub(crate) timeout: u32,
    pub(crate) memory: u32,
    pub(crate) handler: String,
    pub(crate) env: BTreeMap<String, String>,
    /// As many bytes in a variable more.
    pub(crate) env_bytes: usize,
    /// The names of its external extensions: puppets too.
    pub(crate) extensions: Vec<String>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            timeout: 10,
            memory: 128,
            handler: "bootstrap".to_owned(),
            env: BTreeMap::new(),
            env_bytes: 0,
            extensions: Vec::new(),
        }
    }
}

/// This crate's folder.
pub(crate) fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All sections, in order.
pub(crate) fn sections() -> Vec<Section> {
    let files = std::fs::read_dir(folder().join("cases/conformance")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    files.iter().map(read).collect()
}

impl Case {
    /// Whether what it refers to is there; the test or the mapping itself runs elsewhere.
    pub(crate) fn missing(&self) -> Option<String> {
        match self {
            Self::Played(_) => None,
            Self::Mapping { see } => {
                let found = see.split_once(": ").is_some_and(|(file, name)| {
                    let text = std::fs::read_to_string(folder().join("cases").join(file));
                    let cases: Vec<Value> =
                        serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default();
                    cases.iter().any(|case| case["name"] == name)
                });
                (!found).then(|| format!("there is no case `{see}` below cases/"))
            }
            Self::Test { test } => {
                let found = test.split_once(": ").is_some_and(|(file, name)| {
                    let text = std::fs::read_to_string(folder().join(file)).unwrap_or_default();
                    text.contains(&format!("fn {name}("))
                });
                (!found).then(|| format!("there is no test `{test}`"))
            }
        }
    }
}

#[test]
fn every_row_is_named_once_and_has_a_case_or_a_reason() {
    let mut wrong = Vec::new();
    let mut sections_seen = Vec::new();
    for section in sections() {
        let mut rows = BTreeSet::new();
        for row in &section.rows {
            let name = format!("{} {}", section.section, row.row);
            if !rows.insert(&row.row) {
                wrong.push(format!("{name}: twice"));
            }
            if row.cases.is_empty() && row.reason.is_none() {
                wrong.push(format!("{name}: neither a case nor a reason"));
            }
            let missing = row.cases.iter().filter_map(Case::missing);
            wrong.extend(missing.map(|missing| format!("{name}: {missing}")));
        }
        sections_seen.push(section.section);
    }
    assert_eq!(
        sections_seen,
        ["4.1", "4.2", "4.3", "4.4", "4.5", "4.6", "4.7", "4.8"]
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
