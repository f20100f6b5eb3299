//! The logs in memory and on disk.

use super::*;
use crate::invocation::RequestId;
use crate::testing::within;

fn line(message: &str, request_id: Option<RequestId>) -> LogLine {
    LogLine {
        timestamp: 1_763_719_200_123,
        stream: "2025/11/21/[$LATEST]0".into(),
        request_id,
        origin: Origin::Stdout,
        message: message.to_owned(),
    }
}

fn messages(log: &FunctionLog) -> Vec<String> {
    let lines = log.lines(|_| true);
    lines.iter().map(|line| line.item.message.clone()).collect()
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
    let lines = logs.function(&demo).lines(|_| true);
    assert_eq!(lines.last().unwrap().item, line("two", Some(id)));
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
    let seen = log.lines(|_| true).last().unwrap().id;
    let (one, two) = (RequestId::random(), RequestId::random());
    let of_one = |line: &Entry<LogLine>| line.item.request_id == Some(one);
    let (writer, closer) = (log.clone(), logs.clone());
    let follow = async {
        let mut after = seen;
        let mut got = Vec::new();
        while let Some(lines) = log.following(after, of_one).await {
            after = lines.last().unwrap().id;
            got.extend(lines.iter().map(|line| line.item.message.clone()));
            if got.len() == 2 {
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
    assert_eq!(got, ["a", "c"]);
}
