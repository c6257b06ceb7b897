//! Hands waiting jobs to idle workers, at once: a commit that queues a job wakes this loop.
//!
//! The same loop passes cancels on, so that no worker hears of one before it hears of the job.

use std::time::Duration;

use ocelot_api::proto::from_server::Message;
use ocelot_model::build::Outcome;
use ocelot_model::{BuildNumber, Status, WorkerId};
use ocelot_store::{Claimed, Free, Lease, Next, StageUpdate, StoreError, Wake, crash};
use tokio::sync::broadcast::error::RecvError;

use super::fleet::{Best, send};
use super::offer;
use super::stock::Need;
use crate::App;
use crate::builds::advance;
use crate::builds::secrets::Refused;

/// How long a job waits after a worker did not take it, in milliseconds: not the same for all, so that they do not come
/// back together.
const AFTER_REFUSAL_MS: std::ops::RangeInclusive<u64> = 1_000..=5_000;
/// And one for which something could not be had.
const LATER: Duration = Duration::from_secs(30);

/// Runs until the server stops.
pub async fn dispatch(app: App) -> anyhow::Result<()> {
    let mut wakes = app.store.wakes();
    let mut fallback = tokio::time::interval(app.config.patience.look);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return Ok(()),
            () = app.fleet.woken() => {}
            _ = fallback.tick() => {}
            wake = wakes.recv() => match wake {
                Ok(Wake::Queue) => {}
                Ok(Wake::Cancel(build)) => { tell_to_stop(&app, build).await; continue }
                Ok(Wake::Worker(worker)) => { app.fleet.look(Some(worker)); continue }
                Ok(Wake::All) | Err(RecvError::Lagged(_)) => {
                    app.fleet.look(None);
                    remind_of_cancels(&app).await;
                }
                Ok(Wake::Events(_) | Wake::Log(_) | Wake::Outbox | Wake::Deliveries) => continue,
                Err(RecvError::Closed) => anyhow::bail!("the store sends no wake-ups any more"),
            },
        }
        if let Err(error) = hand_out(&app).await {
            tracing::warn!(%error, "jobs cannot be handed out now");
        }
    }
}

/// Gives jobs to idle workers, one each in turn, until either runs out.
async fn hand_out(app: &App) -> Result<(), StoreError> {
    loop {
        let all = app.fleet.free();
        if all.is_empty() {
            return Ok(());
        }
        let claimed = app.store.claim_for(&all, &|next, free| choose(app, &all, free, next)).await?;
        if claimed.is_empty() {
            return Ok(());
        }
        let mut failed = None;
        for (worker, claimed) in claimed {
            // The others are theirs already.
            failed = offer_one(app, worker, claimed).await.err().or(failed);
        }
        if let Some(error) = failed {
            return Err(error);
        }
    }
}

/// The idle worker that gets a job: of those that suit, the one that has most of what the job needs at hand. A job whose
/// mirror is with a worker that is just cleaning up waits for that one a moment.
fn choose(app: &App, all: &[Free], free: &[Free], next: &Next<'_>) -> Option<usize> {
    let prefer = app.config.patience.prefer;
    match app.fleet.best(all, free, next.labels, &Need::new(next.clone_url, next.image)) {
        Best::Idle(at) => Some(at),
        Best::Soon if next.waited < prefer => {
            look_again(app, prefer.saturating_sub(next.waited));
            None
        }
        Best::Soon => Some(0),
    }
}

fn look_again(app: &App, after: Duration) {
    let app = app.clone();
    tokio::spawn(async move {
        tokio::time::sleep(after).await;
        app.fleet.wake();
    });
}

async fn offer_one(app: &App, worker: WorkerId, claimed: Claimed) -> Result<(), StoreError> {
    let lease = claimed.lease.clone();
    crash::point("claimed");
    let sent = match offer::of(app, &claimed).await {
        Ok(offer) => {
            let need = Need::new(&claimed.build.repo.clone_url, claimed.spec.image.as_deref());
            let out = app.fleet.offer(worker, &lease, need);
            out.is_some_and(|out| send(&out, Message::Offer(offer)))
        }
        Err(Refused::Job(reason)) => return end(app, &claimed, reason).await,
        Err(Refused::Later(why)) => {
            tracing::warn!(
                build = claimed.build.number.0,
                why,
                "a job of build {} waits: {why}",
                claimed.build.number
            );
            give_back(app, &lease, LATER).await;
            return Ok(());
        }
        Err(Refused::Store(error)) => {
            give_back(app, &lease, after_refusal()).await;
            return Err(error);
        }
    };
    if !sent {
        app.fleet.settle_offer(worker, &lease);
        give_back(app, &lease, Duration::ZERO).await;
        return Ok(());
    }
    let app = app.clone();
    tokio::spawn(async move {
        tokio::time::sleep(app.config.patience.accept).await;
        if app.fleet.settle_offer(worker, &lease) {
            tracing::warn!(%worker, attempt = %lease.attempt_id, "an offer was not answered");
            give_back(&app, &lease, Duration::ZERO).await;
        }
    });
    Ok(())
}

/// Ends an attempt that cannot begin, before any worker hears of it.
async fn end(app: &App, claimed: &Claimed, reason: String) -> Result<(), StoreError> {
    let setup = claimed.stages.first().map(|(id, _)| StageUpdate {
        id: *id,
        status: Status::Error,
        exit_code: None,
        duration_ms: Some(0),
        reason: Some(reason.clone()),
    });
    let outcome = Outcome { status: Status::Error, reason: Some(reason), infrastructure: false };
    advance::finish(app, &claimed.lease, setup.as_slice(), outcome).await
}

/// How long a job waits that a worker refused.
pub(super) fn after_refusal() -> Duration {
    Duration::from_millis(rand::random_range(AFTER_REFUSAL_MS))
}

/// Puts a job back into the queue; the store wakes this loop when it may be claimed again. When the database does not
/// answer, the offer runs out by itself.
pub(super) async fn give_back(app: &App, lease: &Lease, delay: Duration) {
    match app.store.give_back(lease, delay).await {
        // Ended in the meantime.
        Ok(()) | Err(StoreError::Stale) => {}
        Err(error) => tracing::warn!(%error, attempt = %lease.attempt_id, "a job cannot be given back now"),
    }
}

async fn tell_to_stop(app: &App, build: BuildNumber) {
    match app.store.held_by_build(build).await {
        Ok(held) => held.into_iter().for_each(|held| {
            app.fleet.cancel(held.worker, held.attempt_id);
        }),
        Err(error) => tracing::warn!(%error, %build, "a cancel cannot be passed on now"),
    }
}

/// Wake-ups were lost: looks for cancelled builds among all that run.
async fn remind_of_cancels(app: &App) {
    match app.store.list_workers().await {
        Ok(workers) => {
            for (held, ..) in workers.into_iter().flat_map(|worker| worker.holds) {
                super::session::remind_when_cancelled(app, &held).await;
            }
        }
        Err(error) => tracing::warn!(%error, "cancels cannot be looked for now"),
    }
}
