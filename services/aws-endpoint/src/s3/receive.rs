//! Receives a body into a draft: hashed and written on a blocking thread while the next
//! bytes arrive, then checked against every digest the client sent.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, StatusCode};
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3Request, S3Result, StdError, s3_error};
use tokio::task::JoinHandle;

use super::{blocking, unlisted};
use crate::store::{Algorithm, Checksums, Draft, Received, Store, StoreError};

/// Bytes gathered before they are handed to a blocking thread. At most twice as much of
/// one body is in memory.
const BATCH: usize = 256 << 10;

/// Trailing headers of an aws-chunked body that we decoded ourselves; empty until the
/// body has been read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trailers(Arc<Mutex<HeaderMap>>);

impl Trailers {
    pub(crate) fn set(&self, headers: HeaderMap) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = headers;
    }

    fn take(&self) -> HeaderMap {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the client said of the body, to be held against what came.
#[derive(Debug)]
pub(super) struct Claims {
    length: Option<i64>,
    md5: Option<String>,
    checksums: Checksums,
    /// To compute whether or not a value was sent.
    algorithms: Vec<Algorithm>,
    trailers: TrailerSource,
}

#[derive(Debug)]
enum TrailerSource {
    None,
    Verified(s3s::TrailingHeaders),
    Decoded(Trailers),
}

impl Claims {
    pub(super) fn new<T>(
        request: &S3Request<T>,
        length: Option<i64>,
        md5: Option<String>,
        checksums: Checksums,
        also: Option<Algorithm>,
    ) -> Self {
        let trailers = match (
            &request.trailing_headers,
            request.extensions.get::<Trailers>(),
        ) {
            (Some(verified), _) => TrailerSource::Verified(verified.clone()),
            (None, Some(decoded)) => TrailerSource::Decoded(decoded.clone()),
            (None, None) => TrailerSource::None,
        };
        let header = |name| {
            let value: Option<&http::HeaderValue> = request.headers.get(name);
            value.and_then(|value| value.to_str().ok())
        };
        let trailer = header("x-amz-trailer").unwrap_or_default();
        let algorithm = header("x-amz-sdk-checksum-algorithm").and_then(Algorithm::from_name);
        let algorithms = Algorithm::ALL
            .into_iter()
            .filter(|&one| {
                checksums.get(one).is_some()
                    || trailer.eq_ignore_ascii_case(one.header())
                    || algorithm == Some(one)
                    || also == Some(one)
            })
            .collect();
        Self {
            length,
            md5,
            checksums,
            algorithms,
            trailers,
        }
    }

    fn check(mut self, received: &Received) -> S3Result<()> {
        let trailers = match &self.trailers {
            TrailerSource::None => None,
            TrailerSource::Verified(trailers) => trailers.take(),
            TrailerSource::Decoded(trailers) => Some(trailers.take()),
        };
        for algorithm in Algorithm::ALL {
            let value = trailers
                .as_ref()
                .and_then(|all| all.get(algorithm.header()));
            if let Some(Ok(value)) = value.map(|value| value.to_str()) {
                self.checksums.set(algorithm, value.to_owned());
            }
        }
        if let Some(length) = self.length
            && u64::try_from(length) != Ok(received.size)
        {
            return Err(s3_error!(
                IncompleteBody,
                "You did not provide the number of bytes specified by the Content-Length HTTP header: {} of {length}",
                received.size
            ));
        }
        if let Some(claimed) = &self.md5 {
            let claimed = STANDARD
                .decode(claimed)
                .ok()
                .filter(|digest| digest.len() == 16)
                .ok_or_else(|| {
                    s3_error!(InvalidDigest, "The Content-MD5 you specified was invalid.")
                })?;
            if claimed != received.md5 {
                return Err(s3_error!(
                    BadDigest,
                    "The Content-MD5 you specified did not match what we received."
                ));
            }
        }
        for algorithm in Algorithm::ALL {
            let Some(claimed) = self.checksums.get(algorithm) else {
                continue;
            };
            if received.checksums.get(algorithm) != Some(claimed) {
                return Err(s3_error!(
                    BadDigest,
                    "The {} you specified did not match the calculated checksum.",
                    algorithm.name()
                ));
            }
        }
        Ok(())
    }
}

/// Reads the body to its end and checks it.
pub(super) async fn receive(
    store: &Arc<Store>,
    body: Option<StreamingBlob>,
    claims: Claims,
) -> S3Result<Received> {
    if claims.length.is_none() {
        return Err(s3_error!(
            MissingContentLength,
            "You must provide the Content-Length HTTP header."
        ));
    }
    let mut writer = Writer {
        store: store.clone(),
        algorithms: claims.algorithms.clone(),
        state: State::Fresh,
    };
    let mut batch = Vec::new();
    let mut gathered = 0;
    if let Some(mut body) = body {
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| body_failed(&error))?;
            gathered += bytes.len();
            batch.push(bytes);
            if gathered >= BATCH {
                gathered = 0;
                writer.write(std::mem::take(&mut batch)).await?;
            }
        }
    }
    let received = writer.finish(batch).await?;
    claims.check(&received)?;
    Ok(received)
}

/// A body that broke off, or whose signatures do not match, is the client's.
fn body_failed(error: &StdError) -> S3Error {
    let text = error.to_string();
    if text.contains("SignatureMismatch") {
        s3_error!(
            SignatureDoesNotMatch,
            "The signature of a chunk of the body does not match."
        )
    } else if text.contains("Sha256Mismatch") {
        unlisted(
            StatusCode::BAD_REQUEST,
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )
    } else {
        s3_error!(IncompleteBody, "The body could not be read: {text}")
    }
}

/// Writes one batch while the next is received.
struct Writer {
    store: Arc<Store>,
    algorithms: Vec<Algorithm>,
    state: State,
}

enum State {
    /// Nothing written: a small body costs one hop to a blocking thread, not three.
    Fresh,
    Writing(JoinHandle<Result<Draft, StoreError>>),
}

impl Writer {
    async fn write(&mut self, batch: Vec<Bytes>) -> S3Result<()> {
        let draft = self.settle().await?;
        let (store, algorithms) = (self.store.clone(), self.algorithms.clone());
        self.state = State::Writing(tokio::task::spawn_blocking(move || {
            append(&store, &algorithms, draft, &batch)
        }));
        Ok(())
    }

    async fn finish(mut self, batch: Vec<Bytes>) -> S3Result<Received> {
        let draft = self.settle().await?;
        blocking(move || append(&self.store, &self.algorithms, draft, &batch).map(Draft::finish))
            .await
    }

    async fn settle(&mut self) -> S3Result<Option<Draft>> {
        match std::mem::replace(&mut self.state, State::Fresh) {
            State::Fresh => Ok(None),
            State::Writing(task) => match task.await {
                Ok(draft) => Ok(Some(draft?)),
                Err(error) => Err(S3Error::internal_error(error)),
            },
        }
    }
}

fn append(
    store: &Store,
    algorithms: &[Algorithm],
    draft: Option<Draft>,
    batch: &[Bytes],
) -> Result<Draft, StoreError> {
    let mut draft = match draft {
        Some(draft) => draft,
        None => store.draft(algorithms)?,
    };
    for bytes in batch {
        draft.write(bytes).map_err(|source| StoreError::Io {
            doing: "write a body",
            source,
        })?;
    }
    Ok(draft)
}
