//! Polls and schedules that come round, and builds that others follow. Each one is taken by one server; one that hangs or fails stops no other.

use std::time::Duration;

use ocelot_store::StoreError;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::App;
use crate::builds::{passes, times};

/// How often it is looked for what has come round.
const EVERY: Duration = Duration::from_secs(2);
/// For so long it is this server's; then another one may begin with it again. Git takes less.
const TURN: Duration = Duration::from_mins(10);
/// So many at once.
const MOST: usize = 8;

/// Runs until the server stops.
pub async fn times(app: App) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut works = JoinSet::new();
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return Ok(()),
            _ = tick.tick() => {}
            Some(ended) = works.join_next() => ended?,
        }
        if let Err(error) = begin(&app, &mut works).await {
            tracing::warn!(%error, "polls, schedules and subscriptions cannot be looked at now");
        }
    }
}

async fn begin(app: &App, works: &mut JoinSet<()>) -> Result<(), StoreError> {
    while works.len() < MOST {
        let Some((pass, turn)) = app.store.take_pass(passes::LEASE).await? else { break };
        let app = app.clone();
        works.spawn(async move {
            let done = passes::follow(&app, &pass, turn).await;
            note(done, format_args!("the build of {} after build {}", pass.repo.name, pass.upstream));
        });
    }
    while works.len() < MOST {
        let Some((schedule, turn)) = app.store.take_schedule(TURN).await? else { break };
        let app = app.clone();
        works.spawn(async move {
            let done = times::scheduled(&app, &schedule, turn).await;
            note(done, format_args!("schedule {} of {}", schedule.id, schedule.repo.name));
        });
    }
    while works.len() < MOST {
        let Some((poll, turn)) = app.store.take_poll(TURN).await? else { break };
        let app = app.clone();
        works.spawn(async move {
            let done = times::look(&app, &poll, turn).await;
            note(done, format_args!("the poll of {}", poll.repo.name));
        });
    }
    Ok(())
}

fn note(done: Result<(), StoreError>, what: std::fmt::Arguments<'_>) {
    match done {
        // It was changed or removed meanwhile, or another server was faster.
        Ok(()) | Err(StoreError::Stale) => {}
        Err(error) => tracing::warn!(%error, "{what} is tried again later"),
    }
}
