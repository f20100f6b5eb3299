//! Delivery to one subscriber, tried again until it is taken.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::CONTENT_TYPE;
use reqwest::Url;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Kind;
use super::buffer::{Batch, Buffer};
use super::subscription::{Destination, Subscription};

/// How long a delivery that was not taken waits for its next try, at first and at most.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// A delivery that was refused so often is given up.
const TRIES: u32 = 10;
/// For the last delivery of an environment that has ended.
const LAST_TRY: Duration = Duration::from_millis(300);

/// Why a delivery was not taken, for a person.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("{0}")]
    Tcp(#[from] std::io::Error),
    #[error("the environment has ended")]
    Ended,
}

/// Delivers until the buffer is closed and empty.
pub(super) async fn deliver(subscription: Subscription, buffer: Arc<Buffer>) {
    let tells_dropped = subscription.kinds.contains(&Kind::Platform);
    let mut sink = Sink::to(subscription.destination.clone());
    while let Some(batch) = buffer
        .next_batch(tells_dropped.then_some(&subscription))
        .await
    {
        let delivered = sink.send(&batch, &buffer).await;
        if let Err(error) = &delivered {
            tracing::debug!(
                extension = subscription.name,
                records = batch.records.len(),
                %error,
                "telemetry was not delivered"
            );
        }
        buffer.settle(&batch, delivered.is_ok());
    }
}

/// The other end. A subscriber that is frozen answers when it is thawed: there is no
/// deadline but the environment's end; what does not fit meanwhile is dropped and counted.
enum Sink {
    Http {
        client: reqwest::Client,
        url: Url,
        method: Method,
    },
    Tcp {
        port: u16,
        stream: Option<TcpStream>,
    },
}

impl Sink {
    fn to(destination: Destination) -> Self {
        match destination {
            Destination::Http { url, method } => Self::Http {
                // It is on this machine: no proxy stands between.
                client: reqwest::Client::builder()
                    .no_proxy()
                    .build()
                    .unwrap_or_default(),
                url,
                method,
            },
            Destination::Tcp(port) => Self::Tcp { port, stream: None },
        }
    }

    async fn send(&mut self, batch: &Batch, buffer: &Buffer) -> Result<(), NotTaken> {
        let mut wait = FIRST_WAIT;
        let mut tries = 0;
        loop {
            let ended = async {
                buffer.closed().await;
                tokio::time::sleep(LAST_TRY).await;
            };
            let sent = tokio::select! {
                sent = self.try_to_send(batch) => sent,
                () = ended => Err(NotTaken::Ended),
            };
            tries += 1;
            match sent {
                Ok(()) => return Ok(()),
                Err(error) if tries == TRIES || buffer.is_closed() => return Err(error),
                Err(error) => tracing::trace!(%error, "telemetry waits for another try"),
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = buffer.closed() => {}
            }
            wait = LONGEST_WAIT.min(wait * 2);
        }
    }

    async fn try_to_send(&mut self, batch: &Batch) -> Result<(), NotTaken> {
        match self {
            Self::Http {
                client,
                url,
                method,
            } => {
                let request = client.request(method.clone(), url.clone());
                let request = request
                    .header(CONTENT_TYPE, "application/json")
                    .body(format!("[{}]", batch.records.join(",")));
                request.send().await?.error_for_status()?;
            }
            Self::Tcp { port, stream } => {
                let mut connection = match stream.take() {
                    Some(connection) => connection,
                    None => TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).await?,
                };
                let lines = batch.records.join("\n") + "\n";
                connection.write_all(lines.as_bytes()).await?;
                *stream = Some(connection);
            }
        }
        Ok(())
    }
}
