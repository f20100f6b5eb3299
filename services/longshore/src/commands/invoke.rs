//! `longshore invoke <function>`: the Lambda Invoke API of the running gateway.

use std::io::{Read, Write};

use anyhow::{Context, bail};

use crate::exit::Exit;
use crate::settings::Settings;

/// Sends the event, prints the answer on standard output and the log tail on standard error.
///
/// # Errors
/// If the event is not JSON or cannot be read, or the gateway does not answer.
pub async fn run(settings: &Settings, function: &str, data: &str) -> anyhow::Result<Exit> {
    let event = read_event(data)?;
    let url = format!(
        "http://{}:{}/2015-03-31/functions/{function}/invocations",
        settings.host, settings.gateway_port
    );
    let response = reqwest::Client::builder()
        .no_proxy()
        .build()
        .context("the HTTP client cannot be set up")?
        .post(&url)
        .header("x-amz-log-type", "Tail")
        .body(event)
        .send()
        .await
        .with_context(|| {
            format!(
                "no gateway answers on port {}; start one with `longshore up`",
                settings.gateway_port
            )
        })?;
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let failed = header("x-amz-function-error").is_some();
    let log = header("x-amz-log-result");
    let status = response.status();
    let body = response
        .bytes()
        .await
        .context("the gateway's answer broke off")?;
    if let Some(log) = log.and_then(|log| base64_text(&log)) {
        eprint!("{log}");
    }
    let mut out = std::io::stdout();
    out.write_all(&body)
        .and_then(|()| out.write_all(b"\n"))
        .context("cannot write the answer")?;
    if !status.is_success() {
        bail!("the gateway answered {status}");
    }
    Ok(if failed { Exit::Failure } else { Exit::Success })
}

fn read_event(data: &str) -> anyhow::Result<String> {
    let text = match data.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the event from {path}"))?,
        None if data == "-" => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("cannot read the event from standard input")?;
            text
        }
        None => data.to_owned(),
    };
    serde_json::from_str::<&serde_json::value::RawValue>(&text).context("the event is not JSON")?;
    Ok(text)
}

fn base64_text(encoded: &str) -> Option<String> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_from_text_or_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\"a\": 1}").unwrap();
        assert_eq!(read_event("{}").unwrap(), "{}");
        assert_eq!(
            read_event(&format!("@{}", file.path().display())).unwrap(),
            "{\"a\": 1}"
        );
        assert!(
            read_event("{oops")
                .unwrap_err()
                .to_string()
                .contains("not JSON")
        );
        assert!(
            read_event("@/nowhere/event.json")
                .unwrap_err()
                .to_string()
                .contains("/nowhere/event.json")
        );
    }
}
