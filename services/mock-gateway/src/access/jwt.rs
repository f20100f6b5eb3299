//! What HTTP APIs check of a JSON Web Token: signature, issuer, audience, times, scopes.

use app_model::JwtAuthorizer;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::keys::RsaKey;
use crate::event::Authorized;
use crate::response::Refusal;

/// A token, taken apart and not checked yet.
#[derive(Debug)]
pub(super) struct Token {
    /// Which key signed it.
    pub(super) key_id: String,
    algorithm: &'static RsaParameters,
    claims: Map<String, Value>,
    signed: String,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

impl Token {
    /// Takes a token apart.
    ///
    /// # Errors
    /// Says what is no token about it.
    pub(super) fn read(token: &str) -> Result<Self, Refusal> {
        let malformed = || Refusal::invalid_token("the token is not a JWT");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| malformed())?;
        let claims = serde_json::from_slice(&decode(claims)?).map_err(|_| malformed())?;
        let algorithm = match header.alg.as_str() {
            "RS256" => &RSA_PKCS1_2048_8192_SHA256,
            "RS384" => &RSA_PKCS1_2048_8192_SHA384,
            "RS512" => &RSA_PKCS1_2048_8192_SHA512,
            _ => return Err(Refusal::invalid_token("signing method is invalid")),
        };
        Ok(Self {
            key_id: header
                .kid
                .ok_or_else(|| Refusal::invalid_token("the token names no key"))?,
            algorithm,
            claims,
            signed: signed.to_owned(),
            signature: decode(signature)?,
        })
    }

    /// Checks a token at `now`, in seconds since the epoch. `scopes` are the route's.
    pub(super) fn check(
        self,
        key: &RsaKey,
        by: &JwtAuthorizer,
        scopes: &[String],
        now: i64,
    ) -> Result<Authorized, Refusal> {
        let public = RsaPublicKeyComponents {
            n: &key.modulus,
            e: &key.exponent,
        };
        public
            .verify(self.algorithm, self.signed.as_bytes(), &self.signature)
            .map_err(|_| Refusal::invalid_token("the token's signature is not its key's"))?;
        let claims = &self.claims;
        if claims.get("iss").and_then(Value::as_str) != Some(by.issuer.as_str()) {
            return Err(Refusal::invalid_token("issuer of the token is not valid"));
        }
        // `client_id` counts only without `aud`.
        let audience = claims.get("aud").or_else(|| claims.get("client_id"));
        let meant = texts(audience);
        if !meant.iter().any(|of| by.audience.iter().any(|a| a == of)) {
            return Err(Refusal::invalid_token(
                "the token does not have a valid audience",
            ));
        }
        let time = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => value
                .as_i64()
                .or_else(|| value.as_f64().map(|seconds| seconds as i64))
                .map(Some)
                .ok_or_else(|| Refusal::invalid_token("a time in the token is no number")),
        };
        if time("exp")?.is_none_or(|end| end <= now) {
            return Err(Refusal::invalid_token("the token has expired"));
        }
        if time("nbf")?.is_some_and(|begin| begin > now)
            || time("iat")?.is_some_and(|issued| issued > now)
        {
            return Err(Refusal::invalid_token("the token is not valid yet"));
        }
        let granted: Vec<String> = texts(claims.get("scope").or_else(|| claims.get("scp")))
            .iter()
            .flat_map(|text| text.split_whitespace())
            .map(str::to_owned)
            .collect();
        if !scopes.is_empty() && !scopes.iter().any(|scope| granted.contains(scope)) {
            return Err(Refusal::InsufficientScope(scopes.join(" ")));
        }
        Ok(Authorized::Jwt {
            claims: self.claims,
            scopes: (!scopes.is_empty()).then_some(granted),
        })
    }
}

/// A text, or a list of them.
fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}
