//! Which hosts are known by another address here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::Authority;

/// Hosts by their names in the compose network. Clones share the table.
#[derive(Clone, Debug)]
pub(crate) struct Aliases {
    by_authority: Arc<BTreeMap<String, SocketAddr>>,
}

impl Aliases {
    pub(crate) fn new(by_authority: BTreeMap<String, SocketAddr>) -> Self {
        let lower = by_authority
            .into_iter()
            .map(|(authority, address)| (authority.to_ascii_lowercase(), address));
        Self {
            by_authority: Arc::new(lower.collect()),
        }
    }

    /// Where this host listens, if it is an alias. Names are not case-sensitive.
    pub(crate) fn find(&self, authority: &Authority, default_port: u16) -> Option<SocketAddr> {
        let port = authority.port_u16().unwrap_or(default_port);
        let named = format!("{}:{port}", authority.host().to_ascii_lowercase());
        self.by_authority.get(&named).copied()
    }

    /// The names, for a message.
    pub(crate) fn names(&self) -> String {
        let names: Vec<_> = self.by_authority.keys().map(String::as_str).collect();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_with_their_port() {
        let address: SocketAddr = "127.0.0.1:9000".parse().unwrap();
        let aliases = Aliases::new(BTreeMap::from([
            ("fake_s3:4566".to_owned(), address),
            ("Web:80".to_owned(), address),
        ]));
        for (authority, found) in [
            ("fake_s3:4566", true),
            ("FAKE_S3:4566", true),
            ("fake_s3:80", false),
            ("fake_s3", false),
            ("web", true),
            ("web:80", true),
            ("bucket.fake_s3:4566", false),
            ("user@fake_s3:4566", true),
        ] {
            let authority: Authority = authority.parse().unwrap();
            let expected = found.then_some(address);
            assert_eq!(aliases.find(&authority, 80), expected, "{authority}");
        }
        assert_eq!(aliases.names(), "fake_s3:4566, web:80");
    }
}
