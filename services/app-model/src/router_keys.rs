//! cargo-lambda's route table, `metadata.lambda.watch.router`, in each of its forms:
//! `"/path" = "function"`, `"/path" = [{ method = "GET", function = "f" }]`, and a list of
//! `{ path, methods, function }`.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::section::{Problems, Section};

/// A route as declared: nothing about it is checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeclaredRoute {
    pub(crate) path: String,
    pub(crate) methods: BTreeSet<String>,
    pub(crate) function: String,
    /// Where it was declared, for messages.
    pub(crate) at: String,
}

/// Who answers a path, by method. `methods` and `method` are both understood everywhere.
#[derive(Deserialize)]
struct Entry {
    path: Option<String>,
    method: Option<String>,
    #[serde(default)]
    methods: Vec<String>,
    function: String,
}

/// Reads the `router` of a `metadata.lambda` table.
pub(crate) fn declared_routes(lambda: &Section<'_>, problems: &mut Problems) -> Vec<DeclaredRoute> {
    let watch = lambda.section("watch", problems);
    let mut routes = Vec::new();
    match watch.value("router") {
        None => {}
        Some(Value::Object(paths)) => {
            let router = watch.section("router", problems);
            for (path, value) in paths {
                let at = router.problem(&format!("{path:?}"), "");
                match value {
                    Value::String(function) => routes.push(DeclaredRoute {
                        path: path.clone(),
                        methods: BTreeSet::new(),
                        function: function.clone(),
                        at,
                    }),
                    Value::Array(entries) => {
                        for entry in entries {
                            add_entry(entry, Some(path), &at, &mut routes, problems);
                        }
                    }
                    _ => problems.push(format!(
                        "{at}expected a function's name or a list of {{ method, function }}"
                    )),
                }
            }
        }
        Some(Value::Array(entries)) => {
            let at = watch.problem("router", "");
            for entry in entries {
                add_entry(entry, None, &at, &mut routes, problems);
            }
        }
        Some(_) => problems.push(watch.problem("router", "expected a table of paths")),
    }
    routes
}

fn add_entry(
    entry: &Value,
    path: Option<&str>,
    at: &str,
    routes: &mut Vec<DeclaredRoute>,
    problems: &mut Problems,
) {
    let entry = match Entry::deserialize(entry) {
        Ok(entry) => entry,
        Err(error) => {
            problems.push(format!("{at}{error}"));
            return;
        }
    };
    let Some(path) = path.map(str::to_owned).or(entry.path) else {
        problems.push(format!("{at}missing field `path`"));
        return;
    };
    routes.push(DeclaredRoute {
        path,
        methods: entry
            .methods
            .into_iter()
            .chain(entry.method)
            .map(|method| method.to_ascii_uppercase())
            .filter(|method| method != "ANY")
            .collect(),
        function: entry.function,
        at: at.to_owned(),
    });
}
