//! `CopyObject` and `UploadPartCopy`. A whole copy shares the file of its source: files
//! never change, so a copy of any size takes no time and no room.

use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource, ETag,
    UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3Error, S3Request, S3Result, s3_error};

use super::convert::{described, etag, give_checksums, only_version, timestamp};
use super::multipart::{no_such_upload, part_number};
use super::read::ReadCondition;
use super::write::{encryption, invalid};
use super::{Embedded, blocking};
use crate::store::{
    Algorithm, Content, Described, NewObject, Object, Origin, Part, Store, StoreError, now_ms,
};

/// Bucket and key of the object to copy.
fn source(source: &CopySource) -> S3Result<(String, String)> {
    match source {
        CopySource::Bucket {
            bucket,
            key,
            version_id,
        } => {
            only_version(version_id.as_deref())?;
            Ok((bucket.to_string(), key.to_string()))
        }
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => Err(s3_error!(
            NotImplemented,
            "Copying from an access point or an outpost is not implemented"
        )),
    }
}

fn check_source(condition: &ReadCondition, object: &Object) -> S3Result<()> {
    condition.check(object).map_err(|_| {
        s3_error!(
            PreconditionFailed,
            "At least one of the pre-conditions you specified did not hold"
        )
    })
}

/// Whether a directive says to take what the request says over what the source has.
fn replaces(directive: Option<&str>) -> S3Result<bool> {
    match directive {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(_) => Err(invalid("Unknown metadata or tagging directive.")),
    }
}

pub(super) async fn copy(
    s3: &Embedded,
    mut request: S3Request<CopyObjectInput>,
) -> S3Result<CopyObjectOutput> {
    let input = &mut request.input;
    let (from_bucket, from_key) = source(&input.copy_source)?;
    let condition = ReadCondition {
        if_match: input.copy_source_if_match.take(),
        if_none_match: input.copy_source_if_none_match.take(),
        if_modified_since: input.copy_source_if_modified_since.take(),
        if_unmodified_since: input.copy_source_if_unmodified_since.take(),
    };
    let directive = input.metadata_directive.as_ref().map(|it| it.as_str());
    let new_metadata = replaces(directive)?;
    let directive = input.tagging_directive.as_ref().map(|it| it.as_str());
    let new_tags = replaces(directive)?;
    let given: Described = described!(input);
    let algorithm = input
        .checksum_algorithm
        .as_ref()
        .and_then(|algorithm| Algorithm::from_name(algorithm.as_str()));
    let (bucket, key) = (request.input.bucket, request.input.key);
    let changes = new_metadata
        || given.headers.storage_class.is_some()
        || given.headers.website_redirect_location.is_some()
        || given.headers.server_side_encryption.is_some();
    if (&bucket, &key) == (&from_bucket, &from_key) && !changes {
        return Err(s3_error!(
            InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes."
        ));
    }

    let store = s3.store.clone();
    let object = blocking(move || {
        let (object, file) = store.open_object(&from_bucket, &from_key)?;
        check_source(&condition, &object)?;
        let described = copied(&object, given, new_metadata, new_tags);
        let missing = algorithm.filter(|&one| object.checksums.get(one).is_none());
        let (content, checksums) = match missing {
            None => {
                let checksums = object.checksums.clone();
                let content = Content::SameAs {
                    bucket: from_bucket,
                    object: object.clone(),
                };
                (content, checksums)
            }
            // A checksum the source does not have takes reading it.
            Some(algorithm) => {
                let mut draft = store.draft(&[algorithm])?;
                draft.write_from(file).map_err(io_failed)?;
                let received = draft.finish();
                let content = Content::Received {
                    file: received.file,
                    size: received.size,
                };
                (content, received.checksums)
            }
        };
        let new = NewObject {
            key,
            etag: object.etag.clone(),
            described,
            checksums,
            parts: object.parts.clone(),
            origin: Origin::Api,
        };
        store
            .put(&bucket, content, new, |_| Ok(()))
            .map_err(S3Error::from)
    })
    .await?;

    let mut result = CopyObjectResult {
        e_tag: Some(etag(&object)),
        last_modified: Some(timestamp(object.modified_ms)),
        checksum_crc64nvme: object.checksums.crc64nvme.clone(),
        checksum_type: object.checksums.kind().map(|kind| kind.to_owned().into()),
        ..CopyObjectResult::default()
    };
    give_checksums!(result, &object.checksums);
    Ok(CopyObjectOutput {
        copy_object_result: Some(result),
        server_side_encryption: encryption(&object),
        ssekms_key_id: object.described.headers.kms_key_id.clone(),
        ..CopyObjectOutput::default()
    })
}

