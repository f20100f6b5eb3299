//! `GetObject` and `HeadObject`: conditions, ranges, parts, and bytes streamed from the
//! file in large chunks with one read ahead.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, StatusCode};
use s3s::dto::{
    ETag, ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput,
    StreamingBlob, Timestamp,
};
use s3s::{S3Error, S3Request, S3Result, s3_error};
use tokio::task::JoinHandle;

use super::convert::{etag, give_checksums, only_version, size, timestamp};
use super::write::encryption;
use super::{Embedded, blocking, unlisted};
use crate::store::{Object, StoreError};

/// Bytes read at a time: large enough that a core can move over a gigabyte a second,
/// small enough that a slow reader holds next to nothing.
const CHUNK: usize = 256 << 10;

/// When a read is answered with the object. Also the source side of a copy.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadCondition {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) if_modified_since: Option<Timestamp>,
    pub(super) if_unmodified_since: Option<Timestamp>,
}

/// Why a read is not answered with the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unmet {
    Failed,
    NotModified,
}

impl ReadCondition {
    /// In the order of RFC 9110 §13.2.2: an ETag outranks the date beside it.
    pub(super) fn check(&self, object: &Object) -> Result<(), Unmet> {
        let (tag, modified) = (etag(object), timestamp(object.modified_ms));
        let matches = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(wanted) => wanted.weak_cmp(&tag),
        };
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(wanted), _) if !matches(wanted) => return Err(Unmet::Failed),
            (None, Some(since)) if modified > *since => return Err(Unmet::Failed),
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(unwanted), _) if matches(unwanted) => Err(Unmet::NotModified),
            (None, Some(since)) if modified <= *since => Err(Unmet::NotModified),
            _ => Ok(()),
        }
    }

    fn answer(&self, object: &Object) -> S3Result<()> {
        self.check(object).map_err(|unmet| match unmet {
            Unmet::Failed => s3_error!(
                PreconditionFailed,
                "At least one of the pre-conditions you specified did not hold"
            ),
            Unmet::NotModified => {
                let mut answer = s3_error!(NotModified);
                let mut headers = HeaderMap::new();
                if let Ok(value) = ETag::Strong(object.etag.clone()).to_http_header() {
                    headers.insert(http::header::ETAG, value);
                }
                answer.set_headers(headers);
                answer
            }
        })
    }
}

/// Which bytes of an object are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slice {
    bytes: Range<u64>,
    /// As in `Content-Range`; none for the whole object.
    content_range: Option<String>,
}

fn slice(object: &Object, range: Option<s3s::dto::Range>, part: Option<i32>) -> S3Result<Slice> {
    let bytes = match (range, part) {
        (None, None) => {
            return Ok(Slice {
                bytes: 0..object.size,
                content_range: None,
            });
        }
        (Some(_), Some(_)) => {
            return Err(s3_error!(
                InvalidRequest,
                "Cannot specify both Range header and partNumber query parameter"
            ));
        }
        (Some(range), None) => range
            .check(object.size)
            .map_err(|_| s3_error!(InvalidRange, "The requested range is not satisfiable"))?,
        (None, Some(part)) => {
            let whole = [object.size];
            let parts = if object.parts.is_empty() {
                &whole[..]
            } else {
                &object.parts
            };
            let at = usize::try_from(part - 1).unwrap_or(usize::MAX);
            let size = *parts.get(at).ok_or_else(|| {
                unlisted(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    "InvalidPartNumber",
                    "The requested partnumber is not satisfiable",
                )
            })?;
            let start: u64 = parts[..at].iter().sum();
            start..start + size
        }
    };
    let last = bytes.end.saturating_sub(1);
    let content_range = Some(format!("bytes {}-{last}/{}", bytes.start, object.size));
    Ok(Slice {
        bytes,
        content_range,
    })
}

/// Fills what `GetObject` and `HeadObject` say alike.
macro_rules! describe {
    ($output:ident, $object:ident, $slice:ident, $checksums:expr) => {{
        let headers = &$object.described.headers;
        $output.accept_ranges = Some("bytes".to_owned());
        $output.content_length = Some(size($slice.bytes.end - $slice.bytes.start));
        $output.content_range = $slice.content_range.clone();
        $output.e_tag = Some(etag(&$object));
        $output.last_modified = Some(timestamp($object.modified_ms));
        $output.content_type = Some(
            headers
                .content_type
                .clone()
                .unwrap_or_else(|| "binary/octet-stream".to_owned()),
        );
        $output.content_encoding = headers.content_encoding.clone();
        $output.content_disposition = headers.content_disposition.clone();
        $output.content_language = headers.content_language.clone();
        $output.cache_control = headers.cache_control.clone();
        $output.expires = headers.expires.clone();
        $output.website_redirect_location = headers.website_redirect_location.clone();
        // S3 leaves the header out for the standard class.
        $output.storage_class = headers
            .storage_class
            .clone()
            .filter(|class| class != "STANDARD")
            .map(Into::into);
        $output.server_side_encryption = encryption(&$object);
        $output.ssekms_key_id = headers.kms_key_id.clone();
        $output.metadata = Some($object.described.metadata.clone().into_iter().collect());
        if $checksums && $slice.content_range.is_none() {
            give_checksums!($output, &$object.checksums);
            $output.checksum_crc64nvme = $object.checksums.crc64nvme.clone();
            $output.checksum_type = $object.checksums.kind().map(|kind| kind.to_owned().into());
        }
    }};
}

