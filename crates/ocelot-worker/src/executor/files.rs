//! The files that a shim leaves, wherever they are: in a folder that is shared, or behind the link.
//! They may be a stage's invention: what is read is bounded and checked.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::ExecutorError;
use super::beneath::Folder;
use super::link::Link;
use super::shim::wire::{Ask, Ended, Kind, MAX_BLOCK, Tell};
use crate::condition::Disk;

/// Most that is read of a log at once when it is a file of this machine.
const BLOCK: u64 = 1 << 20;
/// An exit file is one line of words and one of numbers.
const MAX_EXIT: u32 = 8 << 10;

/// Where the files are.
#[derive(Debug)]
pub(crate) enum Files {
    /// In a folder of this machine.
    Shared(Arc<Folder>),
    /// In the container; asked for through the link.
    Remote,
}

/// A stage's log, opened once for all its blocks.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenLog(Option<Arc<File>>);

impl Files {
    /// The exit, if there is one yet.
    pub(crate) async fn exit(&self, link: &Link, key: &str) -> Result<Option<Ended>, ExecutorError> {
        let bytes = match self {
            Files::Shared(folder) => {
                let (folder, name) = (Arc::clone(folder), Kind::Exit.file(key));
                blocking(move || {
                    let file = open(&folder, &name)?;
                    file.map(|file| read_at(&file, 0, u64::from(MAX_EXIT))).transpose()
                })
                .await
                .map_err(|error| tampered("exit", &error))?
            }
            Files::Remote => remote(link, key, Kind::Exit, 0, MAX_EXIT).await?,
        };
        let Some(bytes) = bytes else { return Ok(None) };
        let ended = std::str::from_utf8(&bytes).ok().and_then(Ended::decode);
        ended.map(Some).ok_or_else(|| ExecutorError::Tampered("its exit code is none".to_owned()))
    }

    /// True when nothing can be written beside them.
    pub(crate) fn has_no_room(&self) -> bool {
        match self {
            Files::Shared(folder) => folder.disk().is_ok_and(Disk::is_full),
            Files::Remote => false,
        }
    }

    /// True when the stage was ever started.
    pub(crate) async fn started(&self, link: &Link, key: &str) -> Result<bool, ExecutorError> {
        match self {
            Files::Shared(folder) => {
                let (folder, name) = (Arc::clone(folder), Kind::Start.file(key));
                let file = blocking(move || open(&folder, &name)).await;
                file.map(|file| file.is_some()).map_err(|error| tampered("mark", &error))
            }
            Files::Remote => Ok(remote(link, key, Kind::Start, 0, 1).await?.is_some()),
        }
    }

    /// A block of the log; empty at its end, or when there is no log yet.
    pub(crate) async fn log(
        &self,
        link: &Link,
        key: &str,
        opened: &mut OpenLog,
        at: u64,
    ) -> Result<Bytes, ExecutorError> {
        match self {
            Files::Shared(folder) => {
                if opened.0.is_none() {
                    let (folder, name) = (Arc::clone(folder), Kind::Log.file(key));
                    let file = blocking(move || open(&folder, &name)).await;
                    opened.0 = file.map_err(|error| tampered("log", &error))?.map(Arc::new);
                }
                let Some(file) = opened.0.clone() else { return Ok(Bytes::new()) };
                blocking(move || read_at(&file, at, BLOCK)).await.map_err(|error| tampered("log", &error))
            }
            Files::Remote => Ok(remote(link, key, Kind::Log, at, MAX_BLOCK).await?.unwrap_or_default()),
        }
    }
}

async fn remote(
    link: &Link,
    key: &str,
    kind: Kind,
    offset: u64,
    most: u32,
) -> Result<Option<Bytes>, ExecutorError> {
    match link.ask(&Ask::Read { key: key.to_owned(), kind, offset, most }).await? {
        Tell::Bytes(bytes) => Ok(Some(bytes.into())),
        Tell::Absent => Ok(None),
        Tell::Done | Tell::Refused(_) | Tell::Data(_) | Tell::Ended(_) => {
            Err(ExecutorError::Tampered("an answer to another question".into()))
        }
    }
}

fn open(folder: &Folder, name: &str) -> io::Result<Option<File>> {
    match folder.file(Path::new(name)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_at(file: &File, at: u64, most: u64) -> io::Result<Bytes> {
    // By the file's length, so that a few new lines do not cost a whole block.
    let length = file.metadata()?.len().saturating_sub(at).min(most);
    let mut block = vec![0; length as usize];
    let mut filled = 0;
    while filled < block.len() {
        match file.read_at(&mut block[filled..], at + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    block.truncate(filled);
    Ok(block.into())
}

fn tampered(what: &str, error: &io::Error) -> ExecutorError {
    ExecutorError::Tampered(format!("its {what} cannot be read: {error}"))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
