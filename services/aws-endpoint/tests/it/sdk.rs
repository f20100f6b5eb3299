//! Through `aws-sdk-s3`, as handlers do it.

mod multipart;

use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::PutObjectOutput;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart, Delete,
    MetadataDirective, ObjectIdentifier, Tag, Tagging,
};

use crate::harness::{BUCKET, Endpoint, KNOWN, UNKNOWN};

async fn put(s3: &Client, key: &str, body: &'static [u8]) -> PutObjectOutput {
    s3.put_object()
        .bucket(BUCKET)
        .key(key)
        .body(ByteStream::from_static(body))
        .send()
        .await
        .unwrap()
}

async fn read(s3: &Client, key: &str) -> Vec<u8> {
    let object = s3
        .get_object()
        .bucket(BUCKET)
        .key(key)
        .send()
        .await
        .unwrap();
    object.body.collect().await.unwrap().to_vec()
}

/// The code and status of the error that came instead of an answer.
fn refused<T, E: ProvideErrorMetadata>(answer: Result<T, SdkError<E>>) -> (String, u16) {
    match answer {
        Ok(_) => ("none".to_owned(), 200),
        Err(error) => {
            let status = error.raw_response().map(|raw| raw.status().as_u16());
            let code = error.code().unwrap_or("none").to_owned();
            (code, status.unwrap_or(0))
        }
    }
}

fn error(code: &str, status: u16) -> (String, u16) {
    (code.to_owned(), status)
}

