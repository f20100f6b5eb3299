//! Who decides whether a request may pass, as
//! `[workspace.metadata.longshore.api.authorizer.<name>]` declares it.
//!
//! ```toml
//! [workspace.metadata.longshore.api.authorizer.tokens]
//! type = "token"                       # a REST API's
//! function = "authorize"
//! identity_source = "Authorization"    # a header's name
//! ttl = 300                            # seconds that a result is kept; 0: not at all
//!
//! [workspace.metadata.longshore.api.authorizer.requests]
//! type = "request"
//! function = "authorize"
//! identity_sources = ["$request.header.X-Tenant", "$request.querystring.key"]
//! payload_format = "2.0"               # on an HTTP API; a REST API has 1.0 only
//! simple_responses = true
//!
//! [workspace.metadata.longshore.api.authorizer.users]
//! type = "jwt"                         # an HTTP API's
//! issuer = "http://localhost:9000/"
//! audience = ["orders"]
//! jwks_file = "fixtures/jwks.json"     # or jwks_url; else the issuer's own
//! ```

use std::path::PathBuf;

use serde::Deserialize;

use crate::{FunctionName, PayloadFormat};

/// Who decides whether a request may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorizer {
    /// A function that sees a header.
    Token(TokenAuthorizer),
    /// A function that sees the request.
    Request(RequestAuthorizer),
    /// Whoever signed the token.
    Jwt(JwtAuthorizer),
}

/// A function that sees a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenAuthorizer {
    /// Who decides.
    pub function: FunctionName,
    /// Which header.
    pub header: String,
    /// How long a result is kept, in seconds; 0: not at all.
    pub ttl: u32,
}

/// A function that sees the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestAuthorizer {
    /// Who decides.
    pub function: FunctionName,
    /// What a request must have to be looked at, and what results are kept by.
    pub identity_sources: Vec<IdentitySource>,
    /// The shape of its event, on an HTTP API.
    pub payload_format: PayloadFormat,
    /// Whether it answers `{"isAuthorized": …}` rather than a policy.
    pub simple_responses: bool,
    /// How long a result is kept, in seconds; 0: not at all.
    pub ttl: u32,
}

/// Whoever signed the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtAuthorizer {
    /// Where the token is.
    pub identity_source: IdentitySource,
    /// What `iss` must say.
    pub issuer: String,
    /// One of which `aud`, or `client_id`, must say.
    pub audience: Vec<String>,
    /// Where the issuer's keys are.
    pub keys: Keys,
}

/// Where a set of keys is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// A JWKS file.
    File(PathBuf),
    /// A JWKS document.
    Url(String),
    /// Where the issuer's `/.well-known/openid-configuration` says.
    Discovered,
}

/// A part of a request that says who sends it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum IdentitySource {
    /// A header.
    Header(String),
    /// A query parameter.
    Query(String),
    /// A variable of the stage.
    StageVariable(String),
}

/// Not a part of a request that an authorizer can go by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no identity source: write `$request.header.<name>`, `$request.querystring.<name>` or `$stageVariables.<name>`"
)]
pub struct InvalidIdentitySource(String);

impl TryFrom<String> for IdentitySource {
    type Error = InvalidIdentitySource;

    /// Reads the HTTP API's spelling and the REST API's (`method.request.header.<name>`).
    fn try_from(text: String) -> Result<Self, Self::Error> {
        type Make = fn(String) -> IdentitySource;
        let forms: [(&str, Make); 6] = [
            ("$request.header.", Self::Header),
            ("method.request.header.", Self::Header),
            ("$request.querystring.", Self::Query),
            ("method.request.querystring.", Self::Query),
            ("$stageVariables.", Self::StageVariable),
            ("stageVariables.", Self::StageVariable),
        ];
        forms
            .iter()
            .find_map(|(prefix, make)| {
                let name = text.strip_prefix(prefix).filter(|name| !name.is_empty())?;
                Some(make(name.to_owned()))
            })
            .ok_or(InvalidIdentitySource(text))
    }
}
