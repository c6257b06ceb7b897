//! Removes old logs, builds and workers, a few at a time. Of several servers one does it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ocelot_model::duration::exact;
use ocelot_store::StoreError;
use tokio::time::{Instant, MissedTickBehavior};

use crate::App;

/// How often it looks.
const EVERY: Duration = Duration::from_mins(10);
/// It ends by itself before another server may take it up.
const LONGEST: Duration = Duration::from_mins(4);
const ALONE: Duration = Duration::from_mins(5);
/// Builds that are looked at at once.
const BATCH: u32 = 20;
/// Webhooks are kept for so long, and go so many at once.
const DELIVERIES: Duration = Duration::from_hours(30 * 24);
const DELIVERY_BATCH: u32 = 100;
/// The audit is kept for so long.
const AUDIT: Duration = Duration::from_hours(2 * 365 * 24);
const WORK: &str = "retention";

/// Runs until the server stops.
pub(super) async fn retention(app: App) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        if let Err(error) = look(&app).await {
            tracing::warn!(%error, "old logs and builds cannot be removed now");
        }
    }
}

async fn look(app: &App) -> Result<(), StoreError> {
    if !app.store.begin_alone(WORK, ALONE).await? {
        return Ok(());
    }
    let until = Instant::now() + LONGEST;
    let done = remove(app, until).await;
    app.store.end_alone(WORK).await?;
    done
}

async fn remove(app: &App, until: Instant) -> Result<(), StoreError> {
    let (keep, now) = (&app.config.keep, app.store.now().await?);
    let goes_on = || Instant::now() < until && !app.shutdown.is_cancelled();
    if let Some((before, age)) = limit(now, keep.workers) {
        let gone = app.store.expire_workers(before).await?;
        if gone > 0 {
            tracing::info!(gone, "{gone} workers were not seen for {} and are forgotten", exact(age));
        }
    }
    if let Some((before, _)) = limit(now, Some(DELIVERIES)) {
        while app.store.expire_deliveries(before, DELIVERY_BATCH).await? == DELIVERY_BATCH as usize
            && goes_on()
        {}
    }
    if let Some((before, _)) = limit(now, Some(AUDIT)) {
        while app.store.expire_audit(before, DELIVERY_BATCH).await? == DELIVERY_BATCH as usize && goes_on() {}
    }
    if let Some((before, age)) = limit(now, keep.logs) {
        let note = format!("[log removed after {}]", exact(age));
        while app.store.expire_logs(before, &note, BATCH).await? == BATCH as usize && goes_on() {}
    }
    if let Some((before, _)) = limit(now, keep.builds) {
        let mut at = None;
        while goes_on() {
            at = app.store.expire_builds(before, keep.last, at, BATCH).await?;
            if at.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// The time before which things are too old; `None` when nothing is.
fn limit(now: Timestamp, age: Option<Duration>) -> Option<(Timestamp, Duration)> {
    let age = age?;
    let before = now.checked_sub(SignedDuration::try_from(age).ok()?).ok()?;
    Some((before, age))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_ever_has_no_limit() {
        let now = Timestamp::from_second(1_000_000).expect("a time");
        assert_eq!(limit(now, None), None);
        let age = Duration::from_secs(10);
        assert_eq!(limit(now, Some(age)), Some((Timestamp::from_second(999_990).expect("a time"), age)));
        // Longer than time itself.
        assert_eq!(limit(now, Some(Duration::MAX)), None);
    }
}