#[tokio::test]
async fn an_object_comes_back_as_it_was_put_whoever_put_it() {
    let endpoint = Endpoint::start().await;
    for (at, credentials) in [KNOWN, UNKNOWN].into_iter().enumerate() {
        let s3 = endpoint.s3(credentials);
        let key = format!("dir {at}/a+b%é.txt");
        // The SDK sends this body aws-chunked with a checksum in the trailer.
        let stored = s3
            .put_object()
            .bucket(BUCKET)
            .key(&key)
            .body(ByteStream::from_static(b"hello"))
            .content_type("text/plain")
            .content_encoding("identity")
            .cache_control("no-store")
            .metadata("who", "me")
            .tagging("a=1&b=2")
            .send()
            .await
            .unwrap();
        assert_eq!(stored.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
        assert!(stored.checksum_crc32().is_some());

        let got = s3
            .get_object()
            .bucket(BUCKET)
            .key(&key)
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await
            .unwrap();
        assert_eq!(got.content_type(), Some("text/plain"));
        assert_eq!(got.content_encoding(), Some("identity"));
        assert_eq!(got.cache_control(), Some("no-store"));
        assert_eq!(got.content_length(), Some(5));
        assert_eq!(got.tag_count(), Some(2));
        assert_eq!(got.metadata().unwrap()["who"], "me");
        assert_eq!(got.checksum_crc32(), stored.checksum_crc32());
        assert_eq!(got.body.collect().await.unwrap().to_vec(), b"hello");
    }
    endpoint.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_an_error_of_its_own() {
    let endpoint = Endpoint::start().await;
    let s3 = endpoint.s3(KNOWN);
    let get = s3.get_object().bucket(BUCKET).key("none").send().await;
    assert_eq!(refused(get), error("NoSuchKey", 404));
    let get = s3.get_object().bucket("no-bucket").key("k").send().await;
    assert_eq!(refused(get), error("NoSuchBucket", 404));
    let list = s3.list_objects_v2().bucket("no-bucket").send().await;
    assert_eq!(refused(list), error("NoSuchBucket", 404));
    let head = s3.head_object().bucket(BUCKET).key("none").send().await;
    assert_eq!(refused(head).1, 404);
    let delete = s3.delete_object().bucket(BUCKET).key("none").send().await;
    assert_eq!(refused(delete), error("none", 200));
    put(&s3, "k", b"v").await;
    let bucket = s3.delete_bucket().bucket(BUCKET).send().await;
    assert_eq!(refused(bucket), error("BucketNotEmpty", 409));
    let versioned = s3
        .get_object()
        .bucket(BUCKET)
        .key("k")
        .version_id("v1")
        .send()
        .await;
    assert_eq!(refused(versioned), error("NoSuchVersion", 404));
    endpoint.stop().await;
}

#[tokio::test]
async fn settings_that_are_not_implemented_are_never_accepted() {
    use aws_sdk_s3::types::{
        BucketVersioningStatus, NotificationConfiguration, ObjectLockMode, VersioningConfiguration,
    };
    let endpoint = Endpoint::start().await;
    let s3 = endpoint.s3(KNOWN);
    let not_implemented = error("NotImplemented", 501);
    let versioning = VersioningConfiguration::builder()
        .status(BucketVersioningStatus::Enabled)
        .build();
    let answer = s3
        .put_bucket_versioning()
        .bucket(BUCKET)
        .versioning_configuration(versioning)
        .send()
        .await;
    assert_eq!(refused(answer), not_implemented);
    let answer = s3
        .put_bucket_notification_configuration()
        .bucket(BUCKET)
        .notification_configuration(NotificationConfiguration::builder().build())
        .send()
        .await;
    assert_eq!(refused(answer), not_implemented);
    let answer = s3
        .put_object()
        .bucket(BUCKET)
        .key("locked")
        .object_lock_mode(ObjectLockMode::Compliance)
        .send()
        .await;
    assert_eq!(refused(answer), not_implemented);
    let get = s3.get_object().bucket(BUCKET).key("locked").send().await;
    assert_eq!(refused(get), error("NoSuchKey", 404));

    // Reading says, truly, that nothing is set.
    let location = s3.get_bucket_location().bucket(BUCKET).send().await;
    // S3 answers an empty element there, which this SDK gives as an empty name.
    let location = location.unwrap().location_constraint;
    assert_eq!(location.unwrap().as_str(), "");
    let versioning = s3.get_bucket_versioning().bucket(BUCKET).send().await;
    assert_eq!(versioning.unwrap().status(), None);
    let acl = s3.get_bucket_acl().bucket(BUCKET).send().await.unwrap();
    assert_eq!(acl.grants().len(), 1);
    let cors = s3.get_bucket_cors().bucket(BUCKET).send().await;
    assert_eq!(refused(cors), error("NoSuchCORSConfiguration", 404));
    endpoint.stop().await;
}

#[tokio::test]
async fn a_condition_that_does_not_hold_changes_nothing() {
    let endpoint = Endpoint::start().await;
    let s3 = endpoint.s3(KNOWN);
    let first = put(&s3, "k", b"first").await;
    let etag = first.e_tag().unwrap();
    let failed = error("PreconditionFailed", 412);

    let again = || {
        let body = ByteStream::from_static(b"again");
        s3.put_object().bucket(BUCKET).key("k").body(body)
    };
    assert_eq!(refused(again().if_none_match("*").send().await), failed);
    assert_eq!(refused(again().if_match("\"00\"").send().await), failed);
    assert_eq!(read(&s3, "k").await, b"first");

    let get = || s3.get_object().bucket(BUCKET).key("k");
    assert_eq!(refused(get().if_none_match(etag).send().await).1, 304);
    assert_eq!(refused(get().if_match("\"00\"").send().await), failed);
    let later = (SystemTime::now() + Duration::from_secs(60)).into();
    assert_eq!(refused(get().if_modified_since(later).send().await).1, 304);
    assert_eq!(refused(get().if_match(etag).send().await).1, 200);

    assert_eq!(refused(again().if_match(etag).send().await).1, 200);
    assert_eq!(read(&s3, "k").await, b"again");
    endpoint.stop().await;
}

#[tokio::test]
async fn of_many_writers_that_want_to_be_first_one_is() {
    let endpoint = Endpoint::start().await;
    let s3 = endpoint.s3(KNOWN);
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let put = s3.put_object().bucket(BUCKET).key("lock");
        writers.spawn(put.if_none_match("*").send());
    }
    let won = writers
        .join_all()
        .await
        .iter()
        .filter(|answer| answer.is_ok())
        .count();
    assert_eq!(won, 1);
    endpoint.stop().await;
}

#[tokio::test]
async fn a_wrong_digest_stores_nothing() {
    let endpoint = Endpoint::start().await;
    let s3 = endpoint.s3(KNOWN);
    let put = || {
        let body = ByteStream::from_static(b"body");
        s3.put_object().bucket(BUCKET).key("k").body(body)
    };
    let md5 = put().content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send().await;
    assert_eq!(refused(md5), error("BadDigest", 400));
    let md5 = put().content_md5("short").send().await;
    assert_eq!(refused(md5), error("InvalidDigest", 400));
    let sha = put().checksum_sha256("AAAA").send().await;
    assert_eq!(refused(sha), error("BadDigest", 400));
    let get = s3.get_object().bucket(BUCKET).key("k").send().await;
    assert_eq!(refused(get), error("NoSuchKey", 404));
    endpoint.stop().await;
}

#[tokio::test]
async fn listings_page_and_group() {
    let endpoint = Endpoint::start().await;
    let s3 = endpoint.s3(KNOWN);
    for key in ["a&b <c>", "p/1/x", "p/1/y", "p/2/x", "p/3", "z"] {
        put(&s3, key, b"").await;
    }
    let mut pages = s3
        .list_objects_v2()
        .bucket(BUCKET)
        .into_paginator()
        .page_size(4)
        .send();
    let mut sizes = Vec::new();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        sizes.push(page.contents().len());
        keys.extend(
            page.contents()
                .iter()
                .map(|it| it.key().unwrap().to_owned()),
        );
    }
    assert_eq!(sizes, [4, 2]);
    assert_eq!(keys, ["a&b <c>", "p/1/x", "p/1/y", "p/2/x", "p/3", "z"]);

    let (mut marker, mut names) = (None, Vec::new());
    loop {
        let page = s3
            .list_objects()
            .bucket(BUCKET)
            .prefix("p/")
            .delimiter("/")
            .max_keys(1)
            .set_marker(marker)
            .send()
            .await
            .unwrap();
        names.extend(
            page.common_prefixes()
                .iter()
                .map(|it| it.prefix().unwrap().to_owned()),
        );
        names.extend(
            page.contents()
                .iter()
                .map(|it| it.key().unwrap().to_owned()),
        );
        if page.is_truncated() != Some(true) {
            break;
        }
        marker = page.next_marker().map(str::to_owned);
        assert!(marker.is_some(), "a cut listing says where it goes on");
    }
    assert_eq!(names, ["p/1/", "p/2/", "p/3"]);

    let token = s3.list_objects_v2().bucket(BUCKET).continuation_token("!");
    assert_eq!(refused(token.send().await), error("InvalidArgument", 400));
    endpoint.stop().await;
}

