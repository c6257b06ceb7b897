//! Counts what ended, and writes down what blocks of builds have in common. Of several servers one does it.

use std::time::Duration;

use ocelot_store::StoreError;
use tokio::time::{Instant, MissedTickBehavior};

use crate::App;

/// How often it looks: so much later a build that ended is counted at most, unless many did.
const EVERY: Duration = Duration::from_secs(3);
/// How often it also looks at blocks and at hours that are too old.
const REST: Duration = Duration::from_mins(5);
/// It ends by itself before another server may take it up.
const LONGEST: Duration = Duration::from_secs(30);
const ALONE: Duration = Duration::from_mins(1);
/// Builds, blocks and hours that are worked on at once: so that others get their turn.
const BUILDS: u32 = 200;
const BLOCKS: u32 = 16;
const HOURS: u32 = 500;
const WORK: &str = "history";

/// Runs until the server stops.
pub(super) async fn history(app: App) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rest = tokio::time::interval(REST);
    rest.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let all = tokio::select! {
            () = app.shutdown.cancelled() => return Ok(()),
            _ = tick.tick() => false,
            _ = rest.tick() => true,
        };
        if let Err(error) = look(&app, all).await {
            tracing::warn!(%error, "builds cannot be counted now");
        }
    }
}

/// Nothing is written while there is nothing to do.
async fn look(app: &App, all: bool) -> Result<(), StoreError> {
    if !all && !app.store.has_uncounted().await? {
        return Ok(());
    }
    if !app.store.begin_alone(WORK, ALONE).await? {
        return Ok(());
    }
    let done = count(app, Instant::now() + LONGEST).await;
    app.store.end_alone(WORK).await?;
    done
}

async fn count(app: &App, until: Instant) -> Result<(), StoreError> {
    let goes_on = || Instant::now() < until && !app.shutdown.is_cancelled();
    while app.store.count_builds(BUILDS).await? > 0 && goes_on() {}
    while app.store.seal_blocks(BLOCKS).await? == BLOCKS as usize && goes_on() {}
    while app.store.drop_hours(HOURS).await? == HOURS as usize && goes_on() {}
    Ok(())
}
