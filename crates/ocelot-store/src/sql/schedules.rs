//! Times at which branches are built: from the file of the default branch, and from people.

use std::time::Duration;

use ocelot_model::pipeline;
use ocelot_model::{AuditAction, RepoId};
use sqlx::FromRow;

use super::polls::{cron_of, next};
use super::repos::handle;
use super::{Core, Tx};
use crate::StoreError;
use crate::raw::{RepoRow, clean, time, us};
use crate::times::{NewTimes, Schedule, Turn};

/// Who wants what stands in the file.
const FILE: &str = "ocelot.yml";

macro_rules! schedules {
    () => {
        concat!(
            "SELECT s.id, s.from_file, s.cron, s.time_zone, s.branch, s.next_at, s.last_at, s.outcome, s.created_by, ",
            repo_columns!(),
            " FROM schedules s JOIN repos r ON r.id = s.repo_id JOIN forges f ON f.id = r.forge_id
              WHERE NOT r.removing"
        )
    };
}

#[derive(FromRow)]
struct ScheduleRow {
    id: i64,
    from_file: bool,
    cron: String,
    time_zone: String,
    branch: Option<String>,
    next_at: i64,
    last_at: Option<i64>,
    outcome: Option<String>,
    created_by: String,
    #[sqlx(flatten)]
    repo: RepoRow,
}

impl ScheduleRow {
    fn into_schedule(self) -> Result<Schedule, StoreError> {
        Ok(Schedule {
            id: self.id,
            repo: self.repo.into_repo()?,
            from_file: self.from_file,
            cron: self.cron,
            time_zone: self.time_zone,
            branch: self.branch,
            next_at: time(self.next_at)?,
            last_at: self.last_at.map(time).transpose()?,
            outcome: self.outcome,
            created_by: self.created_by,
        })
    }
}

impl Core {
    pub(crate) async fn add_schedule(
        &self,
        new: &NewTimes<'_>,
        branch: Option<&str>,
    ) -> Result<Schedule, StoreError> {
        let mut tx = self.begin().await?;
        let name = handle(tx.conn(), new.repo).await?;
        let id = insert(&mut tx, new, branch, false).await?;
        tx.note(new.by, AuditAction::ScheduleAdded, &name, new.cron.text()).await?;
        self.commit(tx).await?;
        self.load_schedule(id).await
    }

    pub(crate) async fn list_schedules(&self) -> Result<Vec<Schedule>, StoreError> {
        let rows: Vec<ScheduleRow> =
            sqlx::query_as(concat!(schedules!(), " ORDER BY s.id")).fetch_all(&self.pools.read).await?;
        rows.into_iter().map(ScheduleRow::into_schedule).collect()
    }

    pub(crate) async fn load_schedule(&self, id: i64) -> Result<Schedule, StoreError> {
        let row: Option<ScheduleRow> = sqlx::query_as(concat!(schedules!(), " AND s.id = $1"))
            .bind(id)
            .fetch_optional(&self.pools.read)
            .await?;
        row.ok_or_else(|| StoreError::NotFound(format!("schedule {id}")))?.into_schedule()
    }

    pub(crate) async fn remove_schedule(&self, id: i64, by: &str) -> Result<(), StoreError> {
        let repo = self.load_schedule(id).await?.repo.name;
        let mut tx = self.begin().await?;
        let gone = sqlx::query("DELETE FROM schedules WHERE id = $1 AND NOT from_file")
            .bind(id)
            .execute(tx.conn())
            .await?;
        if gone.rows_affected() == 0 {
            return Err(StoreError::Conflict(format!(
                "schedule {id} stands in {FILE} of the default branch; take it out there"
            )));
        }
        tx.note(by, AuditAction::ScheduleRemoved, &repo.to_string(), &format!("schedule {id}")).await?;
        self.commit(tx).await
    }

