//! Writes down who is there. Workers that hold nothing say so every 10 seconds, each for itself; what they say is collected
//! here and written in one transaction, so that a thousand idle workers cost the database next to nothing.
//!
//! Whoever holds something is not among them: a lease is renewed before it is confirmed (`session`).

use std::time::Duration;

use ocelot_store::StoreError;
use tokio::time::MissedTickBehavior;

use crate::App;

/// How often, unless workers beat more often.
const EVERY: Duration = Duration::from_secs(2);

/// Runs until the server stops.
pub async fn roll(app: App) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(EVERY.min(ocelot_api::beat(app.config.lease_hard_limit)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        if let Err(error) = write(&app).await {
            // They beat again.
            tracing::warn!(%error, "who is there cannot be written down now");
        }
    }
}

async fn write(app: &App) -> Result<(), StoreError> {
    let beaten = app.fleet.beaten();
    if beaten.is_empty() {
        return Ok(());
    }
    let stored = app.store.workers_beat(&beaten).await?;
    // Their goodbye may have come before.
    for worker in app.fleet.compare(&stored) {
        match app.store.worker_goodbye(worker).await {
            Ok(()) | Err(StoreError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
