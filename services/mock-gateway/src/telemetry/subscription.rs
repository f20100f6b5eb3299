//! A subscription as it is asked for, checked against what AWS takes.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::Method;
use reqwest::Url;
use serde::Deserialize;

use super::Kind;

/// Which API a subscription was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Telemetry,
    Logs,
}

/// A version of an API's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Schema {
    Logs20200815,
    Logs20210318,
    Telemetry20220701,
    Telemetry20221213,
    Telemetry20250129,
}

impl Schema {
    const ALL: [(Api, &'static str, Self); 5] = [
        (Api::Logs, "2020-08-15", Self::Logs20200815),
        (Api::Logs, "2021-03-18", Self::Logs20210318),
        (Api::Telemetry, "2022-07-01", Self::Telemetry20220701),
        (Api::Telemetry, "2022-12-13", Self::Telemetry20221213),
        (Api::Telemetry, "2025-01-29", Self::Telemetry20250129),
    ];

    pub(super) fn has_runtime_done(self) -> bool {
        self > Self::Logs20200815
    }

    pub(super) fn has_objects_for_lines(self) -> bool {
        self >= Self::Telemetry20221213
    }
}

/// A checked subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) api: Api,
    pub(super) schema: Schema,
    /// The extension's.
    pub(super) name: String,
    pub(super) destination: Destination,
    pub(super) kinds: Vec<Kind>,
    pub(super) max_items: usize,
    pub(super) max_bytes: usize,
    pub(super) timeout: Duration,
}

/// Where records go: always on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// As one JSON list for each delivery.
    Http { url: Url, method: Method },
    /// As one line of JSON for each record, to this port.
    Tcp(u16),
}

