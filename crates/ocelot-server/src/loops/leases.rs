//! Takes attempts back whose lease ran out.

use std::time::Duration;

use ocelot_model::duration;
use ocelot_store::{Lost, StoreError};
use tokio::time::MissedTickBehavior;

use crate::App;
use crate::builds::advance;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(2);
/// When no server could look and write that down for so long, no worker could renew its leases either.
const BLIND: Duration = Duration::from_secs(15);
const WORK: &str = "leases";

/// Runs until the server stops. Nothing is taken back in the first time after all servers were down, or the database was
/// away or took nothing: workers that were cut off by our own absence come back first. A server that starts beside
/// another one changes nothing.
pub(super) async fn leases(app: App) -> anyhow::Result<()> {
    let every = EVERY.min(app.config.lease_hard_limit / 4);
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Another server would have looked several times by now.
    let mut blind = BLIND.min(every * 3);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        match look(&app, every, blind).await {
            Ok(()) => blind = BLIND,
            Err(error) => tracing::warn!(%error, "leases cannot be looked at now"),
        }
    }
}

/// What was measured, not what is allowed.
fn reason(silent: Option<Duration>, limit: Duration) -> String {
    match silent {
        Some(silent) if silent >= limit => {
            format!(
                "its worker was silent for {} and is taken as lost",
                duration::took(silent.as_millis() as i64)
            )
        }
        Some(_) => format!(
            "its worker is there, but did not say for {} that it still has it",
            duration::exact(limit)
        ),
        None => "its worker is not known any more and is taken as lost".to_owned(),
    }
}

async fn look(app: &App, every: Duration, blind: Duration) -> Result<(), StoreError> {
    // With nothing to look at, it is enough to say that someone would.
    let every = if app.store.any_leases().await? { every / 2 } else { blind / 2 };
    let Some(since) = app.store.take_turn(WORK, every).await? else { return Ok(()) };
    if since > blind {
        tracing::info!("no server could look at leases for a while; workers get time to come back");
        return app.store.extend_all_leases(app.config.lease_grace).await;
    }
    for Lost { held, silent } in app.store.expired_leases().await? {
        let reason = reason(silent, app.config.lease_hard_limit);
        tracing::warn!(build = %held.build, attempt = held.attempt, worker = %held.worker, "worker lost");
        match advance::lost(app, &held, reason).await {
            // It reported in the same moment.
            Ok(()) | Err(StoreError::Stale) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_silence_is_told_as_it_was_measured() {
        let check = |silent: Option<u64>, want: &str| {
            let said = reason(silent.map(Duration::from_millis), Duration::from_mins(3));
            assert!(said.contains(want), "{said}");
        };
        check(Some(194_800), "silent for 3 min 15 s");
        check(Some(3_000), "is there, but did not say for 3 min");
        check(None, "not known any more");
        assert!(
            reason(Some(Duration::from_millis(1_250)), Duration::from_secs(1)).contains("silent for 1.3 s")
        );
    }
}
