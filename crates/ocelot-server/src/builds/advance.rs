//! What follows when an attempt ends: the store writes it down, then workers and metrics hear of it.

use ocelot_model::build::{Change, Happening, Outcome};
use ocelot_model::{BuildNumber, Status};
use ocelot_store::{Build, Held, Lease, StageUpdate, StoreError};

use super::concurrency;
use crate::App;

/// A worker's attempt is over. Said again in the same words, nothing happens; in other words it is
/// [`StoreError::Stale`].
pub async fn finish(
    app: &App,
    lease: &Lease,
    stages: &[StageUpdate],
    outcome: Outcome,
) -> Result<(), StoreError> {
    let held = match app.store.check_lease(lease).await {
        Err(StoreError::Stale) if was_taken(app, lease, stages, outcome.status).await? => return Ok(()),
        other => other?,
    };
    for stage in stages {
        set_stage(app, lease, stage).await?;
    }
    let what = Happening::Finished { job: held.job_id, attempt: held.attempt, outcome };
    let changes = app.store.advance(held.build, what).await?;
    app.fleet.forget(held.worker, held.attempt_id);
    app.insights.tell(stages.iter().map(|stage| stage.id));
    after(app, held.build, &changes).await;
    Ok(())
}

/// A worker's word on a stage.
pub(crate) async fn set_stage(app: &App, lease: &Lease, stage: &StageUpdate) -> Result<(), StoreError> {
    // Said again, or when the attempt ends, it is counted once.
    if let Some(ran) = app.store.set_stage(lease, stage).await? {
        crate::metrics::stage_ended(ran);
    }
    Ok(())
}

/// True when the attempt stands as these words say already. The stages lead to it: its lease is gone.
async fn was_taken(
    app: &App,
    lease: &Lease,
    stages: &[StageUpdate],
    status: Status,
) -> Result<bool, StoreError> {
    let Some(first) = stages.first() else { return Ok(false) };
    let Some((build, _)) = app.store.find_stage(first.id).await? else { return Ok(false) };
    let jobs = app.store.find_build_detail(build.number).await?.map(|detail| detail.jobs).unwrap_or_default();
    let mut attempts = jobs.into_iter().flat_map(|job| job.attempts);
    let found = attempts.find(|attempt| attempt.id == lease.attempt_id && attempt.number == lease.attempt);
    Ok(found.is_some_and(|attempt| {
        let stands = |update: &StageUpdate| {
            let stage = attempt.stages.iter().find(|stage| stage.id == update.id);
            stage.is_some_and(|stage| stage.status == update.status && stage.exit_code == update.exit_code)
        };
        attempt.status == status && stages.iter().all(stands)
    }))
}

/// The lease of an attempt ran out.
pub async fn lost(app: &App, held: &Held, reason: String) -> Result<(), StoreError> {
    let what = Happening::Lost { job: held.job_id, attempt: held.attempt, reason };
    let changes = app.store.advance(held.build, what).await?;
    metrics::counter!("ocelot_leases_lost_total").increment(1);
    app.fleet.drop_attempt(held.worker, held.attempt_id);
    after(app, held.build, &changes).await;
    Ok(())
}

/// What happens after the commit.
pub(crate) async fn after(app: &App, number: BuildNumber, changes: &[Change]) {
    // The store wakes who hands jobs out and who passes cancels on, whichever server that is.
    if let Some(build) = count(app, number, changes).await {
        concurrency::settle(app, &build).await;
    }
}

/// Metrics of a build, when it is over; answers it then.
pub(super) async fn count(app: &App, number: BuildNumber, changes: &[Change]) -> Option<Build> {
    changes.iter().find(|change| matches!(change, Change::Build { status, .. } if status.is_terminal()))?;
    let build = app.store.find_build(number).await.ok().flatten()?;
    crate::metrics::build_ended(&build);
    Some(build)
}
