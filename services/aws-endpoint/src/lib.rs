//! The embedded AWS endpoint: S3 in process, on one port, for SDKs, CLIs and plain HTTP.
//! Lambda's API it passes on to the gateway.
//!
//! s3s speaks the protocol (routing, signatures, XML); this crate keeps the objects, lets
//! anyone in, keeps a bucket in step with the fixtures folder, and refuses by name what it
//! does not do. `docs/decisions/0003-embedded-s3.md` says why.

mod access;
mod aws_chunked;
mod credential;
mod domains;
mod fixtures;
mod front;
mod lambda;
mod listing;
mod s3;
mod store;
mod unverified;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use s3s::service::S3ServiceBuilder;
use service_runtime::{ServeError, control_routes};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use store::OpenError;

use access::{NothingIgnored, OneKey};
use domains::Domains;
use front::Front;
use lambda::Lambda;
use s3::Embedded;
use store::{Store, StoreError};

/// How long requests in flight may take to finish after shutdown was asked for.
const DRAIN: Duration = Duration::from_secs(5);

/// The names a local endpoint goes by. A compose file adds its service's.
pub const LOCAL_DOMAINS: [&str; 2] = ["localhost", "s3.localhost"];

/// What the endpoint serves and where it keeps it.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder objects are kept in; created if it is not there.
    pub storage: PathBuf,
    /// Where buckets are, unless their creator says otherwise.
    pub region: String,
    /// Signatures made with this access key are verified. Any other key is let in on its
    /// word: it is nobody's secret here.
    pub credentials: Credentials,
    /// Buckets that are there from the start.
    pub buckets: Vec<String>,
    /// The folder one bucket follows.
    pub fixtures: Option<Fixtures>,
    /// Host names whose subdomains are buckets, such as [`LOCAL_DOMAINS`].
    pub virtual_host_domains: Vec<String>,
    /// Where Lambda's API is answered: the gateway's address.
    pub lambda: Option<Url>,
}

/// The credentials handed out to functions.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Sent with every request.
    pub access_key: String,
    /// Never sent.
    pub secret_key: String,
}

/// A folder whose files are objects of a bucket.
#[derive(Clone, Debug)]
pub struct Fixtures {
    /// The folder.
    pub dir: PathBuf,
    /// The bucket; created if it is not there.
    pub bucket: String,
    /// How changes are noticed.
    pub watch: Watch,
}

/// How changes of files are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// By the system's events or, where a probe shows that none come, by looking.
    Auto,
    /// By looking a few times a second.
    Poll,
    /// Not at all: the files are loaded at start.
    Off,
}

/// The endpoint could not start, or stopped other than by its shutdown.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The object storage cannot be used.
    #[error(transparent)]
    Storage(#[from] OpenError),
    /// A bucket of the configuration has a name that S3 does not allow.
    #[error("`{0}` is no bucket name: use 3 to 63 lower-case letters, digits, `-` and `.`")]
    BucketName(String),
    /// A bucket could not be created.
    #[error("cannot create the bucket `{bucket}`: {reason}")]
    Bucket {
        /// Its name.
        bucket: String,
        /// What the storage says.
        reason: String,
    },
    /// The fixtures could not be loaded.
    #[error("cannot load the fixtures in {}: {reason}", dir.display())]
    Fixtures {
        /// Their folder.
        dir: PathBuf,
        /// What failed.
        reason: String,
    },
    /// The start was cut short.
    #[error("the endpoint's start was interrupted")]
    Interrupted,
    /// The listener failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Opened storage with its buckets and fixtures in it, ready to be served.
#[derive(Debug)]
pub struct Endpoint {
    front: Front,
    following: Option<(fixtures::Sync, Watch)>,
}

impl Endpoint {
    /// Opens the storage, creates the buckets and loads the fixtures.
    ///
    /// # Errors
    /// [`RunError`] says which of them failed and what to do.
    pub async fn open(config: Config) -> Result<Self, RunError> {
        tokio::task::spawn_blocking(move || Self::open_blocking(config))
            .await
            .map_err(|_| RunError::Interrupted)?
    }

    fn open_blocking(config: Config) -> Result<Self, RunError> {
        let store = Arc::new(Store::open(&config.storage)?);
        let of_fixtures = config.fixtures.iter().map(|fixtures| &fixtures.bucket);
        for bucket in config.buckets.iter().chain(of_fixtures) {
            if !s3s::path::check_bucket_name(bucket) {
                return Err(RunError::BucketName(bucket.clone()));
            }
            match store.create_bucket(bucket, &config.region) {
                Ok(()) | Err(StoreError::BucketExists) => {}
                Err(error) => {
                    return Err(RunError::Bucket {
                        bucket: bucket.clone(),
                        reason: with_cause(&error),
                    });
                }
            }
        }
        let mut following = None;
        if let Some(fixtures) = config.fixtures {
            let mut sync =
                fixtures::Sync::new(store.clone(), fixtures.dir.clone(), fixtures.bucket);
            sync.load().map_err(|error| RunError::Fixtures {
                dir: fixtures.dir,
                reason: with_cause(&error),
            })?;
            following = (fixtures.watch != Watch::Off).then_some((sync, fixtures.watch));
        }

        let access_key = config.credentials.access_key.clone();
        let mut service = S3ServiceBuilder::new(Embedded {
            store,
            region: config.region,
        });
        service.set_auth(OneKey(config.credentials));
        service.set_access(NothingIgnored);
        service.set_host(Domains::new(config.virtual_host_domains));
        Ok(Self {
            front: Front::new(service.build(), &access_key, config.lambda.map(Lambda::new)),
            following,
        })
    }

    /// S3 and the control routes. No bucket can be called `_longshore`.
    pub fn router(&self) -> Router {
        let front = self.front.clone();
        control_routes("aws-endpoint").fallback(move |request: axum::extract::Request| {
            let front = front.clone();
            async move { front.answer(request).await }
        })
    }

    /// Serves until `shutdown`, and follows the fixtures meanwhile.
    ///
    /// # Errors
    /// [`RunError::Serve`] if the listener fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), RunError> {
        let router = self.router();
        let stop = CancellationToken::new();
        let followed = async {
            if let Some((sync, watch)) = self.following {
                sync.follow(watch, stop.clone()).await;
            }
        };
        let served = async {
            let served = service_runtime::serve(listener, router, shutdown, DRAIN).await;
            stop.cancel();
            served
        };
        let (served, ()) = tokio::join!(served, followed);
        Ok(served?)
    }
}

/// Opens and serves the endpoint. When it first answers, the fixtures are in their bucket.
///
/// # Errors
/// [`RunError`] if it cannot start, or if the listener fails.
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    Endpoint::open(config)
        .await?
        .serve(listener, shutdown)
        .await
}

fn with_cause(error: &StoreError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
