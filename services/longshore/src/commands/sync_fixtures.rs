//! `longshore sync-fixtures`: keeps a bucket of another S3, such as LocalStack, in step with
//! the fixtures folder. The embedded endpoint does this by itself.
//!
//! The folder is read over and over: file events do not cross every bind mount. What was
//! put is remembered in a list beside the state, so that a file removed while nobody
//! looked is removed from the bucket too, and objects that came from elsewhere never are.
//! The list is touched after every round that left both in step: its age is the health of
//! this process.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail, ensure};
use reqwest::{Client, Method, StatusCode, Url};
use service_runtime::Shutdown;

use crate::exit::Exit;
use crate::settings::Settings;

/// How often the folder is read.
const EVERY: Duration = Duration::from_millis(250);

/// A file that changed less than this long ago may still be being written.
const QUIET: Duration = Duration::from_millis(100);

/// How often the bucket is looked for: an emulator that was restarted has lost it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long one request may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The list of what was put, in the state folder.
const LIST: &str = "fixtures-in-bucket";

/// Follows the folder until Ctrl-C.
///
/// # Errors
/// If the state folder cannot be written or the endpoint's address is no URL. An endpoint
/// that does not answer is asked again.
pub async fn run(settings: &Settings) -> anyhow::Result<Exit> {
    let shutdown = Shutdown::new();
    let signals = shutdown
        .follow_signals()
        .context("Ctrl-C cannot be listened for")?;
    let signals = tokio::spawn(signals);
    let mut mirror = Mirror::open(settings)?;
    let mut rounds = tokio::time::interval(EVERY);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let follow = async {
        let mut failing = false;
        loop {
            rounds.tick().await;
            match mirror.round().await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !failing {
                        tracing::warn!("the fixtures wait for the endpoint: {error:#}");
                    }
                    failing = true;
                    mirror.forget();
                }
            }
        }
    };
    tokio::select! {
        () = follow => {}
        () = shutdown.draining() => {}
    }
    signals.abort();
    Ok(Exit::Success)
}

/// Tells one state of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: SystemTime,
}

/// A folder and the bucket that follows it.
#[derive(Debug)]
struct Mirror {
    folder: PathBuf,
    list: PathBuf,
    bucket: Bucket,
    /// What the bucket holds of ours; `None` where it is from an earlier run, and must be
    /// put again.
    held: BTreeMap<String, Option<Stamp>>,
    looked: Option<Instant>,
}

impl Mirror {
    fn open(settings: &Settings) -> anyhow::Result<Self> {
        let endpoint = match &settings.aws_endpoint_url {
            Some(url) => url.clone(),
            None => format!("http://{}:{}", settings.host, settings.aws_port),
        };
        std::fs::create_dir_all(&settings.state_dir).with_context(|| {
            format!(
                "cannot make the state folder {}",
                settings.state_dir.display()
            )
        })?;
        let list = settings.state_dir.join(LIST);
        let held = match std::fs::read_to_string(&list) {
            Ok(keys) => keys.lines().map(|key| (key.to_owned(), None)).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error).context(format!("cannot read {}", list.display())),
        };
        Ok(Self {
            folder: settings.fixtures.clone(),
            list,
            bucket: Bucket::new(&endpoint, &settings.bucket)?,
            held,
            looked: None,
        })
    }

    /// The bucket may have lost everything: all of it is put again.
    fn forget(&mut self) {
        self.looked = None;
        self.held.values_mut().for_each(|stamp| *stamp = None);
    }

    /// One look at the folder, and what follows from it.
    async fn round(&mut self) -> anyhow::Result<()> {
        if self
            .looked
            .is_none_or(|looked| looked.elapsed() >= LOOK_EVERY)
        {
            if !self.bucket.exists().await? {
                self.forget();
                self.bucket.create().await?;
            }
            self.looked = Some(Instant::now());
        }
        let folder = self.folder.clone();
        let files = tokio::task::spawn_blocking(move || scan(&folder))
            .await
            .context("reading the fixtures folder panicked")?
            .with_context(|| format!("cannot read {}", self.folder.display()))?;
        let gone: Vec<String> = self
            .held
            .keys()
            .filter(|key| !files.contains_key(*key))
            .cloned()
            .collect();
        for key in gone {
            self.bucket.delete(&key).await?;
            self.held.remove(&key);
            tracing::info!(key, "fixture removed");
        }
        for (key, stamp) in files {
            if self.held.get(&key) == Some(&Some(stamp)) || !is_quiet(stamp) {
                continue;
            }
            let body = match tokio::fs::read(self.folder.join(&key)).await {
                Ok(body) => body,
                // Removed since: the next round removes it from the bucket.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).context(format!("cannot read the fixture {key}")),
            };
            // Named before it is put, so that it is removed even if we end in between.
            self.held.insert(key.clone(), None);
            self.write_list()?;
            self.bucket.put(&key, body).await?;
            self.held.insert(key.clone(), Some(stamp));
            tracing::info!(key, bytes = stamp.bytes, "fixture put");
        }
        self.write_list()
    }

    fn write_list(&self) -> anyhow::Result<()> {
        let keys: String = self.held.keys().map(|key| format!("{key}\n")).collect();
        std::fs::write(&self.list, keys)
            .with_context(|| format!("cannot write {}", self.list.display()))
    }
}

