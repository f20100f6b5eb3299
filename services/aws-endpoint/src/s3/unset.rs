//! Reads of bucket settings that are not implemented: they say, as S3 says of a fresh
//! bucket, that nothing is set. Setting any of them answers `NotImplemented`, so that a
//! setting is never accepted and then ignored.

use s3s::dto::*;
use s3s::{S3Request, S3Result, s3_error};

use super::convert::owner;
use super::{Embedded, unlisted};

/// Settings whose absence S3 answers with an error of its own.
macro_rules! absent {
    ($($name:ident($input:ident) -> $output:ident = $code:ident, $message:literal;)*) => {$(
        pub(super) async fn $name(
            s3: &Embedded,
            request: S3Request<$input>,
        ) -> S3Result<$output> {
            s3.store.bucket(&request.input.bucket)?;
            Err(s3_error!($code, $message))
        }
    )*};
}

/// Settings whose absence S3 answers with an empty document.
macro_rules! empty {
    ($($name:ident($input:ident) -> $output:ident;)*) => {$(
        pub(super) async fn $name(
            s3: &Embedded,
            request: S3Request<$input>,
        ) -> S3Result<$output> {
            s3.store.bucket(&request.input.bucket)?;
            Ok($output::default())
        }
    )*};
}

absent! {
    cors(GetBucketCorsInput) -> GetBucketCorsOutput =
        NoSuchCORSConfiguration, "The CORS configuration does not exist";
    policy(GetBucketPolicyInput) -> GetBucketPolicyOutput =
        NoSuchBucketPolicy, "The bucket policy does not exist";
    lifecycle(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput =
        NoSuchLifecycleConfiguration, "The lifecycle configuration does not exist";
    encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput =
        ServerSideEncryptionConfigurationNotFoundError, "The server side encryption configuration was not found";
    website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput =
        NoSuchWebsiteConfiguration, "The specified bucket does not have a website configuration";
    replication(GetBucketReplicationInput) -> GetBucketReplicationOutput =
        ReplicationConfigurationNotFoundError, "The replication configuration was not found";
    ownership(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput =
        OwnershipControlsNotFoundError, "The bucket ownership controls were not found";
    object_lock(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput =
        ObjectLockConfigurationNotFoundError, "Object Lock configuration does not exist for this bucket";
}

empty! {
    versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput;
    notification(GetBucketNotificationConfigurationInput) -> GetBucketNotificationConfigurationOutput;
    logging(GetBucketLoggingInput) -> GetBucketLoggingOutput;
    accelerate(GetBucketAccelerateConfigurationInput) -> GetBucketAccelerateConfigurationOutput;
}

/// The one code of these that s3s does not know.
pub(super) async fn public_access_block(
    s3: &Embedded,
    request: S3Request<GetPublicAccessBlockInput>,
) -> S3Result<GetPublicAccessBlockOutput> {
    s3.store.bucket(&request.input.bucket)?;
    Err(unlisted(
        http::StatusCode::NOT_FOUND,
        "NoSuchPublicAccessBlockConfiguration",
        "The public access block configuration was not found",
    ))
}

pub(super) async fn request_payment(
    s3: &Embedded,
    request: S3Request<GetBucketRequestPaymentInput>,
) -> S3Result<GetBucketRequestPaymentOutput> {
    s3.store.bucket(&request.input.bucket)?;
    Ok(GetBucketRequestPaymentOutput {
        payer: Some(Payer::from_static(Payer::BUCKET_OWNER)),
    })
}

pub(super) async fn bucket_acl(
    s3: &Embedded,
    request: S3Request<GetBucketAclInput>,
) -> S3Result<GetBucketAclOutput> {
    s3.store.bucket(&request.input.bucket)?;
    Ok(GetBucketAclOutput {
        grants: Some(owner_only()),
        owner: Some(owner()),
    })
}

pub(super) async fn object_acl(
    s3: &Embedded,
    request: S3Request<GetObjectAclInput>,
) -> S3Result<GetObjectAclOutput> {
    s3.store.object(&request.input.bucket, &request.input.key)?;
    Ok(GetObjectAclOutput {
        grants: Some(owner_only()),
        owner: Some(owner()),
        ..GetObjectAclOutput::default()
    })
}

fn owner_only() -> Vec<Grant> {
    vec![Grant {
        grantee: Some(Grantee {
            display_name: owner().display_name,
            id: owner().id,
            email_address: None,
            type_: Type::from_static(Type::CANONICAL_USER),
            uri: None,
        }),
        permission: Some(Permission::from_static(Permission::FULL_CONTROL)),
    }]
}
