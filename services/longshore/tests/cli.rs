//! The program from outside: what it prints, how it exits, that nothing outlives it.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// Everything here takes a moment; a machine under load may take longer.
const WITHIN: Duration = Duration::from_secs(60);

#[expect(
    clippy::disallowed_methods,
    reason = "the program under test is started here"
)]
fn longshore(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
    command
        .current_dir(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn ended(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let run = longshore(folder, arguments).output();
    let Output {
        status,
        stdout,
        stderr,
    } = tokio::time::timeout(WITHIN, run)
        .await
        .expect("it does not end")
        .expect("it does not start");
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code().expect("a signal ended it"), text)
}

/// A workspace without functions.
fn workspace() -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir_all(folder.path().join("handlers")).unwrap();
    std::fs::create_dir_all(folder.path().join("fixtures/data")).unwrap();
    let manifest = "[workspace]\nresolver = \"3\"\nmembers = [\"handlers/*\"]\n";
    std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    folder
}

const ANY_PORTS: [&str; 4] = [
    "--gateway-port=0",
    "--aws-port=0",
    "--destination-port=0",
    "--poller-port=0",
];

#[tokio::test]
async fn bad_flags_and_settings_are_one_line_and_exit_2() {
    let folder = workspace();
    for (arguments, expected) in [
        (&["up", "--no-such-flag"][..], "--no-such-flag"),
        (
            &["up", "--gateway-port", "http"][..],
            "--gateway-port: `http` is not a PORT",
        ),
        (
            &["up", "--watch", "never"][..],
            "use one of: auto, native, poll, off",
        ),
        (
            &[
                "gateway",
                "--parity",
                "enforce",
                "--integration-timeout",
                "60",
            ][..],
            "AWS takes 29 seconds",
        ),
        (
            &["up", "--workspace", "no/such/folder"][..],
            "no/such/folder cannot be read",
        ),
    ] {
        let (code, text) = ended(folder.path(), arguments).await;
        assert_eq!(code, 2, "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
    std::fs::write(folder.path().join(".env"), "not a variable\n").unwrap();
    let (code, text) = ended(folder.path(), &["up"]).await;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains(".env"), "{text}");
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_flag_that_changes_it() {
    let folder = workspace();
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = holder.local_addr().unwrap().port();
    let mut arguments = vec!["up"];
    arguments.extend(&ANY_PORTS[1..]);
    let flag = format!("--gateway-port={port}");
    arguments.push(&flag);
    let (code, text) = ended(folder.path(), &arguments).await;
    assert_eq!(code, 3, "{text}");
    assert!(
        text.contains(&format!("port {port} is in use")) && text.contains("--gateway-port"),
        "{text}"
    );
}

#[tokio::test]
async fn a_folder_without_a_workspace_and_a_missing_toolchain_exit_4() {
    let empty = TempDir::new().unwrap();
    let mut arguments = vec!["up"];
    arguments.extend(ANY_PORTS);
    let (code, text) = ended(empty.path(), &arguments).await;
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("no Cargo.toml"), "{text}");

    let folder = workspace();
    let mut command = longshore(folder.path(), &arguments);
    command.env("PATH", empty.path());
    let run = tokio::time::timeout(WITHIN, command.output())
        .await
        .unwrap()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(4), "{text}");
    assert!(text.contains("rustup.rs"), "{text}");
}

#[tokio::test]
async fn invoke_without_a_gateway_says_how_to_start_one() {
    let folder = workspace();
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = format!("--gateway-port={}", holder.local_addr().unwrap().port());
    drop(holder);
    let (code, text) = ended(folder.path(), &["invoke", "demo", &port]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("longshore up"), "{text}");
    let (code, text) = ended(folder.path(), &["invoke", "demo", "--data", "{oops"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("not JSON"), "{text}");
}

#[tokio::test]
async fn new_makes_a_handler_and_refuses_what_is_none() {
    let folder = workspace();
    let template = folder.path().join("handlers/template/src");
    std::fs::create_dir_all(&template).unwrap();
    std::fs::write(
        folder.path().join("handlers/template/Cargo.toml"),
        "[package]\nname = \"template\"\n",
    )
    .unwrap();
    std::fs::write(template.join("main.rs"), "fn main() { template::run() }\n").unwrap();

    // A gateway that notices the handler at the second look.
    let gateway = MockServer::builder().start().await;
    let asked = Mock::given(path("/_longshore/functions/my-orders"));
    asked
        .respond_with(ResponseTemplate::new(404))
        .up_to_n_times(1)
        .mount(&gateway)
        .await;
    let served = Mock::given(path("/_longshore/functions/my-orders"));
    served
        .respond_with(ResponseTemplate::new(200))
        .mount(&gateway)
        .await;
    let port = format!("--gateway-port={}", gateway.address().port());
    let (code, text) = ended(folder.path(), &["new", "my-orders", &port]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("the running Longshore serves it"), "{text}");
    let made = |path: &str| {
        std::fs::read_to_string(folder.path().join("handlers/my-orders").join(path)).unwrap()
    };
    assert_eq!(made("Cargo.toml"), "[package]\nname = \"my-orders\"\n");
    assert_eq!(made("src/main.rs"), "fn main() { my_orders::run() }\n");

    for (name, expected) in [
        ("my-orders", "exists already"),
        ("My Orders", "no handler name"),
    ] {
        let (code, text) = ended(folder.path(), &["new", name, &port]).await;
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(expected), "{text}");
    }
    drop(gateway);
    let (code, text) = ended(folder.path(), &["new", "more-orders", &port]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("longshore up"), "{text}");
}

struct Up {
    child: Child,
    banner: String,
}

async fn up(folder: &Path) -> Up {
    let mut arguments = vec!["up", "--ephemeral"];
    arguments.extend(ANY_PORTS);
    let mut child = longshore(folder, &arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut banner = String::new();
    let read = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            banner.push_str(&line);
            banner.push('\n');
            if line.contains("poller") {
                return;
            }
        }
    };
    tokio::time::timeout(WITHIN, read).await.expect("no banner");
    Up { child, banner }
}

fn interrupt(child: &Child) {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(rustix::process::Pid::from_raw)
        .unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

#[tokio::test]
async fn ctrl_c_drains_and_exits_0() {
    let folder = workspace();
    let mut up = up(folder.path()).await;
    for name in [
        "gateway",
        "AWS endpoint",
        "destination",
        "poller",
        "http://localhost:",
    ] {
        assert!(up.banner.contains(name), "{}", up.banner);
    }
    interrupt(&up.child);
    let status = tokio::time::timeout(WITHIN, up.child.wait())
        .await
        .expect("it does not end")
        .unwrap();
    assert_eq!(status.code(), Some(0));
}
