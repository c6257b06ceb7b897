//! A worker takes the first job that it may have.

use ocelot_model::{AttemptId, BuildNumber, JobId, StageId, Status, WorkerId};

use super::detail::load_build;
use super::{Core, Tx, state};
use crate::raw::{self, from_json, read, to_json};
use crate::{Claimed, EventBody, Lease, StoreError, secret};

/// How long an offer stands before it counts as refused.
pub(super) const OFFER_US: i64 = 30_000_000;

/// Who claims.
struct Claimer {
    id: WorkerId,
    name: String,
}

impl Core {
    pub(crate) async fn claim(&self, worker: WorkerId) -> Result<Option<Claimed>, StoreError> {
        let mut tx = self.begin().await?;
        let row: Option<(String, String)> = sqlx::query_as("SELECT name, labels FROM workers WHERE id = $1")
            .bind(worker.0)
            .fetch_optional(tx.conn())
            .await?;
        let (name, labels) = row.ok_or_else(|| StoreError::NotFound(format!("worker {worker}")))?;
        let labels = raw::labels(&labels)?;
        let sets = self.label_sets(tx.conn()).await?;
        let suiting: Vec<i64> = sets.iter().filter(|set| set.suits(&labels)).map(|set| set.id).collect();
        for set in sets_in_order(&mut tx, &suiting).await? {
            if let Some((job, build)) = lock_first(&mut tx, set).await? {
                let claimed = take(&mut tx, Claimer { id: worker, name }, job, build).await?;
                self.commit(tx).await?;
                return Ok(Some(claimed));
            }
        }
        Ok(None)
    }
}

/// The label sets that have a claimable job, the one with the best job first. Reads one row of the index per set.
async fn sets_in_order(tx: &mut Tx, suiting: &[i64]) -> Result<Vec<i64>, StoreError> {
    let now = tx.now;
    let first: Vec<(i64, Option<i64>)> = sqlx::query_as(concat!(
        "SELECT s.id, (SELECT q.job_id FROM queue q
                       WHERE q.label_set = s.id AND q.ready AND q.not_before <= $1
                       ORDER BY q.priority DESC, q.build, q.job_id LIMIT 1)
         FROM label_sets s WHERE s.id IN ",
        ids!("$2")
    ))
    .bind(now)
    .bind(to_json(suiting)?)
    .fetch_all(tx.conn())
    .await?;
    let jobs: Vec<i64> = first.iter().filter_map(|(_, job)| *job).collect();
    if jobs.len() < 2 {
        return Ok(first.into_iter().filter_map(|(set, job)| job.map(|_| set)).collect());
    }
    let order = concat!(
        "SELECT label_set FROM queue WHERE job_id IN ",
        ids!("$1"),
        " ORDER BY priority DESC, build, job_id"
    );
    Ok(sqlx::query_scalar(order).bind(to_json(&jobs)?).fetch_all(tx.conn()).await?)
}

/// The first job with these labels that no other claim has its hand on.
async fn lock_first(tx: &mut Tx, set: i64) -> Result<Option<(JobId, BuildNumber)>, StoreError> {
    let now = tx.now;
    let row: Option<(i64, i64)> = sqlx::query_as(concat!(
        "SELECT job_id, build FROM queue WHERE label_set = $1 AND ready AND not_before <= $2
         ORDER BY priority DESC, build, job_id LIMIT 1",
        skip_locked!()
    ))
    .bind(set)
    .bind(now)
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|(job, build)| (JobId(job), BuildNumber(build))))
}

async fn take(tx: &mut Tx, worker: Claimer, job: JobId, number: BuildNumber) -> Result<Claimed, StoreError> {
    let locked = state::lock_build(tx.conn(), number).await?;
    let row: Option<(String, i64, String)> = sqlx::query_as(
        "SELECT j.spec, a.id, a.status FROM jobs j JOIN attempts a ON a.job_id = j.id AND a.number = j.attempt
         WHERE j.id = $1",
    )
    .bind(job.0)
    .fetch_optional(tx.conn())
    .await?;
    let now_running = locked.state.jobs.iter().find(|j| j.id == job);
    let (Some((spec, attempt_id, status)), Some(state)) = (row, now_running) else {
        return Err(StoreError::Corrupt(format!("job {job} waits but is not there")));
    };
    if read::<Status>(&status)? != Status::Queued || state.status != Status::Queued {
        return Err(StoreError::Corrupt(format!("job {job} waits but is {}", state.status)));
    }
    let lease = Lease {
        attempt_id: AttemptId(attempt_id),
        attempt: state.attempt,
        token: secret::random::<16>().to_vec(),
    };
    mark_running(tx, &worker, job, number, &lease).await?;
    let build = locked.state.status;
    if build == Status::Queued {
        tx.events.push((number, locked.repo, EventBody::Build { status: Status::Running, reason: None }));
    }
    let what = EventBody::Job {
        job,
        name: state.name.clone(),
        status: Status::Running,
        attempt: state.attempt,
        worker: Some(worker.name),
        reason: None,
    };
    tx.events.push((number, locked.repo, what));
    let stages: Vec<(i64, String)> =
        sqlx::query_as("SELECT id, name FROM stages WHERE attempt_id = $1 ORDER BY place")
            .bind(attempt_id)
            .fetch_all(tx.conn())
            .await?;
    Ok(Claimed {
        lease,
        build: load_build(tx.conn(), number).await?,
        job_id: job,
        spec: from_json(&spec)?,
        stages: stages.into_iter().map(|(id, name)| (StageId(id), name)).collect(),
    })
}

async fn mark_running(
    tx: &mut Tx,
    worker: &Claimer,
    job: JobId,
    number: BuildNumber,
    lease: &Lease,
) -> Result<(), StoreError> {
    let now = tx.now;
    sqlx::query("DELETE FROM queue WHERE job_id = $1").bind(job.0).execute(tx.conn()).await?;
    sqlx::query(
        "UPDATE attempts SET status = 'running', worker_id = $1, worker = $2, lease_token = $3, lease_until = $4,
                             accepted = false
         WHERE id = $5",
    )
    .bind(worker.id.0)
    .bind(&worker.name)
    .bind(&lease.token)
    .bind(now + OFFER_US)
    .bind(lease.attempt_id.0)
    .execute(tx.conn())
    .await?;
    sqlx::query("UPDATE jobs SET status = 'running', reason = NULL WHERE id = $1")
        .bind(job.0)
        .execute(tx.conn())
        .await?;
    sqlx::query(
        "UPDATE builds SET status = 'running', started_at = coalesce(started_at, $1) WHERE number = $2",
    )
    .bind(now)
    .bind(number.0)
    .execute(tx.conn())
    .await?;
    Ok(())
}
