//! What an event says of who calls, where the route asks: the authorizer's word and the
//! API key.

use serde_json::{Map, Value, json};

use super::text::text_hash;

/// Who calls. Nothing is known of them on a route that does not ask.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// What the authorizer said.
    pub authorizer: Option<Authorized>,
    /// The API key that was shown.
    pub api_key: Option<ApiKey>,
}

/// What an authorizer said.
#[derive(Clone, Debug, PartialEq)]
pub enum Authorized {
    /// A function's word.
    Lambda {
        /// Whom it took the caller for.
        principal_id: Option<String>,
        /// What it passes on.
        context: Option<Map<String, Value>>,
        /// How long it took, in milliseconds; 0 if it was not asked again.
        latency: u64,
    },
    /// A token's.
    Jwt {
        /// Its claims.
        claims: Map<String, Value>,
        /// Its scopes, on a route that asks for any.
        scopes: Option<Vec<String>>,
    },
}

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id, ten letters and digits.
    pub id: String,
    /// Its value, as sent in `x-api-key`.
    pub value: String,
}

/// The id of the key of this name: always the same.
pub(crate) fn key_id(name: &str) -> String {
    let mut id = format!("{:010x}", text_hash(name));
    id.truncate(10);
    id
}

impl Authorized {
    /// As events of format 1.0 have it.
    pub(super) fn format_1(&self) -> Value {
        match self {
            Self::Lambda {
                principal_id,
                context,
                latency,
            } => {
                let mut said = context.clone().unwrap_or_default();
                if let Some(principal_id) = principal_id {
                    said.insert("principalId".to_owned(), json!(principal_id));
                }
                said.insert("integrationLatency".to_owned(), json!(latency));
                Value::Object(said)
            }
            Self::Jwt { claims, scopes } => json!({"claims": texts(claims), "scopes": scopes}),
        }
    }

    /// As events of format 2.0 have it.
    pub(super) fn format_2(&self) -> Value {
        match self {
            Self::Lambda { context, .. } => json!({"lambda": context}),
            Self::Jwt { claims, scopes } => {
                json!({"jwt": {"claims": texts(claims), "scopes": scopes}})
            }
        }
    }
}

/// Every claim as text: lists as `[a b]`.
fn texts(claims: &Map<String, Value>) -> Map<String, Value> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let items: Vec<String> = list
                .iter()
                .map(|item| {
                    item.as_str()
                        .map_or_else(|| item.to_string(), str::to_owned)
                })
                .collect();
            format!("[{}]", items.join(" "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    };
    claims
        .iter()
        .map(|(name, value)| (name.clone(), Value::String(text(value))))
        .collect()
}
