//! Takes attempts back whose lease ran out.

use std::time::Duration;

use ocelot_store::StoreError;
use tokio::time::{Instant, MissedTickBehavior};

use crate::App;
use crate::builds::advance;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(2);
/// When it could not look for so long, no worker could renew its leases either.
const BLIND: Duration = Duration::from_secs(15);

/// Runs until the server stops. Nothing is taken back in the first time after a start, nor after the database was away:
/// workers that were cut off by our own absence come back first.
pub(super) async fn leases(app: App) -> anyhow::Result<()> {
    app.store.extend_all_leases(app.config.lease_grace).await?;
    let mut tick = tokio::time::interval(EVERY.min(app.config.lease_hard_limit / 4));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked = Instant::now();
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        match look(&app, looked).await {
            Ok(()) => looked = Instant::now(),
            Err(error) => tracing::warn!(%error, "leases cannot be looked at now"),
        }
    }
}

async fn look(app: &App, last: Instant) -> Result<(), StoreError> {
    let expired = app.store.expired_leases().await?;
    // The answer itself may have taken long.
    let blind = last.elapsed();
    if blind > BLIND {
        tracing::warn!(
            seconds = blind.as_secs(),
            "leases could not be looked at; workers get time to come back"
        );
        return app.store.extend_all_leases(app.config.lease_grace).await;
    }
    for held in expired {
        let limit = app.config.lease_hard_limit;
        let reason =
            format!("its worker was silent for more than {} s and is taken as lost", limit.as_secs());
        tracing::warn!(build = %held.build, attempt = held.attempt, worker = %held.worker, "worker lost");
        match advance::lost(app, &held, reason).await {
            // It reported in the same moment.
            Ok(()) | Err(StoreError::Stale) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
