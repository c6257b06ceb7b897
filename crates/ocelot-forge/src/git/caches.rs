//! Bounding the caches: they only ever grow, and each can be made anew at any time.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Git;
use crate::error::GitError;

struct Cache {
    path: PathBuf,
    unused: Duration,
    bytes: u64,
}

impl Git {
    /// Removes the caches into which nothing was fetched for longer than `age`, and while all take more than `most` bytes those
    /// with the oldest fetch; none that is in use. Answers how many.
    pub async fn tidy(&self, age: Duration, most: u64) -> io::Result<usize> {
        let folder = self.0.folder.clone();
        let found = tokio::task::spawn_blocking(move || list(&folder)).await.map_err(io::Error::other)??;
        let mut left: u64 = found.iter().map(|cache| cache.bytes).sum();
        let mut removed = 0;
        for cache in found {
            if cache.unused <= age && left <= most {
                break;
            }
            let Ok(_alone) = self.lock(&cache.path).try_lock_owned() else { continue };
            tokio::fs::remove_dir_all(&cache.path).await?;
            left -= cache.bytes;
            removed += 1;
        }
        Ok(removed)
    }

    /// What was said of writing into a cache. Git leaves files behind for which there was no room: they would keep the disk full, so
    /// the cache goes.
    pub(super) async fn fit(&self, cache: &Path, told: Result<Vec<u8>, GitError>) -> Result<(), GitError> {
        if matches!(told, Err(GitError::DiskFull(_))) {
            match tokio::fs::remove_dir_all(cache).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(GitError::Io(error)),
                _ => {}
            }
        }
        told.map(drop)
    }
}

/// All caches, the one with the oldest fetch first.
fn list(folder: &Path) -> io::Result<Vec<Cache>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        let path = entry.path();
        // A fetch that brings something makes a file here.
        let times = ["objects/pack", "objects", ""].map(|below| std::fs::metadata(path.join(below)));
        let newest = times.into_iter().flatten().filter_map(|about| about.modified().ok()).max();
        let unused = SystemTime::now().duration_since(newest.unwrap_or(SystemTime::UNIX_EPOCH));
        found.push(Cache { unused: unused.unwrap_or_default(), bytes: size_of(&path), path });
    }
    found.sort_by_key(|cache| std::cmp::Reverse(cache.unused));
    Ok(found)
}

fn size_of(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut waiting = vec![folder.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(about) = entry.metadata() else { continue };
            bytes += about.blocks() * 512;
            if about.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    bytes
}
