//! Which headers of a request reach the function, and under which names.
//!
//! REST APIs keep the case the client wrote. The HTTP server here lower-cases names as it
//! reads, so the case is restored the way clients write it: `Content-Type`, `X-Api-Key`,
//! and the few names whose usual spelling breaks that rule (`X-GitHub-Event`). HTTP APIs
//! and function URLs send lower-case names.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};

use super::fields::Fields;
use super::{EventContext, GatewayRequest};

/// Meant for the next hop alone, or answered by the gateway itself (`Expect`).
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Sets what the gateway knows better than the client.
const FORWARDED: [&str; 4] = [
    "x-amzn-trace-id",
    "x-forwarded-for",
    "x-forwarded-port",
    "x-forwarded-proto",
];

/// Whether an event of format 1.0 names the body's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// An HTTP API does.
    Named,
    /// A REST API does not.
    Left,
}

/// Headers of an event of format 1.0: client case.
pub(super) fn client_cased<'a>(
    request: &'a GatewayRequest,
    context: &'a EventContext,
    length: Length,
) -> Fields<'a> {
    let mut fields = Vec::with_capacity(request.headers.len() + FORWARDED.len() + 1);
    for (name, value) in &request.headers {
        if passes(name) && name != header::CONTENT_LENGTH {
            fields.push((client_case(name.as_str()), text(value)));
        }
    }
    if length == Length::Named {
        fields.push((Cow::Borrowed("Content-Length"), body_length(request)));
    }
    for (name, value) in forwarded(request, context) {
        fields.push((client_case(name), value));
    }
    Fields::grouped(fields)
}

/// Whether an event of format 2.0 names the length of an empty body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EmptyLength {
    /// An HTTP API does: `"content-length": "0"`.
    Named,
    /// A function URL does not.
    Left,
}

/// Headers of an event of format 2.0: lower case, without `Cookie`, with the length of the
/// body even when the client sent it in chunks.
pub(super) fn lower_case<'a>(
    request: &'a GatewayRequest,
    context: &'a EventContext,
    empty: EmptyLength,
) -> Fields<'a> {
    let mut fields = Vec::with_capacity(request.headers.len() + FORWARDED.len() + 1);
    for (name, value) in &request.headers {
        if passes(name) && name != header::COOKIE {
            fields.push((Cow::Borrowed(name.as_str()), text(value)));
        }
    }
    if !request.headers.contains_key(header::CONTENT_LENGTH)
        && (!request.body.is_empty() || empty == EmptyLength::Named)
    {
        fields.push((Cow::Borrowed("content-length"), body_length(request)));
    }
    for (name, value) in forwarded(request, context) {
        fields.push((Cow::Borrowed(name), value));
    }
    Fields::grouped(fields)
}

/// Headers of a load balancer's event: lower case, all of them.
pub(super) fn load_balancer<'a>(
    request: &'a GatewayRequest,
    context: &'a EventContext,
) -> Fields<'a> {
    let mut fields = Vec::with_capacity(request.headers.len() + FORWARDED.len());
    for (name, value) in &request.headers {
        if passes(name) {
            fields.push((Cow::Borrowed(name.as_str()), text(value)));
        }
    }
    for (name, value) in forwarded(request, context) {
        fields.push((Cow::Borrowed(name), value));
    }
    Fields::grouped(fields)
}

fn body_length(request: &GatewayRequest) -> Cow<'static, str> {
    Cow::Owned(request.body.len().to_string())
}

/// The cookies of format 2.0: one `name=value` each; none when there are none.
pub(super) fn cookies(headers: &HeaderMap) -> Option<Vec<Cow<'_, str>>> {
    let mut cookies = Vec::new();
    for value in headers.get_all(header::COOKIE) {
        match text(value) {
            Cow::Borrowed(line) => cookies.extend(split_cookies(line).map(Cow::Borrowed)),
            Cow::Owned(line) => {
                cookies.extend(split_cookies(&line).map(|c| Cow::Owned(c.to_owned())));
            }
        }
    }
    (!cookies.is_empty()).then_some(cookies)
}

fn split_cookies(line: &str) -> impl Iterator<Item = &str> {
    line.split(';').map(str::trim).filter(|c| !c.is_empty())
}

/// The client's user agent.
pub(super) fn user_agent(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    headers.get(header::USER_AGENT).map(text)
}

fn passes(name: &HeaderName) -> bool {
    let text = name.as_str();
    !HOP_BY_HOP.contains(name)
        && !FORWARDED.contains(&text)
        && !matches!(text, "keep-alive" | "proxy-connection")
        && !text.starts_with("x-longshore-")
}

