//! What workers say about stages.

use ocelot_model::{BuildNumber, JobId, RepoId, Status};

use super::{Core, Tx};
use crate::raw::{clean, read};
use crate::{EventBody, Lease, StageUpdate, StoreError};

#[derive(sqlx::FromRow)]
struct Standing {
    name: String,
    status: String,
    /// Said when the build was made.
    reason: Option<String>,
    build: i64,
    job_id: i64,
    repo_id: i64,
    started_at: Option<i64>,
}

impl Core {
    pub(crate) async fn set_stage(
        &self,
        lease: &Lease,
        update: &StageUpdate,
    ) -> Result<Option<i64>, StoreError> {
        let mut tx = self.begin().await?;
        // The attempt is locked, so that it cannot end while its stage changes.
        let held: Option<i64> = sqlx::query_scalar(concat!(
            "SELECT id FROM attempts WHERE id = $1 AND number = $2 AND lease_token = $3",
            for_update!()
        ))
        .bind(lease.attempt_id.0)
        .bind(i64::from(lease.attempt))
        .bind(&lease.token)
        .fetch_optional(tx.conn())
        .await?;
        held.ok_or(StoreError::Stale)?;
        let row: Option<Standing> = sqlx::query_as(
            "SELECT s.name, s.status, s.reason, s.started_at, s.build, a.job_id, b.repo_id FROM stages s
             JOIN attempts a ON a.id = s.attempt_id JOIN builds b ON b.number = s.build
             WHERE s.id = $1 AND s.attempt_id = $2",
        )
        .bind(update.id.0)
        .bind(lease.attempt_id.0)
        .fetch_optional(tx.conn())
        .await?;
        let standing =
            row.ok_or_else(|| StoreError::NotFound(format!("stage {} of this attempt", update.id)))?;
        let from: Status = read(&standing.status)?;
        // The same word again, or an earlier one that arrives late, changes nothing.
        if !from.may_become(update.status) || update.status == Status::Queued {
            return Ok(None);
        }
        let ran = began(update.status) || standing.started_at.is_some();
        write(&mut tx, standing, update).await?;
        self.commit(tx).await?;
        Ok(update.duration_ms.filter(|_| ran && update.status.is_terminal()))
    }
}

/// True when a stage that is so has begun at some time; of a cancelled one its status does not say.
fn began(status: Status) -> bool {
    !matches!(status, Status::Skipped | Status::Cancelled)
}

async fn write(tx: &mut Tx, standing: Standing, update: &StageUpdate) -> Result<(), StoreError> {
    let started = began(update.status).then_some(tx.now);
    // Why a stage runs stays, unless its worker has something to say.
    let reason = update.reason.as_deref().map(clean).or(standing.reason);
    sqlx::query(
        "UPDATE stages SET status = $1, exit_code = $2, duration_ms = $3, reason = $4,
                           started_at = coalesce(started_at, $5)
         WHERE id = $6",
    )
    .bind(update.status.as_str())
    .bind(update.exit_code.map(i64::from))
    .bind(update.duration_ms)
    .bind(&reason)
    .bind(started)
    .bind(update.id.0)
    .execute(tx.conn())
    .await?;
    let what = EventBody::Stage {
        job: JobId(standing.job_id),
        stage: update.id,
        name: standing.name,
        status: update.status,
        exit_code: update.exit_code,
        duration_ms: update.duration_ms,
        reason,
    };
    tx.events.push((BuildNumber(standing.build), RepoId(standing.repo_id), what));
    Ok(())
}