/// Whether checksums were asked for.
fn wants_checksums(mode: Option<&s3s::dto::ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str().eq_ignore_ascii_case("ENABLED"))
}

fn parts_count(object: &Object, part: Option<i32>) -> Option<i32> {
    part?;
    let count = i32::try_from(object.parts.len()).ok()?;
    (count > 0).then_some(count)
}

pub(super) async fn get(
    s3: &Embedded,
    request: S3Request<GetObjectInput>,
) -> S3Result<GetObjectOutput> {
    let input = request.input;
    only_version(input.version_id.as_deref())?;
    let condition = ReadCondition {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    let (store, bucket, key) = (s3.store.clone(), input.bucket, input.key);
    let (range, part) = (input.range, input.part_number);
    let (object, slice, body) = blocking(move || {
        let (object, file) = store.open_object(&bucket, &key)?;
        condition.answer(&object)?;
        let slice = slice(&object, range, part)?;
        let first = read(&file, &slice.bytes).map_err(|source| StoreError::Io {
            doing: "read an object",
            source,
        })?;
        let rest = slice.bytes.start + first.len() as u64..slice.bytes.end;
        Ok::<_, S3Error>((object, slice, Body { file, first, rest }))
    })
    .await?;

    let mut output = GetObjectOutput {
        body: Some(body.into_stream()),
        parts_count: parts_count(&object, part),
        tag_count: i32::try_from(object.described.tags.len())
            .ok()
            .filter(|&count| count > 0),
        ..GetObjectOutput::default()
    };
    describe!(
        output,
        object,
        slice,
        wants_checksums(input.checksum_mode.as_ref())
    );
    Ok(output)
}

pub(super) async fn head(
    s3: &Embedded,
    request: S3Request<HeadObjectInput>,
) -> S3Result<HeadObjectOutput> {
    let input = request.input;
    only_version(input.version_id.as_deref())?;
    let condition = ReadCondition {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    let object = s3.store.object(&input.bucket, &input.key)?;
    condition.answer(&object)?;
    let slice = slice(&object, input.range, input.part_number)?;
    let mut output = HeadObjectOutput {
        parts_count: parts_count(&object, input.part_number),
        ..HeadObjectOutput::default()
    };
    describe!(
        output,
        object,
        slice,
        wants_checksums(input.checksum_mode.as_ref())
    );
    Ok(output)
}

/// The first chunk, read when the file was opened, and the rest of what was asked for.
struct Body {
    file: File,
    first: Bytes,
    rest: Range<u64>,
}

/// What the next step of the stream does.
enum Step {
    Give(Bytes),
    Await(JoinHandle<io::Result<Bytes>>),
}

impl Body {
    fn into_stream(self) -> StreamingBlob {
        let file = Arc::new(self.file);
        let mut rest = self.rest;
        let mut next = Some(Step::Give(self.first));
        let chunks = stream::poll_fn(move |context| {
            use std::task::Poll;
            let bytes = match next.take() {
                None => return Poll::Ready(None),
                Some(Step::Give(bytes)) => Ok(bytes),
                Some(Step::Await(mut task)) => {
                    match std::future::Future::poll(std::pin::Pin::new(&mut task), context) {
                        Poll::Pending => {
                            next = Some(Step::Await(task));
                            return Poll::Pending;
                        }
                        Poll::Ready(read) => read.unwrap_or_else(|error| Err(error.into())),
                    }
                }
            };
            // The next chunk is read while this one is on its way to the socket.
            if bytes.is_ok() && !rest.is_empty() {
                let (file, wanted) = (file.clone(), rest.clone());
                rest.start = (rest.start + CHUNK as u64).min(rest.end);
                let task = tokio::task::spawn_blocking(move || read(&file, &wanted));
                next = Some(Step::Await(task));
            }
            Poll::Ready(Some(bytes))
        });
        StreamingBlob::wrap(chunks)
    }
}

/// Reads up to a chunk from the start of `range`.
fn read(file: &File, range: &Range<u64>) -> io::Result<Bytes> {
    let wanted = usize::try_from(range.end - range.start).map_or(CHUNK, |left| left.min(CHUNK));
    let mut chunk = vec![0; wanted];
    file.read_exact_at(&mut chunk, range.start)?;
    Ok(chunk.into())
}