#[tokio::test]
async fn a_copy_keeps_or_replaces_what_is_said_of_it() {
    let endpoint = Endpoint::start().await;
    let s3 = endpoint.s3(KNOWN);
    s3.put_object()
        .bucket(BUCKET)
        .key("from")
        .body(ByteStream::from_static(b"bytes"))
        .content_type("text/csv")
        .metadata("n", "1")
        .tagging("t=1")
        .send()
        .await
        .unwrap();
    let copy = |key: &str| {
        let copy = s3.copy_object().bucket("second-bucket").key(key);
        copy.copy_source(format!("{BUCKET}/from"))
    };
    copy("kept").send().await.unwrap();
    copy("replaced")
        .metadata_directive(MetadataDirective::Replace)
        .metadata("n", "2")
        .content_type("text/plain")
        .send()
        .await
        .unwrap();
    // The source may go: a copy is an object of its own.
    s3.delete_object()
        .bucket(BUCKET)
        .key("from")
        .send()
        .await
        .unwrap();
    for (key, content_type, n) in [("kept", "text/csv", "1"), ("replaced", "text/plain", "2")] {
        let got = s3
            .get_object()
            .bucket("second-bucket")
            .key(key)
            .send()
            .await
            .unwrap();
        assert_eq!(got.content_type(), Some(content_type));
        assert_eq!(got.metadata().unwrap()["n"], n);
        assert_eq!(got.tag_count(), Some(1));
        assert_eq!(got.body.collect().await.unwrap().to_vec(), b"bytes");
    }
    let itself = s3
        .copy_object()
        .bucket("second-bucket")
        .key("kept")
        .copy_source("second-bucket/kept");
    assert_eq!(refused(itself.send().await), error("InvalidRequest", 400));
    let nothing = s3
        .copy_object()
        .bucket(BUCKET)
        .key("k")
        .copy_source("second-bucket/none");
    assert_eq!(refused(nothing.send().await), error("NoSuchKey", 404));
    endpoint.stop().await;
}

