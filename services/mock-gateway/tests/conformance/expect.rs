//! What an answer must be. A text that begins with `~` is a regular expression that
//! matches the whole; `{{name}}` stands for what an earlier step kept, or the function's
//! name (`fn`) or ARN (`arn`).

use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

/// An answer, whoever got it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// The values of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(n, _)| n == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// `header:<name>`, `json:<pointer>` or `body`.
    pub(crate) fn pick(&self, what: &str) -> Result<String, String> {
        let found = match what.split_once(':') {
            Some(("header", name)) => self.header(name).first().map(|v| (*v).to_owned()),
            Some(("json", pointer)) => self.json().pointer(pointer).map(as_text),
            _ => Some(self.text()),
        };
        found.ok_or_else(|| format!("there is no {what} in {}", self.short()))
    }

    pub(crate) fn short(&self) -> String {
        let body: String = self.text().chars().take(600).collect();
        format!("{} {:?} {body}", self.status, self.headers)
    }
}

/// What is expected; everything that is not named may be as it likes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expect {
    status: Option<u16>,
    /// `null`: must not be there.
    headers: BTreeMap<String, Option<String>>,
    body: Option<String>,
    /// The whole body as JSON.
    json: Option<Value>,
    /// Values by JSON pointer.
    at: BTreeMap<String, Value>,
    /// Pointers that lead nowhere.
    absent: Vec<String>,
    /// How many bytes the body has.
    size: Option<usize>,
    /// A header's value, decoded from base64.
    decoded: BTreeMap<String, String>,
}

/// What earlier steps kept.
pub(crate) type Kept = BTreeMap<String, String>;

/// Puts in what was kept.
pub(crate) fn fill(text: &str, kept: &Kept) -> String {
    kept.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{{{name}}}}}"), value)
    })
}

/// Whether a text is as it should be.
pub(crate) fn is_like(pattern: &str, seen: &str, kept: &Kept) -> bool {
    match pattern.strip_prefix('~') {
        Some(expression) => {
            let expression = format!("(?s)^(?:{})$", fill(expression, kept));
            Regex::new(&expression).unwrap().is_match(seen)
        }
        None => fill(pattern, kept) == seen,
    }
}

fn as_text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether a value is as it should be.
pub(crate) fn same(expected: &Value, seen: &Value, kept: &Kept) -> bool {
    match (expected, seen) {
        (Value::String(pattern), seen) if pattern.starts_with('~') => {
            is_like(pattern, &as_text(seen), kept)
        }
        (Value::String(pattern), Value::String(seen)) => is_like(pattern, seen, kept),
        (Value::Object(expected), Value::Object(seen)) => {
            expected.len() == seen.len()
                && expected
                    .iter()
                    .all(|(name, value)| seen.get(name).is_some_and(|seen| same(value, seen, kept)))
        }
        (Value::Array(expected), Value::Array(seen)) => {
            expected.len() == seen.len() && expected.iter().zip(seen).all(|(e, s)| same(e, s, kept))
        }
        (expected, seen) => expected == seen,
    }
}

impl Expect {
    /// # Errors
    /// Every difference.
    pub(crate) fn check(&self, seen: &Seen, kept: &Kept) -> Result<(), String> {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD as BASE64;
        let mut wrong = Vec::new();
        if let Some(status) = self.status
            && status != seen.status
        {
            wrong.push(format!("the status is {}", seen.status));
        }
        for (name, expected) in &self.headers {
            let values = seen.header(name).join(" | ");
            let fits = match expected {
                Some(pattern) => !seen.header(name).is_empty() && is_like(pattern, &values, kept),
                None => seen.header(name).is_empty(),
            };
            if !fits {
                wrong.push(format!("the header {name} is {values:?}"));
            }
        }
        for (name, pattern) in &self.decoded {
            let value = BASE64
                .decode(seen.header(name).concat())
                .unwrap_or_default();
            let text = String::from_utf8_lossy(&value).into_owned();
            if !is_like(pattern, &text, kept) {
                wrong.push(format!("the header {name}, decoded, is {text:?}"));
            }
        }
        if let Some(pattern) = &self.body
            && !is_like(pattern, &seen.text(), kept)
        {
            wrong.push("the body differs".to_owned());
        }
        if self.size.is_some_and(|size| size != seen.body.len()) {
            wrong.push(format!("the body has {} bytes", seen.body.len()));
        }
        let json = seen.json();
        if let Some(expected) = &self.json
            && !same(expected, &json, kept)
        {
            wrong.push("the JSON differs".to_owned());
        }
        for (pointer, expected) in &self.at {
            let found = json.pointer(pointer);
            if !found.is_some_and(|found| same(expected, found, kept)) {
                wrong.push(format!("{pointer} is {found:?}"));
            }
        }
        for pointer in &self.absent {
            if let Some(found) = json.pointer(pointer) {
                wrong.push(format!("{pointer} is {found}"));
            }
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(format!("{} in {}", wrong.join("; "), seen.short()))
        }
    }
}
