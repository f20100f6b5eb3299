//! `ListObjects`, `ListObjectsV2` and `ListObjectVersions` as three faces of one page.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{
    CommonPrefix, EncodingType, ListObjectVersionsInput, ListObjectVersionsOutput,
    ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object as Line,
    ObjectStorageClass, ObjectVersion, ObjectVersionStorageClass,
};
use s3s::{S3Request, S3Result, s3_error};

use super::Embedded;
use super::convert::{etag, owner, size, timestamp};
use super::write::invalid;
use crate::listing::{Entry, Page, Query, page};
use crate::store::Object;

/// Most names on one page.
const MOST: i32 = 1000;

/// What `encoding-type=url` leaves as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/')
    .remove(b'*');

/// How names are written: XML cannot hold every key as it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    pub(super) fn new(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self::Plain),
            Some("url") => Ok(Self::Url),
            Some(_) => Err(invalid("Invalid Encoding Method specified in Request")),
        }
    }

    pub(super) fn name(self, name: &str) -> String {
        match self {
            Self::Plain => name.to_owned(),
            Self::Url => utf8_percent_encode(name, PLAIN).to_string(),
        }
    }
}

fn limit(asked: Option<i32>) -> S3Result<i32> {
    match asked.unwrap_or(MOST) {
        negative if negative < 0 => Err(s3_error!(
            InvalidArgument,
            "Argument maxKeys must be an integer between 0 and 2147483647"
        )),
        asked => Ok(asked.min(MOST)),
    }
}

fn look(s3: &Embedded, bucket: &str, query: &Query<'_>) -> S3Result<Page> {
    Ok(s3
        .store
        .with_objects(bucket, |objects| page(objects, query))?)
}

/// What the three answers have in common.
struct Lines {
    contents: Vec<Line>,
    prefixes: Vec<CommonPrefix>,
}

fn lines(page: &Page, encoding: Encoding, with_owner: bool) -> Lines {
    let mut lines = Lines {
        contents: Vec::new(),
        prefixes: Vec::new(),
    };
    for entry in &page.entries {
        match entry {
            Entry::Object(object) => lines.contents.push(line(object, encoding, with_owner)),
            Entry::Prefix(prefix) => lines.prefixes.push(CommonPrefix {
                prefix: Some(encoding.name(prefix)),
            }),
        }
    }
    lines
}

fn storage_class(object: &Object) -> String {
    let class = object.described.headers.storage_class.clone();
    class.unwrap_or_else(|| ObjectStorageClass::STANDARD.to_owned())
}

fn line(object: &Object, encoding: Encoding, with_owner: bool) -> Line {
    Line {
        key: Some(encoding.name(&object.key)),
        e_tag: Some(etag(object)),
        last_modified: Some(timestamp(object.modified_ms)),
        size: Some(size(object.size)),
        storage_class: Some(storage_class(object).into()),
        owner: with_owner.then(owner),
        ..Line::default()
    }
}

pub(super) async fn v1(
    s3: &Embedded,
    request: S3Request<ListObjectsInput>,
) -> S3Result<ListObjectsOutput> {
    let input = request.input;
    let encoding = Encoding::new(input.encoding_type.as_ref())?;
    let limit = limit(input.max_keys)?;
    let query = Query {
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: input.delimiter.as_deref(),
        after: input.marker.as_deref().filter(|marker| !marker.is_empty()),
        limit: usize::try_from(limit).unwrap_or(0),
    };
    let page = look(s3, &input.bucket, &query)?;
    let lines = lines(&page, encoding, true);
    Ok(ListObjectsOutput {
        is_truncated: Some(page.next.is_some()),
        // Without a delimiter S3 leaves it out: the last key is the marker.
        next_marker: page
            .next
            .filter(|_| query.delimiter.is_some())
            .map(|next| encoding.name(&next)),
        prefix: Some(encoding.name(query.prefix)),
        delimiter: query.delimiter.map(|delimiter| encoding.name(delimiter)),
        marker: Some(encoding.name(input.marker.as_deref().unwrap_or_default())),
        max_keys: Some(limit),
        contents: Some(lines.contents),
        common_prefixes: Some(lines.prefixes),
        encoding_type: input.encoding_type,
        name: Some(input.bucket),
        ..ListObjectsOutput::default()
    })
}

