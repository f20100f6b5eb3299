//! Takes the `aws-chunked` framing off a body whose signature nobody can verify: chunk
//! sizes in hex, an optional chunk signature, CRLF, bytes, CRLF, and trailers at the end.
//! Bodies that are verified are decoded by s3s, which keeps its decoder to itself.
//!
//! Contract: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html> and
//! `sigv4-streaming-trailers.html` beside it.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio_util::codec::Decoder;

use crate::s3::Trailers;

/// Longest line that starts a chunk, or is a trailer, in bytes.
const LONGEST_LINE: usize = 4096;
/// Most trailers.
const MOST_TRAILERS: usize = 32;

/// Yields the bytes of the chunks and leaves the trailers behind.
#[derive(Debug)]
pub(crate) struct AwsChunked {
    state: State,
    headers: HeaderMap,
    trailers: Trailers,
}

#[derive(Debug)]
enum State {
    /// A line with the size of the next chunk follows.
    Size,
    /// This many bytes of the chunk are to come, then CRLF.
    Data(u64),
    /// The CRLF that ends a chunk follows.
    EndOfChunk,
    /// Lines of trailers, up to an empty line or the end.
    Trailers,
    Done,
}

/// The framing is not what it says it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FramingError {
    #[error("the aws-chunked body has a malformed {0}")]
    Malformed(&'static str),
    #[error("the aws-chunked body ends within a chunk")]
    Truncated,
    #[error("the aws-chunked body broke off")]
    Io(#[from] std::io::Error),
}

impl AwsChunked {
    /// A decoder that fills `trailers` when the body ends.
    pub(crate) fn new(trailers: Trailers) -> Self {
        Self {
            state: State::Size,
            headers: HeaderMap::new(),
            trailers,
        }
    }

    fn trailer(&mut self, line: &[u8]) -> Result<(), FramingError> {
        let malformed = || FramingError::Malformed("trailer");
        let colon = line
            .iter()
            .position(|&byte| byte == b':')
            .ok_or_else(malformed)?;
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        let name = HeaderName::from_bytes(name).map_err(|_| malformed())?;
        let value = HeaderValue::from_bytes(value).map_err(|_| malformed())?;
        if self.headers.len() == MOST_TRAILERS {
            return Err(malformed());
        }
        self.headers.append(name, value);
        Ok(())
    }

    fn finish(&mut self) {
        self.state = State::Done;
        self.trailers.set(std::mem::take(&mut self.headers));
    }
}

impl Decoder for AwsChunked {
    type Item = Bytes;
    type Error = FramingError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Bytes>, FramingError> {
        loop {
            match &mut self.state {
                State::Size => {
                    let Some(line) = take_line(source)? else {
                        return Ok(None);
                    };
                    self.state = match chunk_size(&line)? {
                        0 => State::Trailers,
                        size => State::Data(size),
                    };
                }
                State::Data(left) => {
                    if source.is_empty() {
                        return Ok(None);
                    }
                    let here = usize::try_from(*left).map_or(source.len(), |n| n.min(source.len()));
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = State::EndOfChunk;
                    }
                    return Ok(Some(source.split_to(here).freeze()));
                }
                State::EndOfChunk => {
                    if source.len() < 2 {
                        return Ok(None);
                    }
                    if &source[..2] != b"\r\n" {
                        return Err(FramingError::Malformed("end of a chunk"));
                    }
                    source.advance(2);
                    self.state = State::Size;
                }
                State::Trailers => match take_line(source)? {
                    None => return Ok(None),
                    Some(line) if line.is_empty() => self.finish(),
                    Some(line) => self.trailer(&line)?,
                },
                State::Done => {
                    source.clear();
                    return Ok(None);
                }
            }
        }
    }

    fn decode_eof(&mut self, source: &mut BytesMut) -> Result<Option<Bytes>, FramingError> {
        if let Some(bytes) = self.decode(source)? {
            return Ok(Some(bytes));
        }
        match self.state {
            State::Done => Ok(None),
            // Some clients leave out the empty line after the trailers, or the last CRLF.
            State::Trailers => {
                let line = source.split();
                if !line.trim_ascii().is_empty() {
                    self.trailer(line.trim_ascii())?;
                }
                self.finish();
                Ok(None)
            }
            State::Size | State::Data(_) | State::EndOfChunk => Err(FramingError::Truncated),
        }
    }
}

/// `<hex size>` or `<hex size>;chunk-signature=<signature>`.
fn chunk_size(line: &[u8]) -> Result<u64, FramingError> {
    let size = line.split(|&byte| byte == b';').next().unwrap_or_default();
    std::str::from_utf8(size)
        .ok()
        .filter(|size| !size.starts_with('+'))
        .and_then(|size| u64::from_str_radix(size, 16).ok())
        .ok_or(FramingError::Malformed("chunk size"))
}

/// One line without its CRLF, if all of it is here.
fn take_line(source: &mut BytesMut) -> Result<Option<BytesMut>, FramingError> {
    match source.iter().position(|&byte| byte == b'\n') {
        Some(end) => {
            let mut line = source.split_to(end + 1);
            let kept = line[..end].strip_suffix(b"\r").map_or(end, <[u8]>::len);
            line.truncate(kept);
            Ok(Some(line))
        }
        None if source.len() > LONGEST_LINE => Err(FramingError::Malformed("line")),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `body` given in pieces of `piece` bytes.
    fn decode(body: &[u8], piece: usize) -> Result<Vec<u8>, FramingError> {
        let mut decoder = AwsChunked::new(Trailers::default());
        let (mut source, mut out) = (BytesMut::new(), Vec::new());
        for piece in body.chunks(piece) {
            source.extend_from_slice(piece);
            while let Some(bytes) = decoder.decode(&mut source)? {
                out.extend_from_slice(&bytes);
            }
        }
        while let Some(bytes) = decoder.decode_eof(&mut source)? {
            out.extend_from_slice(&bytes);
        }
        Ok(out)
    }

    #[test]
    fn the_framing_comes_off_however_the_bytes_arrive() {
        let bodies: [&[u8]; 4] = [
            b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
            b"b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n",
            b"b;chunk-signature=abc\r\nhello world\r\n0;chunk-signature=def\r\n\r\n",
            b"B\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==",
        ];
        for body in bodies {
            for piece in [1, 3, 7, body.len()] {
                assert_eq!(decode(body, piece).unwrap(), b"hello world", "by {piece}");
            }
        }
    }

    #[test]
    fn broken_framing_is_an_error_and_never_bytes_of_the_object() {
        let bodies: [&[u8]; 6] = [
            b"hello",
            b"zz\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhel",
            b"5\r\nhello\r\n",
            b"5\r\nhelloXX0\r\n\r\n",
            b"5\r\nhello\r\n0\r\nno colon\r\n\r\n",
        ];
        for body in bodies {
            for piece in [1, body.len()] {
                let shown = String::from_utf8_lossy(body);
                assert!(decode(body, piece).is_err(), "{shown:?} by {piece}");
            }
        }
    }
}