fn is_quiet(stamp: Stamp) -> bool {
    // A file from the future is as quiet as it gets.
    stamp.modified.elapsed().map_or(true, |age| age >= QUIET)
}

/// Every file below the folder by its key; hidden ones are left out. Blocks on files.
fn scan(folder: &Path) -> io::Result<BTreeMap<String, Stamp>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            let key = format!("{prefix}{name}");
            // Followed through links; what is gone again, or a link to nowhere, is no file.
            let Ok(metadata) = std::fs::metadata(entry.path()) else {
                continue;
            };
            if metadata.is_dir() {
                folders.push((entry.path(), format!("{key}/")));
            } else if metadata.is_file() {
                let stamp = Stamp {
                    bytes: metadata.len(),
                    modified: metadata.modified()?,
                };
                files.insert(key, stamp);
            }
        }
    }
    Ok(files)
}

/// A bucket of an S3 that takes unsigned requests, addressed by path.
#[derive(Debug)]
struct Bucket {
    client: Client,
    url: Url,
}

impl Bucket {
    fn new(endpoint: &str, name: &str) -> anyhow::Result<Self> {
        let url = Url::parse(endpoint)
            .and_then(|url| url.join(name))
            .with_context(|| format!("`{endpoint}` is not the URL of an AWS endpoint"))?;
        ensure!(
            !url.cannot_be_a_base(),
            "`{endpoint}` is not the URL of an AWS endpoint"
        );
        let client = Client::builder()
            .no_proxy()
            .timeout(ANSWER_WITHIN)
            .build()
            .context("the HTTP client cannot be set up")?;
        Ok(Self { client, url })
    }

    async fn exists(&self) -> anyhow::Result<bool> {
        let answer = self.client.head(self.url.clone()).send().await?;
        match answer.status() {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => bail!("{} answers {status}", self.url),
        }
    }

    async fn create(&self) -> anyhow::Result<()> {
        self.send(Method::PUT, self.url.clone(), Vec::new()).await
    }

    async fn put(&self, key: &str, body: Vec<u8>) -> anyhow::Result<()> {
        self.send(Method::PUT, self.object(key), body).await
    }

    async fn delete(&self, key: &str) -> anyhow::Result<()> {
        self.send(Method::DELETE, self.object(key), Vec::new())
            .await
    }

