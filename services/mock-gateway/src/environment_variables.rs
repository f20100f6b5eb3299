//! The environment of `provided.al2023`, as AWS composes it for a function.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use app_model::{Layers, LogFormat};
use function_supervisor::Artifact;

use crate::config::Config;
use crate::host_aliases::resolved;
use crate::sandbox::Sandbox;

/// Where and as what one environment runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placement<'a> {
    pub(crate) artifact: &'a Artifact,
    pub(crate) runtime_api: SocketAddr,
    pub(crate) sandbox: &'a Sandbox,
}

/// Every variable of the environment but those the supervisor keeps from its own
/// (`PATH`, `HOME`, …). What Lambda reserves cannot be set by the function; of the rest
/// the gateway's variables win over the function's own: they are what the user says of
/// this machine, the function's what it needs everywhere.
pub(crate) fn compose(config: &Config, placement: Placement<'_>) -> Vec<(String, String)> {
    let function = &placement.artifact.function;
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: String| {
        variables.insert(name.to_owned(), value);
    };

    // What a function may replace.
    let root = placement.artifact.cwd.to_string_lossy();
    set(
        "LD_LIBRARY_PATH",
        libraries(&root, &function.settings.layers),
    );
    // On Lambda every environment has a /tmp of its own; here it is this folder.
    if let Some(scratch) = placement.sandbox.scratch() {
        set("TMPDIR", scratch.to_string_lossy().into_owned());
    }
    set("LANG", "en_US.UTF-8".to_owned());
    set("TZ", ":UTC".to_owned());
    // Credentials of nobody: an SDK insists on some, and the endpoint takes any.
    set("AWS_ACCESS_KEY_ID", "test".to_owned());
    set("AWS_SECRET_ACCESS_KEY", "test".to_owned());
    set("AWS_SESSION_TOKEN", "test".to_owned());
    let own = function.settings.env.iter();
    let gateways = config
        .function_env
        .iter()
        .map(|(name, value)| (name, value));
    for (name, value) in own.chain(gateways) {
        set(name, resolved(value, &config.host_aliases));
    }

    // What Lambda reserves.
    let name = function.name.as_str();
    set("AWS_REGION", config.region.clone());
    set("AWS_DEFAULT_REGION", config.region.clone());
    set("AWS_LAMBDA_FUNCTION_NAME", name.to_owned());
    set(
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        function.settings.memory_mb.to_string(),
    );
    set("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned());
    set("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned());
    set("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}"));
    set(
        "AWS_LAMBDA_LOG_STREAM_NAME",
        placement.sandbox.log_stream().to_owned(),
    );
    set("AWS_LAMBDA_RUNTIME_API", placement.runtime_api.to_string());
    set("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR".to_owned());
    set("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000".to_owned());
    set("_AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1".to_owned());
    set("_AWS_XRAY_DAEMON_PORT", "2000".to_owned());
    set("LAMBDA_TASK_ROOT", root.into_owned());
    if function.settings.log_format == LogFormat::Json {
        set("AWS_LAMBDA_LOG_FORMAT", "JSON".to_owned());
        set("AWS_LAMBDA_LOG_LEVEL", "INFO".to_owned());
    }
    set("LAMBDA_RUNTIME_DIR", "/var/runtime".to_owned());
    set("_HANDLER", function.settings.handler.clone());
    // Set, it makes the Rust client warn, or poll several times at once.
    variables.remove("AWS_LAMBDA_MAX_CONCURRENCY");
    variables.into_iter().collect()
}

fn libraries(root: &str, layers: &Layers) -> String {
    let mut folders = format!("/var/runtime:/var/runtime/lib:{root}:{root}/lib:/opt/lib");
    for folder in layers.libraries() {
        folders = format!("{folders}:{}", folder.display());
    }
    folders
}

/// The variables that external extensions do not get.
const THE_RUNTIMES: [&str; 7] = [
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

/// What external extensions get of a function's environment.
pub(crate) fn for_extensions(variables: &[(String, String)]) -> Vec<(String, String)> {
    let of_both = |name: &str| !name.starts_with('_') && !THE_RUNTIMES.contains(&name);
    let kept = variables.iter().filter(|(name, _)| of_both(name));
    kept.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn reserved_names_win_and_the_gateways_variables_beat_the_functions_own() {
        let mut artifact = testing::artifact("demo", 1);
        let env = &mut artifact.function.settings.env;
        for (name, value) in [
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL", "http://mine"),
            ("AWS_LAMBDA_MAX_CONCURRENCY", "8"),
            ("MINE", "1"),
            ("TO", "http://api:5005/x"),
        ] {
            env.insert(name.to_owned(), value.to_owned());
        }
        let mut config = testing::config();
        config.host_aliases = vec![("api:5005".to_owned(), "127.0.0.1:9000".parse().unwrap())];
        config.function_env = vec![
            ("AWS_ENDPOINT_URL".to_owned(), "http://gateway".to_owned()),
            ("SHARED".to_owned(), "2".to_owned()),
        ];
        artifact.function.settings.log_format = LogFormat::Json;
        let sandbox = testing::sandbox(&artifact);
        sandbox.open().unwrap();
        let variables: BTreeMap<_, _> = compose(
            &config,
            Placement {
                artifact: &artifact,
                runtime_api: "127.0.0.1:9001".parse().unwrap(),
                sandbox: &sandbox,
            },
        )
        .into_iter()
        .collect();
        for (name, expected) in [
            ("AWS_REGION", Some("us-east-1")),
            ("AWS_ENDPOINT_URL", Some("http://gateway")),
            ("AWS_LAMBDA_MAX_CONCURRENCY", None),
            ("MINE", Some("1")),
            ("TO", Some("http://127.0.0.1:9000/x")),
            ("SHARED", Some("2")),
            ("AWS_LAMBDA_RUNTIME_API", Some("127.0.0.1:9001")),
            ("AWS_LAMBDA_FUNCTION_NAME", Some("demo")),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", Some("128")),
            ("AWS_LAMBDA_LOG_GROUP_NAME", Some("/aws/lambda/demo")),
            ("_HANDLER", Some("bootstrap")),
            ("TMPDIR", sandbox.scratch().unwrap().to_str()),
            (
                "LD_LIBRARY_PATH",
                Some("/var/runtime:/var/runtime/lib:/://lib:/opt/lib"),
            ),
            // Programs of one's own have none on AWS.
            ("AWS_EXECUTION_ENV", None),
            ("AWS_LAMBDA_LOG_FORMAT", Some("JSON")),
        ] {
            assert_eq!(variables.get(name).map(String::as_str), expected, "{name}");
        }
        let all: Vec<_> = variables.clone().into_iter().collect();
        let theirs: BTreeMap<_, _> = for_extensions(&all).into_iter().collect();
        for name in ["AWS_LAMBDA_RUNTIME_API", "AWS_REGION", "MINE", "TMPDIR"] {
            assert_eq!(theirs.get(name), variables.get(name), "{name}");
        }
        for name in ["_HANDLER", "LAMBDA_TASK_ROOT", "AWS_LAMBDA_LOG_GROUP_NAME"] {
            assert!(variables.contains_key(name) && !theirs.contains_key(name));
        }
        let stream = &variables["AWS_LAMBDA_LOG_STREAM_NAME"];
        assert!(stream.starts_with("2026/11/21/[$LATEST]"), "{stream}");
        assert_eq!(stream.len(), "2026/11/21/[$LATEST]".len() + 32);
    }
}
