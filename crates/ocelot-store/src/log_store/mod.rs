//! The log store: one blob for each finished log, in a folder or in a bucket. Knows no database: which blob belongs to which
//! log, and which may go, stands there (`sql/blobs`).

pub(crate) mod blob;
mod place;

use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt as _, RetryConfig};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;
use tokio::time::Instant;

pub use place::{LogPlace, LogStoreOptions};

use crate::{LogSlice, StoreError};
use blob::Index;

/// Bytes that are kept in memory while a blob is written, and the size of a part in a bucket.
const PART: usize = 8 << 20;
/// The end of a blob that is read first: the index of a log of 500 MB and less.
const END: u64 = 64 << 10;
/// Indexes that are kept, in bytes.
const KEPT: usize = 16 << 20;
/// A bucket that does not answer within this time is away.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
const CONNECTS_WITHIN: Duration = Duration::from_secs(5);
/// A look at how it is must not take long.
const PROBED_WITHIN: Duration = Duration::from_secs(5);
/// What a look found counts for so long.
const GOOD_FOR: Duration = Duration::from_secs(10);
const BAD_FOR: Duration = Duration::from_secs(1);
/// Says which store this is.
const MARKER: &str = "ocelot-log-store";

/// See the module.
pub(crate) struct LogStore {
    store: Arc<dyn ObjectStore>,
    /// What all names begin with.
    prefix: String,
    place: LogPlace,
    /// The indexes that were used last, the newest one last.
    indexes: Mutex<Vec<(String, Arc<Index>)>>,
    health: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl LogStore {
    /// Makes the folder when it is missing; a bucket is not asked for yet.
    pub(crate) fn open(place: LogPlace, variables: &[(String, String)]) -> Result<LogStore, StoreError> {
        let (store, prefix): (Arc<dyn ObjectStore>, _) =
            match &place {
                LogPlace::Folder { path, .. } => {
                    // What stages wrote is for this user alone.
                    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
                        StoreError::LogStore(format!("folder {}: {error}", path.display()))
                    })?;
                    let folder = LocalFileSystem::new_with_prefix(path)?;
                    // What was stored survives a power cut.
                    (Arc::new(folder.with_fsync(true)), String::new())
                }
                LogPlace::Bucket { bucket, prefix } => {
                    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
                    (Arc::new(bucket_store(bucket, variables)?), prefix)
                }
            };
        Ok(LogStore { store, prefix, place, indexes: Mutex::default(), health: Mutex::default() })
    }

    pub(crate) fn place(&self) -> &LogPlace {
        &self.place
    }

    /// Begins a blob. What is written is there once [`Upload::finish`] has answered, and not before.
    pub(crate) fn upload(&self, name: &str) -> Upload {
        let writer = BufWriter::with_capacity(Arc::clone(&self.store), self.path(name), PART);
        Upload(writer.with_max_concurrency(2))
    }

    /// Up to `max` bytes of the log in this blob, from `offset`; `None` when there is no such blob.
    pub(crate) async fn read(
        &self,
        name: &str,
        offset: u64,
        max: usize,
    ) -> Result<Option<LogSlice>, StoreError> {
        let Some(index) = self.index(name).await? else { return Ok(None) };
        let Some(range) = index.range(offset, max) else {
            return Ok(Some(LogSlice { offset, data: Vec::new(), marks: Vec::new() }));
        };
        match self.store.get_range(&self.path(name), range).await {
            Ok(stored) => index.unpack(&stored, offset, max).map(Some),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The index of a blob; `None` when there is no such blob.
    pub(crate) async fn index(&self, name: &str) -> Result<Option<Arc<Index>>, StoreError> {
        if let Some(index) = self.kept(name).await {
            return Ok(Some(index));
        }
        // Asked for its length first: not every service takes "the last 64 KiB" of something smaller.
        let path = self.path(name);
        let length = match self.store.head(&path).await {
            Ok(about) => about.size,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut end = self.store.get_range(&path, length.saturating_sub(END)..length).await?;
        let needs = blob::index_needs(&end)?.min(length);
        if needs > end.len() as u64 {
            end = self.store.get_range(&path, length - needs..length).await?;
        }
        let index = Arc::new(Index::read(&end)?);
        self.keep(name, &index).await;
        Ok(Some(index))
    }

    async fn kept(&self, name: &str) -> Option<Arc<Index>> {
        let mut indexes = self.indexes.lock().await;
        let at = indexes.iter().position(|(of, _)| of == name)?;
        let found = indexes.remove(at);
        let index = Arc::clone(&found.1);
        indexes.push(found);
        Some(index)
    }

    async fn keep(&self, name: &str, index: &Arc<Index>) {
        let mut indexes = self.indexes.lock().await;
        indexes.push((name.to_owned(), Arc::clone(index)));
        let mut size: usize = indexes.iter().map(|(_, index)| index.size()).sum();
        while size > KEPT && indexes.len() > 1 {
            size -= indexes.remove(0).1.size();
        }
    }

    /// Removes a blob, with what a killed server left of it in a folder. Twice is fine.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.indexes.lock().await.retain(|(of, _)| of != name);
        match self.store.delete(&self.path(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if let LogPlace::Folder { path, .. } = &self.place {
            for part in parts(path.join(name)) {
                match tokio::fs::remove_file(&part).await {
                    Ok(()) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
                    Err(error) => return Err(StoreError::LogStore(error.to_string())),
                }
            }
        }
        Ok(())
    }

    /// The words by which a store is known; `None` when nobody has used it yet.
    pub(crate) async fn marker(&self) -> Result<Option<String>, StoreError> {
        let answer = match self.store.get(&self.path(MARKER)).await {
            Ok(answer) => answer.bytes().await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn mark(&self, words: &str) -> Result<(), StoreError> {
        self.put(MARKER, format!("{words}\n")).await
    }

    async fn put(&self, name: &str, text: String) -> Result<(), StoreError> {
        self.store.put(&self.path(name), text.into()).await?;
        Ok(())
    }

    /// An error when its marker has other words, or is gone: what is written then would lie somewhere else.
    pub(crate) async fn is_still(&self, wanted: &str) -> Result<(), StoreError> {
        if self.marker().await?.as_deref() == Some(wanted) {
            return Ok(());
        }
        let words = format!("{} is not what it was at the start: is it mounted?", self.place);
        Err(StoreError::LogStore(words))
    }

    async fn try_out(&self, name: &str, wanted: &str) -> Result<(), StoreError> {
        self.is_still(wanted).await?;
        self.put(name, "can be written\n".to_owned()).await
    }

    /// Whether it is there and can be written, for whoever asks often: one look counts for a while, and for all.
    pub(crate) async fn probe(&self, server: &str, wanted: &str) -> Result<(), StoreError> {
        let mut health = self.health.lock().await;
        if let Some((at, found)) = &*health
            && at.elapsed() < if found.is_ok() { GOOD_FOR } else { BAD_FOR }
        {
            return found.clone().map_err(StoreError::LogStore);
        }
        let name = format!("probe-{server}");
        let written = tokio::time::timeout(PROBED_WITHIN, self.try_out(&name, wanted)).await;
        let found = match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(StoreError::LogStore(words))) => Err(words),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("{} does not answer", self.place)),
        };
        *health = Some((Instant::now(), found.clone()));
        found.map_err(StoreError::LogStore)
    }

    fn path(&self, name: &str) -> Path {
        Path::from(format!("{}{name}", self.prefix))
    }
}

/// A blob on its way.
pub(crate) struct Upload(BufWriter);

impl Upload {
    pub(crate) async fn write(&mut self, bytes: Vec<u8>) -> Result<(), StoreError> {
        Ok(self.0.put(bytes.into()).await?)
    }

    /// Answers when the blob is durable.
    pub(crate) async fn finish(mut self) -> Result<(), StoreError> {
        self.0.shutdown().await.map_err(|error| StoreError::LogStore(error.to_string()))
    }

    /// Parts that were sent already go.
    pub(crate) async fn abort(&mut self) {
        if let Err(error) = self.0.abort().await {
            tracing::debug!(%error, "parts of a log stay in the log store");
        }
    }
}

/// What the library calls a file before it is whole.
fn parts(whole: PathBuf) -> impl Iterator<Item = PathBuf> {
    (1..).map(move |number| {
        let mut name = whole.clone().into_os_string();
        name.push(format!("#{number}"));
        name.into()
    })
}

fn bucket_store(
    bucket: &str,
    variables: &[(String, String)],
) -> object_store::Result<object_store::aws::AmazonS3> {
    let client = ClientOptions::new().with_timeout(ANSWERS_WITHIN).with_connect_timeout(CONNECTS_WITHIN);
    // Who waits comes again by itself: no long retries below them.
    let retry =
        RetryConfig { backoff: BackoffConfig::default(), max_retries: 2, retry_timeout: ANSWERS_WITHIN };
    let mut builder = AmazonS3Builder::new().with_client_options(client).with_retry(retry);
    for (name, value) in variables {
        // Others are for other programs.
        let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() else { continue };
        if name.starts_with("AWS_ENDPOINT_URL") && value.starts_with("http://") {
            // Whoever wrote the address meant it.
            builder = builder.with_allow_http(true);
        }
        builder = builder.with_config(key, value);
    }
    // One at a time, by the call that every such service has.
    builder.with_bucket_name(bucket).with_config(AmazonS3ConfigKey::DisableBulkDelete, "true").build()
}

/// It may be back at any time.
impl From<object_store::Error> for StoreError {
    fn from(error: object_store::Error) -> StoreError {
        StoreError::LogStore(error.to_string())
    }
}
