//! Takes attempts back whose lease ran out.

use std::time::Duration;

use ocelot_store::{Lost, StoreError};
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

/// What was measured, not what is allowed.
fn reason(silent: Option<Duration>, limit: Duration) -> String {
    match silent {
        Some(silent) if silent >= limit => {
            format!("its worker was silent for {} and is taken as lost", words(silent))
        }
        Some(_) => format!("its worker is there, but did not say for {} that it still has it", words(limit)),
        None => "its worker is not known any more and is taken as lost".to_owned(),
    }
}

fn words(time: Duration) -> String {
    if time < Duration::from_secs(10) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} s", time.as_secs())
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
    for Lost { held, silent } in expired {
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
        check(Some(194_800), "silent for 194 s");
        check(Some(3_000), "is there, but did not say for 180 s");
        check(None, "not known any more");
        assert!(
            reason(Some(Duration::from_millis(1_250)), Duration::from_secs(1)).contains("silent for 1.2 s")
        );
    }
}
