//! The answer of `InvokeWithResponseStream`: frames of `application/vnd.amazon.eventstream`,
//! payload chunks and then the word of how it ended.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;
use serde_json::{Value, json};

/// What the frames are sent as.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// The largest chunk. A frame may hold 16 MB; AWS's chunks are as small as they come.
const CHUNK_BYTES: usize = 64 * 1024;

/// How a streamed invocation ended badly.
pub(crate) struct StreamError {
    pub(crate) code: String,
    pub(crate) details: String,
}

/// All frames of an answer. `log` is the log's tail, base64.
pub(crate) fn frames(payload: &Bytes, error: Option<&StreamError>, log: Option<&str>) -> Vec<u8> {
    let mut frames = Vec::with_capacity(payload.len() + 512);
    write_payload(payload, &mut frames);
    write_end(error, log, &mut frames);
    frames
}

/// The frames of a piece of an answer.
pub(crate) fn piece(payload: &Bytes) -> Bytes {
    let mut frames = Vec::with_capacity(payload.len() + 256);
    write_payload(payload, &mut frames);
    Bytes::from(frames)
}

/// The last frame: how it ended.
pub(crate) fn end(error: Option<&StreamError>, log: Option<&str>) -> Bytes {
    let mut frames = Vec::with_capacity(256);
    write_end(error, log, &mut frames);
    Bytes::from(frames)
}

fn write_payload(payload: &Bytes, frames: &mut Vec<u8>) {
    for chunk in payload.chunks(CHUNK_BYTES) {
        let chunk = payload.slice_ref(chunk);
        write(frames, "PayloadChunk", "application/octet-stream", chunk);
    }
}

fn write_end(error: Option<&StreamError>, log: Option<&str>, frames: &mut Vec<u8>) {
    let mut complete = serde_json::Map::new();
    if let Some(error) = error {
        complete.insert("ErrorCode".to_owned(), json!(error.code));
        complete.insert("ErrorDetails".to_owned(), json!(error.details));
    }
    if let Some(log) = log {
        complete.insert("LogResult".to_owned(), json!(log));
    }
    let complete = Value::Object(complete).to_string();
    write(
        frames,
        "InvokeComplete",
        "application/json",
        complete.into(),
    );
}

fn write(frames: &mut Vec<u8>, event: &'static str, kind: &'static str, payload: Bytes) {
    let header = |name: &'static str, value: &'static str| {
        Header::new(name, HeaderValue::String(value.into()))
    };
    let message = Message::new(payload)
        .add_header(header(":event-type", event))
        .add_header(header(":content-type", kind))
        .add_header(header(":message-type", "event"));
    // Fails for headers or payloads beyond the format's bounds only: these are far below.
    if let Err(error) = write_message_to(&message, frames) {
        tracing::error!(%error, event, "a frame could not be written");
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_eventstream::frame::read_message_from;

    use super::*;

    fn read(mut bytes: &[u8]) -> Vec<(String, Bytes)> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let message = read_message_from(&mut bytes).unwrap();
            let kind = message
                .headers()
                .iter()
                .find(|header| header.name().as_str() == ":event-type")
                .and_then(|header| header.value().as_string().ok())
                .unwrap();
            found.push((kind.as_str().to_owned(), message.payload().clone()));
        }
        found
    }

    #[test]
    fn a_payload_comes_in_chunks_and_ends_with_a_word() {
        let payload = Bytes::from(vec![7; CHUNK_BYTES + 1]);
        let found = read(&frames(&payload, None, Some("bG9n")));
        let kinds: Vec<_> = found.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, ["PayloadChunk", "PayloadChunk", "InvokeComplete"]);
        assert_eq!([found[0].1.clone(), found[1].1.clone()].concat(), payload);
        assert_eq!(found[2].1, r#"{"LogResult":"bG9n"}"#);
    }

    #[test]
    fn a_failure_is_told_at_the_end() {
        let error = StreamError {
            code: "Unhandled".to_owned(),
            details: "{}".to_owned(),
        };
        let found = read(&frames(&Bytes::new(), Some(&error), None));
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].1,
            r#"{"ErrorCode":"Unhandled","ErrorDetails":"{}"}"#
        );
    }
}
