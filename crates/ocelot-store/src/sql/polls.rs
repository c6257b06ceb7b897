//! Repositories that are looked at from time to time.
//!
//! What is due is taken for a while by moving its time into the future, so that one server does it and another one goes on
//! when that one dies. Where the branches are known to be is written with the build that comes of it.

use std::time::Duration;

use ocelot_model::cron::Cron;
use ocelot_model::{AuditAction, RepoId};
use sqlx::FromRow;

use super::repos::handle;
use super::{Core, Tx};
use crate::StoreError;
use crate::raw::{RepoRow, clean, from_json, time, to_json, us};
use crate::times::{Heads, NewTimes, Poll, Turn};

macro_rules! polls {
    () => {
        concat!(
            "SELECT p.id, p.cron, p.time_zone, p.branches, p.heads, p.next_at, p.last_at, p.outcome, p.created_by, ",
            repo_columns!(),
            " FROM polls p JOIN repos r ON r.id = p.repo_id JOIN forges f ON f.id = r.forge_id WHERE NOT r.removing"
        )
    };
}

#[derive(FromRow)]
struct PollRow {
    id: i64,
    cron: String,
    time_zone: String,
    branches: String,
    heads: Option<String>,
    next_at: i64,
    last_at: Option<i64>,
    outcome: Option<String>,
    created_by: String,
    #[sqlx(flatten)]
    repo: RepoRow,
}

impl PollRow {
    fn into_poll(self) -> Result<Poll, StoreError> {
        Ok(Poll {
            id: self.id,
            repo: self.repo.into_repo()?,
            cron: self.cron,
            time_zone: self.time_zone,
            branches: from_json(&self.branches)?,
            heads: self.heads.as_deref().map(from_json).transpose()?,
            next_at: time(self.next_at)?,
            last_at: self.last_at.map(time).transpose()?,
            outcome: self.outcome,
            created_by: self.created_by,
        })
    }
}

impl Core {
    pub(crate) async fn add_poll(&self, new: &NewTimes<'_>, branches: &[String]) -> Result<Poll, StoreError> {
        let mut tx = self.begin().await?;
        let now = tx.now;
        let id: Option<i64> = sqlx::query_scalar(
            "INSERT INTO polls (repo_id, cron, time_zone, branches, next_at, created_by, created_at)
             SELECT id, $2, $3, $4, $5, $6, $7 FROM repos WHERE id = $1 AND NOT removing
             ON CONFLICT DO NOTHING RETURNING id",
        )
        .bind(new.repo.0)
        .bind(new.cron.text())
        .bind(new.cron.zone())
        .bind(to_json(&branches)?)
        // Who adds one wants to see whether it works: the first look is at once.
        .bind(now)
        .bind(clean(new.by))
        .bind(now)
        .fetch_optional(tx.conn())
        .await?;
        let id = id.ok_or_else(|| {
            StoreError::Conflict("this repository is polled already; remove that poll first".to_owned())
        })?;
        let name = handle(tx.conn(), new.repo).await?;
        tx.note(new.by, AuditAction::PollAdded, &name, new.cron.text()).await?;
        self.commit(tx).await?;
        let found = self.list_polls().await?.into_iter().find(|poll| poll.id == id);
        found.ok_or_else(|| StoreError::NotFound(format!("poll {id}")))
    }

    pub(crate) async fn list_polls(&self) -> Result<Vec<Poll>, StoreError> {
        let rows: Vec<PollRow> =
            sqlx::query_as(concat!(polls!(), " ORDER BY p.id")).fetch_all(&self.pools.read).await?;
        rows.into_iter().map(PollRow::into_poll).collect()
    }

    pub(crate) async fn remove_poll(&self, repo: RepoId, by: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let gone =
            sqlx::query("DELETE FROM polls WHERE repo_id = $1").bind(repo.0).execute(tx.conn()).await?;
        if gone.rows_affected() == 0 {
            return Err(StoreError::NotFound("a poll of this repository".to_owned()));
        }
        let name = handle(tx.conn(), repo).await?;
        tx.note(by, AuditAction::PollRemoved, &name, "").await?;
        self.commit(tx).await
    }

