//! The document describes this service as it is: every operation it lists is answered.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails where it stands"
)]

mod settings;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use app_model::{CommandSource, Function, FunctionName, FunctionSettings, FunctionSource};
use axum::Router;
use axum::body::Body;
use function_supervisor::{Artifact, BuildState, FunctionEntry, FunctionTable};
use http::{Method, Request, StatusCode};
use mock_gateway::{Broker, Events, Gateway, Launcher, NotLaunched, RunningProcess, router};
use regex::Regex;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt;

use settings::config;

const SERVICE: &str = "mock-gateway";

/// Starts nothing: the function here does not build.
struct Idle;

impl Launcher for Idle {
    fn launch(
        &self,
        _: Arc<Artifact>,
        _: Vec<(String, String)>,
    ) -> Result<Box<dyn RunningProcess>, String> {
        Err("nothing is started here".to_owned())
    }

    fn launch_extension(
        &self,
        _: Arc<Artifact>,
        path: PathBuf,
        _: Vec<(String, String)>,
    ) -> Result<Box<dyn RunningProcess>, NotLaunched> {
        Err(NotLaunched {
            why: format!("{}: no function here has extensions", path.display()),
            is_forbidden: false,
        })
    }

    fn request_build(&self, _: &FunctionName) {}
}

/// A function that the examples name. Its build has failed, so that an invocation ends at
/// once.
fn table() -> FunctionTable {
    let function = Function {
        name: "demo".parse().unwrap(),
        source: FunctionSource::Command(CommandSource {
            argv: vec!["none".to_owned()],
            cwd: PathBuf::from("/"),
            watch: Vec::new(),
        }),
        settings: FunctionSettings {
            memory_mb: 128,
            timeout: Duration::from_secs(3),
            env: std::collections::BTreeMap::new(),
            handler: "bootstrap".to_owned(),
            log_format: app_model::LogFormat::Text,
            recursive_loop: app_model::RecursiveLoop::Terminate,
            layers: app_model::Layers::default(),
        },
        beyond: Vec::new(),
    };
    let mut table = FunctionTable::default();
    let entry = FunctionEntry {
        build: BuildState::Failed {
            diagnostics: "error: no".into(),
            at: SystemTime::now(),
        },
        artifact: None,
        function: function.clone(),
    };
    table.functions.insert(function.name, entry);
    table
}

async fn send(
    router: &Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> (StatusCode, String) {
    let body = if body.is_null() {
        Body::empty()
    } else {
        Body::from(body.to_string())
    };
    let mut request = Request::builder()
        .method(method.to_uppercase().parse::<Method>().unwrap())
        .uri(path)
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await;
    (status, String::from_utf8_lossy(&body.unwrap()).into_owned())
}

/// The path with the examples of its parameters filled in.
fn fill(path: &str, operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    parameters
        .filter(|parameter| parameter["in"] == "path")
        .fold(path.to_owned(), |path, parameter| {
            let name = parameter["name"].as_str().unwrap();
            let example = parameter["example"].to_string();
            path.replace(&format!("{{{name}}}"), example.trim_matches('"'))
        })
}

/// This service's operations: what sets something before what shows it, and what clears it
/// last.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let tags = operation["tags"].as_array().into_iter().flatten();
            if tags.into_iter().any(|tag| tag == SERVICE) {
                operations.push((method.clone(), path.clone(), operation.clone()));
            }
        }
    }
    operations.sort_by_key(|(method, path, _)| {
        let order = match method.as_str() {
            "put" => 0,
            "delete" => 2,
            _ => 1,
        };
        (order, path.clone())
    });
    operations
}

/// The examples of the headers that an operation needs.
fn needed_headers(operation: &Value) -> Vec<(&str, &str)> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    parameters
        .filter(|parameter| parameter["in"] == "header" && parameter["required"] == true)
        .map(|parameter| {
            let text = |name: &str| parameter[name].as_str().unwrap();
            (text("name"), text("example"))
        })
        .collect()
}

/// The service, whose stores are in this folder.
async fn service(folder: &Path, tasks: &mut JoinSet<()>) -> Router {
    let broker = Broker::new(config(folder.to_owned()), Arc::new(Idle));
    let table = table();
    broker.take_in(&table);
    let (_, functions) = watch::channel(Arc::new(table));
    let events = Events::open(broker.clone(), folder, tasks).await;
    router(Gateway {
        broker,
        functions,
        events: events.unwrap(),
        access: Arc::default(),
    })
}

#[tokio::test]
async fn every_operation_of_this_service_is_routed() {
    let (folder, mut tasks) = (tempfile::tempdir().unwrap(), JoinSet::new());
    let router = service(folder.path(), &mut tasks).await;
    let document: Value = serde_json::from_str(service_runtime::OPENAPI).unwrap();
    let operations = operations(&document);
    for (method, path, operation) in &operations {
        let body = &operation["requestBody"]["content"]["application/json"]["example"];
        let (path, headers) = (fill(path, operation), needed_headers(operation));
        let (status, text) = send(&router, method, &path, &headers, body).await;
        assert!(
            status.is_success(),
            "{method} {path} was answered {status}: {text}"
        );
    }
    let tried = operations.len();
    assert!(tried >= 27, "only {tried} operations are described");
}

/// The paths of the control routes and of Lambda's API, out of this crate's sources: a
/// router does not tell what it routes.
fn routed(folder: &Path) -> BTreeSet<String> {
    let route = Regex::new(r#"\.route\(\s*"(/(?:_longshore|20\d\d-)[^"]*)""#).unwrap();
    let mut paths = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            paths.extend(routed(&path));
        } else if let Ok(source) = std::fs::read_to_string(&path) {
            paths.extend(
                route
                    .captures_iter(&source)
                    .map(|found| found[1].to_owned()),
            );
        }
    }
    paths
}

#[tokio::test]
async fn every_route_of_this_service_is_described() {
    let (folder, mut tasks) = (tempfile::tempdir().unwrap(), JoinSet::new());
    let router = service(folder.path(), &mut tasks).await;
    let document: Value = serde_json::from_str(service_runtime::OPENAPI).unwrap();
    // SDKs end some paths in a slash: one of the two is enough.
    let plain = |path: &str| path.trim_end_matches('/').to_owned();
    let described: BTreeSet<(String, String)> = operations(&document)
        .into_iter()
        .map(|(method, path, _)| (method, plain(&path)))
        .collect();
    let paths = routed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(paths.len() >= 20, "only {paths:?} were found");
    let mut missing = Vec::new();
    for path in &paths {
        let asked = path.replace("{name}", "demo").replace("{function}", "demo");
        for method in ["get", "put", "post", "patch", "delete"] {
            let (status, _) = send(&router, method, &asked, &[], &Value::Null).await;
            let is_there = status != StatusCode::METHOD_NOT_ALLOWED;
            if is_there && !described.contains(&(method.to_owned(), plain(path))) {
                missing.push(format!("{method} {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "docs/openapi.json lacks {missing:?}");
}
