//! The bucket that follows a folder.

use std::fs;
use std::io::Write;

use aws_endpoint::Watch;

use crate::harness::{Endpoint, replace, until};

/// Both ways of noticing changes must behave alike.
const WATCHES: [Watch; 2] = [Watch::Auto, Watch::Poll];

#[tokio::test]
async fn files_are_objects_from_the_first_answer_on() {
    let folders = tempfile::tempdir().unwrap();
    let data = folders.path().join("data");
    fs::create_dir_all(data.join("dir/deep")).unwrap();
    fs::write(data.join("a.ndjson"), "{}\n").unwrap();
    fs::write(data.join("dir/deep/b.json"), "[]").unwrap();
    fs::write(data.join(".hidden"), "").unwrap();
    let endpoint = Endpoint::start_in(folders, Watch::Auto).await;

    let first = endpoint
        .http
        .get(endpoint.url("test-bucket/a.ndjson"))
        .send()
        .await
        .unwrap();
    assert_eq!(first.headers()["content-type"], "application/x-ndjson");
    assert_eq!(
        first.headers()["etag"],
        "\"8a80554c91d9fca8acb82f023de02f11\""
    );
    assert_eq!(first.text().await.unwrap(), "{}\n");
    assert_eq!(
        endpoint
            .body("test-bucket/dir/deep/b.json")
            .await
            .as_deref(),
        Some("[]")
    );
    assert_eq!(endpoint.body("test-bucket/.hidden").await, None);
    endpoint.stop().await;
}

#[tokio::test]
async fn added_changed_and_removed_files_are_followed() {
    for watch in WATCHES {
        let endpoint = Endpoint::start_in(tempfile::tempdir().unwrap(), watch).await;
        let data = endpoint.data();
        let holds = async |path: &str, expected: Option<&str>| {
            until(&format!("{watch:?}: {path} is {expected:?}"), || async {
                let body = endpoint.body(&format!("test-bucket/{path}")).await;
                (body.as_deref() == expected).then_some(())
            })
            .await;
        };
        fs::write(data.join("a.ndjson"), "1\n").unwrap();
        holds("a.ndjson", Some("1\n")).await;
        replace(&data.join("a.ndjson"), "2\n");
        holds("a.ndjson", Some("2\n")).await;
        // Same size, in place.
        fs::write(data.join("a.ndjson"), "3\n").unwrap();
        holds("a.ndjson", Some("3\n")).await;
        fs::create_dir_all(data.join("new/folder")).unwrap();
        fs::write(data.join("new/folder/b"), "b").unwrap();
        holds("new/folder/b", Some("b")).await;
        fs::rename(data.join("new"), data.join("moved")).unwrap();
        holds("moved/folder/b", Some("b")).await;
        holds("new/folder/b", None).await;
        fs::remove_file(data.join("a.ndjson")).unwrap();
        holds("a.ndjson", None).await;
        fs::remove_dir_all(&data).unwrap();
        holds("moved/folder/b", None).await;
        fs::create_dir(&data).unwrap();
        fs::write(data.join("back"), "again").unwrap();
        holds("back", Some("again")).await;
        endpoint.stop().await;
    }
}

#[tokio::test]
async fn a_file_written_bit_by_bit_ends_up_whole() {
    for watch in WATCHES {
        let endpoint = Endpoint::start_in(tempfile::tempdir().unwrap(), watch).await;
        let mut file = fs::File::create(endpoint.data().join("slow.ndjson")).unwrap();
        let mut expected = String::new();
        // Faster than a file counts as quiet, longer than it takes to notice the first bit.
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(20));
        for line in 0..30 {
            tick.tick().await;
            let line = format!("{{\"line\":{line}}}\n");
            file.write_all(line.as_bytes()).unwrap();
            expected.push_str(&line);
        }
        until(&format!("{watch:?}: all lines"), || async {
            let body = endpoint.body("test-bucket/slow.ndjson").await?;
            (body == expected).then_some(())
        })
        .await;
        endpoint.stop().await;
    }
}

#[tokio::test]
async fn what_the_user_put_is_the_users() {
    let endpoint = Endpoint::start_in(tempfile::tempdir().unwrap(), Watch::Auto).await;
    let data = endpoint.data();
    let appears = async |path: &str, expected: &str| {
        until(&format!("{path} is {expected}"), || async {
            let body = endpoint.body(&format!("test-bucket/{path}")).await;
            (body.as_deref() == Some(expected)).then_some(())
        })
        .await;
    };
    let put = async |path: &str, body: &'static str| {
        let put = endpoint
            .http
            .put(endpoint.url(&format!("test-bucket/{path}")));
        assert_eq!(put.body(body).send().await.unwrap().status(), 200);
    };
    fs::write(data.join("file"), "from the file").unwrap();
    appears("file", "from the file").await;
    put("own", "from the user").await;
    put("file", "over the file").await;

    // The folder's next pass is over when the next file is there.
    fs::remove_file(data.join("file")).unwrap();
    fs::write(data.join("next"), "next").unwrap();
    appears("next", "next").await;
    appears("own", "from the user").await;
    appears("file", "over the file").await;

    // A file that changes has the last word.
    fs::write(data.join("file"), "from the file again").unwrap();
    appears("file", "from the file again").await;
    endpoint.stop().await;
}

#[tokio::test]
async fn files_that_went_while_nobody_looked_are_gone_at_the_next_start() {
    let folders = tempfile::tempdir().unwrap();
    let data = folders.path().join("data");
    fs::create_dir_all(&data).unwrap();
    for name in ["kept", "changed", "removed"] {
        fs::write(data.join(name), name).unwrap();
    }
    let endpoint = Endpoint::start_in(folders, Watch::Auto).await;
    let url = endpoint.url("test-bucket/own");
    endpoint.http.put(url).body("own").send().await.unwrap();
    let folders = endpoint.stop().await;

    fs::remove_file(data.join("removed")).unwrap();
    fs::write(data.join("changed"), "otherwise").unwrap();
    let endpoint = Endpoint::start_in(folders, Watch::Auto).await;
    for (key, expected) in [
        ("kept", Some("kept")),
        ("changed", Some("otherwise")),
        ("removed", None),
        ("own", Some("own")),
    ] {
        let body = endpoint.body(&format!("test-bucket/{key}")).await;
        assert_eq!(body.as_deref(), expected, "{key}");
    }
    endpoint.stop().await;
}

#[tokio::test]
async fn a_folder_made_later_is_followed_too() {
    for watch in WATCHES {
        let folders = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::start_without_data(folders, watch).await;
        fs::create_dir(endpoint.data()).unwrap();
        fs::write(endpoint.data().join("late"), "late").unwrap();
        until(&format!("{watch:?}: the file"), || async {
            let body = endpoint.body("test-bucket/late").await?;
            (body == "late").then_some(())
        })
        .await;
        endpoint.stop().await;
    }
}

#[tokio::test]
async fn files_that_nobody_follows_are_loaded_once() {
    let folders = tempfile::tempdir().unwrap();
    let data = folders.path().join("data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("early"), "early").unwrap();
    let endpoint = Endpoint::start_in(folders, Watch::Off).await;
    let early = endpoint.body("test-bucket/early").await;
    assert_eq!(early.as_deref(), Some("early"));
    endpoint.stop().await;
}
