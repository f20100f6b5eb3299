//! Processes that behave and processes that do not, each a few words of shell.

use std::collections::BTreeMap;
use std::time::Duration;

use app_model::{CommandSource, Function, FunctionSettings, FunctionSource};

use super::*;
use crate::Generation;

/// Longer than anything here takes, shorter than a test runner's patience.
const DEADLINE: Duration = Duration::from_secs(20);

fn artifact(argv: &[&str]) -> Arc<Artifact> {
    let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
    Arc::new(Artifact {
        generation: Generation(1),
        function: Function {
            name: "shell".parse().unwrap(),
            source: FunctionSource::Command(CommandSource {
                argv: argv.clone(),
                cwd: "/".into(),
                watch: Vec::new(),
            }),
            settings: FunctionSettings {
                memory_mb: 128,
                timeout: FunctionSettings::DEFAULT_TIMEOUT,
                env: BTreeMap::new(),
                handler: "bootstrap".into(),
                log_format: app_model::LogFormat::Text,
                recursive_loop: app_model::RecursiveLoop::Terminate,
                layers: app_model::Layers::default(),
            },
            beyond: Vec::new(),
        },
        argv,
        cwd: "/".into(),
        built_in: Duration::ZERO,
    })
}

fn shell(script: &str) -> Process {
    let launch = Launch {
        artifact: artifact(&["/bin/sh", "-c", script]),
        program: Program::Function,
        env: vec![("GREETING".into(), "hello".into())],
    };
    Process::start(launch, &[("PATH".into(), "/usr/bin:/bin".into())]).unwrap()
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("in time")
}

async fn all_lines(mut output: mpsc::Receiver<OutputLine>) -> Vec<(OutputStream, String)> {
    let mut lines = Vec::new();
    while let Some(line) = within(output.recv()).await {
        lines.push((line.stream, line.text));
    }
    lines
}