fn forwarded<'a>(
    request: &'a GatewayRequest,
    context: &'a EventContext,
) -> [(&'static str, Cow<'a, str>); 4] {
    let proto = request.uri.scheme_str().unwrap_or("http");
    [
        (
            "x-amzn-trace-id",
            Cow::Borrowed(trace_root(&context.trace_id)),
        ),
        ("x-forwarded-for", forwarded_for(request)),
        ("x-forwarded-port", port(request, proto)),
        ("x-forwarded-proto", Cow::Borrowed(proto)),
    ]
}

/// The header carries the trace's root alone: the parent and the sampling decision go to
/// the function as its trace id.
fn trace_root(trace: &str) -> &str {
    trace
        .split(';')
        .find(|part| part.starts_with("Root="))
        .unwrap_or(trace)
}

/// The addresses a client claims, then the one it has.
fn forwarded_for(request: &GatewayRequest) -> Cow<'_, str> {
    let mut addresses = String::new();
    for value in request.headers.get_all("x-forwarded-for") {
        let claimed = text(value);
        if !claimed.is_empty() {
            addresses.push_str(&claimed);
            addresses.push_str(", ");
        }
    }
    addresses.push_str(&request.source_ip.to_canonical().to_string());
    Cow::Owned(addresses)
}

/// The port the client connected to, which it names in `Host`.
fn port<'a>(request: &'a GatewayRequest, proto: &str) -> Cow<'a, str> {
    let of_uri = request.uri.port().map(|port| port.as_u16());
    let of_host = || {
        let host = request.headers.get(header::HOST)?.to_str().ok()?;
        let authority: http::uri::Authority = host.parse().ok()?;
        authority.port_u16()
    };
    match of_uri.or_else(of_host) {
        Some(port) => Cow::Owned(port.to_string()),
        None if proto == "https" => Cow::Borrowed("443"),
        None => Cow::Borrowed("80"),
    }
}

/// UTF-8 as it stands; anything else as Latin-1, which is what the octets of a header mean.
fn text(value: &HeaderValue) -> Cow<'_, str> {
    let bytes = value.as_bytes();
    std::str::from_utf8(bytes).map_or_else(
        |_| Cow::Owned(bytes.iter().copied().map(char::from).collect()),
        Cow::Borrowed,
    )
}

/// A lower-case name as clients write it.
fn client_case(name: &str) -> Cow<'static, str> {
    let known = match name {
        "accept" => "Accept",
        "accept-encoding" => "Accept-Encoding",
        "accept-language" => "Accept-Language",
        "authorization" => "Authorization",
        "cache-control" => "Cache-Control",
        "content-encoding" => "Content-Encoding",
        "content-type" => "Content-Type",
        "cookie" => "Cookie",
        "host" => "Host",
        "origin" => "Origin",
        "referer" => "Referer",
        "user-agent" => "User-Agent",
        "x-amzn-trace-id" => "X-Amzn-Trace-Id",
        "x-api-key" => "X-Api-Key",
        "x-forwarded-for" => "X-Forwarded-For",
        "x-forwarded-port" => "X-Forwarded-Port",
        "x-forwarded-proto" => "X-Forwarded-Proto",
        other => return Cow::Owned(title_case(other)),
    };
    Cow::Borrowed(known)
}

fn title_case(name: &str) -> String {
    let mut cased = String::with_capacity(name.len());
    for (index, word) in name.split('-').enumerate() {
        if index > 0 {
            cased.push('-');
        }
        match word {
            "dnt" => cased.push_str("DNT"),
            "github" => cased.push_str("GitHub"),
            "hubspot" => cased.push_str("HubSpot"),
            "ip" => cased.push_str("IP"),
            "md5" => cased.push_str("MD5"),
            "websocket" => cased.push_str("WebSocket"),
            _ => {
                let mut letters = word.chars();
                cased.extend(letters.next().map(|first| first.to_ascii_uppercase()));
                cased.push_str(letters.as_str());
            }
        }
    }
    cased
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_clients_write_them() {
        for (sent, seen) in [
            ("content-type", "Content-Type"),
            ("x-amperity-tenant", "X-Amperity-Tenant"),
            ("x-github-event", "X-GitHub-Event"),
            ("content-md5", "Content-MD5"),
            ("sec-websocket-key", "Sec-WebSocket-Key"),
            ("stripe-signature", "Stripe-Signature"),
            ("x--odd-", "X--Odd-"),
        ] {
            assert_eq!(client_case(sent), seen);
        }
    }

    #[test]
    fn the_trace_header_holds_the_root() {
        assert_eq!(
            trace_root(
                "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0"
            ),
            "Root=1-5759e988-bd862e3fe1be46a994272793"
        );
        assert_eq!(
            trace_root("Self=1-2-3;Root=1-4-5"),
            "Root=1-4-5",
            "a load balancer puts itself first"
        );
    }
}
