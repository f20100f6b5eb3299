//! The keys of token issuers: read from a file at every request, fetched from a URL once
//! and again when a token names a key that is not there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use app_model::{JwtAuthorizer, Keys};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::response::Refusal;

/// How long fetched keys are used without asking again.
const FRESH: Duration = Duration::from_secs(300);
/// How soon they may be asked for again, for a key that is not among them.
const AGAIN: Duration = Duration::from_secs(5);
/// How long an issuer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A public RSA key: modulus and exponent, big-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RsaKey {
    pub(super) modulus: Vec<u8>,
    pub(super) exponent: Vec<u8>,
}

/// A JWKS document. Keys of other kinds may hold anything.
#[derive(Debug, Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

/// What was fetched from an issuer.
#[derive(Clone, Debug)]
struct Fetched {
    set: Arc<KeySet>,
    at: Instant,
}

/// The keys of all issuers; at most one set for each that is declared.
#[derive(Debug, Default)]
pub(super) struct KeySets(Mutex<HashMap<String, Fetched>>);

impl KeySets {
    /// The issuer's key of this id.
    pub(super) async fn find(&self, by: &JwtAuthorizer, id: &str) -> Result<RsaKey, Refusal> {
        let unknown = || Refusal::invalid_token("the signing key is not one of the issuer's");
        let url = match &by.keys {
            Keys::File(path) => {
                let named = |error: &dyn std::fmt::Display| {
                    Refusal::Misconfigured(format!("keys in {}: {error}", path.display()))
                };
                let text = tokio::fs::read(path).await.map_err(|error| named(&error))?;
                let set: KeySet = serde_json::from_slice(&text).map_err(|error| named(&error))?;
                return set.find(id).ok_or_else(unknown);
            }
            Keys::Url(url) => url.clone(),
            Keys::Discovered => {
                let issuer = by.issuer.trim_end_matches('/');
                format!("{issuer}/.well-known/openid-configuration")
            }
        };
        let known = self.known(&url);
        if let Some(fetched) = known.filter(|fetched| fetched.at.elapsed() < FRESH) {
            let found = fetched.set.find(id);
            if found.is_some() || fetched.at.elapsed() < AGAIN {
                return found.ok_or_else(unknown);
            }
        }
        let set = Arc::new(fetch(by, &url).await.map_err(Refusal::Misconfigured)?);
        let found = set.find(id).ok_or_else(unknown);
        let fetched = Fetched {
            set,
            at: Instant::now(),
        };
        self.lock().insert(url, fetched);
        found
    }

    fn known(&self, url: &str) -> Option<Fetched> {
        self.lock().get(url).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Fetched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeySet {
    fn find(&self, id: &str) -> Option<RsaKey> {
        let key = self.keys.iter().find(|key| key["kid"] == id)?;
        let part = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str()?).ok();
        (key["kty"] == "RSA").then_some(())?;
        Some(RsaKey {
            modulus: part("n")?,
            exponent: part("e")?,
        })
    }
}

#[derive(Deserialize)]
struct Discovery {
    jwks_uri: String,
}

async fn fetch(by: &JwtAuthorizer, url: &str) -> Result<KeySet, String> {
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .build()
        .map_err(|error| error.to_string())?;
    match by.keys {
        Keys::Discovered => {
            let discovery: Discovery = get(&client, url).await?;
            get(&client, &discovery.jwks_uri).await
        }
        Keys::File(_) | Keys::Url(_) => get(&client, url).await,
    }
}

async fn get<T: DeserializeOwned>(client: &reqwest::Client, url: &str) -> Result<T, String> {
    let fetched = async {
        let response = client.get(url).send().await?;
        response.error_for_status()?.json().await
    };
    fetched
        .await
        .map_err(|error: reqwest::Error| format!("the issuer's keys at {url}: {error}"))
}
