//! What the workspace's table sets about its APIs.

use super::*;

#[test]
fn apis_are_set_in_the_workspaces_table() {
    let workspace = r#"
        [longshore.api]
        router = "http"
        [longshore.api.http]
        stage = "dev"
        stage_variables = { table = "orders" }
        payload_format = "1.0"
        cors = { allow_origins = ["https://*.example.com"], allow_methods = ["GET"], max_age = 60 }
        [longshore.api.rest]
        stage = "prod"
        binary_media_types = ["image/*"]
        [longshore.api.alb]
        multi_value_headers = true
        [longshore.api.url.p]
        cors = { allow_origins = ["*"] }
        [longshore.api.route."GET /orders/{id}"]
        payload_format = "2.0"
        [longshore.api.route."$default"]
        authorizer = "users"
        authorization_scopes = ["a"]
        [longshore.api.function.p]
        authorizer = "tokens"
        api_key_required = true
        response_transfer_mode = "STREAM"
        [longshore.api.authorizer.tokens]
        type = "token"
        function = "p"
        [longshore.api.authorizer.requests]
        type = "request"
        function = "p"
        identity_sources = ["$request.header.X-A", "method.request.querystring.b", "stageVariables.c"]
        simple_responses = true
        ttl = 60
        [longshore.api.authorizer.users]
        type = "jwt"
        issuer = "https://issuer.example.com/"
        audience = ["orders"]
        jwks_file = "fixtures/jwks.json"
        [longshore.api.usage_plan.basic]
        api_keys = { acme = "0123456789abcdefghij" }
        rate = 10
        burst = 20
        quota = { limit = 1000, period = "DAY" }
    "#;
    let package = r#"
        [lambda.watch.router]
        "/orders/{id}" = [{ method = "GET", function = "p" }]
        "$default" = "p"
    "#;
    let model = model(workspace, &[("handlers/p", &["p"], package)]);
    assert_eq!(model.problems, Vec::<String>::new());
    let api = model.routes.api();
    assert_eq!(api.http.stage, "dev");
    assert_eq!(api.http.stage_variables["table"], "orders");
    assert_eq!(api.http.payload_format, PayloadFormat::V1);
    assert_eq!(api.http.cors.as_ref().unwrap().max_age, Some(60));
    assert_eq!(api.rest.stage, "prod");
    assert!(
        api.rest
            .binary_media_types
            .as_ref()
            .unwrap()
            .contains("image/png")
    );
    assert!(api.alb.multi_value_headers);
    let function = "p".parse().unwrap();
    assert_eq!(
        api.urls[&function].cors.as_ref().unwrap().allow_origins,
        ["*"]
    );
    let options = api.route("GET /orders/{id}").unwrap();
    assert_eq!(options.payload_format, Some(PayloadFormat::V2));
    let default = api.route("$default").unwrap();
    assert_eq!(default.authorizer.as_deref(), Some("users"));
    let of_function = &api.functions[&function];
    assert!(of_function.api_key_required);
    assert_eq!(
        (
            of_function.response_transfer_mode,
            default.response_transfer_mode
        ),
        (TransferMode::Stream, TransferMode::Buffered)
    );
    let Authorizer::Token(tokens) = &api.authorizers["tokens"] else {
        panic!("a token authorizer");
    };
    assert_eq!((tokens.header.as_str(), tokens.ttl), ("Authorization", 300));
    let Authorizer::Request(requests) = &api.authorizers["requests"] else {
        panic!("a request authorizer");
    };
    let sources = [
        IdentitySource::Header("X-A".to_owned()),
        IdentitySource::Query("b".to_owned()),
        IdentitySource::StageVariable("c".to_owned()),
    ];
    assert_eq!(requests.identity_sources, sources);
    let Authorizer::Jwt(users) = &api.authorizers["users"] else {
        panic!("a JWT authorizer");
    };
    assert_eq!(users.keys, Keys::File("/ws/fixtures/jwks.json".into()));
    let (name, plan) = api.api_key("0123456789abcdefghij").unwrap();
    assert_eq!(
        (name, plan.rate, plan.burst),
        ("acme", Some(10.0), Some(20))
    );
    assert_eq!(plan.quota.unwrap().limit, 1000);
}

#[test]
fn what_is_wrong_about_an_api_is_reported_and_the_rest_counts() {
    for (workspace, expected) in [
        ("longshore.api.htp = {}", "longshore.api.htp: unknown key"),
        (
            "longshore.api.router = \"soap\"",
            "unknown variant `soap`, expected `http` or `rest`",
        ),
        (
            "longshore.api.http.stagee = \"x\"",
            "longshore.api.http: unknown field `stagee`",
        ),
        (
            "longshore.api.http.stage = \"a/b\"",
            "\"a/b\" is no stage name",
        ),
        (
            "longshore.api.rest.stage = \"$default\"",
            "a REST API has no `$default` stage",
        ),
        (
            "longshore.api.http.payload_format = \"3.0\"",
            "unknown variant `3.0`",
        ),
        (
            "longshore.api.http.cors = { allow_origins = [\"*\"], allow_credentials = true }",
            "longshore.api.http.cors: credentials are not allowed",
        ),
        (
            "longshore.api.url.p.cors = { allow_origins = [\"example.com\"] }",
            "longshore.api.url.p.cors: an origin begins with",
        ),
        ("longshore.api.http.cors.max_age = 100000", "at most 86400"),
        (
            "longshore.api.url.nobody = {}",
            "longshore.api.url.nobody: there is no such function",
        ),
        (
            "longshore.api.route.\"GET /b\" = {}",
            "no route has this key",
        ),
        (
            "longshore.api.route.\"POST /a\" = {}",
            "no route has this key",
        ),
        (
            "longshore.api.route.\"$default\" = {}",
            "no route has this key",
        ),
        (
            "longshore.api = { router = \"rest\", route = { \"GET /a\" = { payload_format = \"2.0\" } } }",
            "payload format 1.0 only",
        ),
        (
            "longshore.api.route.\"GET /a\".response_transfer_mode = \"STREAM\"",
            "response streaming is a REST API's",
        ),
        (
            "longshore.api.route.\"GET /a\".payload = 1",
            "unknown field `payload`",
        ),
    ] {
        let package = "lambda.watch.router.\"/a\" = [{ method = \"GET\", function = \"p\" }]";
        let model = model(workspace, &[("handlers/p", &["p"], package)]);
        assert_eq!(model.problems.len(), 1, "{workspace}: {:?}", model.problems);
        assert!(
            model.problems[0].contains(expected) && model.problems[0].contains("/ws/Cargo.toml"),
            "{workspace}: {:?}",
            model.problems
        );
        assert!(model.routes.resolve("GET", "/a").is_ok(), "{workspace}");
    }
    let in_package = model("", &[("handlers/p", &["p"], "longshore.api = {}")]);
    assert!(in_package.problems[0].contains("the whole workspace's"));
}
