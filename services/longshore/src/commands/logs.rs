//! `longshore logs <function>`: what a function printed and what the platform said of it.

use std::io::Write;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::exit::Exit;
use crate::settings::Settings;

/// Which lines.
#[derive(Debug)]
pub struct LogsOptions {
    /// Stay, and print what comes.
    pub follow: bool,
    /// Of this invocation only.
    pub request_id: Option<String>,
    /// The newest so many only.
    pub limit: Option<usize>,
}

/// A line, as the gateway tells it.
#[derive(Deserialize)]
struct Line {
    time: String,
    message: String,
}

/// Prints the lines on standard output.
///
/// # Errors
/// If the gateway does not answer, knows no such function, or breaks off.
pub async fn run(
    settings: &Settings,
    function: &str,
    options: &LogsOptions,
) -> anyhow::Result<Exit> {
    let url = format!(
        "http://{}:{}/_longshore/logs/{function}",
        settings.host, settings.gateway_port
    );
    let mut query = vec![("follow", options.follow.to_string())];
    query.extend(options.request_id.clone().map(|id| ("request_id", id)));
    query.extend(options.limit.map(|limit| ("limit", limit.to_string())));
    let url = reqwest::Url::parse_with_params(&url, &query).context("no address to ask")?;
    let mut response = reqwest::Client::builder()
        .no_proxy()
        .build()
        .context("the HTTP client cannot be set up")?
        .get(url)
        .send()
        .await
        .with_context(|| {
            format!(
                "no gateway answers on port {}; start one with `longshore up`",
                settings.gateway_port
            )
        })?;
    if !response.status().is_success() {
        let status = response.status();
        let problem: serde_json::Value = response.json().await.unwrap_or_default();
        match problem["detail"].as_str() {
            Some(detail) => bail!("{detail}"),
            None => bail!("the gateway answered {status}"),
        }
    }
    let mut out = std::io::stdout().lock();
    let mut left = Vec::new();
    loop {
        let chunk = tokio::select! {
            chunk = response.chunk() => chunk.context("the gateway's answer broke off")?,
            // Who follows ends it that way.
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.context("Ctrl-C cannot be waited for")?;
                None
            }
        };
        let Some(chunk) = chunk else {
            return Ok(Exit::Success);
        };
        left.extend_from_slice(&chunk);
        let text = printed(&mut left)?;
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        match written {
            // Whoever read has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                return Ok(Exit::Success);
            }
            written => written.context("cannot write the lines")?,
        }
    }
}

/// Takes the whole lines off `received`, as they are printed.
fn printed(received: &mut Vec<u8>) -> anyhow::Result<String> {
    let mut text = String::new();
    let Some(end) = received.iter().rposition(|byte| *byte == b'\n') else {
        return Ok(text);
    };
    let rest = received.split_off(end + 1);
    for line in received.split(|byte| *byte == b'\n') {
        if !line.is_empty() {
            let line: Line = serde_json::from_slice(line)
                .context("the gateway answers something else than lines of a log")?;
            text.push_str(&format!("{} {}\n", line.time, line.message.trim_end()));
        }
    }
    *received = rest;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_printed_once_they_are_whole() {
        let mut received = br#"{"time":"T1","message":"one","stream":"s"}"#.to_vec();
        assert_eq!(printed(&mut received).unwrap(), "");
        received.extend_from_slice(b"\n\n{\"time\":\"T2\",\"message\":\"two\\t\"}\n{\"ti");
        assert_eq!(printed(&mut received).unwrap(), "T1 one\nT2 two\n");
        assert_eq!(received, b"{\"ti");
        assert!(printed(&mut b"oops\n".to_vec()).is_err());
    }
}
