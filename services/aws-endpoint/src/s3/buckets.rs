//! Buckets themselves: create, delete, list, and where they are.

use s3s::dto::{
    Bucket, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput,
    DeleteBucketOutput, GetBucketLocationInput, GetBucketLocationOutput, HeadBucketInput,
    HeadBucketOutput, ListBucketsInput, ListBucketsOutput,
};
use s3s::{S3Error, S3Request, S3Result};

use super::convert::{owner, timestamp};
use super::{Embedded, blocking};
use crate::store::StoreError;

/// The region that has no name where a bucket's place is said.
const UNNAMED_REGION: &str = "us-east-1";

pub(super) async fn create(
    s3: &Embedded,
    request: S3Request<CreateBucketInput>,
) -> S3Result<CreateBucketOutput> {
    let input = request.input;
    let place = input
        .create_bucket_configuration
        .and_then(|configuration| configuration.location_constraint);
    let region = place.map_or_else(|| s3.region.clone(), |place| place.as_str().to_owned());
    let (store, name) = (s3.store.clone(), input.bucket);
    let location = Some(format!("/{name}"));
    blocking(move || match store.create_bucket(&name, &region) {
        // Creating a bucket of one's own again succeeds there, and only there.
        Err(StoreError::BucketExists) if region == UNNAMED_REGION => Ok(()),
        done => done.map_err(S3Error::from),
    })
    .await?;
    Ok(CreateBucketOutput { location })
}

pub(super) async fn delete(
    s3: &Embedded,
    request: S3Request<DeleteBucketInput>,
) -> S3Result<DeleteBucketOutput> {
    let store = s3.store.clone();
    blocking(move || store.delete_bucket(&request.input.bucket)).await?;
    Ok(DeleteBucketOutput {})
}

pub(super) async fn head(
    s3: &Embedded,
    request: S3Request<HeadBucketInput>,
) -> S3Result<HeadBucketOutput> {
    let bucket = s3.store.bucket(&request.input.bucket)?;
    Ok(HeadBucketOutput {
        bucket_region: Some(bucket.region),
        ..HeadBucketOutput::default()
    })
}

pub(super) async fn location(
    s3: &Embedded,
    request: S3Request<GetBucketLocationInput>,
) -> S3Result<GetBucketLocationOutput> {
    let bucket = s3.store.bucket(&request.input.bucket)?;
    let named = Some(bucket.region).filter(|region| region != UNNAMED_REGION);
    Ok(GetBucketLocationOutput {
        location_constraint: named.map(BucketLocationConstraint::from),
    })
}

pub(super) async fn list(
    s3: &Embedded,
    request: S3Request<ListBucketsInput>,
) -> S3Result<ListBucketsOutput> {
    let input = request.input;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let after = input.continuation_token.as_deref().unwrap_or_default();
    let limit = input
        .max_buckets
        .and_then(|most| usize::try_from(most).ok())
        .unwrap_or(10_000);
    let mut buckets: Vec<Bucket> = s3
        .store
        .buckets()
        .into_iter()
        .filter(|(name, bucket)| {
            let region = input.bucket_region.as_ref();
            name.starts_with(prefix)
                && name.as_str() > after
                && region.is_none_or(|wanted| *wanted == bucket.region)
        })
        .map(|(name, bucket)| Bucket {
            name: Some(name),
            creation_date: Some(timestamp(bucket.created_ms)),
            bucket_region: None,
        })
        .collect();
    let more = buckets.len() > limit;
    buckets.truncate(limit);
    let last = buckets.last().and_then(|bucket| bucket.name.clone());
    Ok(ListBucketsOutput {
        continuation_token: last.filter(|_| more),
        buckets: Some(buckets),
        owner: Some(owner()),
        prefix: input.prefix,
    })
}
