//! Runs the real endpoint on a port of its own and in folders of its own.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_endpoint::{Config, Credentials, Fixtures, LOCAL_DOMAINS, RunError, Watch, run};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Region};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The bucket every endpoint has.
pub(crate) const BUCKET: &str = "test-bucket";
/// The access key whose signatures are verified, and its secret.
pub(crate) const KNOWN: (&str, &str) = ("test", "test");
/// An access key the endpoint has never heard of.
pub(crate) const UNKNOWN: (&str, &str) = ("AKIASOMEONE", "their own secret");

const DEADLINE: Duration = Duration::from_secs(20);

/// A running endpoint.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) http: reqwest::Client,
    folders: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), RunError>>,
}

impl Endpoint {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), Watch::Auto).await
    }

    /// Starts on folders that may hold what an earlier endpoint left.
    pub(crate) async fn start_in(folders: tempfile::TempDir, watch: Watch) -> Self {
        std::fs::create_dir_all(folders.path().join("data")).unwrap();
        Self::start_without_data(folders, watch).await
    }

    /// Starts where nobody has made the fixtures folder.
    pub(crate) async fn start_without_data(folders: tempfile::TempDir, watch: Watch) -> Self {
        Self::run(folders, watch, None).await
    }

    /// Starts with a gateway that answers for Lambda.
    pub(crate) async fn start_with_lambda(gateway: SocketAddr) -> Self {
        let gateway = format!("http://{gateway}").parse().unwrap();
        Self::run(tempfile::tempdir().unwrap(), Watch::Auto, Some(gateway)).await
    }

    async fn run(folders: tempfile::TempDir, watch: Watch, lambda: Option<url::Url>) -> Self {
        let data = folders.path().join("data");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = Config {
            storage: folders.path().join("storage"),
            region: "us-east-1".to_owned(),
            credentials: Credentials {
                access_key: KNOWN.0.to_owned(),
                secret_key: KNOWN.1.to_owned(),
            },
            buckets: vec!["second-bucket".to_owned()],
            fixtures: Some(Fixtures {
                dir: data,
                bucket: BUCKET.to_owned(),
                watch,
            }),
            virtual_host_domains: LOCAL_DOMAINS.map(str::to_owned).to_vec(),
            lambda,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(run(listener, config, async move {
            // A dropped sender stops the endpoint as well.
            stopped.await.ok();
        }));
        Self {
            address,
            http: reqwest::Client::new(),
            folders,
            stop: Some(stop),
            served,
        }
    }

    /// Shuts down and gives back the folders.
    pub(crate) async fn stop(mut self) -> tempfile::TempDir {
        drop(self.stop.take());
        self.served.await.unwrap().unwrap();
        self.folders
    }

    /// The fixtures folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folders.path().join("data")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// The body of an object, read without credentials; none if it is not there.
    pub(crate) async fn body(&self, path: &str) -> Option<String> {
        let response = self.http.get(self.url(path)).send().await.unwrap();
        let found = response.status() == 200;
        assert!(found || response.status() == 404, "{}", response.status());
        let body = response.text().await.unwrap();
        found.then_some(body)
    }

    pub(crate) fn s3(&self, (key, secret): (&str, &str)) -> Client {
        let credentials =
            aws_sdk_s3::config::Credentials::new(key, secret, None, None, "these tests");
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(format!("http://{}", self.address))
            .credentials_provider(credentials)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .force_path_style(true)
            .build();
        Client::from_conf(config)
    }
}

/// Waits until `look` gives something.
pub(crate) async fn until<T, F>(what: &str, look: impl Fn() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let looking = async {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        loop {
            tick.tick().await;
            if let Some(seen) = look().await {
                return seen;
            }
        }
    };
    let seen = tokio::time::timeout(DEADLINE, looking).await;
    seen.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}

/// Puts a file in place in one step, as editors and `mv` do.
pub(crate) fn replace(path: &Path, content: &str) {
    let aside = path.with_extension("aside");
    let hidden = path.with_file_name(format!(".{}", aside.file_name().unwrap().to_str().unwrap()));
    std::fs::write(&hidden, content).unwrap();
    std::fs::rename(hidden, path).unwrap();
}
