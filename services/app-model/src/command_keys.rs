//! Functions that cargo does not build: `metadata.longshore.function.<name>` declares any
//! program that speaks the Lambda Runtime API.
//!
//! ```toml
//! [workspace.metadata.longshore.function.old-transform]
//! command = ["python3", "-m", "awslambdaric", "app.handler"]
//! cwd = "legacy"            # relative to this manifest's folder
//! watch = ["legacy/app.py"] # a change here starts the function anew
//! memory = 256
//! timeout = 60
//! env = { MODE = "test" }
//! handler = "app.handler"
//! log_format = "json"
//! recursive_loop = "Allow"
//! extensions = "legacy/extensions"   # and `layers`: see `Layers`
//! ```
//!
//! These keys are Longshore's own: one it does not know is a mistake and is reported.

use std::path::PathBuf;

use crate::function::CommandSource;
use crate::layers;
use crate::section::{Problems, Section};
use crate::settings::SettingsLayers;
use crate::{Function, FunctionSource};

const KEYS: [&str; 12] = [
    "command",
    "cwd",
    "watch",
    "memory",
    "timeout",
    "env",
    "env_file",
    "handler",
    "log_format",
    "recursive_loop",
    "extensions",
    "layers",
];

/// Reads the declarations of a `metadata.longshore` table; `inputs` collects the files that
/// were read on the way. What the tables of `around` add to functions counts for these too.
pub(crate) fn declared_commands(
    longshore: &Section<'_>,
    around: &[&Section<'_>],
    inputs: &mut Vec<PathBuf>,
    problems: &mut Problems,
) -> Vec<Function> {
    for name in longshore
        .names()
        .filter(|name| !matches!(*name, "function" | "api") && !layers::KEYS.contains(name))
    {
        problems.push(longshore.problem(
            name,
            "unknown key: Longshore knows `function`, `api`, `extensions` and `layers` here",
        ));
    }
    let declared = longshore.section("function", problems);
    let mut functions = Vec::new();
    for name in declared.names() {
        let table = declared.section(name, problems);
        for key in table.names().filter(|key| !KEYS.contains(key)) {
            let known = KEYS.join("`, `");
            problems.push(table.problem(key, &format!("unknown key: Longshore knows `{known}`")));
        }
        let function_name = match name.parse() {
            Ok(function_name) => function_name,
            Err(error) => {
                problems.push(declared.problem(name, &format!("{error}")));
                continue;
            }
        };
        let argv = match table.get::<Vec<String>>("command", problems) {
            Some(argv) if !argv.is_empty() => argv,
            Some(_) => {
                problems.push(table.problem("command", "is empty: name at least the program"));
                continue;
            }
            None => {
                if table.value("command").is_none() {
                    problems.push(table.problem("command", "is missing: a list, program first"));
                }
                continue;
            }
        };
        let mut settings = SettingsLayers::default();
        settings.add_limits(&table, problems);
        settings.add_log_format(&table, problems);
        settings.add_recursive_loop(&table, problems);
        for table in around.iter().copied().chain([&table]) {
            settings.add_layers(table, problems);
        }
        settings.add_environment(&table, problems);
        inputs.append(&mut settings.inputs);
        let handler = table.get::<String>("handler", problems);
        let cwd = table.get::<PathBuf>("cwd", problems).unwrap_or_default();
        let watch = table
            .get::<Vec<PathBuf>>("watch", problems)
            .unwrap_or_default();
        functions.push(Function {
            name: function_name,
            source: FunctionSource::Command(CommandSource {
                argv,
                cwd: table.resolve("cwd", &cwd),
                watch: watch
                    .iter()
                    .map(|path| table.resolve("watch", path))
                    .collect(),
            }),
            beyond: settings.beyond(),
            settings: settings.into_settings(handler.as_deref().unwrap_or("bootstrap")),
        });
    }
    functions
}
