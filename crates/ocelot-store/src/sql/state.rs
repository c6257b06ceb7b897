//! A build as the rules see it: loaded under a lock, and written back change by change.

use std::collections::HashMap;

use ocelot_model::build::{BuildState, Change, JobState};
use ocelot_model::pipeline::{Job as JobSpec, Retry};
use ocelot_model::{BuildNumber, JobId, RepoId, StageId, Status};

use super::{Conn, Tx, create};
use crate::raw::{clean, from_json, read};
use crate::{EventBody, StoreError, Wake};

/// A build under a lock.
pub(super) struct Locked {
    pub(super) number: BuildNumber,
    pub(super) repo: RepoId,
    pub(super) state: BuildState,
}

#[derive(sqlx::FromRow)]
struct BuildStateRow {
    repo_id: i64,
    status: String,
    cancel_requested_at: Option<i64>,
    reason: Option<String>,
    admitted: bool,
}

#[derive(sqlx::FromRow)]
struct JobStateRow {
    id: i64,
    name: String,
    status: String,
    reason: Option<String>,
    ready: bool,
    needs: String,
    approval: bool,
    always: bool,
    allow_failure: bool,
    attempt: i64,
    retry_infrastructure: i64,
    retry_script: i64,
    retried_infrastructure: i64,
    retried_script: i64,
}

impl JobStateRow {
    fn into_state(self) -> Result<JobState, StoreError> {
        let retry = |infrastructure: i64, script: i64| Retry {
            infrastructure: infrastructure as u32,
            script: script as u32,
        };
        Ok(JobState {
            id: JobId(self.id),
            name: self.name,
            status: read(&self.status)?,
            reason: self.reason,
            ready: self.ready,
            needs: from_json(&self.needs)?,
            approval: self.approval,
            always: self.always,
            allow_failure: self.allow_failure,
            attempt: self.attempt as u32,
            retry: retry(self.retry_infrastructure, self.retry_script),
            retried: retry(self.retried_infrastructure, self.retried_script),
        })
    }
}

/// Locks the build and reads it. The queue rows are locked first: a claim locks them in the same order.
pub(super) async fn lock(conn: &mut Conn, number: BuildNumber) -> Result<Locked, StoreError> {
    sqlx::query(concat!("SELECT job_id FROM queue WHERE build = $1 ORDER BY job_id", for_update!()))
        .bind(number.0)
        .fetch_all(&mut *conn)
        .await?;
    let row: Option<BuildStateRow> = sqlx::query_as(concat!(
        "SELECT repo_id, status, cancel_requested_at, reason, admitted FROM builds WHERE number = $1",
        for_no_key_update!()
    ))
    .bind(number.0)
    .fetch_optional(&mut *conn)
    .await?;
    let row = row.ok_or_else(|| StoreError::NotFound(format!("build {number}")))?;
    let rows: Vec<JobStateRow> = sqlx::query_as(
        "SELECT id, name, status, reason, ready, needs, needs_approval AND approved_by IS NULL AS approval, always, allow_failure, attempt, retry_infrastructure,
                retry_script, retried_infrastructure, retried_script
         FROM jobs WHERE build = $1 ORDER BY place",
    )
    .bind(number.0)
    .fetch_all(conn)
    .await?;
    let jobs = rows.into_iter().map(JobStateRow::into_state).collect::<Result<_, _>>()?;
    let cancel_requested = row.cancel_requested_at.is_some();
    let state = BuildState {
        status: read(&row.status)?,
        cancel_requested,
        // A build that is not over has no other reason than the one for which it is to be cancelled.
        cancel_reason: row.reason.filter(|_| cancel_requested),
        admitted: row.admitted,
        jobs,
    };
    Ok(Locked { number, repo: RepoId(row.repo_id), state })
}

/// Refuses what the rules of [`Status`] do not allow; that would be our own fault.
fn follow(from: Status, to: Status) -> Result<(), StoreError> {
    debug_assert!(from.may_become(to), "{from} must not become {to}");
    if from.may_become(to) {
        Ok(())
    } else {
        Err(StoreError::Corrupt(format!("status {from} must not become {to}")))
    }
}

/// Writes what the rules decided. `before` is the picture from before, `locked` has the one from after.
pub(super) struct Writer<'a> {
    tx: &'a mut Tx,
    locked: &'a Locked,
    /// Statuses as they stand in the database so far.
    jobs: HashMap<JobId, Status>,
    build: Status,
}

