//! A keep-alive HTTP/1.1 client for loopback: one connection, one request at a time, so
//! that what is timed is the server and not a pool.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// One request, as often as it is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            body: Bytes::new(),
        }
    }

    pub(crate) fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self {
            method: Method::POST,
            path: path.into(),
            body: body.into(),
        }
    }
}

/// What came back, whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn is_ok(&self) -> bool {
        self.status == 200
    }

    /// Whether the body holds this text.
    pub(crate) fn says(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.body).contains(text)
    }

    /// Status and the head of the body, for a table cell.
    pub(crate) fn summary(&self) -> String {
        let body: String = String::from_utf8_lossy(&self.body)
            .chars()
            .take(80)
            .collect();
        format!("{} `{}`", self.status, body.replace(['\n', '|', '`'], " "))
    }
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(crate) enum CallError {
    /// Nobody listens there (yet).
    Unreachable(String),
    /// The connection ended before the answer did.
    Broken(String),
    /// No answer in time.
    TimedOut(Duration),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "cannot connect: {why}"),
            Self::Broken(why) => write!(f, "connection broke: {why}"),
            Self::TimedOut(after) => write!(f, "no answer within {after:?}"),
        }
    }
}

impl std::error::Error for CallError {}

struct Live {
    sender: SendRequest<Full<Bytes>>,
    // Moves the bytes; ends with the connection.
    _driver: AbortOnDropHandle<()>,
}

/// One connection, made at the first request and again after it broke.
pub(crate) struct Connection {
    address: SocketAddr,
    live: Option<Live>,
}

impl Connection {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            live: None,
        }
    }

    /// Sends and reads the whole answer. After an error the next call connects anew.
    pub(crate) async fn send(
        &mut self,
        call: &Call,
        within: Duration,
    ) -> Result<Answer, CallError> {
        let live = self.live.take();
        let Ok(done) = tokio::time::timeout(within, self.exchange(live, call)).await else {
            return Err(CallError::TimedOut(within));
        };
        let (live, answer) = done?;
        self.live = Some(live);
        Ok(answer)
    }

    async fn exchange(&self, live: Option<Live>, call: &Call) -> Result<(Live, Answer), CallError> {
        let mut live = match live {
            Some(live) if !live.sender.is_closed() => live,
            Some(_) | None => self.connect().await?,
        };
        live.sender.ready().await.map_err(broken)?;
        let request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header(HOST, self.address.to_string())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(call.body.clone()))
            .map_err(|error| CallError::Broken(error.to_string()))?;
        let response = live.sender.send_request(request).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(broken)?.to_bytes();
        Ok((
            live,
            Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
            },
        ))
    }

    async fn connect(&self) -> Result<Live, CallError> {
        let unreachable = |error: std::io::Error| CallError::Unreachable(error.to_string());
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let driver = tokio::spawn(async move {
            // The request that was under way reports the failure.
            connection.await.ok();
        });
        Ok(Live {
            sender,
            _driver: AbortOnDropHandle::new(driver),
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
fn broken(error: hyper::Error) -> CallError {
    CallError::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn keeps_the_connection_and_makes_a_new_one_after_it_broke() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let mut connections = 0;
            // Two answers on the first connection, then it closes; one on the second.
            for answers in [2, 1] {
                let (mut stream, _) = listener.accept().await.unwrap();
                connections += 1;
                for _ in 0..answers {
                    let mut head = [0; 1024];
                    assert!(stream.read(&mut head).await.unwrap() > 0);
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
                        .await
                        .unwrap();
                }
            }
            connections
        });
        let mut connection = Connection::new(address);
        let mut answers = 0;
        while answers < 3 {
            if let Ok(answer) = connection.send(&Call::get("/"), PATIENCE).await {
                assert!(answer.is_ok() && answer.says("hi"));
                answers += 1;
            }
        }
        assert_eq!(server.await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_silent_server_is_a_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut connection = Connection::new(listener.local_addr().unwrap());
        let error = connection
            .send(&Call::get("/"), Duration::from_millis(20))
            .await
            .unwrap_err();
        assert!(matches!(error, CallError::TimedOut(_)));
    }
}
