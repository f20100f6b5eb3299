//! A file that declares things over what the manifests say.

use std::collections::BTreeSet;

use app_model::{Declarations, Declared, FunctionName};

use super::*;

const FILE: &str = "/mine/declarations.toml";

fn declarations(text: &str) -> Declarations {
    Declarations::parse(Path::new(FILE), text).expect("the case is well-formed")
}

#[test]
fn a_file_has_the_last_word_over_the_manifests() {
    let workspace = r#"
        [lambda.watch.router]
        "/a" = "q"
        "/b" = "q"
        [lambda.env]
        FROM = "workspace"
        [longshore.api.http]
        stage = "dev"
        payload_format = "1.0"
        [longshore.api.authorizer.users]
        type = "jwt"
        issuer = "https://issuer.example.com/"
        audience = ["orders"]
        jwks_file = "keys.json"
        [longshore.function.old]
        command = ["manifest"]
    "#;
    let package = r#"
        [lambda.deploy]
        memory = 256
        timeout = 5
        env = { QUEUE_URL = "https://changeMe", KEPT = "1" }
        [longshore]
        layers = ["layer"]
    "#;
    let packages = [
        ("handlers/p", &["p"][..], package),
        ("handlers/q", &["q"], ""),
    ];
    let metadata = metadata_at(Path::new("/ws"), workspace, &packages);
    let file = declarations(
        r#"
        [workspace.metadata.lambda.watch.router]
        "/c" = "p"
        "/b" = "p"
        [workspace.metadata.lambda.bin.p.deploy]
        memory = 512
        env = { QUEUE_URL = "http://localhost:4566/q", FROM = "file" }
        [workspace.metadata.longshore]
        extensions = "extensions"
        [workspace.metadata.longshore.api.http]
        stage = "prod"
        [workspace.metadata.longshore.api.authorizer.more]
        type = "jwt"
        issuer = "https://issuer.example.com/"
        audience = ["orders"]
        jwks_file = "keys.json"
        [workspace.metadata.longshore.function.old]
        command = ["file"]
        cwd = "here"
        [workspace.metadata.longshore.function.new]
        command = ["file"]
        "#,
    );
    let model = AppModel::of(Declared {
        metadata: Some(&metadata),
        handlers_dir: Path::new("handlers"),
        declarations: Some(&file),
        packaged: &BTreeSet::new(),
    });

    // Only the route that two declare is worth a word; the file's counts.
    assert_eq!(model.problems.len(), 1, "{:?}", model.problems);
    assert!(model.problems[0].contains("/b"), "{:?}", model.problems);
    for (path, function) in [("/a", "q"), ("/b", "p"), ("/c", "p")] {
        let found = model.routes.resolve("GET", path).expect("a route");
        assert_eq!(found.function.as_str(), function, "{path}");
    }
    assert_eq!(
        settings(&model, "p"),
        "512 5 FROM=file KEPT=1 QUEUE_URL=http://localhost:4566/q"
    );
    assert_eq!(settings(&model, "q"), "128 30 FROM=workspace");
    let layers = &model.functions[&"p".parse().unwrap()].settings.layers;
    let extensions: Vec<_> = layers.extensions().map(|folder| folder.path).collect();
    for folder in ["/mine/extensions", "/ws/handlers/p/layer/extensions"] {
        assert!(extensions.contains(&folder.into()), "{extensions:?}");
    }
    let api = model.routes.api();
    assert_eq!(api.http.stage, "prod");
    assert_eq!(api.http.payload_format, PayloadFormat::V1);
    for (name, keys) in [("users", "/ws/keys.json"), ("more", "/mine/keys.json")] {
        let Authorizer::Jwt(jwt) = &api.authorizers[name] else {
            panic!("{:?}", api.authorizers[name]);
        };
        assert_eq!(jwt.keys, Keys::File(keys.into()));
    }
    for (name, cwd) in [("old", "/mine/here"), ("new", "/mine")] {
        let function = &model.functions[&name.parse().unwrap()];
        let FunctionSource::Command(command) = &function.source else {
            panic!("{function:?}");
        };
        assert_eq!(
            (command.argv[0].as_str(), &command.cwd),
            ("file", &cwd.into())
        );
    }
    assert!(model.inputs.contains(&FILE.into()), "{:?}", model.inputs);
}

#[test]
fn a_file_alone_declares_functions_and_leads_to_packages() {
    let file = declarations(
        r#"
        [workspace.metadata.lambda.watch.router]
        "/zipped" = "zipped"
        "/gone" = "gone"
        [workspace.metadata.longshore.api.function.zipped]
        authorizer = "tokens"
        [workspace.metadata.longshore.api.authorizer.tokens]
        type = "token"
        function = "authorize"
        [workspace.metadata.longshore.function.authorize]
        command = ["python3"]
        "#,
    );
    let packaged: BTreeSet<FunctionName> = BTreeSet::from(["zipped".parse().unwrap()]);
    let model = AppModel::of(Declared {
        metadata: None,
        handlers_dir: Path::new("handlers"),
        declarations: Some(&file),
        packaged: &packaged,
    });
    assert_eq!(
        model.problems,
        [format!(
            "{FILE}: workspace.metadata.lambda.watch.router.\"/gone\": there is no function `gone`"
        )]
    );
    assert_eq!(names(&model), ["authorize"]);
    let found = model.routes.resolve("GET", "/zipped").expect("a route");
    assert_eq!(found.function.as_str(), "zipped");
    let options = &model.routes.api().functions[&"zipped".parse().unwrap()];
    assert_eq!(options.authorizer.as_deref(), Some("tokens"));
}

#[test]
fn what_does_not_count_in_a_file_is_named() {
    let metadata = metadata_at(
        Path::new("/ws"),
        "longshore.api.http.stage = 'dev'",
        &[("p", &["p"], "")],
    );
    for (text, problem) in [
        (
            "package.name = 'p'",
            "package: only `workspace.metadata.lambda` and",
        ),
        ("[workspace]\nmembers = []", "workspace.members: only"),
        (
            "workspace.metadata.docs = 1",
            "workspace.metadata.docs: only",
        ),
        (
            "workspace.metadata.longshore = 1",
            "workspace.metadata.longshore: expected a table",
        ),
        ("workspace = 1", "workspace: expected a table"),
        (
            "[workspace.metadata.longshore]\napi = 1",
            "longshore.api: expected a table",
        ),
        (
            "workspace.metadata.longshore.api.http.stage = '/'",
            "workspace.metadata.longshore.api.http.stage: \"/\" is no stage name",
        ),
    ] {
        let file = declarations(text);
        let model = AppModel::of(Declared {
            metadata: Some(&metadata),
            handlers_dir: Path::new("handlers"),
            declarations: Some(&file),
            packaged: &BTreeSet::new(),
        });
        let [found] = &model.problems[..] else {
            panic!("{text}: {:?}", model.problems);
        };
        assert!(found.starts_with(FILE), "{text}: {found}");
        assert!(found.contains(problem), "{text}: {found}");
        assert_eq!(names(&model), ["p"], "{text}: the rest still counts");
    }
    let error = Declarations::parse(Path::new(FILE), "[workspace").unwrap_err();
    assert!(
        error.to_string().starts_with("the declarations in /mine/"),
        "{error}"
    );
    let error = Declarations::read(Path::new("/nowhere/d.toml")).unwrap_err();
    assert!(error.to_string().contains("/nowhere/d.toml"), "{error}");
}
