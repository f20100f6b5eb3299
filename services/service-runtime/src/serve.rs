//! One listener, one router, served until shutdown and then drained under a deadline.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there already.
    #[error("port {} is in use (the {service} wants {address}); stop what holds it or choose another with {setting}", address.port())]
    InUse {
        /// Which service wanted the address.
        service: &'static str,
        /// The address.
        address: SocketAddr,
        /// The flag and variable that change it.
        setting: String,
    },
    /// Anything else, such as a port below 1024 or an address that is not this machine's.
    #[error("the {service} cannot listen on {address}; choose another address with {setting}")]
    Refused {
        /// Which service wanted the address.
        service: &'static str,
        /// The address.
        address: SocketAddr,
        /// The flag and variable that change it.
        setting: String,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// A service stopped other than by its shutdown.
#[derive(Debug, thiserror::Error)]
#[error("the listener failed")]
pub struct ServeError(#[from] std::io::Error);

/// Opens a listener, so that the address is known before anything runs.
///
/// # Errors
/// [`BindError`] names the service, the address and the setting that changes it.
pub async fn bind(
    service: &'static str,
    address: SocketAddr,
    setting: &str,
) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| {
        let setting = setting.to_owned();
        if source.kind() == std::io::ErrorKind::AddrInUse {
            BindError::InUse {
                service,
                address,
                setting,
            }
        } else {
            BindError::Refused {
                service,
                address,
                setting,
                source,
            }
        }
    })
}

/// Serves `router` until `shutdown`, then lets requests in flight finish for at most
/// `drain`.
///
/// Connections are set to `TCP_NODELAY`, and handlers may extract
/// `ConnectInfo<SocketAddr>`.
///
/// # Errors
/// [`ServeError`] if the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
    drain: Duration,
) -> Result<(), ServeError> {
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
    });
    let draining = CancellationToken::new();
    let stop = draining.clone();
    let server = axum::serve(
        listener,
        router.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .with_graceful_shutdown(async move { stop.cancelled().await })
    .into_future();
    tokio::pin!(server);
    tokio::select! {
        ended = &mut server => return ended.map_err(ServeError),
        () = shutdown => draining.cancel(),
    }
    match tokio::time::timeout(drain, server).await {
        Ok(ended) => ended.map_err(ServeError),
        Err(_) => {
            tracing::warn!(after = ?drain, "requests were still open at the drain deadline");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_request_in_flight_is_answered_before_the_service_ends() {
        let entered = Arc::new(Notify::new());
        let release = Arc::new(Notify::new());
        let (on_enter, on_release) = (entered.clone(), release.clone());
        let handler = move || async move {
            on_enter.notify_one();
            on_release.notified().await;
            "done"
        };
        let router = Router::new().route("/", get(handler));
        let listener = bind("test", "127.0.0.1:0".parse().unwrap(), "--port")
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(
            listener,
            router,
            stop.clone().cancelled_owned(),
            Duration::from_secs(10),
        ));

        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        entered.notified().await;
        stop.cancel();
        release.notify_one();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("done"), "{answer}");
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_port_in_use_names_the_setting() {
        let first = bind("gateway", "127.0.0.1:0".parse().unwrap(), "--gateway-port")
            .await
            .unwrap();
        let address = first.local_addr().unwrap();
        let error = bind("gateway", address, "--gateway-port")
            .await
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            format!(
                "port {} is in use (the gateway wants {address}); stop what holds it or choose another with --gateway-port",
                address.port()
            )
        );
    }
}
