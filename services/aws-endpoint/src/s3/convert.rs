//! Between what S3 says on the wire and what the store keeps.

use std::time::{Duration, UNIX_EPOCH};

use http::StatusCode;
use s3s::dto::{ETag, Owner, Tag, Timestamp};
use s3s::{S3Result, s3_error};

use super::{ACCOUNT, unlisted};
use crate::store::{Object, Tags};

/// What an input that stores an object says about it. All three inputs that do have the
/// same fields and no type in common.
macro_rules! described {
    ($input:ident) => {
        $crate::store::Described {
            headers: $crate::store::Headers {
                content_type: $input.content_type.take(),
                content_encoding: $crate::s3::convert::stored_encoding(
                    $input.content_encoding.as_deref(),
                ),
                content_disposition: $input.content_disposition.take(),
                content_language: $input.content_language.take(),
                cache_control: $input.cache_control.take(),
                expires: $input.expires.take(),
                website_redirect_location: $input.website_redirect_location.take(),
                storage_class: $input
                    .storage_class
                    .take()
                    .map(|class| class.as_str().to_owned()),
                server_side_encryption: $input
                    .server_side_encryption
                    .take()
                    .map(|encryption| encryption.as_str().to_owned()),
                kms_key_id: $input.ssekms_key_id.take(),
            },
            metadata: $input.metadata.take().into_iter().flatten().collect(),
            tags: $crate::s3::convert::header_tags($input.tagging.as_deref())?,
        }
    };
}

/// The checksums that came in the request's headers.
macro_rules! sent_checksums {
    ($input:ident) => {
        $crate::store::Checksums {
            crc32: $input.checksum_crc32.take(),
            crc32c: $input.checksum_crc32c.take(),
            crc64nvme: $input.checksum_crc64nvme.take(),
            sha1: $input.checksum_sha1.take(),
            sha256: $input.checksum_sha256.take(),
            composite: false,
        }
    };
}

/// Puts checksums into an output.
macro_rules! give_checksums {
    ($output:expr, $checksums:expr) => {{
        let checksums: &$crate::store::Checksums = $checksums;
        $output.checksum_crc32 = checksums.crc32.clone();
        $output.checksum_crc32c = checksums.crc32c.clone();
        $output.checksum_sha1 = checksums.sha1.clone();
        $output.checksum_sha256 = checksums.sha256.clone();
    }};
}

pub(super) use {described, give_checksums, sent_checksums};

/// `aws-chunked` is how the body travelled, not what the object is.
pub(super) fn stored_encoding(encoding: Option<&str>) -> Option<String> {
    let kept: Vec<&str> = encoding?
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

/// Tags from `x-amz-tagging`, which is written as a query string.
pub(super) fn header_tags(header: Option<&str>) -> S3Result<Tags> {
    let tags = form_urlencoded::parse(header.unwrap_or_default().as_bytes())
        .into_owned()
        .collect();
    check_tags(tags, OBJECT_TAGS)
}

/// How many tags an object can have.
pub(super) const OBJECT_TAGS: usize = 10;
/// How many tags a bucket can have.
pub(super) const BUCKET_TAGS: usize = 50;

/// Tags from a `Tagging` document.
pub(super) fn document_tags(tags: Vec<Tag>, most: usize) -> S3Result<Tags> {
    let tags = tags
        .into_iter()
        .map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()))
        .collect();
    check_tags(tags, most)
}

fn check_tags(tags: Tags, most: usize) -> S3Result<Tags> {
    if tags.len() > most {
        return Err(unlisted(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            "There are more tags than the 10 an object, or the 50 a bucket, can have",
        ));
    }
    for (at, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || key.chars().count() > 128 {
            return Err(s3_error!(
                InvalidTag,
                "The TagKey you have provided is invalid"
            ));
        }
        if value.chars().count() > 256 {
            return Err(s3_error!(
                InvalidTag,
                "The TagValue you have provided is invalid"
            ));
        }
        if tags[..at].iter().any(|(known, _)| known == key) {
            return Err(s3_error!(
                InvalidTag,
                "Cannot provide multiple Tags with the same key"
            ));
        }
    }
    Ok(tags)
}

pub(super) fn tag_set(tags: &Tags) -> Vec<Tag> {
    tags.iter()
        .map(|(key, value)| Tag {
            key: Some(key.clone()),
            value: Some(value.clone()),
        })
        .collect()
}

pub(super) fn etag(object: &Object) -> ETag {
    ETag::Strong(object.etag.clone())
}

/// In whole seconds, as S3 keeps them: a listing and a header then agree.
pub(super) fn timestamp(ms: u64) -> Timestamp {
    Timestamp::from(UNIX_EPOCH + Duration::from_secs(ms / 1000))
}

pub(super) fn owner() -> Owner {
    Owner {
        display_name: Some("longshore".to_owned()),
        id: Some(ACCOUNT.to_owned()),
    }
}

/// S3 counts in signed numbers.
pub(super) fn size(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Versioning is off, where S3 calls the one version there is `null`.
pub(super) fn only_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(_) => Err(s3_error!(
            NoSuchVersion,
            "The specified version does not exist."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transfer_coding_is_not_the_objects() {
        for (sent, kept) in [
            (None, None),
            (Some("aws-chunked"), None),
            (Some("gzip"), Some("gzip")),
            (Some("aws-chunked,gzip"), Some("gzip")),
            (Some("gzip, aws-chunked"), Some("gzip")),
        ] {
            let got = stored_encoding(sent);
            assert_eq!(got.as_deref(), kept, "{sent:?}");
        }
    }

    #[test]
    fn tags_are_read_and_refused_as_s3_does() {
        let tags = header_tags(Some("a=1&b=x%20y&c=")).unwrap();
        let expected = [("a", "1"), ("b", "x y"), ("c", "")];
        assert_eq!(tags, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        for refused in ["a=1&a=2", "=1", &"k".repeat(129)] {
            let error = header_tags(Some(refused)).unwrap_err();
            assert_eq!(error.code().as_str(), "InvalidTag", "{refused}");
        }
        let eleven: Vec<String> = (0..11).map(|n| format!("k{n}=v")).collect();
        let error = header_tags(Some(&eleven.join("&"))).unwrap_err();
        assert_eq!(error.code().as_str(), "BadRequest");
    }
}
