//! Sources as they come: gzip, chunked, cut short, malformed. The reference crashes, hangs
//! or reports nonsense on most of these.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::time::Duration;

use crate::upstream::{RawSource, Then, Upstream, chunked, head, raw_source, rows, timeline};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use webhook_runner::{Deadline, Ending, HttpClient, Outcome, Runner, RunnerSettings};
use wiremock::ResponseTemplate;

fn settings(batch_size: usize) -> RunnerSettings {
    RunnerSettings {
        batch_size: NonZeroUsize::new(batch_size).unwrap(),
        ..RunnerSettings::REFERENCE
    }
}

async fn run(upstream: &Upstream, url: &str, settings: RunnerSettings) -> Outcome {
    let client = HttpClient::new().unwrap();
    let payload = upstream.payload(url);
    let mut api = upstream.api(&client);
    let runner = Runner::new(client).settings(settings);
    let running = runner.run(&payload, &mut api, Deadline::NONE);
    tokio::time::timeout(Duration::from_secs(20), running)
        .await
        .expect("a run never hangs")
        .unwrap()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// Records that do not shrink to nothing.
fn noisy_rows(count: u64) -> String {
    let noise = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    (0..count)
        .map(|n| {
            format!(
                "{{\"n\":{n},\"a\":{},\"b\":\"{:x}\"}}\n",
                noise(n),
                noise(n + 7)
            )
        })
        .collect()
}

async fn delivered(upstream: &Upstream) -> Vec<Value> {
    let batches = upstream.deliveries().await;
    batches
        .into_iter()
        .flat_map(|batch| batch.as_array().unwrap().clone())
        .collect()
}

fn parsed(ndjson: &str) -> Vec<Value> {
    ndjson
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Progress never falls and stays within 0 to 1.
fn assert_progress(reports: &[Value]) {
    let timeline = timeline(reports);
    let progress: Vec<f64> = timeline.iter().map(|(_, progress)| *progress).collect();
    assert!(
        progress.iter().all(|p| (0.0..=1.0).contains(p)),
        "{progress:?}"
    );
    assert!(progress.is_sorted(), "{progress:?}");
}

#[tokio::test]
async fn gzip_is_unpacked_whatever_the_headers_say_and_progress_fits() {
    let text = noisy_rows(20_000);
    let packed = gzip(&text);
    // Two members are one file, as `cat a.gz b.gz` makes them.
    let middle = text.len() / 2;
    let cut = middle + text[middle..].find('\n').unwrap() + 1;
    let twice = [gzip(&text[..cut]), gzip(&text[cut..])].concat();
    for (body, encoding) in [(&packed, Some("gzip")), (&packed, None), (&twice, None)] {
        let upstream = Upstream::start().await;
        let mut answer = ResponseTemplate::new(200).set_body_bytes(body.clone());
        if let Some(encoding) = encoding {
            answer = answer.insert_header("content-encoding", encoding);
        }
        let url = upstream.source(answer).await;
        let outcome = run(&upstream, &url, settings(1000)).await;
        assert_eq!((outcome.status_code(), outcome.delivered), (200, 20_000));
        assert_eq!(delivered(&upstream).await, parsed(&text));
        let reports = upstream.reports().await;
        assert_progress(&reports);
        let halfway = reports[10]["progress"].as_f64().unwrap();
        assert!((0.3..=0.7).contains(&halfway), "{halfway}");
    }
}

#[tokio::test]
async fn a_truncated_or_broken_gzip_delivers_what_came_and_fails() {
    let text = noisy_rows(20_000);
    let packed = gzip(&text);
    let half = packed.len() / 2;
    let mut garbled = packed.clone();
    garbled[half..half + 64].fill(0xff);
    for body in [packed[..half].to_vec(), garbled, packed[..5].to_vec()] {
        let upstream = Upstream::start().await;
        let url = upstream
            .source(ResponseTemplate::new(200).set_body_bytes(body.clone()))
            .await;
        let outcome = run(&upstream, &url, settings(1000)).await;
        let Ending::Failed(reason) = &outcome.ending else {
            panic!("{outcome:?}");
        };
        assert!(
            reason.starts_with("the download was cut short after "),
            "{reason}"
        );
        assert!(
            reason.contains(&format!(" of {} bytes", body.len())),
            "{reason}"
        );
        let got = delivered(&upstream).await;
        // Damage shows when it breaks the code or, at the latest, at the checksum: what was
        // unpacked behind it cannot be known to be wrong.
        let sure = got.len().min(9000);
        assert!(
            got[..sure] == parsed(&text)[..sure],
            "{} records",
            got.len()
        );
        assert_eq!(got.len() as u64, outcome.delivered);
        assert_eq!(got.len() > 5000, body.len() > 5, "{} records", got.len());
        assert_progress(&upstream.reports().await);
    }
}

#[tokio::test]
async fn a_chunked_source_has_no_length_and_still_ends() {
    let text = rows(10);
    let bytes = text.as_bytes();
    let mut answer = chunked(&[&bytes[..33], &bytes[33..34], &bytes[34..]]);
    answer.push(b"0\r\n\r\n".to_vec());
    let source = raw_source(answer, Then::Close).await;
    let upstream = Upstream::start().await;
    let outcome = run(&upstream, &source.url, settings(4)).await;
    assert_eq!((outcome.status_code(), outcome.delivered), (200, 10));
    assert_eq!(delivered(&upstream).await, parsed(&text));
    let last = timeline(&upstream.reports().await).pop().unwrap();
    assert_eq!(last, ("succeeded".into(), 1.0));
    assert_progress(&upstream.reports().await);
}

#[tokio::test]
async fn a_download_cut_short_delivers_every_whole_line_and_fails_saying_where() {
    let text = rows(5);
    let part = &text.as_bytes()[..34]; // three lines and half of the fourth
    let plain = || vec![head("content-length: 50"), part.to_vec()];
    let ended = |why: &str| {
        format!("the download was cut short after 34{why} bytes, line 3 is the last complete one: ")
    };
    let cases: [(RawSource, String); 3] = [
        (raw_source(plain(), Then::Close).await, ended(" of 50")),
        (raw_source(chunked(&[part]), Then::Close).await, ended("")),
        (
            raw_source(plain(), Then::Hang).await,
            ended(" of 50") + "nothing came for 0.2 s",
        ),
    ];
    for (source, expected) in cases {
        let upstream = Upstream::start().await;
        let impatient = RunnerSettings {
            idle_timeout: Duration::from_millis(200),
            ..settings(2)
        };
        let outcome = run(&upstream, &source.url, impatient).await;
        assert_eq!((outcome.status_code(), outcome.batch_offset), (500, 3));
        assert_eq!(delivered(&upstream).await, parsed(&rows(3)));
        let last = upstream.reports().await.pop().unwrap();
        assert_eq!(last["state"], "failed");
        let reason = last["reason"].as_str().unwrap();
        assert!(reason.starts_with(&expected), "{reason}\n{expected}");
        assert_progress(&upstream.reports().await);
    }
}

#[tokio::test]
async fn a_source_that_never_answers_is_a_failed_download() {
    let source = raw_source(Vec::new(), Then::Hang).await;
    let upstream = Upstream::start().await;
    let impatient = RunnerSettings {
        answer_timeout: Duration::from_millis(200),
        ..settings(2)
    };
    let outcome = run(&upstream, &source.url, impatient).await;
    assert_eq!(
        outcome.ending,
        Ending::Failed("Failed to download file.".into())
    );
    assert!(
        outcome.errors[0].contains("did not answer within 0.2 s"),
        "{:?}",
        outcome.errors
    );
}

#[tokio::test]
async fn an_encoding_we_do_not_know_is_named() {
    let upstream = Upstream::start().await;
    let answer = ResponseTemplate::new(200).insert_header("content-encoding", "br");
    let url = upstream.source(answer).await;
    let outcome = run(&upstream, &url, settings(2)).await;
    assert!(
        outcome.errors[0].contains("`br` is not supported"),
        "{:?}",
        outcome.errors
    );
}

#[tokio::test]
async fn bad_lines_are_named_by_number_and_the_rest_goes_through() {
    let upstream = Upstream::start().await;
    let long = format!("{{\"long\":\"{}\"}}", "x".repeat(200));
    let text = [
        "\u{feff}{\"n\":1}".as_bytes(), // a byte order mark is no part of the data
        b"",
        b"{\"n\":2,}",
        b"   \r",
        b"{\"n\":3}\r",
        long.as_bytes(),
        b"{\"n\":\"\xff\"}",
        b"  {\"n\":4}  ",
        b"{\"n\":5} {\"n\":6}",
        b"{\"n\":7}",
    ]
    .join(&b"\n"[..]);
    let url = upstream
        .source(ResponseTemplate::new(200).set_body_bytes(text))
        .await;
    let short_lines = RunnerSettings {
        longest_line: 100,
        ..settings(3)
    };
    let outcome = run(&upstream, &url, short_lines).await;
    assert_eq!(outcome.status_code(), 200);
    assert_eq!(
        (outcome.delivered, outcome.batch_offset, outcome.error_count),
        (4, 8, 4)
    );
    assert_eq!(
        upstream.deliveries().await,
        [
            json!([{"n": 1}, {"n": 3}]),
            json!([{"n": 4}]),
            json!([{"n": 7}])
        ]
    );
    let told: Vec<_> = upstream
        .reports()
        .await
        .iter()
        .flat_map(|report| report["errors"].as_array().unwrap().clone())
        .collect();
    assert_eq!(
        told,
        [
            "line 3: not JSON: key must be a string at column 8",
            "line 6: longer than 100 bytes, left out",
            "line 7: not UTF-8 at column 7",
            "line 9: not JSON: trailing characters at column 9",
        ]
    );
}

#[tokio::test]
async fn an_offset_means_the_same_records_whatever_is_in_them() {
    let text = "{\"n\":1}\noops\n\n{\"n\":2}\n{\"n\":3}\n";
    for (offset, expected) in [(0, 3), (1, 2), (2, 2), (3, 1), (4, 0), (9, 0)] {
        let upstream = Upstream::start().await;
        let url = upstream.text(text).await;
        let client = HttpClient::new().unwrap();
        let mut payload = upstream.payload(&url);
        payload.batch_offset = Some(offset);
        let mut api = upstream.api(&client);
        let outcome = Runner::new(client)
            .settings(settings(2))
            .run(&payload, &mut api, Deadline::NONE)
            .await
            .unwrap();
        assert_eq!(outcome.delivered, expected, "offset {offset}");
        assert_eq!(outcome.batch_offset, offset.max(4), "offset {offset}");
        assert_eq!(outcome.status_code(), 200);
        assert_eq!(outcome.error_count, u64::from(offset < 2));
    }
}

#[tokio::test]
async fn a_file_without_any_json_fails_and_tells_ten_lines_a_report() {
    let upstream = Upstream::start().await;
    let url = upstream.text(&"<html>\n".repeat(1000)).await;
    let outcome = run(&upstream, &url, settings(500)).await;
    assert_eq!(
        outcome.ending,
        Ending::Failed("no line of the file is JSON".into())
    );
    assert!(upstream.deliveries().await.is_empty());
    let reports = upstream.reports().await;
    let counts: Vec<_> = reports
        .iter()
        .map(|report| report["errors"].as_array().unwrap().len())
        .collect();
    assert!(counts.iter().all(|count| *count <= 10), "{counts:?}");
    let last = reports.last().unwrap()["errors"].as_array().unwrap();
    let note = last.last().unwrap().as_str().unwrap();
    assert!(note.ends_with("more errors are not listed"), "{note}");
}

#[tokio::test]
async fn a_batch_is_closed_by_its_bytes_too() {
    let upstream = Upstream::start().await;
    let url = upstream.text(&rows(6)).await;
    let small = RunnerSettings {
        batch_bytes: 20,
        ..settings(500)
    };
    let outcome = run(&upstream, &url, small).await;
    assert_eq!((outcome.batches, outcome.delivered), (3, 6));
}

#[tokio::test]
async fn redirects_of_the_data_url_are_followed() {
    let upstream = Upstream::start().await;
    let target = upstream.text(&rows(2)).await;
    let location = format!("location: {target}\r\ncontent-length: 0");
    let moved = format!("HTTP/1.1 307 Moved\r\n{location}\r\n\r\n").into_bytes();
    let source = raw_source(vec![moved], Then::Close).await;
    let outcome = run(&upstream, &source.url, settings(2)).await;
    assert_eq!(outcome.delivered, 2);
}