pub(super) async fn v2(
    s3: &Embedded,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<ListObjectsV2Output> {
    let input = request.input;
    let encoding = Encoding::new(input.encoding_type.as_ref())?;
    let limit = limit(input.max_keys)?;
    let token = match &input.continuation_token {
        None => None,
        Some(token) => Some(
            read_token(token)
                .ok_or_else(|| invalid("The continuation token provided is incorrect"))?,
        ),
    };
    let query = Query {
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: input.delimiter.as_deref(),
        after: token
            .as_deref()
            .or(input.start_after.as_deref())
            .filter(|after| !after.is_empty()),
        limit: usize::try_from(limit).unwrap_or(0),
    };
    let page = look(s3, &input.bucket, &query)?;
    let lines = lines(&page, encoding, input.fetch_owner == Some(true));
    Ok(ListObjectsV2Output {
        key_count: i32::try_from(page.entries.len()).ok(),
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next.as_deref().map(write_token),
        prefix: Some(encoding.name(query.prefix)),
        delimiter: query.delimiter.map(|delimiter| encoding.name(delimiter)),
        start_after: input
            .start_after
            .as_deref()
            .map(|after| encoding.name(after)),
        max_keys: Some(limit),
        contents: Some(lines.contents),
        common_prefixes: Some(lines.prefixes),
        continuation_token: input.continuation_token,
        encoding_type: input.encoding_type,
        name: Some(input.bucket),
        ..ListObjectsV2Output::default()
    })
}

/// Versioning is off: every object is its only version, and is called `null`.
pub(super) async fn versions(
    s3: &Embedded,
    request: S3Request<ListObjectVersionsInput>,
) -> S3Result<ListObjectVersionsOutput> {
    let input = request.input;
    let encoding = Encoding::new(input.encoding_type.as_ref())?;
    let limit = limit(input.max_keys)?;
    let query = Query {
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: input.delimiter.as_deref(),
        after: input
            .key_marker
            .as_deref()
            .filter(|marker| !marker.is_empty()),
        limit: usize::try_from(limit).unwrap_or(0),
    };
    let page = look(s3, &input.bucket, &query)?;
    let lines = lines(&page, encoding, true);
    let versions = page.entries.iter().filter_map(|entry| match entry {
        Entry::Prefix(_) => None,
        Entry::Object(object) => Some(ObjectVersion {
            key: Some(encoding.name(&object.key)),
            e_tag: Some(etag(object)),
            is_latest: Some(true),
            last_modified: Some(timestamp(object.modified_ms)),
            size: Some(size(object.size)),
            storage_class: Some(ObjectVersionStorageClass::from(storage_class(object))),
            version_id: Some("null".to_owned()),
            owner: Some(owner()),
            ..ObjectVersion::default()
        }),
    });
    Ok(ListObjectVersionsOutput {
        versions: Some(versions.collect()),
        is_truncated: Some(page.next.is_some()),
        next_version_id_marker: page.next.as_ref().map(|_| "null".to_owned()),
        next_key_marker: page.next.as_deref().map(|next| encoding.name(next)),
        prefix: Some(encoding.name(query.prefix)),
        delimiter: query.delimiter.map(|delimiter| encoding.name(delimiter)),
        key_marker: Some(encoding.name(input.key_marker.as_deref().unwrap_or_default())),
        max_keys: Some(limit),
        common_prefixes: Some(lines.prefixes),
        encoding_type: input.encoding_type,
        name: Some(input.bucket),
        ..ListObjectVersionsOutput::default()
    })
}

fn write_token(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(name)
}

fn read_token(token: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_encoded_names_decode_to_themselves() {
        for (name, written) in [
            ("a/b-c_d.e~f*g", "a/b-c_d.e~f*g"),
            ("a b+c%d&é", "a%20b%2Bc%25d%26%C3%A9"),
        ] {
            assert_eq!(Encoding::Url.name(name), written);
            assert_eq!(Encoding::Plain.name(name), name);
        }
    }
}
