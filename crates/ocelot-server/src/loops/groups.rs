//! Looks at concurrency groups from time to time, should a server have died before it could.

use tokio::time::MissedTickBehavior;

use crate::App;
use crate::builds::concurrency;

/// Runs until the server stops.
pub(super) async fn groups(app: App) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(app.config.patience.look);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        if let Err(error) = concurrency::settle_all(&app).await {
            tracing::warn!(%error, "concurrency groups cannot be looked at now");
        }
    }
}
