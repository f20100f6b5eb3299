//! The Lambda Runtime API of one environment, on a listener of its own: whoever polls here
//! is this environment's process.

use std::convert::Infallible;
use std::sync::Arc;

use app_model::Function;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use function_supervisor::Artifact;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::Socket;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use crate::broker::{Broker, CallRefused, Delivery, EnvironmentKey, Said};
use crate::extensions_api;
use crate::outcome::{FunctionResponse, MAX_PAYLOAD_BYTES, Outcome, error_json};
use crate::telemetry;

/// The largest streamed answer, in bytes (AWS's soft limit).
const MAX_STREAM_BYTES: usize = 200 * 1024 * 1024;

const INVOCATION_ID: HeaderName = HeaderName::from_static("lambda-runtime-invocation-id");
const RESPONSE_MODE: &str = "lambda-runtime-function-response-mode";
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
const ERROR_BODY: &str = "lambda-runtime-function-error-body";
/// What the Rust client writes at the end of a stream that failed, in its body.
const TRAILER_IN_TEXT: &[u8] = b"Lambda-Runtime-Function-Error-Type: ";
/// Errors are short: what is further from the end is data.
const LONGEST_TRAILER: usize = 64 * 1024;
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What the calls of one environment need.
pub(crate) struct RuntimeApi {
    pub(crate) broker: Broker,
    pub(crate) key: EnvironmentKey,
    pub(crate) artifact: Arc<Artifact>,
    arn: HeaderValue,
    /// With the version.
    qualified_arn: HeaderValue,
}

/// A poll that is not answered yet. If its connection goes away with an invocation on the
/// way, the invocation goes back.
struct Poll<'a> {
    api: &'a RuntimeApi,
    receiver: oneshot::Receiver<Delivery>,
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        if let Ok(delivery) = self.receiver.try_recv() {
            self.api.broker.undelivered(self.api.key, delivery);
        }
    }
}

/// A body that was read to its end.
pub(crate) struct ReadBody {
    pub(crate) bytes: Bytes,
    trailers: Option<HeaderMap>,
}

/// Why a body could not be had.
#[derive(Debug)]
pub(crate) enum BodyRefused {
    TooLarge,
    CutShort,
}

impl RuntimeApi {
    pub(crate) fn new(broker: Broker, key: EnvironmentKey, artifact: Arc<Artifact>) -> Self {
        let config = &broker.shared.config;
        let arn = format!(
            "arn:aws:lambda:{}:{}:function:{}",
            config.region, config.account_id, artifact.function.name
        );
        // Regions, accounts and function names are ASCII; anything else is left out.
        let value =
            |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
        Self {
            broker,
            key,
            artifact,
            qualified_arn: value(&format!("{arn}:$LATEST")),
            arn: value(&arn),
        }
    }

    pub(crate) fn function(&self) -> &Function {
        &self.artifact.function
    }

    /// Serves one connection until its peer closes it.
    pub(crate) async fn serve(self: Arc<Self>, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        // A second handle on the socket: hyper owns the first, and the broker must ask
        // whether the peer is there before it hands over work.
        let connection = match std::os::fd::AsFd::as_fd(&stream).try_clone_to_owned() {
            Ok(handle) => Arc::new(Socket::from(handle)),
            Err(error) => {
                tracing::warn!(%error, "no file handle left for a runtime's connection; raise `ulimit -n`");
                return;
            }
        };
        let service = service_fn(|request| {
            let (api, connection) = (self.clone(), connection.clone());
            async move { Ok::<_, Infallible>(api.answer(request, connection).await) }
        });
        let served = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            // A process that is killed does this; its environment says so.
            tracing::debug!(%error, function = %self.function().name, "a runtime's connection ended");
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        connection: Arc<Socket>,
    ) -> Response<Full<Bytes>> {
        // The path outlives the request's parts, which go with its body.
        let path = request.uri().path().to_owned();
        if let Some(call) = path.strip_prefix("/2018-06-01/runtime/") {
            match (request.method(), call) {
                (&Method::GET, "invocation/next") => self.next(connection).await,
                (&Method::POST, "init/error") => self.init_error(request).await,
                (&Method::POST, call) => {
                    match call
                        .strip_prefix("invocation/")
                        .and_then(|c| c.split_once('/'))
                    {
                        Some((id, "response")) => self.response(request, id).await,
                        Some((id, "error")) => self.error(request, id).await,
                        _ => not_found(),
                    }
                }
                _ => not_found(),
            }
        } else if let Some(call) = path.strip_prefix("/2020-01-01/extension/") {
            extensions_api::answer(self, request, call).await
        } else if request.method() == Method::PUT {
            match telemetry::called(&path) {
                Some(api) => telemetry::subscribe(self, request, api).await,
                None => not_found(),
            }
        } else {
            not_found()
        }
    }