#[tokio::test]
async fn tags_and_batches() {
    let endpoint = Endpoint::start().await;
    let s3 = endpoint.s3(KNOWN);
    put(&s3, "a", b"").await;
    put(&s3, "b", b"").await;
    let tag = Tag::builder().key("k").value("v").build().unwrap();
    let tagging = Tagging::builder().tag_set(tag.clone()).build().unwrap();
    let put_tags = s3
        .put_object_tagging()
        .bucket(BUCKET)
        .key("a")
        .tagging(tagging.clone());
    put_tags.send().await.unwrap();
    let tags = s3
        .get_object_tagging()
        .bucket(BUCKET)
        .key("a")
        .send()
        .await
        .unwrap();
    assert_eq!(tags.tag_set(), std::slice::from_ref(&tag));
    s3.delete_object_tagging()
        .bucket(BUCKET)
        .key("a")
        .send()
        .await
        .unwrap();
    let tags = s3
        .get_object_tagging()
        .bucket(BUCKET)
        .key("a")
        .send()
        .await
        .unwrap();
    assert!(tags.tag_set().is_empty());

    s3.put_bucket_tagging()
        .bucket(BUCKET)
        .tagging(tagging)
        .send()
        .await
        .unwrap();
    let tags = s3.get_bucket_tagging().bucket(BUCKET).send().await.unwrap();
    assert_eq!(tags.tag_set(), [tag]);
    s3.delete_bucket_tagging()
        .bucket(BUCKET)
        .send()
        .await
        .unwrap();
    let tags = s3.get_bucket_tagging().bucket(BUCKET).send().await;
    assert_eq!(refused(tags), error("NoSuchTagSet", 404));

    let named = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
    let versioned = ObjectIdentifier::builder()
        .key("b")
        .version_id("v9")
        .build()
        .unwrap();
    let batch = Delete::builder()
        .set_objects(Some(vec![named("a"), versioned, named("none")]))
        .build()
        .unwrap();
    let done = s3
        .delete_objects()
        .bucket(BUCKET)
        .delete(batch)
        .send()
        .await
        .unwrap();
    let deleted: Vec<_> = done.deleted().iter().filter_map(|it| it.key()).collect();
    assert_eq!(deleted, ["a", "none"]);
    assert_eq!(done.errors()[0].code(), Some("NoSuchVersion"));
    assert_eq!(read(&s3, "b").await, b"");
    endpoint.stop().await;
}

