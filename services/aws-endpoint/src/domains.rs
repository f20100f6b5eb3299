//! Which part of the `Host` header is a bucket: `<bucket>.localhost:4566` and
//! `<bucket>.s3.localhost:4566` beside `localhost:4566/<bucket>`.

use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// The names this endpoint goes by; a label before one of them is a bucket.
#[derive(Clone, Debug)]
pub(crate) struct Domains(Vec<String>);

impl Domains {
    /// The longest name wins, so that `s3.localhost` is never the bucket `s3`.
    pub(crate) fn new(mut names: Vec<String>) -> Self {
        for name in &mut names {
            name.make_ascii_lowercase();
        }
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        Self(names)
    }

    /// The bucket that `host` names, if it names one.
    fn bucket<'a>(&self, host: &'a str) -> Option<&'a str> {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let lower = name.to_ascii_lowercase();
        for domain in &self.0 {
            if lower == *domain {
                return None;
            }
            if let Some(bucket) = lower
                .strip_suffix(domain.as_str())
                .and_then(|rest| rest.strip_suffix('.'))
            {
                return name.get(..bucket.len());
            }
        }
        // Any other name is this machine's, by whatever name it was reached.
        None
    }
}

impl S3Host for Domains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let parsed = VirtualHost::new(host);
        Ok(match self.bucket(host) {
            Some(bucket) => parsed.with_bucket(bucket),
            None => parsed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_before_a_known_name_is_a_bucket() {
        let domains = Domains::new(vec!["localhost".to_owned(), "s3.localhost".to_owned()]);
        for (host, bucket) in [
            ("localhost:4566", None),
            ("localhost", None),
            ("s3.localhost:4566", None),
            ("test-bucket.localhost:4566", Some("test-bucket")),
            ("test-bucket.s3.localhost:4566", Some("test-bucket")),
            ("a.b.localhost", Some("a.b")),
            ("Test-Bucket.LOCALHOST", Some("Test-Bucket")),
            ("127.0.0.1:4566", None),
            ("aws:4566", None),
            ("my-laptop.lan:4566", None),
        ] {
            assert_eq!(domains.bucket(host), bucket, "{host}");
        }
    }
}