    /// Waits for an invocation, for ever: an empty answer would kill the Rust client.
    async fn next(&self, connection: Arc<Socket>) -> Response<Full<Bytes>> {
        let receiver = match self.broker.next(self.key, connection) {
            Ok(receiver) => receiver,
            Err(refused) => return refusal(refused),
        };
        let mut poll = Poll {
            api: self,
            receiver,
        };
        match (&mut poll.receiver).await {
            Ok(delivery) => self.invocation(delivery),
            // A newer poll took its place.
            Err(_) => refusal(CallRefused::Transition {
                from: "Ready",
                to: "Ready",
            }),
        }
    }

    fn invocation(&self, delivery: Delivery) -> Response<Full<Bytes>> {
        let Delivery {
            invocation,
            nonce,
            deadline_ms,
        } = delivery;
        let mut response = Response::new(Full::new(invocation.payload));
        let headers = response.headers_mut();
        headers.reserve(8);
        headers.insert(CONTENT_TYPE, JSON);
        let mut set = |name: &'static str, value: &str| match HeaderValue::from_str(value) {
            Ok(value) => {
                headers.insert(HeaderName::from_static(name), value);
            }
            Err(error) => tracing::warn!(%error, name, "a header of an invocation is left out"),
        };
        let mut buffer = uuid::Uuid::encode_buffer();
        set(
            "lambda-runtime-aws-request-id",
            &invocation.request_id.to_string(),
        );
        set(
            "lambda-runtime-invocation-id",
            nonce.hyphenated().encode_lower(&mut buffer),
        );
        set("lambda-runtime-deadline-ms", &deadline_ms.to_string());
        set("lambda-runtime-trace-id", invocation.trace_id.as_str());
        if let Some(tenant) = &invocation.tenant {
            set("lambda-runtime-aws-tenant-id", tenant.as_str());
        }
        if let Some(context) = &invocation.client_context {
            set("lambda-runtime-client-context", context);
        }
        headers.insert(
            HeaderName::from_static("lambda-runtime-invoked-function-arn"),
            if invocation.qualified {
                self.qualified_arn.clone()
            } else {
                self.arn.clone()
            },
        );
        response
    }

    async fn response(&self, request: Request<Incoming>, id: &str) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok());
        let nonce = header(INVOCATION_ID.as_str());
        let complete = |outcome| {
            self.broker
                .complete(self.key, id, nonce, Said::Response, outcome)
        };
        let streaming = match header(RESPONSE_MODE) {
            None => false,
            Some("streaming") => true,
            Some(_) => {
                let error = error_json("Runtime.InvalidResponseModeHeader", "");
                return match complete(Outcome::FunctionError(error)) {
                    Ok(()) => error_invalid_mode(),
                    Err(refused) => refusal(refused),
                };
            }
        };
        let limit = if streaming {
            MAX_STREAM_BYTES
        } else {
            MAX_PAYLOAD_BYTES
        };
        let content_type = header(CONTENT_TYPE.as_str()).map(str::to_owned);
        let feed = streaming.then(|| {
            self.broker
                .begin_stream(self.key, id, nonce, content_type.clone())
        });
        let read = match feed.flatten() {
            Some(feed) => pass_on(body, feed).await,
            None => read_body(body, limit).await.map(|body| {
                match streaming.then(|| stream_error(&body)).flatten() {
                    Some(error) => Outcome::FunctionError(error),
                    None => Outcome::Response(FunctionResponse {
                        body: body.bytes,
                        content_type,
                        streaming,
                    }),
                }
            }),
        };
        match read {
            Ok(outcome) => complete(outcome).map_or_else(refusal, |()| accepted()),
            Err(BodyRefused::TooLarge) => {
                complete(Outcome::ResponseTooLarge).map_or_else(refusal, |()| {
                    error(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        "RequestEntityTooLarge",
                        &format!(
                            "Exceeded maximum allowed payload size ({MAX_PAYLOAD_BYTES} bytes)."
                        ),
                    )
                })
            }
            Err(BodyRefused::CutShort) => {
                let truncated = error_json("Runtime.TruncatedResponse", "Response truncated");
                complete(Outcome::FunctionError(truncated)).map_or_else(refusal, |()| {
                    error(
                        StatusCode::BAD_REQUEST,
                        "TruncatedHTTPRequest",
                        "HTTP request detected as truncated",
                    )
                })
            }
        }
    }

    async fn error(&self, request: Request<Incoming>, id: &str) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let nonce = parts
            .headers
            .get(INVOCATION_ID)
            .and_then(|v| v.to_str().ok());
        let outcome = match read_body(body, MAX_PAYLOAD_BYTES).await {
            Ok(body) => Outcome::FunctionError(error_of(&parts.headers, body.bytes)),
            Err(_) => Outcome::ResponseTooLarge,
        };
        self.broker
            .complete(self.key, id, nonce, Said::Error, outcome)
            .map_or_else(refusal, |()| accepted())
    }

    async fn init_error(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = read_body(body, MAX_PAYLOAD_BYTES)
            .await
            .map_or_else(|_| Bytes::new(), |body| body.bytes);
        self.broker
            .init_error(self.key, error_of(&parts.headers, body))
            .map_or_else(refusal, |()| accepted())
    }
}

