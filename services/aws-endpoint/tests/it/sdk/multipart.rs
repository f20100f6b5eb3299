//! Multipart uploads.

use super::*;

#[tokio::test]
async fn a_multipart_upload_is_its_parts_in_order() {
    const PART: usize = 5 << 20;
    let endpoint = Endpoint::start().await;
    let s3 = endpoint.s3(KNOWN);
    let upload = s3
        .create_multipart_upload()
        .bucket(BUCKET)
        .key("big")
        .metadata("n", "1")
        .checksum_algorithm(ChecksumAlgorithm::Crc32)
        .send()
        .await
        .unwrap();
    let id = upload.upload_id().unwrap();
    let mut parts = Vec::new();
    // Sent out of order, with a gap, and the last one short.
    for (number, byte, size) in [(7, b'c', 3), (1, b'a', PART), (4, b'b', PART)] {
        let part = s3
            .upload_part()
            .bucket(BUCKET)
            .key("big")
            .upload_id(id)
            .part_number(number)
            .body(ByteStream::from(vec![byte; size]))
            .send()
            .await
            .unwrap();
        parts.push(
            CompletedPart::builder()
                .part_number(number)
                .set_e_tag(part.e_tag)
                .set_checksum_crc32(part.checksum_crc32)
                .build(),
        );
    }
    let complete = |parts: Vec<CompletedPart>| {
        let upload = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        s3.complete_multipart_upload()
            .bucket(BUCKET)
            .key("big")
            .upload_id(id)
            .multipart_upload(upload)
            .send()
    };
    let order = complete(parts.clone()).await;
    assert_eq!(refused(order), error("InvalidPartOrder", 400));
    parts.sort_by_key(|part| part.part_number());
    let mut wrong = parts.clone();
    wrong[1] = CompletedPart::builder()
        .part_number(4)
        .e_tag("\"00\"")
        .build();
    assert_eq!(refused(complete(wrong).await), error("InvalidPart", 400));
    let small = vec![parts[2].clone(), parts[2].clone()];
    assert_eq!(
        refused(complete(small).await),
        error("InvalidPartOrder", 400)
    );

    let listed = s3.list_parts().bucket(BUCKET).key("big").upload_id(id);
    let listed = listed.max_parts(2).send().await.unwrap();
    let numbers: Vec<_> = listed
        .parts()
        .iter()
        .map(|part| part.part_number())
        .collect();
    assert_eq!(numbers, [Some(1), Some(4)]);
    assert_eq!(listed.next_part_number_marker(), Some("4"));

    let done = complete(parts).await.unwrap();
    assert!(done.e_tag().unwrap().ends_with("-3\""), "{done:?}");
    assert!(done.checksum_crc32().unwrap().ends_with("-3"), "{done:?}");
    let expected = [vec![b'a'; PART], vec![b'b'; PART], vec![b'c'; 3]].concat();
    assert!(read(&s3, "big").await == expected);
    let part = s3.get_object().bucket(BUCKET).key("big").part_number(3);
    let part = part.send().await.unwrap();
    assert_eq!(part.parts_count(), Some(3));
    assert_eq!(part.body.collect().await.unwrap().to_vec(), b"ccc");

    let gone = s3
        .abort_multipart_upload()
        .bucket(BUCKET)
        .key("big")
        .upload_id(id);
    assert_eq!(refused(gone.send().await), error("NoSuchUpload", 404));
    endpoint.stop().await;
}

#[tokio::test]
async fn too_small_parts_are_refused_and_an_aborted_upload_leaves_nothing() {
    let endpoint = Endpoint::start().await;
    let s3 = endpoint.s3(KNOWN);
    let upload = s3
        .create_multipart_upload()
        .bucket(BUCKET)
        .key("k")
        .send()
        .await
        .unwrap();
    let id = upload.upload_id().unwrap();
    let mut parts = Vec::new();
    for number in 1..=2 {
        let part = s3
            .upload_part()
            .bucket(BUCKET)
            .key("k")
            .upload_id(id)
            .part_number(number)
            .body(ByteStream::from_static(b"small"))
            .send()
            .await
            .unwrap();
        let part = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(part.e_tag);
        parts.push(part.build());
    }
    let upload = CompletedMultipartUpload::builder()
        .set_parts(Some(parts))
        .build();
    let complete = s3
        .complete_multipart_upload()
        .bucket(BUCKET)
        .key("k")
        .upload_id(id)
        .multipart_upload(upload)
        .send()
        .await;
    assert_eq!(refused(complete), error("EntityTooSmall", 400));
    let abort = s3
        .abort_multipart_upload()
        .bucket(BUCKET)
        .key("k")
        .upload_id(id);
    abort.send().await.unwrap();
    let folders = endpoint.stop().await;
    let drafts = std::fs::read_dir(folders.path().join("storage/drafts")).unwrap();
    assert_eq!(drafts.count(), 0);
}
