//! Workers: who they are, when they were last heard of, what they hold.

use std::collections::HashMap;

use ocelot_model::WorkerId;

use super::Core;
use super::{now, tokens};
use crate::raw::{self, HeldRow, RepoRow, clean, time, to_json};
use crate::{Condition, Held, Hello, Repo, StoreError, Worker};

#[derive(sqlx::FromRow)]
struct WorkerRow {
    id: i64,
    name: String,
    labels: String,
    slots: i64,
    version: String,
    sharing: String,
    disk_free: Option<i64>,
    disk_total: Option<i64>,
    unwell: Option<String>,
    last_seen_at: i64,
    connected: bool,
}

#[derive(sqlx::FromRow)]
struct HeldJobRow {
    job: String,
    #[sqlx(flatten)]
    held: HeldRow,
    #[sqlx(flatten)]
    repo: RepoRow,
}

impl Core {
    pub(crate) async fn worker_hello(&self, hello: &Hello) -> Result<WorkerId, StoreError> {
        let mut tx = self.begin().await?;
        let token: Option<i64> = sqlx::query_scalar("SELECT id FROM tokens WHERE id = $1")
            .bind(hello.token.0)
            .fetch_optional(tx.conn())
            .await?;
        token.ok_or_else(|| tokens::missing(hello.token))?;
        let now = tx.now;
        let condition = hello.condition.as_ref();
        let (free, total) = bytes(condition);
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO workers (token_id, name, labels, slots, version, sharing, last_seen_at, connected,
                                  disk_free, disk_total, unwell)
             VALUES ($1, $2, $3, $4, $5, $6, $7, true, $8, $9, $10)
             ON CONFLICT (token_id, name) DO UPDATE SET labels = excluded.labels, slots = excluded.slots,
                 version = excluded.version, sharing = excluded.sharing,
                 last_seen_at = excluded.last_seen_at, connected = true,
                 disk_free = excluded.disk_free, disk_total = excluded.disk_total, unwell = excluded.unwell
             RETURNING id",
        )
        .bind(hello.token.0)
        .bind(clean(&hello.name))
        .bind(to_json(&hello.labels)?)
        .bind(i64::from(hello.slots))
        .bind(clean(&hello.version))
        .bind(clean(&hello.sharing))
        .bind(now)
        .bind(free)
        .bind(total)
        .bind(condition.and_then(|condition| condition.unwell.as_deref()).map(clean))
        .fetch_one(tx.conn())
        .await?;
        self.commit(tx).await?;
        Ok(WorkerId(id))
    }

    pub(crate) async fn worker_condition(
        &self,
        id: WorkerId,
        condition: &Condition,
    ) -> Result<(), StoreError> {
        let (free, total) = bytes(Some(condition));
        sqlx::query("UPDATE workers SET disk_free = $2, disk_total = $3, unwell = $4 WHERE id = $1")
            .bind(id.0)
            .bind(free)
            .bind(total)
            .bind(condition.unwell.as_deref().map(clean))
            .execute(&self.pools.write)
            .await?;
        Ok(())
    }

    pub(crate) async fn worker_shares(&self, id: WorkerId, sharing: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE workers SET sharing = $2 WHERE id = $1")
            .bind(id.0)
            .bind(clean(sharing))
            .execute(&self.pools.write)
            .await?;
        Ok(())
    }

    pub(crate) async fn worker_goodbye(&self, id: WorkerId) -> Result<(), StoreError> {
        let gone = sqlx::query("UPDATE workers SET connected = false WHERE id = $1")
            .bind(id.0)
            .execute(&self.pools.write)
            .await?;
        if gone.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!("worker {id}")));
        }
        Ok(())
    }

    pub(crate) async fn list_workers(&self) -> Result<Vec<Worker>, StoreError> {
        let mut tx = self.snapshot().await?;
        let now = now(&mut tx).await?;
        let workers: Vec<WorkerRow> = sqlx::query_as(
            "SELECT id, name, labels, slots, version, sharing, disk_free, disk_total, unwell, last_seen_at,
                    connected FROM workers ORDER BY name, id",
        )
        .fetch_all(&mut *tx)
        .await?;
        let held: Vec<HeldJobRow> = sqlx::query_as(concat!(
            "SELECT j.name AS job, ",
            held_columns!(),
            ", ",
            repo_columns!(),
            " FROM attempts a JOIN jobs j ON j.id = a.job_id JOIN builds b ON b.number = a.build
              JOIN repos r ON r.id = b.repo_id JOIN forges f ON f.id = r.forge_id
              WHERE a.lease_until IS NOT NULL ORDER BY a.id"
        ))
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        let mut holds: HashMap<WorkerId, Vec<(Held, Repo, String)>> = HashMap::new();
        for row in held {
            let held = row.held.into_held();
            holds.entry(held.worker).or_default().push((held, row.repo.into_repo()?, row.job));
        }
        workers
            .into_iter()
            .map(|row| {
                Ok(Worker {
                    id: WorkerId(row.id),
                    name: row.name,
                    labels: raw::labels(&row.labels)?,
                    slots: row.slots as u32,
                    version: row.version,
                    sharing: row.sharing,
                    condition: Condition {
                        disk: row
                            .disk_free
                            .zip(row.disk_total)
                            .map(|(free, total)| (free as u64, total as u64)),
                        unwell: row.unwell,
                    },
                    last_seen_at: time(row.last_seen_at)?,
                    silent_ms: (now - row.last_seen_at).max(0) / 1000,
                    connected: row.connected,
                    holds: holds.remove(&WorkerId(row.id)).unwrap_or_default(),
                })
            })
            .collect()
    }
}

/// Free and total, as the database takes them.
fn bytes(condition: Option<&Condition>) -> (Option<i64>, Option<i64>) {
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    condition.and_then(|condition| condition.disk).map(|(free, total)| (bytes(free), bytes(total))).unzip()
}
