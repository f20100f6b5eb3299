//! The logs in memory and on disk.

use std::sync::LazyLock;

use super::*;
use crate::invocation::RequestId;
use crate::testing::within;

fn line(message: &str, request_id: Option<RequestId>) -> LogLine<'_> {
    static STREAM: LazyLock<Arc<str>> = LazyLock::new(|| "2025/11/21/[$LATEST]0".into());
    LogLine {
        timestamp: 1_763_719_200_123,
        stream: &STREAM,
        request_id,
        origin: Origin::Stdout,
        message,
    }
}

fn messages(log: &FunctionLog) -> Vec<String> {
    let lines = log.lines();
    let messages = lines
        .lines()
        .map(|numbered| numbered.line.message.to_owned());
    messages.collect()
}

/// Logs that are kept in this folder, and the tasks that do it.
async fn kept(folder: &Path) -> (Logs, JoinSet<()>) {
    let (logs, mut tasks) = (Logs::new(), JoinSet::new());
    logs.keep(folder, &mut tasks).await;
    assert_eq!(tasks.len(), 1);
    (logs, tasks)
}

async fn finish(logs: &Logs, mut tasks: JoinSet<()>) {
    logs.finish();
    within("the writer's end", tasks.join_next())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn what_was_logged_is_there_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("logs");
    let (demo, other) = ("demo".parse().unwrap(), "other".parse().unwrap());
    let id = RequestId::random();
    for round in 1..=3 {
        let (logs, tasks) = kept(&folder).await;
        let log = logs.function(&demo);
        assert_eq!(messages(&log).len(), (round - 1) * 2);
        log.append(line("\u{e9} one", None));
        log.append(line("two", Some(id)));
        logs.function(&other).append(line("else", None));
        finish(&logs, tasks).await;
    }
    let (logs, tasks) = kept(&folder).await;
    assert_eq!(messages(&logs.function(&other)), ["else"; 3]);
    let lines = logs.function(&demo).lines();
    assert_eq!(lines.lines().last().unwrap().line, line("two", Some(id)));
    finish(&logs, tasks).await;
}

#[tokio::test]
async fn a_line_that_a_crash_cut_short_costs_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let name = "demo".parse().unwrap();
    let (logs, tasks) = kept(folder.path()).await;
    logs.function(&name).append(line("whole", None));
    finish(&logs, tasks).await;
    let file = folder.path().join("demo.ndjson");
    let mut text = std::fs::read(&file).unwrap();
    text.extend_from_slice(b"{\"timestamp\":17\xc3");
    std::fs::write(&file, text).unwrap();
    for expected in [vec!["whole"], vec!["whole", "next"]] {
        let (logs, tasks) = kept(folder.path()).await;
        let log = logs.function(&name);
        assert_eq!(messages(&log), expected);
        if expected.len() == 1 {
            log.append(line("next", None));
        }
        finish(&logs, tasks).await;
    }
}

#[tokio::test]
async fn files_and_memory_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(1 << 20);
    for round in 0..4 {
        let (logs, tasks) = kept(folder.path()).await;
        let log = logs.function(&"demo".parse().unwrap());
        for _ in 0..5 {
            log.append(line(&format!("{round}{long}"), None));
        }
        finish(&logs, tasks).await;
        let kept_lines = messages(&log);
        assert!((5..8).contains(&kept_lines.len()), "{}", kept_lines.len());
        assert!(
            kept_lines
                .iter()
                .rev()
                .take(5)
                .all(|line| line.starts_with(&round.to_string()))
        );
    }
    let files = std::fs::read_dir(folder.path()).unwrap();
    let sizes: Vec<u64> = files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .collect();
    assert_eq!(sizes.len(), 1, "the first ten are forgotten: {sizes:?}");
    assert_eq!(sizes[0] >> 20, 10, "{sizes:?}");
}

#[tokio::test]
async fn a_follower_sees_what_comes_and_is_let_go_at_the_end() {
    let logs = Logs::new();
    let log = logs.function(&"demo".parse().unwrap());
    log.append(line("before", None));
    let seen = log.lines().newest();
    let (one, two) = (RequestId::random(), RequestId::random());
    let (writer, closer) = (log.clone(), logs.clone());
    let follow = async {
        let mut after = seen;
        let mut got = Vec::new();
        while let Some(lines) = log.following(after).await {
            after = lines.newest();
            got.extend(
                lines
                    .lines()
                    .map(|numbered| numbered.line.message.to_owned()),
            );
            if got.len() == 3 {
                closer.close();
            }
        }
        got
    };
    let write = async {
        for (message, id) in [("a", Some(one)), ("b", Some(two)), ("c", Some(one))] {
            writer.append(line(message, id));
            tokio::task::yield_now().await;
        }
    };
    let (got, ()) = within("the end", async { tokio::join!(follow, write) }).await;
    assert_eq!(got, ["a", "b", "c"]);
}

#[test]
fn lines_keep_their_numbers_when_the_oldest_blocks_go() {
    const LINES: u64 = 5_000;
    let bounds = Bounds {
        lines: 2_000,
        bytes: 8 * 1024 * 1024,
    };
    let mut blocks = Blocks::new(bounds);
    assert!(blocks.is_empty() && blocks.after(EntryId::START).is_empty());
    let early = {
        blocks.append(line("1", None));
        blocks.after(EntryId::START)
    };
    for number in 2..=LINES {
        blocks.append(line(&number.to_string(), None));
    }
    assert_eq!(blocks.newest(), EntryId::from(LINES));
    // A reader keeps what it had.
    let seen: Vec<_> = early.lines().map(|line| line.line.message).collect();
    assert_eq!(seen, ["1"]);

    let kept = blocks.after(EntryId::START);
    let first = kept.lines().next().unwrap().id.get();
    let count = LINES - first + 1;
    assert!((1_500..2_600).contains(&count), "{count} are kept");
    for (numbered, number) in kept.lines().zip(first..) {
        assert_eq!(numbered.id.get(), number);
        assert_eq!(numbered.line.message, number.to_string());
    }
    assert_eq!(kept.lines().count() as u64, count);
    for after in [first - 1, first, first + 511, LINES - 1, LINES] {
        let rest = blocks.after(EntryId::from(after));
        let numbers: Vec<u64> = rest.lines().map(|line| line.id.get()).collect();
        assert!(numbers.iter().copied().eq(after + 1..=LINES), "{after}");
        assert_eq!(rest.newest().get(), LINES);
        assert_eq!(rest.is_empty(), after == LINES);
    }
}

#[test]
fn lines_of_all_sizes_stay_whole_and_bounded() {
    let sizes = [0, 1, 60_000, 10_000, 200_000, 3, 70_000, 64 * 1024, 0];
    let bounds = Bounds {
        lines: 20_000,
        bytes: 1 << 20,
    };
    let mut blocks = Blocks::new(bounds);
    let mut expected = Vec::new();
    for (round, size) in (0_u8..60).flat_map(|round| sizes.map(|size| (round, size))) {
        let message = char::from(b'a' + round % 26).to_string().repeat(size);
        blocks.append(line(&message, None));
        expected.push(message);
        let kept: Vec<String> = (blocks.after(EntryId::START).lines())
            .map(|numbered| numbered.line.message.to_owned())
            .collect();
        assert_eq!(kept, expected[expected.len() - kept.len()..]);
        let bytes: usize = kept.iter().map(String::len).sum();
        assert!(bytes <= bounds.bytes + 200_000, "{bytes}");
        assert!(kept.len() > 9 || expected.len() <= 9, "{}", kept.len());
    }
}
