//! JWT authorizers, with keys from a file and over HTTP.

use super::*;

fn jwt_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/jwt")
}

/// Signs with the key of `cases/jwt`, which is the tests' alone.
fn token(header: &Value, claims: &Value) -> String {
    let key = std::fs::read(jwt_folder().join("test-key.pk8")).unwrap();
    let key = RsaKeyPair::from_pkcs8(&key).unwrap();
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let mut signature = vec![0; key.public().modulus_len()];
    let padding = match header["alg"].as_str() {
        Some("RS384") => &RSA_PKCS1_SHA384,
        _ => &RSA_PKCS1_SHA256,
    };
    key.sign(
        padding,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn a_jwt_is_checked_as_http_apis_do() {
    let by = Authorizer::Jwt(JwtAuthorizer {
        identity_source: IdentitySource::Header("Authorization".to_owned()),
        issuer: "http://issuer.test/".to_owned(),
        audience: vec!["orders".to_owned()],
        keys: Keys::File(jwt_folder().join("jwks.json")),
    });
    let scoped = RouteOptions {
        authorization_scopes: vec!["orders:read".to_owned(), "orders:all".to_owned()],
        ..authorized_by("users")
    };
    let v1 = RouteOptions {
        payload_format: Some(PayloadFormat::V1),
        ..authorized_by("users")
    };
    let api = Api {
        router: RouterKind::Http,
        authorizers: [("users".to_owned(), by)].into(),
        routes: BTreeMap::from([
            ("GET /plain".to_owned(), authorized_by("users")),
            ("GET /scoped".to_owned(), scoped),
            ("GET /old".to_owned(), v1),
        ]),
        ..Api::default()
    };
    let (router, broker) = gateway(
        api,
        &[("GET", "/plain"), ("GET", "/scoped"), ("GET", "/old")],
    );
    let now = jiff::Timestamp::now().as_second();
    let header_of = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid, "typ": "JWT"});
    let good_header = header_of("RS256", "test");
    let good = json!({
        "iss": "http://issuer.test/", "aud": ["other", "orders"], "sub": "me",
        "exp": now + 60, "iat": now - 1, "nbf": now - 1, "scope": "orders:read x", "admin": true,
    });
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        token(&good_header, &claims)
    };
    let valid = token(&good_header, &good);
    let forged = format!("{}AAAA", &valid[..valid.len() - 4]);
    let client = json!({
        "iss": "http://issuer.test/", "client_id": "orders", "exp": now + 60,
    });
    for (case, path, sent, status, challenge) in [
        ("no token", "/plain", String::new(), 401, "Bearer"),
        ("valid", "/plain", format!("Bearer {valid}"), 200, ""),
        ("bare", "/plain", valid.clone(), 200, ""),
        (
            "RS384",
            "/plain",
            token(&header_of("RS384", "test"), &good),
            200,
            "",
        ),
        ("client", "/plain", token(&good_header, &client), 200, ""),
        ("not a JWT", "/plain", "x".to_owned(), 401, "not a JWT"),
        (
            "unsigned",
            "/plain",
            token(&header_of("none", "test"), &good),
            401,
            "signing method",
        ),
        (
            "HMAC",
            "/plain",
            token(&header_of("HS256", "test"), &good),
            401,
            "signing method",
        ),
        (
            "unknown key",
            "/plain",
            token(&header_of("RS256", "x"), &good),
            401,
            "signing key",
        ),
        (
            "no RSA key",
            "/plain",
            token(&header_of("RS256", "elliptic"), &good),
            401,
            "signing key",
        ),
        ("forged", "/plain", forged, 401, "signature"),
        (
            "issuer",
            "/plain",
            with("iss", json!("http://other.test/")),
            401,
            "issuer",
        ),
        (
            "audience",
            "/plain",
            with("aud", json!("other")),
            401,
            "audience",
        ),
        (
            "expired",
            "/plain",
            with("exp", json!(now - 1)),
            401,
            "expired",
        ),
        (
            "endless",
            "/plain",
            with("exp", Value::Null),
            401,
            "no number",
        ),
        (
            "early",
            "/plain",
            with("nbf", json!(now + 60)),
            401,
            "not valid yet",
        ),
        ("scope", "/scoped", valid.clone(), 200, ""),
        (
            "other scope",
            "/scoped",
            with("scope", json!("y")),
            403,
            "insufficient_scope",
        ),
    ] {
        let (found, headers, body) = get(&router, path, &[("authorization", &sent)]).await;
        assert_eq!(found, status, "{case}: {body}");
        let seen = header(&headers, "www-authenticate");
        assert!(seen.contains(challenge), "{case}: {seen}");
        match status {
            401 => assert_eq!(body, json!({"message": "Unauthorized"}), "{case}"),
            403 => assert_eq!(body, json!({"message": "Forbidden"}), "{case}"),
            _ => assert_eq!(seen, "", "{case}"),
        }
    }
    let sent = [("authorization", valid.as_str())];
    let (_, _, event) = get(&router, "/plain", &sent).await;
    let jwt = &event["requestContext"]["authorizer"]["jwt"];
    assert_eq!(jwt["scopes"], Value::Null);
    assert_eq!(jwt["claims"]["aud"], "[other orders]");
    assert_eq!(jwt["claims"]["admin"], "true");
    assert_eq!(jwt["claims"]["exp"], (now + 60).to_string());
    let (_, _, event) = get(&router, "/scoped", &sent).await;
    let scopes = &event["requestContext"]["authorizer"]["jwt"]["scopes"];
    assert_eq!(*scopes, json!(["orders:read", "x"]));
    let (_, _, event) = get(&router, "/old", &sent).await;
    assert_eq!(event["requestContext"]["authorizer"]["claims"]["sub"], "me");
    broker.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn keys_are_discovered_and_fetched_once() {
    use axum::routing::get as on_get;
    use std::sync::atomic::{AtomicUsize, Ordering};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}/", listener.local_addr().unwrap());
    let fetched = Arc::new(AtomicUsize::new(0));
    let (count, keys) = (fetched.clone(), jwt_folder().join("jwks.json"));
    let discovery = json!({"jwks_uri": format!("{issuer}keys")}).to_string();
    let issuer_routes = Router::new()
        .route(
            "/.well-known/openid-configuration",
            on_get(move || async { discovery }),
        )
        .route(
            "/keys",
            on_get(move || async move {
                count.fetch_add(1, Ordering::Relaxed);
                std::fs::read_to_string(keys).unwrap()
            }),
        );
    let serving = tokio::spawn(async move { axum::serve(listener, issuer_routes).await });
    let by = Authorizer::Jwt(JwtAuthorizer {
        identity_source: IdentitySource::Query("token".to_owned()),
        issuer: issuer.clone(),
        audience: vec!["orders".to_owned()],
        keys: Keys::Discovered,
    });
    let api = Api {
        authorizers: [("users".to_owned(), by)].into(),
        routes: [("GET /plain".to_owned(), authorized_by("users"))].into(),
        ..Api::default()
    };
    let (router, broker) = gateway(api, &[("GET", "/plain")]);
    let now = jiff::Timestamp::now().as_second();
    let claims = json!({"iss": issuer, "aud": "orders", "exp": now + 60});
    for (kid, status) in [("test", 200), ("test", 200), ("other", 401)] {
        let token = token(&json!({"alg": "RS256", "kid": kid}), &claims);
        let (found, _, body) = get(&router, &format!("/plain?token={token}"), &[]).await;
        assert_eq!(found, status, "{kid}: {body}");
    }
    assert_eq!(fetched.load(Ordering::Relaxed), 1);
    serving.abort();
    broker.stop(std::future::ready(())).await;
}
