//! What becomes of manifests: each case is a workspace in a few lines of TOML and the model
//! expected of it.

mod apis;
mod declarations;

use std::path::Path;
use std::time::Duration;

use app_model::{
    AppModel, Authorizer, FunctionSource, IdentitySource, Keys, PayloadFormat, RecursiveLoop,
    TransferMode,
};
use cargo_metadata::Metadata;
use serde_json::{Value, json};

/// One package: its folder, its binaries and its `package.metadata` as TOML.
type PackageCase<'a> = (&'a str, &'a [&'a str], &'a str);

/// What cargo says of a workspace at `root`.
fn metadata_at(root: &Path, workspace_metadata: &str, packages: &[PackageCase<'_>]) -> Metadata {
    let table = |text: &str| -> Value {
        serde_json::to_value(toml::from_str::<toml::Table>(text).expect("the case is well-formed"))
            .expect("the case is well-formed")
    };
    let id = |dir: &str| format!("path+file://{}/{dir}#0.1.0", root.display());
    let packages_json: Vec<Value> = packages
        .iter()
        .map(|(dir, bins, metadata)| {
            let targets: Vec<Value> = bins
                .iter()
                .map(|bin| {
                    let (name, features) = bin.split_once(" requires ").unwrap_or((bin, ""));
                    let features: Vec<&str> = features.split_whitespace().collect();
                    json!({
                        "name": name, "kind": ["bin"], "crate_types": ["bin"],
                        "src_path": root.join(dir).join("src/main.rs"),
                        "edition": "2024", "doctest": false, "test": true, "doc": true,
                        "required-features": features,
                    })
                })
                .collect();
            json!({
                "name": dir.rsplit('/').next(), "version": "0.1.0", "id": id(dir),
                "dependencies": [], "targets": targets, "features": {},
                "manifest_path": root.join(dir).join("Cargo.toml"),
                "metadata": table(metadata),
            })
        })
        .collect();
    serde_json::from_value(json!({
        "packages": packages_json,
        "workspace_members": packages.iter().map(|(dir, ..)| id(dir)).collect::<Vec<_>>(),
        "workspace_default_members": [],
        "resolve": null,
        "workspace_root": root, "target_directory": root.join("target"),
        "version": 1, "metadata": table(workspace_metadata),
    }))
    .expect("the case is well-formed")
}

/// The model of a workspace at `root`.
fn model_at(root: &Path, workspace_metadata: &str, packages: &[PackageCase<'_>]) -> AppModel {
    let metadata = metadata_at(root, workspace_metadata, packages);
    AppModel::from_metadata(&metadata, Path::new("handlers"))
}

fn model(workspace_metadata: &str, packages: &[PackageCase<'_>]) -> AppModel {
    model_at(Path::new("/ws"), workspace_metadata, packages)
}

fn names(model: &AppModel) -> Vec<&str> {
    model
        .functions
        .keys()
        .map(app_model::FunctionName::as_str)
        .collect()
}

/// `memory timeout NAME=value…` of a function.
fn settings(model: &AppModel, name: &str) -> String {
    let settings = &model.functions[&name.parse().expect("the case is well-formed")].settings;
    let env = settings
        .env
        .iter()
        .map(|(name, value)| format!(" {name}={value}"));
    format!(
        "{} {}{}",
        settings.memory_mb,
        settings.timeout.as_secs(),
        env.collect::<String>()
    )
}

#[test]
fn functions_are_the_binaries_below_handlers_or_all_when_there_are_none() {
    let with_handlers = model(
        "",
        &[
            ("services/gateway", &["gateway"], ""),
            ("handlers/lib", &[], ""),
            ("handlers/pair", &["left", "right"], ""),
        ],
    );
    assert_eq!(names(&with_handlers), ["left", "right"]);
    assert_eq!(with_handlers.problems, Vec::<String>::new());
    let FunctionSource::Cargo(target) = &with_handlers.functions[&"left".parse().unwrap()].source
    else {
        panic!("a binary is a Cargo function");
    };
    assert_eq!(
        (target.package.as_str(), target.bin.as_str()),
        ("pair", "left")
    );
    assert_eq!(
        target.manifest_path,
        Path::new("/ws/handlers/pair/Cargo.toml")
    );

    let cargo_lambda = model("", &[("crates/a", &["a"], ""), ("crates/b", &["b"], "")]);
    assert_eq!(names(&cargo_lambda), ["a", "b"]);
}

#[test]
fn settings_come_in_layers() {
    let workspace = r#"
        lambda.env = { A = "workspace", B = "workspace", C = "workspace" }
        lambda.bin.two.env = { W = "workspace bin" }
    "#;
    let package = r#"
        lambda.env = { B = "package" }
        lambda.deploy = { memory = 512, timeout = 60, env = { C = "deploy" }, role = "left alone" }
        lambda.bin.two = { env = { D = "bin" }, deploy = { timeout = 90, env = ["E = f=g", "F="] } }
        lambda.watch = { env = { A = "watch" }, concurrency = 2 }
    "#;
    let model = model(
        workspace,
        &[
            ("handlers/p", &["one", "two"], package),
            ("handlers/plain", &["plain"], ""),
        ],
    );
    assert_eq!(model.problems, Vec::<String>::new());
    assert_eq!(settings(&model, "one"), "512 60 A=watch B=package C=deploy");
    assert_eq!(
        settings(&model, "two"),
        "512 90 A=watch B=package C=deploy D=bin E=f=g F= W=workspace bin"
    );
    assert_eq!(
        settings(&model, "plain"),
        "128 30 A=workspace B=workspace C=workspace"
    );
}

#[test]
fn loops_are_allowed_where_that_is_declared() {
    let workspace = r#"
        lambda.deploy.recursive_loop = "Allow"
        longshore.function.command = { command = ["c"], recursive_loop = "allow" }
        longshore.function.plain = { command = ["c"] }
        longshore.function.wrong = { command = ["c"], recursive_loop = "Forbid" }
    "#;
    let package = r#"lambda.bin.two.deploy.recursive_loop = "terminate""#;
    let model = model(workspace, &[("handlers/p", &["one", "two"], package)]);
    for (name, expected) in [
        ("one", RecursiveLoop::Allow),
        ("two", RecursiveLoop::Terminate),
        ("command", RecursiveLoop::Allow),
        ("plain", RecursiveLoop::Terminate),
        ("wrong", RecursiveLoop::Terminate),
    ] {
        let function = &model.functions[&name.parse().unwrap()];
        assert_eq!(function.settings.recursive_loop, expected, "{name}");
    }
    let [problem] = model.problems.as_slice() else {
        panic!("{:?}", model.problems);
    };
    assert!(
        problem.ends_with("recursive_loop: `Forbid` is no choice: use `Allow` or `Terminate`"),
        "{problem}"
    );
}

#[test]
fn an_env_file_is_read_from_beside_its_manifest() {
    let root = tempfile::tempdir().unwrap();
    let package = root.path().join("handlers/p");
    std::fs::create_dir_all(&package).unwrap();
    std::fs::write(
        package.join("local.env"),
        "# local\nTOKEN=\"a b\"\nexport MODE=test\n",
    )
    .unwrap();
    let keys = r#"lambda.deploy = { env_file = "local.env", env = { MODE = "deploy" } }"#;
    let model = model_at(root.path(), "", &[("handlers/p", &["p"], keys)]);
    assert_eq!(model.problems, Vec::<String>::new());
    assert_eq!(settings(&model, "p"), "128 30 MODE=deploy TOKEN=a b");
    assert_eq!(model.inputs, [package.join("local.env")]);

    let missing = r#"lambda.watch.env_file = "gone.env""#;
    let model = model_at(root.path(), "", &[("handlers/p", &["p"], missing)]);
    assert_eq!(model.problems.len(), 1, "{:?}", model.problems);
    assert!(
        model.problems[0].contains("metadata.lambda.watch.env_file: cannot read"),
        "{:?}",
        model.problems
    );
}

#[test]
fn routes_come_in_cargo_lambdas_forms() {
    let workspace = r#"
        [lambda.watch.router]
        "/a" = "one"
        "/b" = [{ method = "GET", function = "one" }, { methods = ["post", "PUT"], function = "two" }]
        "/c/{*rest}" = [{ method = "ANY", function = "two" }]
    "#;
    let package = r#"
        [[lambda.watch.router]]
        path = "/d/{proxy+}"
        function = "one"
        [[lambda.watch.router]]
        path = "/e"
        methods = ["DELETE"]
        function = "two"
    "#;
    let model = model(
        workspace,
        &[
            ("handlers/one", &["one"], package),
            ("handlers/two", &["two"], ""),
        ],
    );
    assert_eq!(model.problems, Vec::<String>::new());
    for (method, path, expected) in [
        ("GET", "/a", Some(("one", "/a"))),
        ("GET", "/b", Some(("one", "/b"))),
        ("POST", "/b", Some(("two", "/b"))),
        ("PUT", "/b", Some(("two", "/b"))),
        ("DELETE", "/b", None),
        ("PATCH", "/c/x/y", Some(("two", "/c/{rest+}"))),
        ("PATCH", "/d/x/y", Some(("one", "/d/{proxy+}"))),
        ("DELETE", "/e", Some(("two", "/e"))),
    ] {
        let route = model.routes.resolve(method, path).ok();
        let found = route
            .as_ref()
            .map(|route| (route.function.as_str(), route.resource.as_str()));
        assert_eq!(found, expected, "{method} {path}");
    }
}

#[test]
fn any_command_can_be_a_function() {
    let workspace = r#"
        [longshore.function.old]
        command = ["python3", "-m", "awslambdaric", "app.handler"]
        cwd = "legacy"
        watch = ["legacy/app.py"]
        memory = 256
        timeout = 5
        env = { MODE = "test" }
        handler = "app.handler"
    "#;
    let model = model(
        workspace,
        &[(
            "handlers/p",
            &["p"],
            r#"longshore.function.sh.command = ["./run.sh"]"#,
        )],
    );
    assert_eq!(model.problems, Vec::<String>::new());
    assert_eq!(names(&model), ["old", "p", "sh"]);
    let old = &model.functions[&"old".parse().unwrap()];
    let FunctionSource::Command(command) = &old.source else {
        panic!("a command")
    };
    assert_eq!(
        command.argv,
        ["python3", "-m", "awslambdaric", "app.handler"]
    );
    assert_eq!(command.cwd, Path::new("/ws/legacy"));
    assert_eq!(command.watch, [Path::new("/ws/legacy/app.py")]);
    assert_eq!(
        (
            old.settings.memory_mb,
            old.settings.timeout,
            old.settings.handler.as_str()
        ),
        (256, Duration::from_secs(5), "app.handler")
    );
    let FunctionSource::Command(command) = &model.functions[&"sh".parse().unwrap()].source else {
        panic!("a command")
    };
    assert_eq!(command.cwd, Path::new("/ws/handlers/p/"));
}

#[test]
fn what_aws_would_refuse_is_known_of_the_layer_that_counts() {
    for (workspace, package, expected) in [
        ("", "lambda.deploy = { memory = 128, timeout = 900 }", ""),
        (
            "",
            "lambda.deploy.memory = 64",
            "memory: `memory = 64` is declared",
        ),
        (
            "",
            "lambda.deploy.timeout = 901",
            "timeout: `timeout = 901` is declared",
        ),
        (
            "lambda.deploy.memory = 64",
            "lambda.deploy.memory = 256",
            "",
        ),
        (
            "lambda.deploy.memory = 256",
            "lambda.deploy.memory = 64",
            "memory: ",
        ),
        (
            "",
            "lambda.env.AWS_REGION = \"x\"",
            "reserved-variables: AWS_REGION is set",
        ),
    ] {
        let model = model(workspace, &[("handlers/p", &["p"], package)]);
        let excesses = model.functions[&"p".parse().unwrap()].excesses();
        let found: Vec<String> = excesses.iter().map(ToString::to_string).collect();
        let found = found.join("; ");
        assert!(found.starts_with(expected), "{package}: {found}");
        assert_eq!(found.is_empty(), expected.is_empty(), "{package}: {found}");
    }
}

#[test]
fn what_is_wrong_is_named_by_file_and_key_and_the_rest_still_counts() {
    for (metadata, expected) in [
        (
            "lambda = 3",
            "/ws/handlers/p/Cargo.toml: package.metadata.lambda: expected a table",
        ),
        (
            "lambda.deploy.memory = 64",
            "package.metadata.lambda.deploy.memory: 64 is out of range: Lambda takes 128 to 10240 MB",
        ),
        (
            "lambda.deploy.memory = \"big\"",
            "package.metadata.lambda.deploy.memory: invalid type: string \"big\", expected u64",
        ),
        (
            "lambda.deploy.timeout = 901",
            "package.metadata.lambda.deploy.timeout: 901 is out of range",
        ),
        (
            "lambda.env = { A = 1 }",
            "package.metadata.lambda.env: invalid type: integer `1`, expected a string",
        ),
        (
            "lambda.deploy.env = 1",
            "package.metadata.lambda.deploy.env: expected a table of strings or a list",
        ),
        (
            "lambda.deploy.env = [\"novalue\"]",
            "package.metadata.lambda.deploy.env: `novalue` is not `NAME=value`",
        ),
        (
            "lambda.bin.p.deploy.timeout = 0",
            "package.metadata.lambda.bin.p.deploy.timeout: 0 is out of range",
        ),
        (
            "lambda.watch.router = 1",
            "package.metadata.lambda.watch.router: expected a table of paths",
        ),
        (
            "lambda.watch.router.\"/a\" = 1",
            "package.metadata.lambda.watch.router.\"/a\": expected a function's name",
        ),
        (
            "lambda.watch.router.\"/a\" = \"nobody\"",
            "package.metadata.lambda.watch.router.\"/a\": there is no function `nobody`",
        ),
        (
            "lambda.watch.router.\"/a\" = [{ method = \"GET\" }]",
            "router.\"/a\": missing field `function`",
        ),
        (
            "lambda.watch.router = [{ function = \"p\" }]",
            "router: missing field `path`",
        ),
        (
            "lambda.watch.router.\"a\" = \"p\"",
            "metadata.lambda.watch.router: `a` is no route pattern",
        ),
        (
            "longshore.functions.x = 1",
            "package.metadata.longshore.functions: unknown key",
        ),
        (
            "longshore.function.x = { command = [\"x\"], comand = 1 }",
            "longshore.function.x.comand: unknown key",
        ),
        (
            "longshore.function.x = { cwd = \".\" }",
            "longshore.function.x.command: is missing",
        ),
        (
            "longshore.function.x = { command = [] }",
            "longshore.function.x.command: is empty",
        ),
        (
            "longshore.function.x = { command = \"x\" }",
            "longshore.function.x.command: invalid type",
        ),
        (
            "longshore.function.\"x y\" = { command = [\"x\"] }",
            "`x y` is not a function name",
        ),
        (
            "longshore.function.p = { command = [\"x\"] }",
            "function `p` is declared twice, first by package `p`",
        ),
    ] {
        let model = model("", &[("handlers/p", &["p"], metadata)]);
        assert_eq!(model.problems.len(), 1, "{metadata}: {:?}", model.problems);
        assert!(
            model.problems[0].contains(expected),
            "{metadata}: {:?}",
            model.problems
        );
        assert!(
            model.problems[0].contains("Cargo.toml") || expected.contains("no route pattern"),
            "{:?}",
            model.problems
        );
        assert!(names(&model).contains(&"p"), "{metadata}");
    }
}

#[test]
fn binaries_that_cannot_be_functions_are_reported() {
    let model = model(
        "",
        &[
            ("handlers/a", &["same", "with.dot"], ""),
            ("handlers/b", &["same", "extra requires cli"], ""),
        ],
    );
    assert_eq!(names(&model), ["same"]);
    let problems = model.problems.join("\n");
    for expected in [
        "`with.dot` is not a function name",
        "function `same` is declared twice, first by package `a`",
        "binary `extra` is no function because it needs features (cli)",
    ] {
        assert!(problems.contains(expected), "{problems}");
    }
}

#[test]
fn extensions_and_layers_add_up() {
    let model = model(
        r#"
        [longshore]
        extensions = "everywhere"
        [longshore.function.old]
        command = ["old"]
        extensions = ["one", "two"]
        "#,
        &[("handlers/a", &["a"], "longshore = { layers = \"layer\" }")],
    );
    assert_eq!(model.problems, Vec::<String>::new());
    let folders = |name: &str| -> Vec<(String, bool)> {
        let layers = &model.functions[&name.parse().expect("a name")]
            .settings
            .layers;
        let folders = layers.extensions();
        folders
            .map(|folder| (folder.path.display().to_string(), folder.is_optional))
            .collect()
    };
    let there = |path: &str| (path.to_owned(), false);
    assert_eq!(
        folders("a"),
        [
            ("/ws/handlers/a/layer/extensions".to_owned(), true),
            there("/ws/everywhere"),
        ]
    );
    assert_eq!(
        folders("old"),
        [there("/ws/everywhere"), there("/ws/one"), there("/ws/two")]
    );
    let a = &model.functions[&"a".parse().expect("a name")]
        .settings
        .layers;
    let libraries: Vec<_> = a.libraries().collect();
    assert_eq!(libraries, [Path::new("/ws/handlers/a/layer/lib")]);
}
