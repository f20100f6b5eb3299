//! Tags of buckets and objects.

use s3s::dto::{
    DeleteBucketTaggingInput, DeleteBucketTaggingOutput, DeleteObjectTaggingInput,
    DeleteObjectTaggingOutput, GetBucketTaggingInput, GetBucketTaggingOutput,
    GetObjectTaggingInput, GetObjectTaggingOutput, PutBucketTaggingInput, PutBucketTaggingOutput,
    PutObjectTaggingInput, PutObjectTaggingOutput,
};
use s3s::{S3Request, S3Result, s3_error};

use super::convert::{BUCKET_TAGS, OBJECT_TAGS, document_tags, only_version, tag_set};
use super::{Embedded, blocking};
use crate::store::Tags;

pub(super) async fn get_bucket(
    s3: &Embedded,
    request: S3Request<GetBucketTaggingInput>,
) -> S3Result<GetBucketTaggingOutput> {
    let bucket = s3.store.bucket(&request.input.bucket)?;
    if bucket.tags.is_empty() {
        return Err(s3_error!(NoSuchTagSet, "The TagSet does not exist"));
    }
    Ok(GetBucketTaggingOutput {
        tag_set: tag_set(&bucket.tags),
    })
}

pub(super) async fn put_bucket(
    s3: &Embedded,
    request: S3Request<PutBucketTaggingInput>,
) -> S3Result<PutBucketTaggingOutput> {
    let input = request.input;
    let tags = document_tags(input.tagging.tag_set, BUCKET_TAGS)?;
    let store = s3.store.clone();
    blocking(move || store.tag_bucket(&input.bucket, tags)).await?;
    Ok(PutBucketTaggingOutput {})
}

pub(super) async fn delete_bucket(
    s3: &Embedded,
    request: S3Request<DeleteBucketTaggingInput>,
) -> S3Result<DeleteBucketTaggingOutput> {
    let store = s3.store.clone();
    blocking(move || store.tag_bucket(&request.input.bucket, Tags::new())).await?;
    Ok(DeleteBucketTaggingOutput {})
}

pub(super) async fn get_object(
    s3: &Embedded,
    request: S3Request<GetObjectTaggingInput>,
) -> S3Result<GetObjectTaggingOutput> {
    let input = request.input;
    only_version(input.version_id.as_deref())?;
    let object = s3.store.object(&input.bucket, &input.key)?;
    Ok(GetObjectTaggingOutput {
        tag_set: tag_set(&object.described.tags),
        version_id: None,
    })
}

pub(super) async fn put_object(
    s3: &Embedded,
    request: S3Request<PutObjectTaggingInput>,
) -> S3Result<PutObjectTaggingOutput> {
    let input = request.input;
    only_version(input.version_id.as_deref())?;
    let tags = document_tags(input.tagging.tag_set, OBJECT_TAGS)?;
    let store = s3.store.clone();
    blocking(move || store.tag_object(&input.bucket, &input.key, tags)).await?;
    Ok(PutObjectTaggingOutput::default())
}

pub(super) async fn delete_object(
    s3: &Embedded,
    request: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<DeleteObjectTaggingOutput> {
    let input = request.input;
    only_version(input.version_id.as_deref())?;
    let store = s3.store.clone();
    blocking(move || store.tag_object(&input.bucket, &input.key, Tags::new())).await?;
    Ok(DeleteObjectTaggingOutput::default())
}