#[tokio::test]
async fn presigned_urls_work_until_they_expire_and_not_when_they_are_tampered_with() {
    let endpoint = Endpoint::start().await;
    for (credentials, tampered) in [(KNOWN, 403), (UNKNOWN, 200)] {
        let s3 = endpoint.s3(credentials);
        let minute = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
        let put = s3
            .put_object()
            .bucket(BUCKET)
            .key("k")
            .presigned(minute.clone());
        let put = put.await.unwrap();
        let mut request = endpoint.http.put(put.uri()).body("by url");
        for (name, value) in put.headers() {
            request = request.header(name, value);
        }
        assert_eq!(request.send().await.unwrap().status(), 200);

        let get = s3.get_object().bucket(BUCKET).key("k").presigned(minute);
        let url = get.await.unwrap().uri().to_owned();
        let answer = endpoint.http.get(&url).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "by url");
        self::put(&s3, "other", b"other").await;
        let changed = url.replace("/k?", "/other?");
        let answer = endpoint.http.get(&changed).send().await.unwrap();
        assert_eq!(answer.status(), tampered, "{credentials:?}");

        let past = PresigningConfig::builder()
            .start_time(SystemTime::now() - Duration::from_secs(120))
            .expires_in(Duration::from_secs(60))
            .build()
            .unwrap();
        let get = s3
            .get_object()
            .bucket(BUCKET)
            .key("k")
            .presigned(past)
            .await
            .unwrap();
        let answer = endpoint.http.get(get.uri()).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{credentials:?}");
        let text = answer.text().await.unwrap();
        assert!(text.contains("Request has expired"), "{text}");
    }
    endpoint.stop().await;
}

#[tokio::test]
async fn the_known_key_with_another_secret_is_refused() {
    let endpoint = Endpoint::start().await;
    let s3 = endpoint.s3((KNOWN.0, "wrong"));
    let list = s3.list_objects_v2().bucket(BUCKET).send().await;
    assert_eq!(refused(list), error("SignatureDoesNotMatch", 403));
    endpoint.stop().await;
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let endpoint = Endpoint::start().await;
    let s3 = endpoint.s3(KNOWN);
    s3.create_bucket().bucket("made-here").send().await.unwrap();
    put(&s3, "k", b"replaced").await;
    let stored = s3
        .put_object()
        .bucket(BUCKET)
        .key("k")
        .body(ByteStream::from_static(b"kept"))
        .metadata("n", "1")
        .send()
        .await
        .unwrap();
    put(&s3, "deleted", b"").await;
    s3.delete_object()
        .bucket(BUCKET)
        .key("deleted")
        .send()
        .await
        .unwrap();

    let folders = endpoint.stop().await;
    let endpoint = Endpoint::start_in(folders, aws_endpoint::Watch::Auto).await;
    let s3 = endpoint.s3(KNOWN);
    let got = s3
        .get_object()
        .bucket(BUCKET)
        .key("k")
        .send()
        .await
        .unwrap();
    assert_eq!(got.e_tag(), stored.e_tag());
    assert_eq!(got.metadata().unwrap()["n"], "1");
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"kept");
    let keys = s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    assert_eq!(keys.key_count(), Some(1));
    s3.head_bucket().bucket("made-here").send().await.unwrap();
    endpoint.stop().await;
}

#[tokio::test]
async fn a_reader_sees_one_write_or_another_and_never_a_mix() {
    const SIZES: [(u8, usize); 2] = [(b'a', 700_000), (b'b', 300_000)];
    let endpoint = Endpoint::start().await;
    let s3 = endpoint.s3(KNOWN);
    put(&s3, "k", b"a").await;
    let writer = {
        let s3 = s3.clone();
        tokio::spawn(async move {
            for round in 0..40 {
                let (byte, size) = SIZES[round % 2];
                let body = ByteStream::from(vec![byte; size]);
                s3.put_object()
                    .bucket(BUCKET)
                    .key("k")
                    .body(body)
                    .send()
                    .await
                    .unwrap();
            }
        })
    };
    while !writer.is_finished() {
        let got = s3
            .get_object()
            .bucket(BUCKET)
            .key("k")
            .send()
            .await
            .unwrap();
        let body = got.body.collect().await.unwrap().to_vec();
        let whole = body == b"a" || SIZES.contains(&(body[0], body.len()));
        let uniform = body.iter().all(|byte| *byte == body[0]);
        assert!(whole && uniform, "{} bytes of {}", body.len(), body[0]);
    }
    writer.await.unwrap();
    endpoint.stop().await;
}