    fn object(&self, key: &str) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(key.split('/'));
        }
        url
    }

    async fn send(&self, method: Method, url: Url, body: Vec<u8>) -> anyhow::Result<()> {
        let answer = self
            .client
            .request(method, url.clone())
            .body(body)
            .send()
            .await?;
        let status = answer.status();
        ensure!(status.is_success(), "{url} answers {status}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::env::MapEnvironment;
    use crate::settings::Flags;
    use crate::stack::{Parts, Stack};

    /// The embedded S3, and a folder that nobody follows but the mirror under test.
    struct World {
        folder: TempDir,
        endpoint: String,
        shutdown: Shutdown,
        stack: Stack,
    }

    impl World {
        async fn start() -> Self {
            let folder = TempDir::new().unwrap();
            std::fs::create_dir(folder.path().join("data")).unwrap();
            let mut embedded = settings(&folder, None);
            embedded.aws_port = 0;
            embedded.ephemeral = true;
            embedded.fixtures = folder.path().join("none");
            embedded.bucket = "another".into();
            let shutdown = Shutdown::new();
            let stack = Stack::start(embedded, Parts::AWS_ENDPOINT, shutdown.clone())
                .await
                .unwrap();
            let endpoint = format!("http://{}", stack.addresses().aws.unwrap());
            Self {
                folder,
                endpoint,
                shutdown,
                stack,
            }
        }

        fn mirror(&self) -> Mirror {
            Mirror::open(&settings(&self.folder, Some(&self.endpoint))).unwrap()
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.folder.path().join("data").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            // As if it had been written a while ago.
            let written =
                SystemTime::now() - Duration::from_secs(u64::try_from(text.len()).unwrap());
            std::fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(written)
                .unwrap();
        }

        async fn object(&self, key: &str) -> Option<String> {
            let url = format!("{}/test-bucket/{key}", self.endpoint);
            let answer = reqwest::get(url).await.unwrap();
            answer
                .status()
                .is_success()
                .then_some(answer.text().await.unwrap())
        }

        async fn end(self) {
            self.shutdown.drain();
            self.stack.join().await.unwrap();
        }
    }

    fn settings(folder: &TempDir, endpoint: Option<&str>) -> Settings {
        let mut settings =
            Settings::resolve(&Flags::default(), &MapEnvironment::new(&[]), folder.path()).unwrap();
        settings.fixtures = folder.path().join("data");
        settings.aws_endpoint_url = endpoint.map(str::to_owned);
        settings
    }

    #[tokio::test]
    async fn files_come_change_and_go() {
        let world = World::start().await;
        world.write("a b.ndjson", "{}\n");
        world.write("deep/c.ndjson", "{\"c\": 1}\n");
        world.write(".hidden", "x");
        let mut mirror = world.mirror();
        mirror.round().await.unwrap();
        assert_eq!(world.object("a%20b.ndjson").await.as_deref(), Some("{}\n"));
        assert_eq!(
            world.object("deep/c.ndjson").await.as_deref(),
            Some("{\"c\": 1}\n")
        );
        assert_eq!(world.object(".hidden").await, None);

        world.write("a b.ndjson", "{\"n\": 1}\n");
        std::fs::remove_file(world.folder.path().join("data/deep/c.ndjson")).unwrap();
        mirror.round().await.unwrap();
        assert_eq!(
            world.object("a%20b.ndjson").await.as_deref(),
            Some("{\"n\": 1}\n")
        );
        assert_eq!(world.object("deep/c.ndjson").await, None);
        world.end().await;
    }

    #[tokio::test]
    async fn what_went_while_nobody_looked_is_removed_and_the_rest_is_not_ours() {
        let world = World::start().await;
        world.write("gone.ndjson", "{}\n");
        let mut mirror = world.mirror();
        mirror.round().await.unwrap();
        mirror
            .bucket
            .put("output.json", b"kept".to_vec())
            .await
            .unwrap();
        drop(mirror);
        std::fs::remove_file(world.folder.path().join("data/gone.ndjson")).unwrap();

        world.mirror().round().await.unwrap();
        assert_eq!(world.object("gone.ndjson").await, None);
        assert_eq!(world.object("output.json").await.as_deref(), Some("kept"));
        world.end().await;
    }

    #[tokio::test]
    async fn a_bucket_that_was_lost_is_filled_again() {
        let world = World::start().await;
        world.write("a.ndjson", "{}\n");
        let mut mirror = world.mirror();
        mirror.round().await.unwrap();
        mirror.bucket.delete("a.ndjson").await.unwrap();
        mirror.forget();
        mirror.round().await.unwrap();
        assert_eq!(world.object("a.ndjson").await.as_deref(), Some("{}\n"));
        world.end().await;
    }

    #[test]
    fn a_file_that_is_being_written_waits() {
        let now = SystemTime::now();
        let at = |modified| Stamp { bytes: 1, modified };
        assert!(!is_quiet(at(now)));
        assert!(is_quiet(at(now - QUIET)));
        assert!(
            is_quiet(at(now + Duration::from_secs(60))),
            "a clock that is behind"
        );
    }
}