/// The error's JSON; made up from the header if the runtime sent nothing.
fn error_of(headers: &HeaderMap, body: Bytes) -> Bytes {
    if !body.is_empty() {
        return body;
    }
    let error_type = headers.get(ERROR_TYPE).and_then(|v| v.to_str().ok());
    error_json(error_type.unwrap_or("Runtime.Unknown"), "")
}

/// The error that broke a streamed answer off: in the trailers, or, from the Rust client,
/// as text at the end of the body.
fn stream_error(body: &ReadBody) -> Option<Bytes> {
    let (error_type, encoded) = match &body.trailers {
        Some(trailers) if trailers.contains_key(ERROR_TYPE) => {
            let text = |name: &str| trailers.get(name).and_then(|v| v.to_str().ok());
            (
                text(ERROR_TYPE)?.to_owned(),
                text(ERROR_BODY).unwrap_or_default().to_owned(),
            )
        }
        _ => trailers_in_text(&body.bytes)?,
    };
    let decoded = BASE64.decode(encoded.trim()).unwrap_or_default();
    if serde_json::from_slice::<serde_json::Map<_, serde_json::Value>>(&decoded).is_ok() {
        return Some(Bytes::from(decoded));
    }
    Some(error_json(
        error_type.trim(),
        &String::from_utf8_lossy(&decoded),
    ))
}

fn trailers_in_text(body: &[u8]) -> Option<(String, String)> {
    const BODY: &str = "\r\nLambda-Runtime-Function-Error-Body: ";
    if !body.ends_with(b"\r\n") {
        return None;
    }
    let tail = &body[body.len().saturating_sub(LONGEST_TRAILER)..];
    let at = tail
        .windows(TRAILER_IN_TEXT.len())
        .rposition(|window| window == TRAILER_IN_TEXT)?;
    let text = std::str::from_utf8(&tail[at + TRAILER_IN_TEXT.len()..]).ok()?;
    let (error_type, encoded) = text.split_once(BODY)?;
    Some((error_type.to_owned(), encoded.trim_end().to_owned()))
}