/// Waits until no process has this id any more, or only a zombie of somebody else's.
async fn gone(pid: i32) {
    let alive = || {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    };
    within(async {
        while alive() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn output_comes_line_by_line_from_both_streams() {
    let mut process =
        shell("echo one; printf 'two\\r\\n'; echo \"$GREETING $HOME\" >&2; printf last");
    let output = process.take_output();
    assert_eq!(within(process.wait()).await, Exit::Code(0));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    for (stream, text) in all_lines(output).await {
        match stream {
            OutputStream::Stdout => out.push(text),
            OutputStream::Stderr => err.push(text),
        }
    }
    assert_eq!(out, ["one", "two", "last"]);
    assert_eq!(
        err,
        ["hello "],
        "the environment is what was given and no more"
    );
    assert!(process.take_output().recv().await.is_none(), "taken twice");
}

#[tokio::test]
async fn a_line_without_end_arrives_in_pieces() {
    let mut process = shell("head -c 150000 /dev/zero | tr '\\0' x; echo; echo after");
    let lines = all_lines(process.take_output()).await;
    let lengths: Vec<usize> = lines.iter().map(|(_, text)| text.len()).collect();
    assert_eq!(
        lengths,
        [
            MAX_LINE_BYTES,
            MAX_LINE_BYTES,
            150_000 - 2 * MAX_LINE_BYTES,
            5
        ]
    );
    assert_eq!(within(process.wait()).await, Exit::Code(0));
}

#[tokio::test]
async fn the_way_it_ended_is_told() {
    for (script, expected) in [
        ("exit 0", Exit::Code(0)),
        ("exit 3", Exit::Code(3)),
        ("kill -9 $$", Exit::Signal(9)),
        ("kill -15 $$", Exit::Signal(15)),
    ] {
        let mut process = shell(script);
        assert_eq!(within(process.wait()).await, expected, "{script}");
        assert_eq!(within(process.wait()).await, expected, "asked again");
        assert_eq!(process.peak_memory_bytes(), None, "it is gone");
    }
}

#[tokio::test]
async fn waiting_can_be_given_up_and_taken_up_again() {
    let mut process = shell("read line < /dev/tty || sleep 1000");
    for _ in 0..3 {
        assert!(
            tokio::time::timeout(Duration::from_millis(5), process.wait())
                .await
                .is_err()
        );
    }
    assert!(
        process
            .peak_memory_bytes()
            .is_some_and(|bytes| bytes > 100 * 1024)
    );
    process.kill();
    assert_eq!(within(process.wait()).await, Exit::Signal(9));
}

#[tokio::test]
async fn a_frozen_one_does_nothing_until_it_is_thawed() {
    let mut process = shell("while :; do echo tick; sleep 0.01; done");
    let mut output = process.take_output();
    assert_eq!(within(output.recv()).await.unwrap().text, "tick");
    let state = |process: &Process| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
        stat.rsplit(") ").next().unwrap().chars().next().unwrap()
    };
    process.freeze();
    within(async {
        // A shell that has just forked waits for its child (`D`), which is stopped.
        while !matches!(state(&process), 'T' | 'D') {
            tokio::task::yield_now().await;
        }
    })
    .await;
    while output.try_recv().is_ok() {}
    process.thaw();
    assert_eq!(within(output.recv()).await.unwrap().text, "tick");
    process.freeze();
    process.kill();
    assert_eq!(within(process.wait()).await, Exit::Signal(9));
}

#[tokio::test]
async fn stop_asks_first_and_reads_the_last_words() {
    let mut process =
        shell("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done");
    let mut output = process.take_output();
    assert_eq!(within(output.recv()).await.unwrap().text, "ready");
    assert_eq!(within(process.stop(DEADLINE)).await, Exit::Code(7));
    let last_words = (OutputStream::Stdout, "bye".to_owned());
    assert!(all_lines(output).await.contains(&last_words));
}

#[tokio::test]
async fn one_that_does_not_listen_is_killed() {
    let mut process = shell("trap '' TERM; echo ready; while :; do sleep 1000; done");
    let mut output = process.take_output();
    assert_eq!(within(output.recv()).await.unwrap().text, "ready");
    let exit = within(process.stop(Duration::from_millis(50))).await;
    assert_eq!(exit, Exit::Signal(9));
}

#[tokio::test]
async fn grandchildren_end_with_it() {
    for ending in ["exit 0", "exec sleep 1000"] {
        let mut process = shell(&format!("trap '' TERM; sleep 1000 & echo $!; {ending}"));
        let mut output = process.take_output();
        let grandchild: i32 = within(output.recv()).await.unwrap().text.parse().unwrap();
        match ending {
            "exit 0" => assert_eq!(within(process.wait()).await, Exit::Code(0)),
            _ => drop(process),
        }
        gone(grandchild).await;
    }
}

#[tokio::test]
async fn dropping_it_ends_it() {
    let process = shell("exec sleep 1000");
    let pid = i32::try_from(process.pid()).unwrap();
    drop(process);
    gone(pid).await;
}

#[tokio::test]
async fn output_that_nobody_takes_does_not_hold_up_a_stop() {
    let process = shell("trap 'exit 5' TERM; while :; do echo noise; done");
    // Let it fill the queue and the pipe.
    within(async {
        while process
            .output
            .as_ref()
            .is_some_and(|output| output.len() < OUTPUT_QUEUE_LINES)
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(within(process.stop(DEADLINE)).await, Exit::Code(5));
}

#[tokio::test]
async fn what_cannot_be_started_is_named() {
    let launch = |argv: &[&str]| Launch {
        artifact: artifact(argv),
        program: Program::Function,
        env: Vec::new(),
    };
    let error = Process::start(launch(&["/no/such/program"]), &[]).unwrap_err();
    assert_eq!(error.to_string(), "cannot start `/no/such/program` in /");
    let error = Process::start(launch(&[]), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "function `shell` has an empty command: declare at least the program"
    );
}
