//! A tunnel: bytes both ways, unread, as `CONNECT` asks for.

use axum::extract::Request;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::forward::CONNECT_WITHIN;

/// Connects to the far end.
pub(crate) async fn open(address: impl ToSocketAddrs) -> std::io::Result<TcpStream> {
    let stream = timeout(CONNECT_WITHIN, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Carries bytes between the client and `upstream` until either is done or `closing`.
pub(crate) async fn relay(request: Request, mut upstream: TcpStream, closing: CancellationToken) {
    let carry = async {
        let client = hyper::upgrade::on(request).await?;
        copy_bidirectional(&mut TokioIo::new(client), &mut upstream).await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    tokio::select! {
        carried = carry => {
            if let Err(error) = carried {
                tracing::debug!(%error, "a tunnel broke");
            }
        }
        () = closing.cancelled() => {}
    }
}
