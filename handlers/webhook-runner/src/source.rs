//! The file behind the data URL, as chunks of NDJSON.
//!
//! A gzip file is unpacked, recognised by its first byte rather than by what the server says
//! of it: storage often names neither type nor encoding, and no NDJSON begins with 0x1f.
//! Progress counts bytes as they came over the wire, so that it fits Content-Length also
//! for gzip.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_compression::tokio::bufread::GzipDecoder;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio_util::io::StreamReader;

use crate::client::{HttpClient, SendError, chain};

const GZIP_FIRST_BYTE: u8 = 0x1f;
const UNPACK_BUFFER: usize = 64 * 1024;

/// An open download.
pub(crate) struct Source {
    body: Body,
    /// Bytes handed on, for a plain body.
    read: u64,
    length: Option<u64>,
    idle_timeout: Duration,
}

enum Body {
    /// Nothing read yet.
    Unknown(BoxStream<'static, io::Result<Bytes>>),
    Plain(BoxStream<'static, io::Result<Bytes>>),
    Gzip {
        decoder: Box<GzipDecoder<Counted>>,
        buffer: BytesMut,
    },
    Ended,
}

/// Why there is no download at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("the data URL gave {0}")]
    Status(StatusCode),
    #[error("the data URL: {0}")]
    NoAnswer(SendError),
    #[error("the data URL's content encoding `{0}` is not supported; send plain or gzip NDJSON")]
    Encoding(String),
}

/// Why a download stopped before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("nothing came for {} s", .0.as_secs_f64())]
    Idle(Duration),
    #[error("{0}")]
    Broken(String),
}

impl Source {
    pub(crate) async fn open(
        client: &HttpClient,
        url: Uri,
        answer_timeout: Duration,
        idle_timeout: Duration,
    ) -> Result<Self, OpenError> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = url;
        // Plain first: packed on the fly there would be no length to measure progress by.
        request.headers_mut().insert(
            ACCEPT_ENCODING,
            http::HeaderValue::from_static("identity, gzip;q=0.5"),
        );
        let response = client
            .fetch(request, answer_timeout)
            .await
            .map_err(OpenError::NoAnswer)?;
        if response.status() != StatusCode::OK {
            return Err(OpenError::Status(response.status()));
        }
        refuse_unknown_encoding(response.headers())?;
        let length = response
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        let chunks = response
            .into_body()
            .into_data_stream()
            .map(|chunk| chunk.map_err(|error| io::Error::other(chain(&error))))
            .boxed();
        Ok(Self {
            body: Body::Unknown(chunks),
            read: 0,
            length,
            idle_timeout,
        })
    }

    /// The next piece of NDJSON, never empty; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        let chunk = tokio::time::timeout(self.idle_timeout, self.body.next())
            .await
            .map_err(|_| ReadError::Idle(self.idle_timeout))?
            .map_err(|error| ReadError::Broken(chain(&error)))?;
        match &chunk {
            Some(chunk) => self.read += chunk.len() as u64,
            None => self.finish(),
        }
        Ok(chunk)
    }

    /// Bytes over the wire up to `left` bytes before the end of what [`Source::next`] gave.
    pub(crate) fn position(&self, left: usize) -> u64 {
        match &self.body {
            Body::Gzip { decoder, .. } => decoder.get_ref().consumed,
            Body::Unknown(_) | Body::Plain(_) | Body::Ended => {
                self.read.saturating_sub(left as u64)
            }
        }
    }

    /// Content-Length, if the server gave one.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    fn finish(&mut self) {
        self.read = self.position(0);
        self.body = Body::Ended;
    }
}

impl Body {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match self {
                Self::Unknown(chunks) => {
                    let Some(first) = chunks.next().await.transpose()? else {
                        return Ok(None);
                    };
                    if first.is_empty() {
                        continue;
                    }
                    let chunks = std::mem::replace(chunks, stream::empty().boxed());
                    if first[0] != GZIP_FIRST_BYTE {
                        *self = Self::Plain(chunks);
                        return Ok(Some(first));
                    }
                    let packed = stream::once(async { Ok(first) }).chain(chunks).boxed();
                    let mut decoder = GzipDecoder::new(Counted::new(packed));
                    decoder.multiple_members(true);
                    *self = Self::Gzip {
                        decoder: Box::new(decoder),
                        buffer: BytesMut::new(),
                    };
                }
                Self::Plain(chunks) => match chunks.next().await.transpose()? {
                    Some(chunk) if chunk.is_empty() => {}
                    end_or_chunk => return Ok(end_or_chunk),
                },
                Self::Gzip { decoder, buffer } => {
                    buffer.reserve(UNPACK_BUFFER);
                    let unpacked = decoder.read_buf(buffer).await?;
                    return Ok((unpacked > 0).then(|| buffer.split().freeze()));
                }
                Self::Ended => return Ok(None),
            }
        }
    }
}

fn refuse_unknown_encoding(headers: &HeaderMap) -> Result<(), OpenError> {
    let encoding = headers
        .get(CONTENT_ENCODING)
        .map(|encoding| String::from_utf8_lossy(encoding.as_bytes()).to_ascii_lowercase());
    match encoding.as_deref().map(str::trim) {
        Some(encoding @ ("br" | "zstd" | "deflate" | "compress")) => {
            Err(OpenError::Encoding(encoding.to_owned()))
        }
        _ => Ok(()),
    }
}

/// Counts the bytes a decoder has used of what it was given.
struct Counted {
    reader: StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>,
    consumed: u64,
}

impl Counted {
    fn new(packed: BoxStream<'static, io::Result<Bytes>>) -> Self {
        Self {
            reader: StreamReader::new(packed),
            consumed: 0,
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.reader).poll_read(context, buffer);
        self.consumed += (buffer.filled().len() - before) as u64;
        polled
    }
}

impl AsyncBufRead for Counted {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Pin::new(&mut self.get_mut().reader).poll_fill_buf(context)
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.consumed += amount as u64;
        Pin::new(&mut self.reader).consume(amount);
    }
}
