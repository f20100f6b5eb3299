//! `ListParts` and `ListMultipartUploads`.

use s3s::dto::{
    ETag, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput,
    MultipartUpload, Part, StorageClass,
};
use s3s::{S3Request, S3Result, s3_error};

use super::Embedded;
use super::convert::{give_checksums, owner, size, timestamp};
use super::lists::Encoding;
use super::multipart::find;
use crate::store::hex;

/// Most lines on one page.
const MOST: i32 = 1000;

pub(super) async fn list_parts(
    s3: &Embedded,
    request: S3Request<ListPartsInput>,
) -> S3Result<ListPartsOutput> {
    let input = request.input;
    let upload = find(s3, &input.upload_id, &input.bucket, &input.key)?;
    let after = input.part_number_marker.unwrap_or(0);
    let limit = input.max_parts.unwrap_or(MOST).clamp(0, MOST);
    let limit_usize = usize::try_from(limit).unwrap_or(0);
    let following: Vec<_> = upload.parts.range(after.saturating_add(1)..).collect();
    let parts: Vec<Part> = following
        .iter()
        .take(limit_usize)
        .map(|(number, part)| {
            let mut line = Part {
                part_number: Some(**number),
                e_tag: Some(ETag::Strong(hex(&part.md5))),
                size: Some(size(part.size)),
                last_modified: Some(timestamp(part.modified_ms)),
                checksum_crc64nvme: part.checksums.crc64nvme.clone(),
                ..Part::default()
            };
            give_checksums!(line, &part.checksums);
            line
        })
        .collect();
    let more = following.len() > parts.len() && limit > 0;
    Ok(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        is_truncated: Some(more),
        max_parts: Some(limit),
        part_number_marker: input.part_number_marker,
        next_part_number_marker: parts
            .last()
            .and_then(|part| part.part_number)
            .filter(|_| more),
        parts: Some(parts),
        owner: Some(owner()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        ..ListPartsOutput::default()
    })
}

pub(super) async fn list_uploads(
    s3: &Embedded,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<ListMultipartUploadsOutput> {
    let input = request.input;
    s3.store.bucket(&input.bucket)?;
    if input.delimiter.is_some() {
        return Err(s3_error!(
            NotImplemented,
            "Listing uploads with a delimiter is not implemented"
        ));
    }
    let encode = Encoding::new(input.encoding_type.as_ref())?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let key_marker = input.key_marker.as_deref().unwrap_or_default();
    let id_marker = input.upload_id_marker.as_deref();
    let limit = input.max_uploads.unwrap_or(MOST).clamp(0, MOST);
    let limit_usize = usize::try_from(limit).unwrap_or(0);
    let following: Vec<_> = s3
        .store
        .uploads
        .of_bucket(&input.bucket)
        .into_iter()
        .filter(|(id, upload)| {
            let key = upload.key.as_str();
            key.starts_with(prefix)
                && (key > key_marker
                    || key == key_marker && id_marker.is_some_and(|marker| id.as_str() > marker))
        })
        .collect();
    let more = following.len() > limit_usize && limit > 0;
    let uploads: Vec<MultipartUpload> = following
        .iter()
        .take(limit_usize)
        .map(|(id, upload)| MultipartUpload {
            key: Some(encode.name(&upload.key)),
            upload_id: Some(id.clone()),
            initiated: Some(timestamp(upload.started_ms)),
            owner: Some(owner()),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..MultipartUpload::default()
        })
        .collect();
    let last = uploads.last().filter(|_| more);
    Ok(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        is_truncated: Some(more),
        max_uploads: Some(limit),
        next_key_marker: last.and_then(|upload| upload.key.clone()),
        next_upload_id_marker: last.and_then(|upload| upload.upload_id.clone()),
        prefix: input.prefix.as_deref().map(|prefix| encode.name(prefix)),
        key_marker: input
            .key_marker
            .as_deref()
            .map(|marker| encode.name(marker)),
        upload_id_marker: input.upload_id_marker,
        encoding_type: input.encoding_type,
        uploads: Some(uploads),
        ..ListMultipartUploadsOutput::default()
    })
}
