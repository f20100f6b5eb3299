//! Reads `[workspace.metadata.longshore.api.authorizer]` and says what AWS, or the sandbox,
//! would not take.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;

use crate::FunctionName;
use crate::api::PayloadFormat;
use crate::authorizer::{
    Authorizer, IdentitySource, JwtAuthorizer, Keys, RequestAuthorizer, TokenAuthorizer,
};
use crate::section::{Problems, Section};

/// The longest that AWS keeps an authorizer's result, in seconds.
const MAX_TTL: u32 = 3_600;
/// How long it keeps one when nothing is set, in seconds.
const DEFAULT_TTL: u32 = 300;

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum DeclaredAuthorizer {
    Token {
        function: String,
        #[serde(default = "authorization")]
        identity_source: String,
        ttl: Option<u32>,
    },
    Request {
        function: String,
        #[serde(default)]
        identity_sources: Vec<IdentitySource>,
        #[serde(default)]
        payload_format: PayloadFormat,
        #[serde(default)]
        simple_responses: bool,
        ttl: Option<u32>,
    },
    Jwt {
        identity_source: Option<IdentitySource>,
        issuer: String,
        audience: Vec<String>,
        jwks_file: Option<PathBuf>,
        jwks_url: Option<String>,
    },
}

fn authorization() -> String {
    "Authorization".to_owned()
}

/// Reads the tables below `authorizer`.
pub(crate) fn authorizers(
    api: &Section<'_>,
    functions: &BTreeSet<FunctionName>,
    problems: &mut Problems,
) -> BTreeMap<String, Authorizer> {
    let section = api.section("authorizer", problems);
    let mut authorizers = BTreeMap::new();
    for name in section.names() {
        let Some(declared) = section.get::<DeclaredAuthorizer>(name, problems) else {
            continue;
        };
        match authorizer(&section, name, declared, functions) {
            Ok(authorizer) => drop(authorizers.insert(name.to_owned(), authorizer)),
            Err(wrong) => problems.push(section.problem(name, &wrong)),
        }
    }
    authorizers
}

fn authorizer(
    section: &Section<'_>,
    name: &str,
    declared: DeclaredAuthorizer,
    functions: &BTreeSet<FunctionName>,
) -> Result<Authorizer, String> {
    let known = |function: &str| {
        let name = function.parse::<FunctionName>().ok();
        name.filter(|name| functions.contains(name))
            .ok_or_else(|| format!("there is no function `{function}`"))
    };
    let ttl = |ttl: Option<u32>| match ttl.unwrap_or(DEFAULT_TTL) {
        0..=MAX_TTL => Ok(ttl.unwrap_or(DEFAULT_TTL)),
        more => Err(format!(
            "`ttl` is {more}: AWS keeps a result for {MAX_TTL} seconds at most"
        )),
    };
    Ok(match declared {
        DeclaredAuthorizer::Token {
            function,
            identity_source,
            ttl: seconds,
        } => {
            let header = identity_source
                .strip_prefix("method.request.header.")
                .unwrap_or(&identity_source);
            if header.is_empty()
                || !header
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            {
                return Err(format!("`{identity_source}` is no header's name"));
            }
            Authorizer::Token(TokenAuthorizer {
                function: known(&function)?,
                header: header.to_owned(),
                ttl: ttl(seconds)?,
            })
        }
        DeclaredAuthorizer::Request {
            function,
            identity_sources,
            payload_format,
            simple_responses,
            ttl: seconds,
        } => {
            if simple_responses && payload_format == PayloadFormat::V1 {
                return Err("`simple_responses` need `payload_format = \"2.0\"`".to_owned());
            }
            if identity_sources.is_empty() && seconds.is_some_and(|seconds| seconds > 0) {
                return Err(
                    "results are kept by `identity_sources`: name some, or leave `ttl` out"
                        .to_owned(),
                );
            }
            let ttl = if identity_sources.is_empty() {
                0
            } else {
                ttl(seconds)?
            };
            Authorizer::Request(RequestAuthorizer {
                function: known(&function)?,
                identity_sources,
                payload_format,
                simple_responses,
                ttl,
            })
        }
        DeclaredAuthorizer::Jwt {
            identity_source,
            issuer,
            audience,
            jwks_file,
            jwks_url,
        } => {
            let keys = match (jwks_file, jwks_url) {
                (Some(file), None) => {
                    let table = section.section(name, &mut Problems::new());
                    Keys::File(table.resolve("jwks_file", &file))
                }
                (None, Some(url)) => Keys::Url(url),
                (None, None) => Keys::Discovered,
                (Some(_), Some(_)) => {
                    return Err("either `jwks_file` or `jwks_url`, not both".to_owned());
                }
            };
            let fetched = match &keys {
                Keys::File(_) => None,
                Keys::Url(url) => Some(url),
                Keys::Discovered => Some(&issuer),
            };
            if let Some(url) = fetched.filter(|url| !url.starts_with("http://")) {
                return Err(format!(
                    "keys cannot be had from `{url}`: the sandbox fetches plain `http://` only; \
                     save them and name the file with `jwks_file`"
                ));
            }
            if audience.is_empty() {
                return Err("`audience` is empty: name at least one".to_owned());
            }
            Authorizer::Jwt(JwtAuthorizer {
                identity_source: identity_source
                    .unwrap_or_else(|| IdentitySource::Header(authorization())),
                issuer,
                audience,
                keys,
            })
        }
    })
}
