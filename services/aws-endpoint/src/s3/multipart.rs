//! Multipart uploads.

use std::fs::File;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Result, s3_error};

use super::convert::{described, etag, give_checksums, sent_checksums};
use super::receive::{Claims, receive};
use super::write::{WriteCondition, encryption};
use super::{Embedded, blocking};
use crate::store::{
    Algorithm, Checksums, Content, NewObject, Origin, Part as StoredPart, Store, StoreError,
    Upload, hex, now_ms,
};

/// All parts but the last must have as many bytes.
const LEAST_PART: u64 = 5 << 20;
const MOST_PARTS: i32 = 10_000;

pub(super) fn no_such_upload() -> S3Error {
    s3_error!(
        NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
    )
}

pub(super) fn part_number(number: i32) -> S3Result<i32> {
    if (1..=MOST_PARTS).contains(&number) {
        return Ok(number);
    }
    Err(s3_error!(
        InvalidArgument,
        "Part number must be an integer between 1 and {MOST_PARTS}, inclusive"
    ))
}

pub(super) fn find(s3: &Embedded, id: &str, bucket: &str, key: &str) -> S3Result<Upload> {
    s3.store.bucket(bucket)?;
    s3.store
        .uploads
        .get(id, bucket, key)
        .ok_or_else(no_such_upload)
}

pub(super) async fn create(
    s3: &Embedded,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<CreateMultipartUploadOutput> {
    let mut input = request.input;
    s3.store.bucket(&input.bucket)?;
    let algorithm = match &input.checksum_algorithm {
        None => None,
        Some(name) => Some(Algorithm::from_name(name.as_str()).ok_or_else(|| {
            s3_error!(
                InvalidRequest,
                "Checksum algorithm provided is unsupported."
            )
        })?),
    };
    let kind = input.checksum_type.as_ref().map(|kind| kind.as_str());
    // CRC64NVME exists over whole objects only.
    let full_object = kind == Some("FULL_OBJECT") || algorithm == Some(Algorithm::Crc64Nvme);
    let upload = Upload {
        bucket: input.bucket.clone(),
        key: input.key.clone(),
        described: described!(input),
        algorithm,
        full_object,
        started_ms: now_ms(),
        parts: std::collections::BTreeMap::new(),
    };
    let id = s3.store.uploads.start(upload);
    let kind = if full_object {
        "FULL_OBJECT"
    } else {
        "COMPOSITE"
    };
    Ok(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id),
        checksum_type: algorithm.map(|_| kind.to_owned().into()),
        checksum_algorithm: input.checksum_algorithm,
        ..CreateMultipartUploadOutput::default()
    })
}

pub(super) async fn part(
    s3: &Embedded,
    mut request: S3Request<UploadPartInput>,
) -> S3Result<UploadPartOutput> {
    let input = &mut request.input;
    let number = part_number(input.part_number)?;
    let upload = find(s3, &input.upload_id, &input.bucket, &input.key)?;
    let (body, length, md5) = (
        input.body.take(),
        input.content_length,
        input.content_md5.take(),
    );
    let checksums = sent_checksums!(input);
    let claims = Claims::new(&request, length, md5, checksums, upload.algorithm);
    let received = receive(&s3.store, body, claims).await?;

    let mut output = UploadPartOutput {
        e_tag: Some(ETag::Strong(received.etag())),
        checksum_crc64nvme: received.checksums.crc64nvme.clone(),
        ..UploadPartOutput::default()
    };
    give_checksums!(output, &received.checksums);
    let part = StoredPart {
        file: received.file,
        size: received.size,
        md5: received.md5,
        checksums: received.checksums,
        modified_ms: now_ms(),
    };
    if !s3
        .store
        .uploads
        .add_part(&request.input.upload_id, number, part)
    {
        return Err(no_such_upload());
    }
    Ok(output)
}

pub(super) async fn complete(
    s3: &Embedded,
    mut request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<CompleteMultipartUploadOutput> {
    let input = &mut request.input;
    let upload = find(s3, &input.upload_id, &input.bucket, &input.key)?;
    let named = input
        .multipart_upload
        .take()
        .and_then(|upload| upload.parts)
        .unwrap_or_default();
    let parts = chosen(&upload, &named)?;
    let total: u64 = parts.iter().map(|part| part.size).sum();
    if let Some(claimed) = input.mpu_object_size
        && u64::try_from(claimed) != Ok(total)
    {
        return Err(s3_error!(
            InvalidRequest,
            "The provided 'x-amz-mp-object-size' header does not match what was computed."
        ));
    }
    let claimed = sent_checksums!(input);
    let condition = WriteCondition {
        if_match: input.if_match.take(),
        if_none_match: input.if_none_match.take(),
    };
    let (store, id) = (s3.store.clone(), request.input.upload_id);
    let (bucket, key) = (request.input.bucket, request.input.key);
    let object = blocking(move || {
        let received = join(&store, &parts, &upload)?;
        let checksums = if upload.full_object {
            received.checksums.clone()
        } else {
            composite(&parts, upload.algorithm)
        };
        for algorithm in Algorithm::ALL {
            if let (Some(claimed), Some(computed)) =
                (claimed.get(algorithm), checksums.get(algorithm))
                && claimed != computed
            {
                return Err(s3_error!(
                    BadDigest,
                    "The {} you specified did not match the calculated checksum.",
                    algorithm.name()
                ));
            }
        }
        let new = NewObject {
            key,
            etag: etag_of_parts(&parts),
            described: upload.described,
            checksums,
            parts: parts.iter().map(|part| part.size).collect(),
            origin: Origin::Api,
        };
        let content = Content::Received {
            file: received.file,
            size: received.size,
        };
        let object = store.put(&bucket, content, new, |before| condition.check(before))?;
        store.uploads.end(&id);
        Ok::<_, S3Error>((bucket, object))
    })
    .await;
    let (bucket, object) = object?;

    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!("/{bucket}/{}", object.key)),
        bucket: Some(bucket),
        key: Some(object.key.clone()),
        e_tag: Some(etag(&object)),
        checksum_crc64nvme: object.checksums.crc64nvme.clone(),
        checksum_type: object.checksums.kind().map(|kind| kind.to_owned().into()),
        server_side_encryption: encryption(&object),
        ..CompleteMultipartUploadOutput::default()
    };
    give_checksums!(output, &object.checksums);
    Ok(output)
}

