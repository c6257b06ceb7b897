//! Keeps the machine in order: removes mirrors and images that nobody has used for long or that take too much room, and
//! what attempts have left that are no more. It must never touch what a running attempt uses; whoever owns a thing sees to that.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ocelot_model::AttemptId;
use tokio::time::MissedTickBehavior;

use crate::attempt::Shop;
use crate::board::Board;
use crate::condition::{Disk, MinFree};
use crate::config::Config;
use crate::executor::Executor;
use crate::watch::Health;
use crate::work::discard;

/// How often it looks without being asked.
const EVERY: Duration = Duration::from_mins(10);
/// From one look for want of room to the next.
const PAUSE: Duration = Duration::from_mins(1);

/// How long something is kept that nobody uses, and how much room all of its kind may take. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Since it was last used.
    pub age: Option<Duration>,
    /// Bytes of all.
    pub bytes: Option<u64>,
}

/// Something that could be removed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    /// Since it was last used.
    pub(crate) unused: Duration,
    pub(crate) bytes: u64,
}

impl Keep {
    /// Which of `items` are to go, the longest unused first; with `missing` as many more as free so many bytes. The one that
    /// was used last stays however large it is, unless room is missing: else every job would bring it anew.
    pub(crate) fn doomed(self, items: &[Item], missing: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(items[*at].unused));
        let mut left: u64 = items.iter().map(|item| item.bytes).sum();
        let (mut freed, mut doomed) = (0, Vec::new());
        for (place, at) in order.into_iter().enumerate() {
            let is_last = place + 1 == items.len();
            let old = self.age.is_some_and(|age| items[at].unused > age);
            let too_much = self.bytes.is_some_and(|most| left > most) && !is_last;
            if old || too_much || freed < missing {
                left -= items[at].bytes;
                freed += items[at].bytes;
                doomed.push(at);
            }
        }
        doomed
    }
}

/// See the module.
pub(crate) struct Keeper {
    pub(crate) shop: Arc<Shop>,
    pub(crate) board: Arc<Board>,
    pub(crate) health: Arc<Health>,
    pub(crate) config: Config,
}

impl Keeper {
    /// Works until it is dropped.
    pub(crate) async fn keep_order(self) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wanted = tokio::select! {
                _ = tick.tick() => false,
                () = self.health.room_wanted() => true,
            };
            self.tidy().await;
            if wanted {
                self.health.look_again();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn tidy(&self) {
        self.remove_folders().await;
        let lacks = self.lacks(&self.config.data);
        match self.shop.mirrors.clean(self.config.mirrors, lacks).await {
            Ok(removed) => removed.iter().for_each(|what| tracing::info!("removed {what}")),
            Err(error) => tracing::warn!("mirrors cannot be cleaned up: {error}"),
        }
        let disk = self.shop.executor.disk();
        let lacks = disk.map_or(0, |path| self.lacks(&path));
        match self.shop.executor.clean_images(self.config.images, lacks).await {
            Ok(removed) => removed.iter().for_each(|what| tracing::info!("removed {what}")),
            Err(error) => tracing::warn!("images cannot be cleaned up: {error}"),
        }
    }

    fn lacks(&self, path: &Path) -> u64 {
        let limit: MinFree = self.config.min_free;
        Disk::of(path).map_or(0, |disk| limit.lacks(disk))
    }

    /// Folders whose attempt no slot has: their first removal failed.
    async fn remove_folders(&self) {
        let Ok(entries) = fs::read_dir(self.config.jobs()) else { return };
        let found: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        for path in found {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let id = name.strip_prefix(".new-").unwrap_or(name).parse::<i64>();
            // A slot is taken before its folder is made.
            if !id.is_ok_and(|id| self.board.attempts().contains(&id)) {
                tracing::info!("a leftover is removed: {}", path.display());
                discard(&self.shop.executor, path).await;
            }
        }
    }
}

/// Removes containers and networks that no slot has. No attempt may begin meanwhile.
pub(crate) async fn sweep(executor: &Executor, board: &Board) {
    let keep: Vec<AttemptId> = board.attempts().into_iter().map(AttemptId).collect();
    match executor.sweep(&keep).await {
        Ok(removed) => removed.iter().for_each(|what| tracing::info!("a leftover was removed: {what}")),
        Err(error) => tracing::warn!("leftovers cannot be looked for: {error}"),
    }
}

/// Bytes on the disk of a folder and all in it, links not followed.
pub(crate) fn size_of(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut waiting = vec![folder.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(about) = entry.metadata() else { continue };
            bytes += about.blocks() * 512;
            if about.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes() {
        // Each item: days unused, bytes.
        let check = |keep: (Option<u64>, Option<u64>), items: &[(u64, u64)], missing, want: &[usize]| {
            let days = |days: u64| Duration::from_hours(24 * days);
            let keep = Keep { age: keep.0.map(days), bytes: keep.1 };
            let items: Vec<Item> =
                items.iter().map(|(unused, bytes)| Item { unused: days(*unused), bytes: *bytes }).collect();
            assert_eq!(keep.doomed(&items, missing), want, "{keep:?} {items:?} {missing}");
        };
        let items = [(1, 10), (40, 20), (5, 30), (31, 5)];
        check((None, None), &items, 0, &[]);
        check((Some(30), None), &items, 0, &[1, 3]);
        check((None, Some(45)), &items, 0, &[1]);
        check((None, Some(40)), &items, 0, &[1, 3]);
        check((None, Some(1)), &items, 0, &[1, 3, 2]);
        check((Some(35), Some(44)), &items, 0, &[1, 3]);
        check((None, None), &items, 21, &[1, 3]);
        check((None, None), &items, 1000, &[1, 3, 2, 0]);
        check((None, Some(1)), &[(0, 100)], 0, &[]);
        check((Some(1), None), &[(2, 100)], 0, &[0]);
    }

    #[test]
    fn sizes_of_folders() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("below")).unwrap();
        fs::write(folder.path().join("below/file"), vec![1; 100_000]).unwrap();
        std::os::unix::fs::symlink("/", folder.path().join("link")).unwrap();
        let bytes = size_of(folder.path());
        assert!((100_000..1_000_000).contains(&bytes), "{bytes}");
    }
}
