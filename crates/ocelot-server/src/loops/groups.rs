//! Looks at concurrency groups from time to time, should a server have died before it could.

use std::time::Duration;

use ocelot_store::StoreError;
use tokio::time::MissedTickBehavior;

use crate::App;
use crate::builds::concurrency;

/// Runs until the server stops.
pub(super) async fn groups(app: App) -> anyhow::Result<()> {
    let look_every = app.config.patience.look;
    let mut tick = tokio::time::interval(look_every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first look is not left to anyone else: whoever did it last may be the one that died.
    let mut every = Duration::ZERO;
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        if let Err(error) = look(&app, every).await {
            tracing::warn!(%error, "concurrency groups cannot be looked at now");
        }
        every = look_every / 2;
    }
}

async fn look(app: &App, every: Duration) -> Result<(), StoreError> {
    match app.store.take_turn("groups", every).await? {
        Some(_) => concurrency::settle_all(app).await,
        None => Ok(()),
    }
}
