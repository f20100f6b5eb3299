//! `DeleteObject` and `DeleteObjects`.

use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    ETagCondition, Error,
};
use s3s::{S3Error, S3Request, S3Result, s3_error};

use super::convert::{etag, only_version};
use super::{Embedded, blocking};
use crate::store::{Object, Store};

/// Most keys one batch may name.
const MOST: usize = 1000;

pub(super) async fn one(
    s3: &Embedded,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<DeleteObjectOutput> {
    let input = request.input;
    if input.if_match_size.is_some() || input.if_match_last_modified_time.is_some() {
        return Err(s3_error!(
            NotImplemented,
            "Conditional deletes by size or time are not implemented"
        ));
    }
    let (store, wanted) = (s3.store.clone(), input.if_match);
    blocking(move || {
        remove(
            &store,
            &input.bucket,
            &input.key,
            input.version_id.as_deref(),
            wanted.as_ref(),
        )
    })
    .await?;
    Ok(DeleteObjectOutput::default())
}

pub(super) async fn many(
    s3: &Embedded,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<DeleteObjectsOutput> {
    let input = request.input;
    s3.store.bucket(&input.bucket)?;
    if input.delete.objects.is_empty() || input.delete.objects.len() > MOST {
        return Err(s3_error!(
            MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema"
        ));
    }
    let store = s3.store.clone();
    blocking(move || {
        let quiet = input.delete.quiet.unwrap_or(false);
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in input.delete.objects {
            let wanted = object.e_tag.map(ETagCondition::ETag);
            let version = object.version_id.as_deref();
            match remove(&store, &input.bucket, &object.key, version, wanted.as_ref()) {
                Ok(()) if quiet => {}
                Ok(()) => deleted.push(DeletedObject {
                    key: Some(object.key),
                    version_id: object.version_id,
                    ..DeletedObject::default()
                }),
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    message: error.message().map(str::to_owned),
                    key: Some(object.key),
                    version_id: object.version_id,
                }),
            }
        }
        Ok::<_, S3Error>(DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: (!errors.is_empty()).then_some(errors),
            ..DeleteObjectsOutput::default()
        })
    })
    .await
}

fn remove(
    store: &Store,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    wanted: Option<&ETagCondition>,
) -> S3Result<()> {
    only_version(version)?;
    let condition = |object: &Object| match wanted {
        Some(ETagCondition::ETag(wanted)) if !wanted.strong_cmp(&etag(object)) => {
            Err("At least one of the pre-conditions you specified did not hold")
        }
        _ => Ok(()),
    };
    // Deleting what is not there succeeds, unless the client said what should be.
    if !store.delete(bucket, key, condition)? && wanted.is_some() {
        return Err(s3_error!(NoSuchKey, "The specified key does not exist."));
    }
    Ok(())
}
