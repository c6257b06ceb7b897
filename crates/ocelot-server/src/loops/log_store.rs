//! Copies finished logs into the log store, takes them out of the database, and removes blobs that nobody needs. Of several
//! servers one does it. Each takes deleted logs out of its own database's journal. While the log store is away, logs stay in the database.

use std::collections::HashSet;
use std::time::Duration;

use ocelot_model::StageId;
use ocelot_store::StoreError;
use tokio::time::{Instant, MissedTickBehavior};

use crate::App;

/// It ends by itself before another server may take it up. Two that copy the same log do no harm: one of the copies goes.
const LONGEST: Duration = Duration::from_mins(4);
const ALONE: Duration = Duration::from_mins(5);
/// How often each server says that it is there.
const STAYS: Duration = Duration::from_mins(1);
/// Logs that are looked at at once.
const BATCH: u32 = 100;
const WORK: &str = "log store";

/// Runs until the server stops.
pub(super) async fn log_store(app: App) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(app.config.patience.copy);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut here = tokio::time::interval(STAYS);
    here.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut work = Work { app: app.clone(), broken: HashSet::new(), freed: false };
    let mut away = false;
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return Ok(()),
            _ = here.tick() => {
                if let Err(error) = app.store.stay_at_log_store().await {
                    tracing::warn!(%error, "other servers may think that this one is gone");
                }
                match app.store.scrub().await {
                    Ok(true) => {}
                    Ok(false) => tracing::warn!("readers still keep deleted logs in the journal of logs.db"),
                    Err(error) => tracing::warn!(%error, "deleted logs stay in the journal of logs.db for now"),
                }
            }
            _ = tick.tick() => match work.look().await {
                Ok(()) if away => {
                    away = false;
                    tracing::info!("finished logs go into the log store again");
                }
                Ok(()) => {}
                Err(error) if away => tracing::debug!(%error, "finished logs still stay in the database"),
                Err(error) => {
                    away = true;
                    tracing::warn!(%error, "finished logs stay in the database for now");
                }
            },
        }
    }
}

struct Work {
    app: App,
    /// Logs that cannot be copied, and were complained about.
    broken: HashSet<StageId>,
    freed: bool,
}

impl Work {
    async fn look(&mut self) -> Result<(), StoreError> {
        if !self.app.store.begin_alone(WORK, ALONE).await? {
            return Ok(());
        }
        let until = Instant::now() + LONGEST;
        let done = self.all(until).await;
        self.app.store.end_alone(WORK).await?;
        done
    }

    async fn all(&mut self, until: Instant) -> Result<(), StoreError> {
        let app = self.app.clone();
        let goes_on = || Instant::now() < until && !app.shutdown.is_cancelled();
        if !self.freed {
            app.store.free_blobs().await?;
            self.freed = true;
        }
        // What is in the log store already needs it no more.
        while app.store.drop_copied(BATCH).await? == BATCH as usize && goes_on() {}
        while app.store.sweep_blobs(BATCH).await? == BATCH as usize && goes_on() {}
        self.copy(goes_on).await?;
        while app.store.drop_copied(BATCH).await? == BATCH as usize && goes_on() {}
        Ok(())
    }

    async fn copy(&mut self, goes_on: impl Fn() -> bool) -> Result<(), StoreError> {
        let store = self.app.store.clone();
        let mut last = StageId(0);
        loop {
            let stages = store.logs_to_copy(last, BATCH).await?;
            for stage in &stages {
                if !goes_on() {
                    return Ok(());
                }
                last = *stage;
                if self.broken.contains(stage) {
                    continue;
                }
                match store.copy_log(*stage, self.app.config.patience.hot).await {
                    Ok(_) => {}
                    Err(StoreError::Corrupt(why)) => {
                        tracing::error!(why, "a log stays in the database");
                        self.broken.insert(*stage);
                    }
                    Err(error) => return Err(error),
                }
            }
            if stages.len() < BATCH as usize {
                return Ok(());
            }
        }
    }
}
