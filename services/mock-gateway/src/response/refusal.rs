//! What a caller hears who may not call.

use app_model::RouterKind;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::failure::{because, json, set, with_type};
use crate::event::EventContext;

/// Why a request does not reach the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not say who sends it, or the authorizer does not know them.
    Unauthorized,
    /// It has no token.
    NoToken,
    /// Its token is not good: why.
    InvalidToken(&'static str),
    /// Its token has none of these scopes, which are separated by spaces.
    InsufficientScope(String),
    /// The authorizer said no.
    Denied {
        /// A statement of its policy denies it; otherwise none allows it.
        explicit: bool,
    },
    /// The authorizer is not there, failed, or answered what is no verdict: why.
    Misconfigured(String),
    /// It has no API key, or one that is not known.
    UnknownKey,
    /// Its API key was used too often just now.
    TooManyRequests,
    /// Its API key's quota is used up.
    LimitExceeded,
}

impl Refusal {
    pub(crate) fn invalid_token(why: &'static str) -> Self {
        Self::InvalidToken(why)
    }
}

/// The answer as this kind of API gives it.
#[must_use]
pub fn refused(refusal: &Refusal, kind: RouterKind, context: &EventContext) -> Response<Bytes> {
    let mut response = match kind {
        RouterKind::Rest => rest(refusal),
        RouterKind::Http => http(refusal),
    };
    if let Refusal::Misconfigured(why) = refusal {
        response = because(response, why);
    }
    let ids: &[(&'static str, &str)] = match kind {
        RouterKind::Rest => &[
            ("x-amzn-requestid", &context.request_id),
            ("x-amz-apigw-id", &context.extended_request_id),
            ("x-amzn-trace-id", &context.trace_id),
        ],
        RouterKind::Http => &[("apigw-requestid", &context.extended_request_id)],
    };
    for (name, value) in ids {
        set(response.headers_mut(), HeaderName::from_static(name), value);
    }
    response
}

fn rest(refusal: &Refusal) -> Response<Bytes> {
    let (status, body, name) = match refusal {
        Refusal::Unauthorized
        | Refusal::NoToken
        | Refusal::InvalidToken(_)
        | Refusal::InsufficientScope(_) => (
            StatusCode::UNAUTHORIZED,
            r#"{"message":"Unauthorized"}"#,
            "UnauthorizedException",
        ),
        Refusal::Denied { explicit: true } => (
            StatusCode::FORBIDDEN,
            r#"{"Message":"User is not authorized to access this resource with an explicit deny"}"#,
            "AccessDeniedException",
        ),
        Refusal::Denied { explicit: false } => (
            StatusCode::FORBIDDEN,
            r#"{"Message":"User is not authorized to access this resource"}"#,
            "AccessDeniedException",
        ),
        Refusal::Misconfigured(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            r#"{"message":null}"#,
            "AuthorizerConfigurationException",
        ),
        Refusal::UnknownKey => (
            StatusCode::FORBIDDEN,
            r#"{"message":"Forbidden"}"#,
            "ForbiddenException",
        ),
        Refusal::TooManyRequests => (
            StatusCode::TOO_MANY_REQUESTS,
            r#"{"message":"Too Many Requests"}"#,
            "TooManyRequestsException",
        ),
        Refusal::LimitExceeded => (
            StatusCode::TOO_MANY_REQUESTS,
            r#"{"message":"Limit Exceeded"}"#,
            "LimitExceededException",
        ),
    };
    with_type(json(status, body), name)
}

fn http(refusal: &Refusal) -> Response<Bytes> {
    let unauthorized = || json(StatusCode::UNAUTHORIZED, r#"{"message":"Unauthorized"}"#);
    let forbidden = || json(StatusCode::FORBIDDEN, r#"{"message":"Forbidden"}"#);
    let challenged = |mut response: Response<Bytes>, challenge: &str| {
        if let Ok(value) = HeaderValue::from_str(challenge) {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, value);
        }
        response
    };
    match refusal {
        Refusal::Unauthorized => unauthorized(),
        Refusal::NoToken => challenged(unauthorized(), "Bearer"),
        Refusal::InvalidToken(why) => challenged(
            unauthorized(),
            &format!(r#"Bearer scope="" error="invalid_token" error_description="{why}""#),
        ),
        Refusal::InsufficientScope(scopes) => challenged(
            forbidden(),
            &format!(r#"Bearer scope="{scopes}" error="insufficient_scope""#),
        ),
        Refusal::Denied { .. } | Refusal::UnknownKey => forbidden(),
        Refusal::Misconfigured(_) => json(
            StatusCode::INTERNAL_SERVER_ERROR,
            r#"{"message":"Internal Server Error"}"#,
        ),
        Refusal::TooManyRequests | Refusal::LimitExceeded => json(
            StatusCode::TOO_MANY_REQUESTS,
            r#"{"message":"Too Many Requests"}"#,
        ),
    }
}