/// Passes a body on as it comes. A caller who has left changes nothing for the function.
async fn pass_on(mut body: Incoming, feed: mpsc::Sender<Bytes>) -> Result<Outcome, BodyRefused> {
    let write = async |piece: Bytes| {
        if !piece.is_empty() && feed.send(piece).await.is_err() {
            tracing::trace!("nobody reads the rest of a streamed answer");
        }
    };
    // What may be the error at the end waits until the end is there.
    let mut held = BytesMut::new();
    let mut length = 0_usize;
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyRefused::CutShort)?;
        match frame.into_data() {
            Ok(mut data) => {
                length = length.saturating_add(data.len());
                if length > MAX_STREAM_BYTES {
                    continue;
                }
                if held.is_empty() {
                    let error = memchr::memmem::find(&data, TRAILER_IN_TEXT);
                    write(data.split_to(error.unwrap_or(data.len()))).await;
                }
                held.extend_from_slice(&data);
                if held.len() > LONGEST_TRAILER {
                    write(held.split().freeze()).await;
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    if length > MAX_STREAM_BYTES {
        return Err(BodyRefused::TooLarge);
    }
    let rest = ReadBody {
        bytes: held.freeze(),
        trailers,
    };
    if let Some(error) = stream_error(&rest) {
        return Ok(Outcome::FunctionError(error));
    }
    write(rest.bytes).await;
    Ok(Outcome::Streamed { bytes: length })
}

/// Reads a body of at most `limit` bytes. A larger one is still read to its end, so that
/// its sender gets to hear why it is refused, but not kept.
pub(crate) async fn read_body(mut body: Incoming, limit: usize) -> Result<ReadBody, BodyRefused> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut length = 0_usize;
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyRefused::CutShort)?;
        match frame.into_data() {
            Ok(data) => {
                length = length.saturating_add(data.len());
                if length > limit {
                    rest = BytesMut::new();
                } else if first.is_empty() {
                    first = data;
                } else {
                    if rest.is_empty() {
                        rest.extend_from_slice(&first);
                    }
                    rest.extend_from_slice(&data);
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    if length > limit {
        return Err(BodyRefused::TooLarge);
    }
    let bytes = if rest.is_empty() {
        first
    } else {
        rest.freeze()
    };
    Ok(ReadBody { bytes, trailers })
}

fn refusal(refused: CallRefused) -> Response<Full<Bytes>> {
    match refused {
        CallRefused::Transition { from, to } => error(
            StatusCode::FORBIDDEN,
            "InvalidStateTransition",
            &format!(
                "State transition from {from} to {to} failed for runtime. Error: State transition is not allowed"
            ),
        ),
        CallRefused::UnknownRequest => error(
            StatusCode::BAD_REQUEST,
            "InvalidRequestID",
            "Invalid request ID",
        ),
        CallRefused::StaleInvocation => error(
            StatusCode::GONE,
            "ErrorRuntimeInvokeTimeout",
            "the invocation has ended already",
        ),
    }
}

fn error_invalid_mode() -> Response<Full<Bytes>> {
    error(
        StatusCode::BAD_REQUEST,
        "InvalidFunctionResponseMode",
        "Invalid function response mode",
    )
}

pub(crate) fn accepted() -> Response<Full<Bytes>> {
    json_response(
        StatusCode::ACCEPTED,
        Bytes::from_static(b"{\"status\":\"OK\"}\n"),
    )
}

pub(crate) fn not_found() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"404 page not found\n")));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

pub(crate) fn error(status: StatusCode, error_type: &str, message: &str) -> Response<Full<Bytes>> {
    json_response(status, error_json(error_type, message))
}

pub(crate) fn json_response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

#[cfg(test)]
mod tests;