    /// Takes one that has come round, for `time` or until it comes round again.
    pub(crate) async fn take_schedule(&self, time: Duration) -> Result<Option<(Schedule, Turn)>, StoreError> {
        let mut tx = self.begin().await?;
        let now = tx.now;
        let due: Option<(i64, String, String)> = sqlx::query_as(concat!(
            "SELECT id, cron, time_zone FROM schedules WHERE next_at <= $1 ORDER BY next_at, id LIMIT 1",
            skip_locked!()
        ))
        .bind(now)
        .fetch_optional(tx.conn())
        .await?;
        let Some((id, cron, zone)) = due else { return Ok(None) };
        let until = now.saturating_add(us(time)).min(next(&cron_of(&cron, &zone)?, now, id)?);
        sqlx::query("UPDATE schedules SET next_at = $1 WHERE id = $2")
            .bind(until)
            .bind(id)
            .execute(tx.conn())
            .await?;
        self.commit(tx).await?;
        match self.load_schedule(id).await {
            Ok(schedule) => Ok(Some((schedule, Turn { id, until }))),
            // Its repository is going.
            Err(StoreError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Says what came of it. `over`: it is done until the next time; else it is tried again when this turn ends.
    pub(crate) async fn settle_schedule(
        &self,
        turn: Turn,
        outcome: &str,
        over: bool,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        if over {
            settle(&mut tx, turn, outcome).await?;
        } else {
            let now = tx.now;
            sqlx::query("UPDATE schedules SET last_at = $1, outcome = $2 WHERE id = $3 AND next_at = $4")
                .bind(now)
                .bind(clean(outcome))
                .bind(turn.id)
                .bind(turn.until)
                .execute(tx.conn())
                .await?;
        }
        self.commit(tx).await
    }
}

/// This turn is over; [`StoreError::Stale`] when it was another server's by now.
pub(super) async fn settle(tx: &mut Tx, turn: Turn, outcome: &str) -> Result<(), StoreError> {
    let row: Option<(String, String)> = sqlx::query_as(concat!(
        "SELECT cron, time_zone FROM schedules WHERE id = $1 AND next_at = $2",
        for_update!()
    ))
    .bind(turn.id)
    .bind(turn.until)
    .fetch_optional(tx.conn())
    .await?;
    let (cron, zone) = row.ok_or(StoreError::Stale)?;
    let now = tx.now;
    sqlx::query("UPDATE schedules SET next_at = $1, last_at = $2, outcome = $3 WHERE id = $4")
        .bind(next(&cron_of(&cron, &zone)?, now, turn.id)?)
        .bind(now)
        .bind(clean(outcome))
        .bind(turn.id)
        .execute(tx.conn())
        .await?;
    Ok(())
}

async fn insert(
    tx: &mut Tx,
    new: &NewTimes<'_>,
    branch: Option<&str>,
    from_file: bool,
) -> Result<i64, StoreError> {
    let now = tx.now;
    Ok(sqlx::query_scalar(
        "INSERT INTO schedules (repo_id, from_file, cron, time_zone, branch, next_at, created_by, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
    )
    .bind(new.repo.0)
    .bind(from_file)
    .bind(new.cron.text())
    .bind(new.cron.zone())
    .bind(branch.map(clean))
    .bind(next(new.cron, now, new.repo.0)?)
    .bind(clean(new.by))
    .bind(now)
    .fetch_one(tx.conn())
    .await?)
}

/// Makes the schedules of the file those of the repository. One that was there before keeps its times.
pub(super) async fn replace(
    tx: &mut Tx,
    repo: RepoId,
    wanted: &[pipeline::Schedule],
) -> Result<(), StoreError> {
    let there: Vec<(i64, String, String, Option<String>)> = sqlx::query_as(
        "SELECT id, cron, time_zone, branch FROM schedules WHERE repo_id = $1 AND from_file ORDER BY id",
    )
    .bind(repo.0)
    .fetch_all(tx.conn())
    .await?;
    let mut wanted: Vec<_> = wanted.iter().collect();
    for (id, cron, zone, branch) in there {
        let same = |one: &&pipeline::Schedule| {
            let its_zone = if one.time_zone.is_empty() { "UTC" } else { &one.time_zone };
            one.cron.trim() == cron && its_zone == zone && one.branch == branch
        };
        match wanted.iter().position(same) {
            Some(place) => drop(wanted.remove(place)),
            None => {
                sqlx::query("DELETE FROM schedules WHERE id = $1").bind(id).execute(tx.conn()).await?;
            }
        }
    }
    for one in wanted {
        let new = NewTimes { repo, cron: &cron_of(&one.cron, &one.time_zone)?, by: FILE };
        insert(tx, &new, one.branch.as_deref(), true).await?;
    }
    Ok(())
}
