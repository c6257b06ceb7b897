//! Looks at this machine again and again, and tells the board how it is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::board::Board;
use crate::condition::{Condition, Disk, MinFree};

/// How often it looks.
const LOOK: Duration = Duration::from_secs(10);

/// What it looks at.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) board: Arc<Board>,
    /// The worker's own folder.
    pub(crate) data: PathBuf,
    pub(crate) min_free: MinFree,
}

impl Watch {
    /// Looks until it is dropped.
    pub(crate) async fn keep_looking(self) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.look();
        }
    }

    fn look(&self) {
        let disk = Disk::of(&self.data)
            .inspect_err(|error| tracing::warn!("how much room the disk has is not known: {error}"))
            .ok();
        let lacks = disk.filter(|disk| self.min_free.lacks(*disk) > 0);
        let unwell = lacks.map(|disk| self.min_free.words(disk));
        self.tell(Condition { disk, unwell });
    }

    fn tell(&self, now: Condition) {
        let before = self.board.condition();
        match (&before.unwell, &now.unwell) {
            (_, Some(why)) if before.unwell.is_none() => tracing::warn!("the worker takes no jobs: {why}"),
            (Some(_), None) => tracing::info!("the worker takes jobs again"),
            (_, _) => {}
        }
        self.board.set_condition(now);
    }
}
