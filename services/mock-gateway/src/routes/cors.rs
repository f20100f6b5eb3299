//! Cross-origin resource sharing as HTTP APIs and function URLs do it: the gateway answers
//! preflights itself, and what it is set to say replaces what the function said.

use app_model::Cors;
use axum::body::Body;
use axum::response::Response;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

/// What a function cannot say where the gateway is set to.
const GATEWAYS: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_MAX_AGE,
];

/// The answer to a preflight; none if the request is no preflight. `status` is what the
/// front gives it.
pub(crate) fn preflight(
    cors: &Cors,
    method: &Method,
    headers: &HeaderMap,
    status: StatusCode,
) -> Option<Response> {
    let origin = headers.get(header::ORIGIN)?;
    if method != Method::OPTIONS || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let answer = response.headers_mut();
    if allow(cors, origin, answer) {
        list(
            answer,
            header::ACCESS_CONTROL_ALLOW_METHODS,
            &cors.allow_methods,
        );
        list(
            answer,
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            &cors.allow_headers,
        );
        if let Some(seconds) = cors.max_age {
            answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(seconds));
        }
    }
    Some(response)
}

/// Replaces what an answer says about who may read it.
pub(crate) fn overwrite(cors: &Cors, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
    for name in GATEWAYS {
        answer.remove(name);
    }
    if let Some(origin) = origin
        && allow(cors, origin, answer)
    {
        list(
            answer,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            &cors.expose_headers,
        );
    }
}

/// Says that the origin is allowed, if it is.
fn allow(cors: &Cors, origin: &HeaderValue, answer: &mut HeaderMap) -> bool {
    let allowed = if cors.allow_origins.iter().any(|allowed| allowed == "*") {
        HeaderValue::from_static("*")
    } else if origin.to_str().is_ok_and(|origin| {
        cors.allow_origins
            .iter()
            .any(|pattern| matches(pattern, origin))
    }) {
        origin.clone()
    } else {
        return false;
    };
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if cors.allow_credentials {
        let yes = HeaderValue::from_static("true");
        answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
    }
    true
}

/// Origins are compared without regard to case; one `*` stands for any text.
fn matches(pattern: &str, origin: &str) -> bool {
    let (pattern, origin) = (pattern.to_ascii_lowercase(), origin.to_ascii_lowercase());
    match pattern.split_once('*') {
        None => pattern == origin,
        Some((before, after)) => {
            origin.len() > before.len() + after.len()
                && origin.starts_with(before)
                && origin.ends_with(after)
        }
    }
}

fn list(answer: &mut HeaderMap, name: HeaderName, values: &[String]) {
    if !values.is_empty()
        && let Ok(value) = HeaderValue::from_str(&values.join(","))
    {
        answer.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors() -> Cors {
        Cors {
            allow_origins: vec![
                "https://app.example.com".to_owned(),
                "https://*.example.org".to_owned(),
            ],
            allow_methods: vec!["GET".to_owned(), "POST".to_owned()],
            allow_headers: vec!["content-type".to_owned()],
            expose_headers: vec!["x-total".to_owned()],
            allow_credentials: true,
            max_age: Some(300),
        }
    }

    fn request(origin: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        headers.insert(
            header::ACCESS_CONTROL_REQUEST_METHOD,
            HeaderValue::from_static("POST"),
        );
        headers
    }

    fn said(headers: &HeaderMap) -> Vec<String> {
        let mut said: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        said.sort();
        said
    }

    #[test]
    fn a_preflight_is_answered_by_the_gateway() {
        let ask =
            |method, origin| preflight(&cors(), &method, &request(origin), StatusCode::NO_CONTENT);
        let answer = ask(Method::OPTIONS, "https://App.example.com").unwrap();
        assert_eq!(answer.status(), 204);
        assert_eq!(
            said(answer.headers()),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-headers: content-type",
                "access-control-allow-methods: GET,POST",
                "access-control-allow-origin: https://App.example.com",
                "access-control-max-age: 300",
            ]
        );
        let stranger = ask(Method::OPTIONS, "https://example.net").unwrap();
        assert_eq!(said(stranger.headers()), Vec::<String>::new());
        assert!(ask(Method::POST, "https://app.example.com").is_none());
        let mut plain = request("https://app.example.com");
        plain.remove(header::ACCESS_CONTROL_REQUEST_METHOD);
        let none = preflight(&cors(), &Method::OPTIONS, &plain, StatusCode::OK);
        assert!(none.is_none(), "an OPTIONS request of its own");
    }

    #[test]
    fn what_the_function_said_is_replaced() {
        let answer = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_ORIGIN,
                HeaderValue::from_static("https://functions.own"),
            );
            headers.insert("x-other", HeaderValue::from_static("stays"));
            let origin = origin.map(|origin| origin.parse::<HeaderValue>().unwrap());
            overwrite(&cors(), origin.as_ref(), &mut headers);
            said(&headers)
        };
        assert_eq!(answer(None), ["x-other: stays"]);
        assert_eq!(answer(Some("https://example.net")), ["x-other: stays"]);
        assert_eq!(
            answer(Some("https://a.example.org")),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-origin: https://a.example.org",
                "access-control-expose-headers: x-total",
                "x-other: stays",
            ]
        );
    }

    #[test]
    fn a_star_stands_for_some_text() {
        for (pattern, origin, matched) in [
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://.example.com", false),
            ("https://*.example.com", "http://a.example.com", false),
            ("http://localhost:*", "http://localhost:3000", true),
            ("http://localhost:3000", "http://localhost:3000", true),
            ("http://localhost:3000", "http://localhost:3001", false),
        ] {
            assert_eq!(matches(pattern, origin), matched, "{pattern} {origin}");
        }
    }
}
