//! The timed rights of workers. Every word of a worker is checked against them.

use std::time::Duration;

use ocelot_model::build::{Happening, Outcome, whole};
use ocelot_model::{BuildNumber, JobId, Status, WorkerId};

use super::advance::advance_in;
use super::claim::OFFER_US;
use super::{Conn, Core, Tx, queue, state};
use crate::raw::{HeldRow, us};
use crate::{EventBody, Held, Lease, Lost, StoreError, Wake};

#[derive(sqlx::FromRow)]
struct LostRow {
    /// `None` when the worker is not known any more.
    last_seen_at: Option<i64>,
    #[sqlx(flatten)]
    held: HeldRow,
}

impl Core {
    pub(crate) async fn accept(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let until = tx.now + OFFER_US;
        let done = sqlx::query(
            "UPDATE attempts SET accepted = true,
                    lease_until = CASE WHEN lease_until < $1 THEN $1 ELSE lease_until END
             WHERE id = $2 AND number = $3 AND lease_token = $4",
        )
        .bind(until)
        .bind(lease.attempt_id.0)
        .bind(i64::from(lease.attempt))
        .bind(&lease.token)
        .execute(tx.conn())
        .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Stale);
        }
        self.commit(tx).await
    }

    pub(crate) async fn give_back(&self, lease: &Lease, delay: Duration) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let held = find_held(tx.conn(), lease).await?;
        // Once more under the build's lock: in between, someone else may have ended it.
        state::lock(tx.conn(), held.build).await?;
        let held = find_held(tx.conn(), lease).await?;
        give_back_in(&mut tx, &held, delay).await?;
        self.commit(tx).await?;
        self.wakes.send_later(Wake::Queue, delay);
        Ok(())
    }

    pub(crate) async fn renew(
        &self,
        worker: WorkerId,
        holding: &[Lease],
        hard_limit: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        let mut tx = self.begin().await?;
        let now = tx.now;
        let seen = sqlx::query("UPDATE workers SET last_seen_at = $1, connected = true WHERE id = $2")
            .bind(now)
            .bind(worker.0)
            .execute(tx.conn())
            .await?;
        if seen.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!("worker {worker}")));
        }
        let mut order: Vec<&Lease> = holding.iter().collect();
        order.sort_by_key(|lease| lease.attempt_id);
        let mut invalid = Vec::new();
        for lease in order {
            let renewed = sqlx::query(
                "UPDATE attempts SET lease_until = $1
                 WHERE id = $2 AND number = $3 AND lease_token = $4 AND worker_id = $5",
            )
            .bind(now + us(hard_limit))
            .bind(lease.attempt_id.0)
            .bind(i64::from(lease.attempt))
            .bind(&lease.token)
            .bind(worker.0)
            .execute(tx.conn())
            .await?;
            if renewed.rows_affected() == 0 {
                invalid.push(lease.clone());
            }
        }
        self.commit(tx).await?;
        Ok(invalid)
    }

    pub(crate) async fn check_lease(&self, lease: &Lease) -> Result<Held, StoreError> {
        let row: Option<HeldRow> = sqlx::query_as(concat!(
            "SELECT ",
            held_columns!(),
            " FROM attempts a WHERE a.id = $1 AND a.number = $2 AND a.lease_token = $3"
        ))
        .bind(lease.attempt_id.0)
        .bind(i64::from(lease.attempt))
        .bind(&lease.token)
        .fetch_optional(&self.pools.read)
        .await?;
        row.map(HeldRow::into_held).ok_or(StoreError::Stale)
    }

    pub(crate) async fn any_leases(&self) -> Result<bool, StoreError> {
        let any = "SELECT EXISTS (SELECT 1 FROM attempts WHERE lease_until IS NOT NULL)";
        Ok(sqlx::query_scalar(any).fetch_one(&self.pools.read).await?)
    }

    pub(crate) async fn expired_leases(&self) -> Result<Vec<Lost>, StoreError> {
        let now = self.now().await?;
        let offers: Vec<HeldRow> = sqlx::query_as(concat!(
            "SELECT ",
            held_columns!(),
            " FROM attempts a WHERE a.lease_until <= $1 AND NOT a.accepted ORDER BY a.id"
        ))
        .bind(now)
        .fetch_all(&self.pools.read)
        .await?;
        for offer in offers {
            self.withdraw(&offer.into_held(), now).await?;
        }
        let rows: Vec<LostRow> = sqlx::query_as(concat!(
            "SELECT w.last_seen_at, ",
            held_columns!(),
            " FROM attempts a LEFT JOIN workers w ON w.id = a.worker_id
              WHERE a.lease_until <= $1 AND a.accepted ORDER BY a.lease_until, a.id"
        ))
        .bind(now)
        .fetch_all(&self.pools.read)
        .await?;
        let silent = |seen: i64| Duration::from_micros((now - seen).max(0) as u64);
        let lost = |row: LostRow| Lost { held: row.held.into_held(), silent: row.last_seen_at.map(silent) };
        Ok(rows.into_iter().map(lost).collect())
    }

    /// Puts an offer that nobody answered back, if its time is over at `now`. It costs the job no attempt.
    async fn withdraw(&self, held: &Held, now: i64) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        state::lock(tx.conn(), held.build).await?;
        let still: Option<i64> = sqlx::query_scalar(
            "SELECT id FROM attempts
             WHERE id = $1 AND number = $2 AND worker_id = $3 AND lease_until <= $4 AND NOT accepted",
        )
        .bind(held.attempt_id.0)
        .bind(i64::from(held.attempt))
        .bind(held.worker.0)
        .bind(now)
        .fetch_optional(tx.conn())
        .await?;
        if still.is_some() {
            give_back_in(&mut tx, held, Duration::ZERO).await?;
        }
        self.commit(tx).await?;
        Ok(still.is_some())
    }

    pub(crate) async fn withdraw_offer(&self, held: &Held) -> Result<bool, StoreError> {
        self.withdraw(held, i64::MAX).await
    }

    pub(crate) async fn held_by_worker(&self, worker: WorkerId) -> Result<Vec<Held>, StoreError> {
        let rows: Vec<HeldRow> = sqlx::query_as(concat!(
            "SELECT ",
            held_columns!(),
            " FROM attempts a WHERE a.worker_id = $1 AND a.lease_until IS NOT NULL ORDER BY a.id"
        ))
        .bind(worker.0)
        .fetch_all(&self.pools.read)
        .await?;
        Ok(rows.into_iter().map(HeldRow::into_held).collect())
    }

    pub(crate) async fn extend_all_leases(&self, grace: Duration) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let until = tx.now + us(grace);
        sqlx::query("UPDATE attempts SET lease_until = $1 WHERE lease_until < $1")
            .bind(until)
            .execute(tx.conn())
            .await?;
        self.commit(tx).await
    }

    pub(crate) async fn held_by_build(&self, number: BuildNumber) -> Result<Vec<Held>, StoreError> {
        let rows: Vec<HeldRow> = sqlx::query_as(concat!(
            "SELECT ",
            held_columns!(),
            " FROM attempts a WHERE a.build = $1 AND a.lease_until IS NOT NULL ORDER BY a.id"
        ))
        .bind(number.0)
        .fetch_all(&self.pools.read)
        .await?;
        Ok(rows.into_iter().map(HeldRow::into_held).collect())
    }
}

