//! `PutObject`, and the conditions under which a write may replace what is there.

use s3s::dto::{ETag, ETagCondition, PutObjectInput, PutObjectOutput, ServerSideEncryption};
use s3s::{S3Error, S3Request, S3Result};

use super::convert::{described, give_checksums, sent_checksums};
use super::receive::{Claims, receive};
use super::{Embedded, blocking};
use crate::store::{Algorithm, Content, NewObject, Object, Origin};

/// When a write may go ahead.
#[derive(Clone, Debug, Default)]
pub(super) struct WriteCondition {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
}

const FAILED: &str = "At least one of the pre-conditions you specified did not hold";

impl WriteCondition {
    /// # Errors
    /// What to tell the client.
    pub(super) fn check(&self, before: Option<&Object>) -> Result<(), &'static str> {
        let holds = |condition: &ETagCondition| match (condition, before) {
            (_, None) => false,
            (ETagCondition::Any, Some(_)) => true,
            (ETagCondition::ETag(etag), Some(object)) => {
                etag.strong_cmp(&ETag::Strong(object.etag.clone()))
            }
        };
        if self.if_match.as_ref().is_some_and(|wanted| !holds(wanted))
            || self.if_none_match.as_ref().is_some_and(holds)
        {
            return Err(FAILED);
        }
        Ok(())
    }
}

pub(super) async fn put(
    s3: &Embedded,
    mut request: S3Request<PutObjectInput>,
) -> S3Result<PutObjectOutput> {
    // Before the body is read: a client that waits for 100-continue sends none.
    s3.store.bucket(&request.input.bucket)?;
    let input = &mut request.input;
    let (body, length, md5) = (
        input.body.take(),
        input.content_length,
        input.content_md5.take(),
    );
    let described = described!(input);
    let checksums = sent_checksums!(input);
    let condition = WriteCondition {
        if_match: input.if_match.take(),
        if_none_match: input.if_none_match.take(),
    };
    let also = input
        .checksum_algorithm
        .as_ref()
        .and_then(|algorithm| Algorithm::from_name(algorithm.as_str()));
    let claims = Claims::new(&request, length, md5, checksums, also);
    let received = receive(&s3.store, body, claims).await?;

    let (store, bucket) = (s3.store.clone(), request.input.bucket);
    let new = NewObject {
        key: request.input.key,
        etag: received.etag(),
        described,
        checksums: received.checksums,
        parts: Vec::new(),
        origin: Origin::Api,
    };
    let content = Content::Received {
        file: received.file,
        size: received.size,
    };
    let object =
        blocking(move || store.put(&bucket, content, new, |before| condition.check(before)))
            .await?;

    let mut output = PutObjectOutput {
        e_tag: Some(ETag::Strong(object.etag.clone())),
        checksum_type: object.checksums.kind().map(|kind| kind.to_owned().into()),
        checksum_crc64nvme: object.checksums.crc64nvme.clone(),
        server_side_encryption: encryption(&object),
        ssekms_key_id: object.described.headers.kms_key_id.clone(),
        ..PutObjectOutput::default()
    };
    give_checksums!(output, &object.checksums);
    Ok(output)
}

/// Nothing is encrypted here: what was asked for is said back, as S3 would.
pub(super) fn encryption(object: &Object) -> Option<ServerSideEncryption> {
    let headers = &object.described.headers;
    headers.server_side_encryption.clone().map(Into::into)
}

/// A request that S3 would not have understood either.
pub(super) fn invalid(message: &'static str) -> S3Error {
    S3Error::with_message(s3s::S3ErrorCode::InvalidArgument, message)
}