/// The parts that the client named, if it named them rightly.
fn chosen(upload: &Upload, named: &[CompletedPart]) -> S3Result<Vec<Arc<StoredPart>>> {
    if named.is_empty() {
        return Err(s3_error!(
            MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema"
        ));
    }
    let mut parts = Vec::with_capacity(named.len());
    let mut before = 0;
    for part in named {
        let number = part.part_number.unwrap_or_default();
        if number <= before {
            return Err(s3_error!(
                InvalidPartOrder,
                "The list of parts was not in ascending order. Parts must be ordered by part number."
            ));
        }
        before = number;
        let stored = upload.parts.get(&number).filter(|stored| {
            let tag = part.e_tag.as_ref().map(ETag::value);
            let sums = [
                (&part.checksum_crc32, &stored.checksums.crc32),
                (&part.checksum_crc32c, &stored.checksums.crc32c),
                (&part.checksum_sha1, &stored.checksums.sha1),
                (&part.checksum_sha256, &stored.checksums.sha256),
            ];
            tag.is_none_or(|tag| tag == hex(&stored.md5))
                && sums
                    .iter()
                    .all(|(named, had)| named.is_none() || had.is_none() || named == had)
        });
        let stored = stored.ok_or_else(|| {
            s3_error!(
                InvalidPart,
                "One or more of the specified parts could not be found. The part {number} may not have been uploaded, or the specified entity tag may not match the part's entity tag."
            )
        })?;
        parts.push(stored.clone());
    }
    let (_, all_but_last) = parts.split_last().unwrap_or((&parts[0], &[]));
    if all_but_last.iter().any(|part| part.size < LEAST_PART) {
        return Err(s3_error!(
            EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size"
        ));
    }
    Ok(parts)
}

/// One file and, if it is asked for, one checksum over it.
struct Joined {
    file: crate::store::TemporaryFile,
    size: u64,
    checksums: Checksums,
}

fn join(store: &Store, parts: &[Arc<StoredPart>], upload: &Upload) -> S3Result<Joined> {
    let failed = |source| StoreError::Io {
        doing: "join the parts of an upload",
        source,
    };
    let algorithm = upload.algorithm.filter(|_| upload.full_object);
    let mut draft = store.draft(algorithm.as_slice())?;
    for part in parts {
        let mut file = File::open(part.file.path()).map_err(failed)?;
        match algorithm {
            Some(_) => draft.write_from(&mut file),
            // The parts were hashed as they came: the system copies file to file.
            None => draft.append_file(&mut file),
        }
        .map_err(failed)?;
    }
    let received = draft.finish();
    Ok(Joined {
        file: received.file,
        size: received.size,
        checksums: received.checksums,
    })
}

/// The MD5 of the parts' MD5s, and how many there were.
fn etag_of_parts(parts: &[Arc<StoredPart>]) -> String {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(&part.md5);
    }
    format!("{}-{}", hex(&md5.finalize()), parts.len())
}

/// The checksum of the parts' checksums, and how many there were.
fn composite(parts: &[Arc<StoredPart>], algorithm: Option<Algorithm>) -> Checksums {
    let mut checksums = Checksums {
        composite: true,
        ..Checksums::default()
    };
    let Some(algorithm) = algorithm else {
        return checksums;
    };
    let mut hasher = ChecksumHasher::default();
    algorithm.enable(&mut hasher);
    for part in parts {
        let Some(raw) = part
            .checksums
            .get(algorithm)
            .and_then(|sum| STANDARD.decode(sum).ok())
        else {
            return checksums;
        };
        hasher.update(&raw);
    }
    let joined = Checksums::from(hasher.finalize());
    if let Some(sum) = joined.get(algorithm) {
        checksums.set(algorithm, format!("{sum}-{}", parts.len()));
    }
    checksums
}

pub(super) async fn abort(
    s3: &Embedded,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<AbortMultipartUploadOutput> {
    let input = request.input;
    find(s3, &input.upload_id, &input.bucket, &input.key)?;
    let store = s3.store.clone();
    // Removes the parts' files.
    let ended = blocking(move || Ok::<_, S3Error>(store.uploads.end(&input.upload_id))).await?;
    if !ended {
        return Err(no_such_upload());
    }
    Ok(AbortMultipartUploadOutput::default())
}