/// Who holds the lease, in a transaction that will write because of it.
async fn find_held(conn: &mut Conn, lease: &Lease) -> Result<Held, StoreError> {
    let row: Option<HeldRow> = sqlx::query_as(concat!(
        "SELECT ",
        held_columns!(),
        " FROM attempts a WHERE a.id = $1 AND a.number = $2 AND a.lease_token = $3"
    ))
    .bind(lease.attempt_id.0)
    .bind(i64::from(lease.attempt))
    .bind(&lease.token)
    .fetch_optional(conn)
    .await?;
    row.map(HeldRow::into_held).ok_or(StoreError::Stale)
}

async fn give_back_in(tx: &mut Tx, held: &Held, delay: Duration) -> Result<(), StoreError> {
    let mut locked = state::lock(tx.conn(), held.build).await?;
    let Held { attempt, job_id: job, .. } = *held;
    let at = locked
        .state
        .jobs
        .iter()
        .position(|j| j.id == job && j.attempt == attempt && j.status == Status::Running)
        .ok_or(StoreError::Stale)?;
    if locked.state.cancel_requested {
        // Nobody needs it any more.
        let reason = Some("the build was cancelled".to_owned());
        let outcome = Outcome { status: Status::Cancelled, reason, infrastructure: false };
        advance_in(tx, held.build, Happening::Finished { job, attempt, outcome }).await?;
        return Ok(());
    }
    reset_attempt(tx, held, job).await?;
    let not_before = if delay.is_zero() { 0 } else { tx.now + us(delay) };
    queue::enter_again(tx, job, not_before).await?;
    let name = locked.state.jobs[at].name.clone();
    let status = Status::Queued;
    let what = EventBody::Job { job, name, status, attempt, worker: None, reason: None };
    tx.events.push((held.build, locked.repo, what));
    locked.state.jobs[at].status = Status::Queued;
    if whole(&locked.state.jobs) == Status::Queued && locked.state.status == Status::Running {
        sqlx::query("UPDATE builds SET status = 'queued', started_at = NULL WHERE number = $1")
            .bind(held.build.0)
            .execute(tx.conn())
            .await?;
        tx.events.push((held.build, locked.repo, EventBody::Build { status, reason: None }));
    }
    tx.wake(Wake::Queue);
    Ok(())
}

/// The same attempt waits again, as if nobody had had it.
async fn reset_attempt(tx: &mut Tx, held: &Held, job: JobId) -> Result<(), StoreError> {
    let reset = sqlx::query(
        "UPDATE attempts SET status = 'queued', worker_id = NULL, worker = NULL, lease_token = NULL,
                             lease_until = NULL, accepted = false, started_at = NULL
         WHERE id = $1 AND status = 'running' AND worker_id = $2",
    )
    .bind(held.attempt_id.0)
    .bind(held.worker.0)
    .execute(tx.conn())
    .await?;
    if reset.rows_affected() == 0 {
        return Err(StoreError::Stale);
    }
    sqlx::query(
        "UPDATE stages SET status = 'queued', started_at = NULL WHERE attempt_id = $1 AND status = 'running'",
    )
    .bind(held.attempt_id.0)
    .execute(tx.conn())
    .await?;
    sqlx::query("UPDATE jobs SET status = 'queued', ready = true WHERE id = $1")
        .bind(job.0)
        .execute(tx.conn())
        .await?;
    Ok(())
}