impl<'a> Writer<'a> {
    pub(super) fn new(tx: &'a mut Tx, locked: &'a Locked, before: &BuildState) -> Writer<'a> {
        let jobs = before.jobs.iter().map(|job| (job.id, job.status)).collect();
        Writer { tx, locked, jobs, build: before.status }
    }

    pub(super) async fn write(mut self, before: &BuildState, changes: &[Change]) -> Result<(), StoreError> {
        let locked = self.locked;
        if before.admitted != locked.state.admitted {
            sqlx::query("UPDATE builds SET admitted = $1 WHERE number = $2")
                .bind(locked.state.admitted)
                .bind(locked.number.0)
                .execute(self.tx.conn())
                .await?;
        }
        // Before the changes: a job that goes back to the queue takes the time from here.
        for (old, new) in before.jobs.iter().zip(&locked.state.jobs) {
            if (old.ready, old.attempt, old.retried) != (new.ready, new.attempt, new.retried) {
                self.write_counters(new).await?;
            }
        }
        for change in changes {
            self.write_one(change).await?;
        }
        if changes.iter().any(|change| matches!(change, Change::Enqueue { .. })) {
            // Not of a build that an older version made and that runs: it has waited already.
            sqlx::query(
                "UPDATE builds SET free_at = $1 WHERE number = $2 AND free_at IS NULL AND started_at IS NULL",
            )
            .bind(self.tx.now)
            .bind(locked.number.0)
            .execute(self.tx.conn())
            .await?;
        }
        // A claim may have passed over rows that were locked for this change: let it look again.
        if locked.state.jobs.iter().any(|job| job.ready && job.status == Status::Queued) {
            self.tx.wake(Wake::Queue);
        }
        Ok(())
    }

    async fn write_one(&mut self, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::Attempt { job, attempt, status, reason, rest } => {
                self.end_attempt(*job, *attempt, *status, reason.as_deref(), *rest).await
            }
            Change::Job { job, status, reason } => self.set_job(*job, *status, reason.as_deref()).await,
            Change::NewAttempt { job, attempt, delay_ms } => {
                self.new_attempt(*job, *attempt, *delay_ms).await
            }
            Change::Enqueue { job } => super::queue::open(self.tx, *job).await,
            Change::Dequeue { job } => leave_queue(self.tx, *job).await,
            // Its worker is told after the commit.
            Change::Stop { .. } => Ok(()),
            Change::Build { status, reason } => self.set_build(*status, reason.as_deref()).await,
        }
    }

    async fn write_counters(&mut self, job: &JobState) -> Result<(), StoreError> {
        let now = self.tx.now;
        sqlx::query(
            "UPDATE jobs SET ready = $1, attempt = $2, retried_infrastructure = $3, retried_script = $4,
                             ready_at = $5
             WHERE id = $6",
        )
        .bind(job.ready)
        .bind(i64::from(job.attempt))
        .bind(i64::from(job.retried.infrastructure))
        .bind(i64::from(job.retried.script))
        .bind(now)
        .bind(job.id.0)
        .execute(self.tx.conn())
        .await?;
        Ok(())
    }

    async fn end_attempt(
        &mut self,
        job: JobId,
        attempt: u32,
        status: Status,
        reason: Option<&str>,
        rest: Status,
    ) -> Result<(), StoreError> {
        let row: Option<(i64, String)> = sqlx::query_as(concat!(
            "SELECT id, status FROM attempts WHERE job_id = $1 AND number = $2",
            for_update!()
        ))
        .bind(job.0)
        .bind(i64::from(attempt))
        .fetch_optional(self.tx.conn())
        .await?;
        let (id, from) =
            row.ok_or_else(|| StoreError::Corrupt(format!("job {job} has no attempt {attempt}")))?;
        follow(read(&from)?, status)?;
        let now = self.tx.now;
        sqlx::query(
            "UPDATE attempts SET status = $1, reason = $2, finished_at = $3, lease_token = NULL, lease_until = NULL
             WHERE id = $4",
        )
        .bind(status.as_str())
        .bind(reason.map(clean))
        .bind(now)
        .bind(id)
        .execute(self.tx.conn())
        .await?;
        self.end_stages(job, id, status, rest).await
    }

    /// A stage that was running shares the fate of its attempt.
    async fn end_stages(
        &mut self,
        job: JobId,
        attempt: i64,
        status: Status,
        rest: Status,
    ) -> Result<(), StoreError> {
        let open: Vec<(i64, String, String, Option<String>)> = sqlx::query_as(
            "SELECT id, name, status, reason FROM stages
             WHERE attempt_id = $1 AND status IN ('queued', 'running') ORDER BY place",
        )
        .bind(attempt)
        .fetch_all(self.tx.conn())
        .await?;
        for (id, name, from, reason) in open {
            let status = if from == Status::Running.as_str() { status } else { rest };
            sqlx::query("UPDATE stages SET status = $1 WHERE id = $2")
                .bind(status.as_str())
                .bind(id)
                .execute(self.tx.conn())
                .await?;
            let stage = StageId(id);
            self.tell(EventBody::Stage {
                job,
                stage,
                name,
                status,
                exit_code: None,
                duration_ms: None,
                reason,
            });
        }
        Ok(())
    }

    async fn set_job(&mut self, job: JobId, status: Status, reason: Option<&str>) -> Result<(), StoreError> {
        if let Some(from) = self.jobs.insert(job, status) {
            follow(from, status)?;
        }
        sqlx::query("UPDATE jobs SET status = $1, reason = $2 WHERE id = $3")
            .bind(status.as_str())
            .bind(reason.map(clean))
            .bind(job.0)
            .execute(self.tx.conn())
            .await?;
        if status != Status::Queued {
            leave_queue(self.tx, job).await?;
        }
        let what = self.job_event(job, status, reason).await?;
        self.tell(what);
        Ok(())
    }

    /// The attempt in the event is the newest one; a job that waits again has no worker.
    async fn job_event(
        &mut self,
        job: JobId,
        status: Status,
        reason: Option<&str>,
    ) -> Result<EventBody, StoreError> {
        let found = self.locked.state.jobs.iter().find(|j| j.id == job);
        let (name, attempt) = found.map_or_else(Default::default, |j| (j.name.clone(), j.attempt));
        let worker: Option<Option<String>> =
            sqlx::query_scalar("SELECT worker FROM attempts WHERE job_id = $1 AND number = $2")
                .bind(job.0)
                .bind(i64::from(attempt))
                .fetch_optional(self.tx.conn())
                .await?;
        let reason = reason.map(clean);
        Ok(EventBody::Job { job, name, status, attempt, worker: worker.flatten(), reason })
    }

    async fn new_attempt(&mut self, job: JobId, attempt: u32, delay_ms: u64) -> Result<(), StoreError> {
        let now = self.tx.now;
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO attempts (job_id, build, number, status) VALUES ($1, $2, $3, 'queued') RETURNING id",
        )
        .bind(job.0)
        .bind(self.locked.number.0)
        .bind(i64::from(attempt))
        .fetch_one(self.tx.conn())
        .await?;
        let spec: String = sqlx::query_scalar("SELECT spec FROM jobs WHERE id = $1")
            .bind(job.0)
            .fetch_one(self.tx.conn())
            .await?;
        let spec: JobSpec = from_json(&spec)?;
        let stages: Vec<_> = create::new_stages(id, &spec, Status::Queued).collect();
        create::insert_stages(self.tx, self.locked.number, &stages).await?;
        let not_before = if delay_ms == 0 { 0 } else { now + (delay_ms as i64) * 1000 };
        super::queue::enter_again(self.tx, job, not_before).await
    }

    async fn set_build(&mut self, status: Status, reason: Option<&str>) -> Result<(), StoreError> {
        follow(self.build, status)?;
        self.build = status;
        let finished = status.is_terminal().then_some(self.tx.now);
        sqlx::query("UPDATE builds SET status = $1, reason = $2, finished_at = $3 WHERE number = $4")
            .bind(status.as_str())
            .bind(reason.map(clean))
            .bind(finished)
            .bind(self.locked.number.0)
            .execute(self.tx.conn())
            .await?;
        self.tell(EventBody::Build { status, reason: reason.map(clean) });
        if status == Status::Passed {
            super::passes::note(self.tx, self.locked.number).await?;
        }
        Ok(())
    }

    fn tell(&mut self, what: EventBody) {
        self.tx.events.push((self.locked.number, self.locked.repo, what));
    }
}

async fn leave_queue(tx: &mut Tx, job: JobId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM queue WHERE job_id = $1").bind(job.0).execute(tx.conn()).await?;
    Ok(())
}