/// What the copy says of itself. Class, redirect and encryption are never taken over.
fn copied(source: &Object, given: Described, new_metadata: bool, new_tags: bool) -> Described {
    let mut described = if new_metadata {
        given.clone()
    } else {
        source.described.clone()
    };
    described.tags = if new_tags {
        given.tags
    } else {
        source.described.tags.clone()
    };
    described.headers.storage_class = given.headers.storage_class;
    described.headers.website_redirect_location = given.headers.website_redirect_location;
    described.headers.server_side_encryption = given.headers.server_side_encryption;
    described.headers.kms_key_id = given.headers.kms_key_id;
    described
}

pub(super) async fn part(
    s3: &Embedded,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<UploadPartCopyOutput> {
    let input = request.input;
    let number = part_number(input.part_number)?;
    let (from_bucket, from_key) = source(&input.copy_source)?;
    let condition = ReadCondition {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    };
    let upload = s3
        .store
        .uploads
        .get(&input.upload_id, &input.bucket, &input.key)
        .ok_or_else(no_such_upload)?;
    let (store, range) = (s3.store.clone(), input.copy_source_range);
    let algorithms: Vec<Algorithm> = upload.algorithm.into_iter().collect();
    let part = blocking(move || {
        copy_part(
            &store,
            (&from_bucket, &from_key),
            &condition,
            range.as_deref(),
            &algorithms,
        )
    })
    .await?;

    let mut result = CopyPartResult {
        e_tag: Some(ETag::Strong(crate::store::hex(&part.md5))),
        last_modified: Some(timestamp(part.modified_ms)),
        ..CopyPartResult::default()
    };
    give_checksums!(result, &part.checksums);
    if !s3.store.uploads.add_part(&input.upload_id, number, part) {
        return Err(no_such_upload());
    }
    Ok(UploadPartCopyOutput {
        copy_part_result: Some(result),
        ..UploadPartCopyOutput::default()
    })
}

fn copy_part(
    store: &Arc<Store>,
    (bucket, key): (&str, &str),
    condition: &ReadCondition,
    range: Option<&str>,
    algorithms: &[Algorithm],
) -> S3Result<Part> {
    let (object, file) = store.open_object(bucket, key)?;
    check_source(condition, &object)?;
    let range = source_range(range, object.size)?;
    let mut draft = store.draft(algorithms)?;
    let reader = Section {
        file: &file,
        left: range,
    };
    draft.write_from(reader).map_err(io_failed)?;
    let received = draft.finish();
    Ok(Part {
        file: received.file,
        size: received.size,
        md5: received.md5,
        checksums: received.checksums,
        modified_ms: now_ms(),
    })
}

/// `bytes=first-last`: unlike in a read, both are needed and both must exist.
fn source_range(range: Option<&str>, size: u64) -> S3Result<Range<u64>> {
    let Some(range) = range else {
        return Ok(0..size);
    };
    let parsed = range
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
        .and_then(|(first, last)| Some(first.parse::<u64>().ok()?..=last.parse::<u64>().ok()?))
        .filter(|range| !range.is_empty())
        .ok_or_else(|| {
            invalid("The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
        })?;
    if *parsed.end() >= size {
        return Err(s3_error!(
            InvalidArgument,
            "Range specified is not valid for source object of size: {size}"
        ));
    }
    Ok(*parsed.start()..parsed.end() + 1)
}

fn io_failed(source: std::io::Error) -> S3Error {
    StoreError::Io {
        doing: "copy an object",
        source,
    }
    .into()
}

/// Reads one section of a file.
struct Section<'a> {
    file: &'a std::fs::File,
    left: Range<u64>,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..most], self.left.start)?;
        self.left.start += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_range_must_exist_in_full() {
        for (range, expected) in [
            (None, Some(0..10)),
            (Some("bytes=0-9"), Some(0..10)),
            (Some("bytes=3-3"), Some(3..4)),
            (Some("bytes=3-10"), None),
            (Some("bytes=5-3"), None),
            (Some("3-4"), None),
        ] {
            match source_range(range, 10) {
                Ok(got) => assert_eq!(Some(got), expected, "{range:?}"),
                Err(error) => {
                    assert_eq!(expected, None, "{range:?}");
                    assert_eq!(error.code().as_str(), "InvalidArgument", "{range:?}");
                }
            }
        }
    }
}
