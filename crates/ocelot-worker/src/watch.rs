//! Looks at this machine again and again, and tells the board how it is: its disks, its engine, and what became of the
//! last jobs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

use crate::board::Board;
use crate::breaker::{Breaker, Setup, Verdict};
use crate::condition::{Condition, Disk, MinFree};
use crate::executor::Executor;

/// What jobs tell of this machine. Shared by all of them.
#[derive(Debug, Default)]
pub(crate) struct Health {
    breaker: Mutex<Breaker>,
    news: Notify,
    room: Notify,
}

impl Health {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A setup has ended by itself.
    pub(crate) fn setup_ended(&self, setup: Setup<'_>) {
        self.breaker().ended(Instant::now(), setup);
        self.news.notify_one();
    }

    /// Something may be better now.
    pub(crate) fn look_again(&self) {
        self.news.notify_one();
    }

    /// Returns when a disk has too little room.
    pub(crate) async fn room_wanted(&self) {
        self.room.notified().await;
    }

    /// An attempt is over.
    pub(crate) fn attempt_left(&self) {
        self.breaker().left();
        self.news.notify_one();
    }
}

/// What it looks at.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub(crate) board: Arc<Board>,
    pub(crate) health: Arc<Health>,
    /// The worker's own folder.
    pub(crate) data: PathBuf,
    pub(crate) min_free: MinFree,
    pub(crate) every: Duration,
}

impl Watch {
    /// Looks until it is dropped.
    pub(crate) async fn keep_looking(self, executor: Executor) {
        let mut tick = tokio::time::interval(self.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.health.news.notified() => {}
            }
            self.look(&executor).await;
        }
    }

    /// Looks once.
    pub(crate) async fn look(&self, executor: &Executor) {
        let engine = executor.answers().await.err().map(|error| error.to_string());
        let (disk, lack) = self.disk(executor.disk());
        if lack.is_some() {
            self.health.room.notify_one();
        }
        let verdict = self.health.breaker().verdict(Instant::now());
        let (bad, trial) = match verdict {
            Verdict::Well => (None, None),
            Verdict::Unwell(why) => (Some(why), None),
            Verdict::Try(number) => (None, Some(number)),
        };
        let why: Vec<String> = engine.into_iter().chain(lack).chain(bad).collect();
        let unwell = (!why.is_empty()).then(|| why.join("; "));
        self.tell(Condition { disk, unwell, trial });
    }

    /// There is no executor yet, for this reason.
    pub(crate) fn no_executor(&self, why: &str) {
        let (disk, _) = self.disk(None);
        self.tell(Condition { disk, unwell: Some(why.to_owned()), trial: None });
    }

    /// The disk that has the least to spare, and what it lacks in words.
    fn disk(&self, engine: Option<PathBuf>) -> (Option<Disk>, Option<String>) {
        let own = Disk::of(&self.data)
            .inspect_err(|error| tracing::warn!("how much room the disk has is not known: {error}"));
        // A folder that is not on this machine says nothing.
        let engines = engine.and_then(|path| Disk::of(&path).ok());
        let spare = |disk: &Disk| (u64::MAX - self.min_free.lacks(*disk), disk.free);
        let own = own.ok().map(|disk| (disk, ""));
        let engines = engines.map(|disk| (disk, "the Docker Engine's disk: "));
        let Some((disk, whose)) = own.into_iter().chain(engines).min_by_key(|(disk, _)| spare(disk)) else {
            return (None, None);
        };
        let lacks = self.min_free.lacks(disk) > 0;
        (Some(disk), lacks.then(|| format!("{whose}{}", self.min_free.words(disk))))
    }

    fn tell(&self, now: Condition) {
        let before = self.board.condition();
        match (&before.unwell, &now.unwell) {
            (before, Some(why)) if before.as_ref() != Some(why) => {
                tracing::warn!("the worker takes no jobs: {why}");
            }
            (Some(_), None) if now.trial.is_some() => {
                tracing::info!("the worker tries one job, to see whether it is well");
            }
            (Some(_), None) => tracing::info!("the worker takes jobs again"),
            (_, _) => {}
        }
        self.board.set_condition(now);
    }
}