    /// Takes one that has come round for `time`.
    pub(crate) async fn take_poll(&self, time: Duration) -> Result<Option<(Poll, Turn)>, StoreError> {
        let mut tx = self.begin().await?;
        let until = tx.now.saturating_add(us(time));
        let now = tx.now;
        let id: Option<i64> = sqlx::query_scalar(concat!(
            "UPDATE polls SET next_at = $1 WHERE id = (
                 SELECT id FROM polls WHERE next_at <= $2 ORDER BY next_at, id LIMIT 1",
            skip_locked!(),
            ") RETURNING id"
        ))
        .bind(until)
        .bind(now)
        .fetch_optional(tx.conn())
        .await?;
        let Some(id) = id else { return Ok(None) };
        let row: Option<PollRow> =
            sqlx::query_as(concat!(polls!(), " AND p.id = $1")).bind(id).fetch_optional(tx.conn()).await?;
        self.commit(tx).await?;
        let poll = row.map(PollRow::into_poll).transpose()?;
        Ok(poll.map(|poll| (poll, Turn { id, until })))
    }

    /// The look is over: `heads` is how the branches are known to be now; `None` leaves them as they were.
    pub(crate) async fn finish_poll(
        &self,
        turn: Turn,
        heads: Option<&Heads>,
        outcome: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let row: Option<(String, String)> = sqlx::query_as(concat!(
            "SELECT cron, time_zone FROM polls WHERE id = $1 AND next_at = $2",
            for_update!()
        ))
        .bind(turn.id)
        .bind(turn.until)
        .fetch_optional(tx.conn())
        .await?;
        let (cron, zone) = row.ok_or(StoreError::Stale)?;
        let now = tx.now;
        sqlx::query("UPDATE polls SET next_at = $1, last_at = $2, heads = COALESCE($3, heads), outcome = $4 WHERE id = $5")
            .bind(next(&cron_of(&cron, &zone)?, now, turn.id)?)
            .bind(now)
            .bind(heads.map(to_json).transpose()?)
            .bind(clean(outcome))
            .bind(turn.id)
            .execute(tx.conn())
            .await?;
        self.commit(tx).await
    }
}

/// Notes where a branch is now; [`StoreError::Stale`] when somebody else did or the poll is another server's.
pub(super) async fn note_head(
    tx: &mut Tx,
    turn: Turn,
    branch: &str,
    before: Option<&str>,
    after: &str,
) -> Result<(), StoreError> {
    let heads: Option<Option<String>> =
        sqlx::query_scalar(concat!("SELECT heads FROM polls WHERE id = $1 AND next_at = $2", for_update!()))
            .bind(turn.id)
            .bind(turn.until)
            .fetch_optional(tx.conn())
            .await?;
    let heads = heads.ok_or(StoreError::Stale)?;
    let mut heads: Heads = heads.as_deref().map(from_json).transpose()?.unwrap_or_default();
    if heads.get(branch).map(String::as_str) != before {
        return Err(StoreError::Stale);
    }
    heads.insert(branch.to_owned(), after.to_owned());
    sqlx::query("UPDATE polls SET heads = $1 WHERE id = $2")
        .bind(to_json(&heads)?)
        .bind(turn.id)
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(super) fn cron_of(text: &str, zone: &str) -> Result<Cron, StoreError> {
    Cron::new(text, zone).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// The next time after `now`.
pub(super) fn next(cron: &Cron, now: i64, seed: i64) -> Result<i64, StoreError> {
    let next = cron.next(time(now)?, seed.unsigned_abs());
    // What was checked comes round; at the end of the calendar it is enough that nothing breaks.
    Ok(next.map_or(i64::MAX, jiff::Timestamp::as_microsecond))
}
