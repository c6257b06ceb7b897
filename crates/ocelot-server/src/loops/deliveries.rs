//! Makes builds of webhooks, as soon as they are stored. Several servers share the work; of a repository one delivery is
//! worked on at a time, and a repository that cannot be reached keeps no other one waiting.

use std::time::Duration;

use ocelot_forge::GitError;
use ocelot_store::{StoreError, TakenDelivery, Wake, crash};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::App;
use crate::builds::arrive::{deliver, give_up};
use crate::builds::trigger::TriggerError;

/// So many at once.
const AT_ONCE: usize = 4;
/// A delivery whose server has died is taken up again after so long.
const LEASE: Duration = Duration::from_secs(15);
/// How often it looks for those that are to be tried again.
const LOOK: Duration = Duration::from_secs(1);
/// What a repository may have in a moment is tried for so long; what may heal for a day: a host that is away over night costs no build.
const SHORT: Duration = Duration::from_mins(1);
const LONG: Duration = Duration::from_hours(24);
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// One that ends its server, or a part of it, does so no more often than this.
const TRIES: u32 = 200;

/// Runs until the server stops.
pub(super) async fn deliveries(app: App) -> anyhow::Result<()> {
    let mut wakes = app.store.wakes();
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut busy = JoinSet::new();
    loop {
        if let Err(error) = fill(&app, &mut busy).await {
            tracing::warn!(%error, "webhooks cannot be worked on now");
        }
        tokio::select! {
            () = app.shutdown.cancelled() => break,
            _ = tick.tick() => {}
            woken = woken(&mut wakes), if busy.len() < AT_ONCE => woken?,
            Some(done) = busy.join_next() => {
                if let Err(panic) = done {
                    tracing::error!(%panic, "the work on a webhook ended badly");
                }
            }
        }
    }
    // They give back what they have not done.
    while busy.join_next().await.is_some() {}
    Ok(())
}

/// Waits until there is something new.
async fn woken(wakes: &mut Receiver<Wake>) -> anyhow::Result<()> {
    loop {
        match wakes.recv().await {
            Ok(Wake::Deliveries | Wake::All) | Err(RecvError::Lagged(_)) => return Ok(()),
            Ok(
                Wake::Queue
                | Wake::Events(_)
                | Wake::Log(_)
                | Wake::Cancel(_)
                | Wake::Worker(_)
                | Wake::Outbox,
            ) => {}
            Err(RecvError::Closed) => anyhow::bail!("the store sends no wake-ups any more"),
        }
    }
}

async fn fill(app: &App, busy: &mut JoinSet<()>) -> Result<(), StoreError> {
    while busy.len() < AT_ONCE && !app.shutdown.is_cancelled() {
        let Some(taken) = app.store.take_delivery(LEASE).await? else { break };
        crash::point("delivery-taken");
        busy.spawn(work(app.clone(), taken));
    }
    Ok(())
}

async fn work(app: App, taken: TakenDelivery) {
    let id = taken.delivery.id;
    let done = tokio::select! {
        done = one(&app, &taken) => done,
        () = stay(&app, &taken) => return,
        () = app.shutdown.cancelled() => app.store.put_off_delivery(id, Duration::ZERO, "").await,
    };
    if let Err(error) = done {
        // It is taken up again when nobody says any more that somebody is at it.
        tracing::warn!(%error, delivery = id.0, "delivery {id} cannot be worked on now");
    }
}

/// Says from time to time that somebody is at it.
async fn stay(app: &App, taken: &TakenDelivery) {
    loop {
        tokio::time::sleep(LEASE / 3).await;
        if let Err(error) = app.store.keep_delivery(taken.delivery.id, LEASE).await {
            tracing::warn!(%error, "a delivery cannot be kept");
        }
    }
}

async fn one(app: &App, taken: &TakenDelivery) -> Result<(), StoreError> {
    let tried = Duration::from_micros(taken.tried_for_us as u64);
    let trouble = if taken.delivery.tries > TRIES {
        Some((format!("it was tried {TRIES} times"), Duration::ZERO))
    } else {
        match deliver(app, taken).await {
            Ok(()) => None,
            Err(TriggerError::Store(error @ StoreError::Unavailable(_))) => return Err(error),
            Err(error) => Some((error.to_string(), patience(&error))),
        }
    };
    let Some((why, patience)) = trouble else { return Ok(()) };
    let (id, tries) = (taken.delivery.id, taken.delivery.tries);
    tracing::warn!(delivery = id.0, why, "delivery {id} could not be built ({tries} tries): {why}");
    if let Some(pause) = pause(tries, tried, patience) {
        let words = format!("tried {tries} times, and again in {} s: {why}", pause.as_secs());
        return app.store.put_off_delivery(id, pause, &words).await;
    }
    give_up(app, taken, &why).await
}

/// When it is tried again after so many tries, since so long; `None` when that is enough.
fn pause(tries: u32, tried: Duration, patience: Duration) -> Option<Duration> {
    let pause = Duration::from_secs(1 << tries.min(16)).min(LONGEST_PAUSE);
    (tried + pause <= patience).then_some(pause)
}

/// For how long it may be tried again.
fn patience(error: &TriggerError) -> Duration {
    match error {
        TriggerError::Git(GitError::BadUrl(_)) => Duration::ZERO,
        // Some forges tell of a commit a moment before they have it.
        TriggerError::Git(
            GitError::NoCommit { .. }
            | GitError::NoBranch { .. }
            | GitError::NoDefaultBranch(_)
            | GitError::TooLarge(_),
        ) => SHORT,
        TriggerError::Git(
            GitError::NotFound(_)
            | GitError::NoAccess { .. }
            | GitError::Timeout { .. }
            | GitError::Failed(_)
            | GitError::DiskFull(_)
            | GitError::Io(_),
        ) => LONG,
        TriggerError::Store(StoreError::NotFound(_)) => Duration::ZERO,
        TriggerError::Store(_) | TriggerError::Forge(_) => LONG,
        TriggerError::Unsupported(_)
        | TriggerError::BadRequest(_)
        | TriggerError::NoFile(_)
        | TriggerError::Excluded(_)
        | TriggerError::State(_) => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds between the tries, until it is given up.
    fn check(patience: Duration, want: &[u64]) {
        let (mut tried, mut pauses) = (Duration::ZERO, Vec::new());
        while let Some(pause) = pause(pauses.len() as u32 + 1, tried, patience) {
            pauses.push(pause.as_secs());
            tried += pause;
        }
        assert_eq!(pauses, want);
    }

    #[test]
    fn pauses_grow_and_end() {
        check(Duration::ZERO, &[]);
        check(SHORT, &[2, 4, 8, 16]);
        // Ten minutes at most until it is seen that the host is back, a day long.
        let growing = [2, 4, 8, 16, 32, 64, 128, 256, 512];
        check(LONG, &[&growing[..], &[600; 142]].concat());
        assert!(growing.len() + 142 < TRIES as usize);
    }

    #[test]
    fn what_may_heal_is_tried_longer() {
        let of = |error: GitError| patience(&error.into());
        assert_eq!(of(GitError::BadUrl("x".into())), Duration::ZERO);
        assert_eq!(of(GitError::NoBranch { branch: "x".into(), url: "y".into() }), SHORT);
        assert_eq!(of(GitError::NotFound("x".into())), LONG);
        assert_eq!(patience(&TriggerError::State("x".into())), Duration::ZERO);
    }
}
