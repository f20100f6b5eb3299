//! What tests share: settings, artifacts, and functions that are tasks of the test and
//! speak the Runtime API as a process would.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use app_model::{CommandSource, Function, FunctionSettings, FunctionSource};
use function_supervisor::{Artifact, Generation};

use crate::config::{Config, StartPolicy};

pub(crate) fn config() -> Config {
    Config {
        account_id: "000000000000".to_owned(),
        region: "us-east-1".to_owned(),
        function_env: Vec::new(),
        start: StartPolicy::Lazy,
        max_environments: 10,
        max_waiting: 100,
        build_wait: Duration::from_secs(10),
        rest_integration_timeout: Duration::from_secs(29),
        http_integration_timeout: Duration::from_secs(30),
        drain: Duration::from_secs(10),
        journal_entries: 100,
    }
}

pub(crate) fn function(name: &str) -> Function {
    Function {
        name: name.parse().unwrap(),
        source: FunctionSource::Command(CommandSource {
            argv: vec!["fake".to_owned()],
            cwd: PathBuf::from("/"),
            watch: Vec::new(),
        }),
        settings: FunctionSettings {
            memory_mb: 128,
            timeout: Duration::from_secs(20),
            env: BTreeMap::new(),
            handler: "bootstrap".to_owned(),
        },
    }
}

pub(crate) fn artifact(name: &str, generation: u64) -> Artifact {
    Artifact {
        generation: Generation(generation),
        function: function(name),
        argv: vec!["fake".to_owned()],
        cwd: PathBuf::from("/"),
        built_in: Duration::ZERO,
    }
}

pub(crate) fn shared_artifact(name: &str, generation: u64) -> Arc<Artifact> {
    Arc::new(artifact(name, generation))
}
