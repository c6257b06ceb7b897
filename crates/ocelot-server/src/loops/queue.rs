//! Ends jobs that nobody takes, and builds that nobody approves of, with the reason.

use std::collections::HashMap;
use std::time::Duration;

use ocelot_model::JobId;
use ocelot_model::build::Happening;
use ocelot_model::duration::exact;
use ocelot_store::{Overdue, StoreError};
use tokio::time::{Instant, MissedTickBehavior};

use crate::App;
use crate::builds::advance;
use crate::builds::waiting::Picture;

/// How often it looks, unless the limit is shorter.
const EVERY: Duration = Duration::from_secs(30);
const AT_MOST_EVERY: Duration = Duration::from_millis(100);
/// Workers that were cut off by our own absence get so long to come back and take what waited for them.
const GRACE: Duration = Duration::from_mins(10);
/// Jobs of one look; each is a transaction of its own.
const BATCH: u32 = 100;

/// Runs until the server stops.
pub(super) async fn queue(app: App) -> anyhow::Result<()> {
    let limit = app.config.queue_timeout;
    let shortest = limit.min(app.config.approval_timeout);
    let begin = Instant::now() + GRACE.min(shortest);
    let every = EVERY.min(shortest / 4).max(AT_MOST_EVERY);
    let mut tick = tokio::time::interval_at(begin, every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        if let Err(error) = look(&app, every, limit).await {
            tracing::warn!(%error, "jobs that wait too long cannot be looked for now");
        }
    }
}

async fn look(app: &App, every: Duration, limit: Duration) -> Result<(), StoreError> {
    if app.store.take_turn("queue", every / 2).await?.is_none() {
        return Ok(());
    }
    if app.store.paused().await?.is_some() {
        // Nobody can take them.
        return Ok(());
    }
    unapproved(app).await?;
    let overdue = app.store.overdue_jobs(limit, BATCH).await?;
    if overdue.is_empty() {
        return Ok(());
    }
    let overdue: HashMap<JobId, Overdue> = overdue.into_iter().map(|job| (job.job_id, job)).collect();
    let mut picture = Picture::load(app).await?;
    let places = (0..picture.queue.len()).filter(|at| overdue.contains_key(&picture.queue[*at].ticket.job));
    // Those that are missing were taken in the meantime.
    for (at, job) in picture.spoken_of(app, places).await? {
        let reason = format!("waited {}: {}", exact(limit), picture.reason(at, &job));
        expire(app, overdue[&job.job_id], reason).await?;
    }
    Ok(())
}

async fn unapproved(app: &App) -> Result<(), StoreError> {
    let limit = app.config.approval_timeout;
    for build in app.store.unapproved_builds(limit, BATCH).await? {
        let reason = format!("nobody approved of it within {}", exact(limit));
        match app.store.advance(build, Happening::Unapproved { reason }).await {
            Ok(changes) => advance::after(app, build, &changes).await,
            // A person was faster.
            Err(StoreError::Stale) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn expire(app: &App, job: Overdue, reason: String) -> Result<(), StoreError> {
    let Overdue { build, job_id, attempt } = job;
    match app.store.advance(build, Happening::Expired { job: job_id, attempt, reason }).await {
        Ok(changes) => {
            tracing::warn!(%build, "a job waited too long for a worker");
            advance::after(app, build, &changes).await;
            Ok(())
        }
        // It was taken in the same moment.
        Err(StoreError::Stale) => Ok(()),
        Err(error) => Err(error),
    }
}
