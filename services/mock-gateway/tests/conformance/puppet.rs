//! A function that does what it is told: a process of this binary which connects back to
//! the test, says who it is, and then makes the calls it is given over raw TCP.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

/// The variable with the test's address; without it this is no puppet.
pub(crate) const STRINGS: &str = "CONFORMANCE_STRINGS";

/// The first thing a puppet says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: String,
}

/// What a puppet is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Make a call; its answer comes back under the number.
    Call(u64, Request),
    /// Print a line.
    Print(String),
    /// End with this code.
    Exit(i32),
    /// End by a signal.
    Abort,
    /// Write a file.
    Write(String, String),
    /// Read a file and remove it; its text comes back under the number.
    Read(u64, String),
}

/// A call to the Runtime or Extensions API.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    /// Base64.
    pub(crate) body: String,
    /// Sent in chunks, with these trailers.
    pub(crate) trailers: Option<Vec<(String, String)>>,
    /// Break off before the end.
    pub(crate) cut_short: bool,
}

/// What came back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Reply {
    /// 0: nothing that reads as an answer.
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Base64.
    pub(crate) body: String,
}

#[test]
#[ignore = "the process that the other tests start"]
#[expect(
    clippy::exit,
    reason = "a puppet ends with the code that the case wants"
)]
fn process() {
    #[expect(
        clippy::disallowed_methods,
        reason = "how the test's address comes to the process"
    )]
    let Ok(address) = std::env::var(STRINGS) else {
        return;
    };
    // As a runtime with an extension in it does: it takes its time over SIGTERM.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _deaf = runtime.block_on(async { signal(SignalKind::terminate()).unwrap() });
    let strings = TcpStream::connect(address).unwrap();
    let env: BTreeMap<String, String> = std::env::vars().collect();
    let api = env["AWS_LAMBDA_RUNTIME_API"].clone();
    let cwd = std::env::current_dir().unwrap().display().to_string();
    let back = Arc::new(Mutex::new(strings.try_clone().unwrap()));
    say(&back, &Hello { env, cwd });
    for line in BufReader::new(strings).lines() {
        let Ok(line) = line else { break };
        match serde_json::from_str(&line).unwrap() {
            Order::Call(number, request) => {
                let (api, back) = (api.clone(), back.clone());
                std::thread::spawn(move || {
                    let reply = call(&api, &request).unwrap_or_default();
                    say(&back, &(number, reply));
                });
            }
            Order::Print(text) => {
                let mut stdout = std::io::stdout();
                writeln!(stdout, "{text}").unwrap();
                stdout.flush().unwrap();
            }
            Order::Exit(code) => std::process::exit(code),
            Order::Abort => std::process::abort(),
            Order::Write(path, text) => std::fs::write(path, text).unwrap(),
            Order::Read(number, path) => {
                let text = std::fs::read(&path).unwrap_or_default();
                drop(std::fs::remove_file(path));
                let reply = Reply {
                    status: 200,
                    headers: Vec::new(),
                    body: BASE64.encode(text),
                };
                say(&back, &(number, reply));
            }
        }
    }
}

fn say(back: &Mutex<TcpStream>, what: &impl Serialize) {
    let line = serde_json::to_string(what).unwrap() + "\n";
    back.lock().unwrap().write_all(line.as_bytes()).unwrap();
}

fn call(api: &str, request: &Request) -> std::io::Result<Reply> {
    let mut stream = TcpStream::connect(api)?;
    let body = BASE64.decode(&request.body).unwrap();
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: {api}\r\n",
        request.method, request.path
    );
    for (name, value) in &request.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let mut bytes = match &request.trailers {
        Some(trailers) => {
            let names: Vec<&str> = trailers.iter().map(|(name, _)| name.as_str()).collect();
            if !names.is_empty() {
                head += &format!("Trailer: {}\r\n", names.join(", "));
            }
            let mut bytes = (head + "Transfer-Encoding: chunked\r\n\r\n").into_bytes();
            bytes.extend(format!("{:x}\r\n", body.len()).as_bytes());
            bytes.extend(&body);
            bytes.extend(b"\r\n0\r\n");
            for (name, value) in trailers {
                bytes.extend(format!("{name}: {value}\r\n").as_bytes());
            }
            bytes.extend(b"\r\n");
            bytes
        }
        None => {
            let length = body.len();
            let mut bytes = format!("{head}Content-Length: {length}\r\n\r\n").into_bytes();
            bytes.extend(&body);
            bytes
        }
    };
    if request.cut_short {
        bytes.truncate(bytes.len() - 1);
    }
    stream.write_all(&bytes)?;
    if request.cut_short {
        stream.shutdown(Shutdown::Write)?;
    }
    read_reply(stream)
}

fn read_reply(stream: TcpStream) -> std::io::Result<Reply> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut reply = Reply {
        status: status.unwrap_or_default(),
        ..Reply::default()
    };
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap();
        }
        let header = (name.to_ascii_lowercase(), value.to_owned());
        reply.headers.push(header);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    reply.body = BASE64.encode(body);
    Ok(reply)
}
