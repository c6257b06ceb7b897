//! Looks for builds that nothing would ever end, and mends them. Of several servers one does it. Also bounds what this
//! server keeps of git repositories.

use std::time::Duration;

use ocelot_store::StoreError;
use tokio::time::MissedTickBehavior;

use crate::App;
use crate::builds::advance;

/// How often it looks.
const EVERY: Duration = Duration::from_mins(10);
/// It is taken up by another server when this one dies over it.
const ALONE: Duration = Duration::from_mins(5);
/// Builds of one look.
const BATCH: u32 = 100;
const WORK: &str = "janitor";
/// A cache of a repository goes when nothing was fetched for so long, and the oldest go while all take more than this.
const CACHES_AGE: Duration = Duration::from_hours(30 * 24);
const CACHES_BYTES: u64 = 5 << 30;

/// Runs until the server stops.
pub(super) async fn janitor(app: App) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        if let Err(error) = look(&app).await {
            tracing::warn!(%error, "builds that cannot end cannot be looked for now");
        }
        match app.git.tidy(CACHES_AGE, CACHES_BYTES).await {
            Ok(removed) if removed > 0 => tracing::info!("{removed} caches of repositories were removed"),
            Ok(_) => {}
            Err(error) => tracing::warn!("caches of repositories cannot be bounded: {error}"),
        }
    }
}

async fn look(app: &App) -> Result<(), StoreError> {
    if !app.store.begin_alone(WORK, ALONE).await? {
        return Ok(());
    }
    let done = mend(app).await;
    app.store.end_alone(WORK).await?;
    done
}

async fn mend(app: &App) -> Result<(), StoreError> {
    for build in app.store.orphans(BATCH).await? {
        match app.store.mend(build).await {
            Ok(mended) => {
                for what in &mended.what {
                    tracing::error!(%build, "build {build} could never end, and is mended: {what}");
                }
                advance::after(app, build, &mended.changes).await;
            }
            Err(error @ StoreError::Unavailable(_)) => return Err(error),
            // One build must not stand in the way of others.
            Err(error) => {
                tracing::error!(%error, %build, "build {build} can never end, and cannot be mended");
            }
        }
    }
    Ok(())
}
