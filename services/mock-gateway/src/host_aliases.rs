//! Host names of the compose network in a function's variables.
//!
//! `http://api_destination:5005/…` means the same service everywhere. Where that name does
//! not resolve, the variable gets the service's own address: it spares every request the
//! detour through the egress proxy, which is there for URLs that arrive in payloads, and
//! works for clients that know no proxy.

use std::net::SocketAddr;

/// The value with the address of the service in place of its name, if it is an `http` URL
/// of an alias (`host:port`).
pub(crate) fn resolved(value: &str, aliases: &[(String, SocketAddr)]) -> String {
    let url = value.strip_prefix("http://");
    let found = url.and_then(|url| {
        let (authority, rest) = url.split_at(url.find(['/', '?', '#']).unwrap_or(url.len()));
        let named = |(name, _): &&(String, SocketAddr)| name.eq_ignore_ascii_case(authority);
        let (_, address) = aliases.iter().find(named)?;
        Some(format!("http://{address}{rest}"))
    });
    found.unwrap_or_else(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_an_alias_change() {
        let aliases = [(
            "api_destination:5005".to_owned(),
            SocketAddr::from(([127, 0, 0, 1], 9000)),
        )];
        for (value, expected) in [
            (
                "http://api_destination:5005/mock/destination?a=b",
                "http://127.0.0.1:9000/mock/destination?a=b",
            ),
            ("http://API_destination:5005", "http://127.0.0.1:9000"),
            (
                "http://api_destination:5006/x",
                "http://api_destination:5006/x",
            ),
            (
                "http://api_destination:50055",
                "http://api_destination:50055",
            ),
            (
                "https://api_destination:5005/x",
                "https://api_destination:5005/x",
            ),
            (
                "see http://api_destination:5005",
                "see http://api_destination:5005",
            ),
            ("", ""),
        ] {
            assert_eq!(resolved(value, &aliases), expected);
        }
    }
}
