//! Lets functions reach services by the host names they have in a compose network.
//!
//! Payloads written for that network name hosts such as `fake_s3:4566`, which nothing on
//! this machine resolves. A function that is given this listener as its `http_proxy` finds
//! them all the same: aliases go to where the service listens, everything else goes where
//! it points, untouched. Bodies are streamed both ways and never held.

mod aliases;
mod forward;
mod tunnel;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::aliases::Aliases;
use crate::forward::Forwarder;

/// How long requests and tunnels in flight may take once shutdown was asked for.
const DRAIN: Duration = Duration::from_secs(5);

/// Settings of the proxy.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where to find the hosts that do not resolve: `host:port` as a client writes it, and
    /// where that service listens.
    pub aliases: BTreeMap<String, SocketAddr>,
}

/// The proxy stopped other than by its shutdown.
#[derive(Debug, thiserror::Error)]
#[error("the egress proxy stopped")]
pub struct RunError(#[from] service_runtime::ServeError);

/// Serves the proxy until `shutdown`, which ends tunnels at once and lets requests finish.
///
/// # Errors
/// [`RunError`] if the listener fails for good.
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let closing = CancellationToken::new();
    let forwarder = Forwarder::new(Aliases::new(config.aliases), closing.clone());
    let answering = forwarder.clone();
    // No routes: a proxy is asked for the addresses of others.
    let router = Router::new().fallback(move |request: Request| {
        let forwarder = answering.clone();
        async move { forwarder.answer(request).await }
    });
    let stop = async move {
        shutdown.await;
        closing.cancel();
    };
    service_runtime::serve(listener, router, stop, DRAIN).await?;
    if tokio::time::timeout(DRAIN, forwarder.tunnels_closed())
        .await
        .is_err()
    {
        tracing::warn!(after = ?DRAIN, "tunnels through the egress proxy did not close");
    }
    Ok(())
}
