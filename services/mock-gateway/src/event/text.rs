//! Small pieces of text that all events share.

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// `21/Nov/2025:10:00:00 +0000`, the time in an access log.
pub(super) fn access_log_time(at: Timestamp) -> String {
    let at = at.to_zoned(TimeZone::UTC);
    strtime::format("%d/%b/%Y:%H:%M:%S +0000", &at).unwrap_or_default()
}

/// `HTTP/1.1` and the like.
pub(super) fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_09 => "HTTP/0.9",
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2.0",
        http::Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// The path as the client sees it: with the stage, unless the API has only the default one.
pub(super) fn staged_path(stage: &str, path: &str) -> String {
    if stage == "$default" {
        path.to_owned()
    } else {
        format!("/{stage}{path}")
    }
}

/// An id of six letters and digits as API Gateway gives to resources and deployments: the
/// same text always has the same id.
pub(super) fn short_id(text: &str) -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut hash = text_hash(text);
    let mut id = String::with_capacity(6);
    for _ in 0..6 {
        id.push(char::from(ALPHABET[(hash % 36) as usize]));
        hash /= 36;
    }
    id
}

/// The same number for the same text, on every machine (FNV-1a).
pub(crate) fn text_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_reads_as_in_an_access_log() {
        let at = Timestamp::from_millisecond(1_763_719_205_123).unwrap();
        assert_eq!(access_log_time(at), "21/Nov/2025:10:00:05 +0000");
    }

    #[test]
    fn ids_are_short_and_stable() {
        assert_eq!(short_id("/hook/{proxy+}"), short_id("/hook/{proxy+}"));
        assert_ne!(short_id("/hook/{proxy+}"), short_id("/hook"));
        assert_eq!(short_id("").len(), 6);
    }
}
