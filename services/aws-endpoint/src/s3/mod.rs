//! The S3 operations over the [`Store`]. One file per group of operations; the trait
//! below only names them. What is not named answers `NotImplemented`.

mod buckets;
mod convert;
mod copy;
mod lists;
mod multipart;
mod read;
mod receive;
mod remove;
mod tags;
mod unset;
mod uploads;
mod write;

use std::sync::Arc;

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use crate::store::{Store, StoreError};

/// Trailing headers of an aws-chunked body that we decoded ourselves; empty until the
/// body has been read.
pub(crate) use receive::Trailers;

/// S3 on this machine's disk.
#[derive(Clone, Debug)]
pub(crate) struct Embedded {
    pub(crate) store: Arc<Store>,
    /// Where a bucket is that was created without a place, and who owns everything.
    pub(crate) region: String,
}

/// The account that owns all buckets.
pub(crate) const ACCOUNT: &str = "000000000000";

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSuchBucket => {
                s3_error!(NoSuchBucket, "The specified bucket does not exist")
            }
            StoreError::NoSuchKey => s3_error!(NoSuchKey, "The specified key does not exist."),
            StoreError::BucketExists => s3_error!(
                BucketAlreadyOwnedByYou,
                "Your previous request to create the named bucket succeeded and you already own it."
            ),
            StoreError::BucketNotEmpty => s3_error!(
                BucketNotEmpty,
                "The bucket you tried to delete is not empty"
            ),
            StoreError::Precondition(message) => s3_error!(PreconditionFailed, "{message}"),
            StoreError::Io { .. } => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "object storage failed");
                let mut answer = s3_error!(InternalError, "{error}: {}", cause.unwrap_or_default());
                answer.set_source(Box::new(error));
                answer
            }
        }
    }
}

/// An error code that S3 has and s3s does not list.
fn unlisted(status: StatusCode, code: &'static str, message: &'static str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(status);
    error
}

/// Runs work that blocks on files where blocking is fine.
pub(crate) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> S3Result<T>
where
    T: Send + 'static,
    E: Into<S3Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Into::into),
        Err(error) => Err(S3Error::internal_error(error)),
    }
}

/// Names each operation and the function that does it.
macro_rules! operations {
    ($($operation:ident($input:ident) -> $output:ident = $function:path;)*) => {
        #[async_trait::async_trait]
        impl S3 for Embedded {
            $(async fn $operation(
                &self,
                request: S3Request<$input>,
            ) -> S3Result<S3Response<$output>> {
                $function(self, request).await.map(S3Response::new)
            })*
        }
    };
}

operations! {
    list_buckets(ListBucketsInput) -> ListBucketsOutput = buckets::list;
    create_bucket(CreateBucketInput) -> CreateBucketOutput = buckets::create;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = buckets::delete;
    head_bucket(HeadBucketInput) -> HeadBucketOutput = buckets::head;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = buckets::location;
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput = tags::get_bucket;
    put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput = tags::put_bucket;
    delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput = tags::delete_bucket;

    get_object(GetObjectInput) -> GetObjectOutput = read::get;
    head_object(HeadObjectInput) -> HeadObjectOutput = read::head;
    put_object(PutObjectInput) -> PutObjectOutput = write::put;
    copy_object(CopyObjectInput) -> CopyObjectOutput = copy::copy;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = remove::one;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = remove::many;
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput = tags::get_object;
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput = tags::put_object;
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput = tags::delete_object;

    list_objects(ListObjectsInput) -> ListObjectsOutput = lists::v1;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = lists::v2;
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput = lists::versions;

    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = multipart::create;
    upload_part(UploadPartInput) -> UploadPartOutput = multipart::part;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = copy::part;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = multipart::complete;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = multipart::abort;
    list_parts(ListPartsInput) -> ListPartsOutput = uploads::list_parts;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = uploads::list_uploads;

    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = unset::versioning;
    get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput = unset::bucket_acl;
    get_object_acl(GetObjectAclInput) -> GetObjectAclOutput = unset::object_acl;
    get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput = unset::cors;
    get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput = unset::policy;
    get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput = unset::lifecycle;
    get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput = unset::encryption;
    get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput = unset::website;
    get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput = unset::replication;
    get_bucket_notification_configuration(GetBucketNotificationConfigurationInput) -> GetBucketNotificationConfigurationOutput = unset::notification;
    get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput = unset::logging;
    get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput = unset::request_payment;
    get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput) -> GetBucketAccelerateConfigurationOutput = unset::accelerate;
    get_bucket_ownership_controls(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput = unset::ownership;
    get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput = unset::public_access_block;
    get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput = unset::object_lock;
}