impl Destination {
    pub(super) fn port(&self) -> u16 {
        match self {
            Self::Http { url, .. } => url.port_or_known_default().unwrap_or_default(),
            Self::Tcp(port) => *port,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    schema_version: Option<String>,
    destination: Option<AskedDestination>,
    #[serde(default)]
    types: Vec<String>,
    buffering: Option<Buffering>,
}

#[derive(Deserialize)]
struct AskedDestination {
    protocol: Option<String>,
    #[serde(rename = "URI", alias = "uri")]
    uri: Option<String>,
    port: Option<u16>,
    method: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Buffering {
    max_items: Option<u64>,
    max_bytes: Option<u64>,
    timeout_ms: Option<u64>,
}

const MAX_ITEMS: RangeInclusive<u64> = 1_000..=10_000;
const MAX_BYTES: RangeInclusive<u64> = 262_144..=1_048_576;
const TIMEOUT_MS: RangeInclusive<u64> = 25..=30_000;
/// What an extension calls its own machine by.
const SANDBOX: [&str; 2] = ["sandbox.localdomain", "sandbox"];

impl Subscription {
    /// Reads what the extension of this name asks for.
    ///
    /// # Errors
    /// Everything that is wrong with it, in AWS's manner: sentences with `; ` between.
    pub(super) fn read(api: Api, name: String, body: &[u8]) -> Result<Self, String> {
        let asked: Asked = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let mut problems = Vec::new();
        let schema = schema(api, asked.schema_version.as_deref(), &mut problems);
        let destination = match asked.destination {
            Some(asked) => destination(&asked, api, &mut problems),
            None => {
                problems.push("destination is not provided".to_owned());
                None
            }
        };
        let mut kinds = Vec::new();
        for text in &asked.types {
            match Kind::read(text) {
                Some(kind) if !kinds.contains(&kind) => kinds.push(kind),
                Some(_) => {}
                None => problems.push(format!(
                    "types should hold platform, function or extension, not `{text}`"
                )),
            }
        }
        if asked.types.is_empty() {
            problems.push("types should not be empty".to_owned());
        }
        let mut within = |name: &str, asked: Option<u64>, bounds: RangeInclusive<u64>, default| {
            let value = asked.unwrap_or(default);
            if !bounds.contains(&value) {
                let (low, high) = bounds.into_inner();
                problems.push(format!(
                    "buffering.{name} should be from {low} to {high}, not {value}"
                ));
            }
            value
        };
        let buffering = asked.buffering.unwrap_or_default();
        let max_items = within("maxItems", buffering.max_items, MAX_ITEMS, 10_000);
        let max_bytes = within("maxBytes", buffering.max_bytes, MAX_BYTES, 262_144);
        let timeout_ms = within("timeoutMs", buffering.timeout_ms, TIMEOUT_MS, 1_000);
        let (Some(schema), Some(destination), true) = (schema, destination, problems.is_empty())
        else {
            return Err(problems.join("; "));
        };
        let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        Ok(Self {
            api,
            schema,
            name,
            destination,
            kinds,
            max_items: size(max_items),
            max_bytes: size(max_bytes),
            timeout: Duration::from_millis(timeout_ms),
        })
    }
}

fn schema(api: Api, asked: Option<&str>, problems: &mut Vec<String>) -> Option<Schema> {
    let version = match (asked, api) {
        (Some(version), _) => version,
        (None, Api::Logs) => "2020-08-15",
        (None, Api::Telemetry) => {
            problems.push("schemaVersion is not provided".to_owned());
            return None;
        }
    };
    let of_api = Schema::ALL.iter().filter(|(of, ..)| *of == api);
    let found = of_api.clone().find(|(_, known, _)| *known == version);
    if found.is_none() {
        let known: Vec<_> = of_api.map(|(_, known, _)| *known).collect();
        problems.push(format!(
            "schemaVersion should be one of {}, not `{version}`",
            known.join(", ")
        ));
    }
    found.map(|(.., schema)| *schema)
}

/// Only this machine is ever called.
fn destination(
    asked: &AskedDestination,
    api: Api,
    problems: &mut Vec<String>,
) -> Option<Destination> {
    let mut wrong = |what: String| {
        problems.push(what);
        None
    };
    match asked.protocol.as_deref() {
        Some("HTTP") => {}
        Some("TCP") => {
            return match asked.port {
                Some(port @ 1..) => Some(Destination::Tcp(port)),
                _ => wrong("port is not provided".to_owned()),
            };
        }
        Some(other) => return wrong(format!("protocol should be HTTP or TCP, not `{other}`")),
        None => return wrong("protocol is not provided".to_owned()),
    }
    let text = asked.uri.as_deref().unwrap_or_default();
    let url = match text.parse::<Url>() {
        Ok(url) if url.scheme() == "http" => url,
        _ => {
            return wrong(format!(
                "URI should be http://sandbox.localdomain:<port>, not `{text}`"
            ));
        }
    };
    if !url.host_str().is_some_and(|host| SANDBOX.contains(&host)) {
        return wrong(format!(
            "URI host should be sandbox.localdomain in `{text}`"
        ));
    }
    if url.port().is_none() {
        return wrong("URI port is not provided".to_owned());
    }
    let method = match (asked.method.as_deref(), api) {
        (None | Some("POST"), _) => Method::POST,
        (Some("PUT"), Api::Logs) => Method::PUT,
        (Some(other), _) => return wrong(format!("method `{other}` is not taken")),
    };
    let mut url = url;
    match url.set_host(Some("127.0.0.1")) {
        Ok(()) => Some(Destination::Http { url, method }),
        Err(error) => wrong(format!("URI `{text}`: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read_by(api: Api, change: impl FnOnce(&mut Value)) -> Result<Subscription, String> {
        let mut body = json!({
            "schemaVersion": "2022-12-13",
            "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/in?a=b"},
            "types": ["platform", "function"],
            "buffering": {"maxItems": 1_000, "maxBytes": 262_144, "timeoutMs": 25},
        });
        change(&mut body);
        Subscription::read(api, "x".to_owned(), body.to_string().as_bytes())
    }

    fn read(change: impl FnOnce(&mut Value)) -> Result<Subscription, String> {
        read_by(Api::Telemetry, change)
    }

    #[test]
    fn what_aws_takes_is_taken() {
        let subscription = read(|_| {}).unwrap();
        let Destination::Http { url, method } = &subscription.destination else {
            panic!("{subscription:?}");
        };
        assert_eq!(url.as_str(), "http://127.0.0.1:8080/in?a=b");
        assert_eq!(method, Method::POST);
        assert_eq!(subscription.kinds, [Kind::Platform, Kind::Function]);
        assert_eq!(subscription.max_items, 1_000);
        assert_eq!(subscription.timeout, Duration::from_millis(25));
        let subscription = read(|body| body["buffering"] = json!({})).unwrap();
        assert_eq!(subscription.max_items, 10_000);
        assert_eq!(subscription.max_bytes, 262_144);
        assert_eq!(subscription.timeout, Duration::from_secs(1));
        let tcp = read(|body| body["destination"] = json!({"protocol": "TCP", "port": 9}));
        assert_eq!(tcp.unwrap().destination, Destination::Tcp(9));
        let old = read_by(Api::Logs, |body| {
            body["schemaVersion"] = Value::Null;
            body["destination"]["method"] = json!("PUT");
        });
        let old = old.unwrap();
        assert_eq!(old.schema, Schema::Logs20200815);
        assert!(matches!(
            old.destination,
            Destination::Http {
                method: Method::PUT,
                ..
            }
        ));
    }

    #[test]
    fn what_aws_refuses_is_refused_by_name() {
        let wrong = |path: &str, value: Value, expected: &str| {
            let error = read(|body| *body.pointer_mut(path).unwrap() = value).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        wrong("/schemaVersion", json!("2020-08-15"), "schemaVersion");
        wrong("/schemaVersion", Value::Null, "schemaVersion");
        wrong("/types", json!([]), "types should not be empty");
        wrong("/types/0", json!("mine"), "`mine`");
        wrong("/buffering/maxItems", json!(999), "maxItems");
        wrong("/buffering/maxItems", json!(10_001), "maxItems");
        wrong("/buffering/maxBytes", json!(262_143), "maxBytes");
        wrong("/buffering/maxBytes", json!(1_048_577), "maxBytes");
        wrong("/buffering/timeoutMs", json!(24), "timeoutMs");
        wrong("/buffering/timeoutMs", json!(30_001), "timeoutMs");
        wrong("/destination", Value::Null, "destination");
        wrong("/destination/protocol", json!("UDP"), "UDP");
        wrong(
            "/destination/protocol",
            json!("TCP"),
            "port is not provided",
        );
        wrong("/destination/URI", json!("x"), "URI");
        wrong("/destination/URI", json!("https://sandbox:1"), "URI");
        let foreign = json!("http://example.com:80");
        wrong("/destination/URI", foreign, "sandbox.localdomain");
        let error = read(|body| {
            body["destination"]["URI"] = json!("http://sandbox.localdomain");
            body["types"] = json!([]);
        });
        assert_eq!(
            error.unwrap_err(),
            "URI port is not provided; types should not be empty"
        );
    }
}
