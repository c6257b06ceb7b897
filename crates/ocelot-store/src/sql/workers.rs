//! Workers: who they are, when they were last heard of, what they hold.

use std::collections::HashMap;

use ocelot_model::{AuditAction, TokenId, WorkerId};

use super::enrolments::OWN;
use super::{Core, Tx};
use super::{now, tokens};
use crate::raw::{self, HeldRow, RepoRow, clean, time, to_json};
use crate::{Condition, Held, Hello, Identity, Lease, Repo, Standing, StoreError, Wake, Worker, secret};

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
    enrolled: bool,
    token: Option<String>,
    drained_by: Option<String>,
    ending: bool,
    twin_at: Option<i64>,
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
        let meeting = self.meet(&mut tx, hello).await?;
        if let Some(meeting) = &meeting
            && let Some(refusal) = meeting.refusal(&mut tx).await?
        {
            self.commit(tx).await?;
            return Err(refusal);
        }
        let id = match hello.identity {
            Identity::Token(token) => hello_with_token(&mut tx, token, hello).await?,
            Identity::Own(id) => hello_of_its_own(&mut tx, id, hello).await?,
        };
        if let Some(meeting) = meeting {
            meeting.write(&mut tx, id).await?;
        }
        self.commit(tx).await?;
        Ok(id)
    }

    /// The worker whose own secret this is.
    pub(crate) async fn find_worker(&self, secret: &str) -> Result<Option<WorkerId>, StoreError> {
        let id: Option<i64> = sqlx::query_scalar("SELECT id FROM workers WHERE secret_sha256 = $1")
            .bind(secret::hash(secret))
            .fetch_optional(&self.pools.read)
            .await?;
        Ok(id.map(WorkerId))
    }

    pub(crate) async fn worker_standing(
        &self,
        id: WorkerId,
        identity: Identity,
    ) -> Result<Standing, StoreError> {
        let now = self.now().await?;
        let token = match identity {
            Identity::Token(token) => token.0,
            Identity::Own(_) => OWN,
        };
        let row: Option<(String, String, bool, Option<String>, bool, bool)> = sqlx::query_as(
            "SELECT w.name, w.labels, w.drained_by IS NOT NULL, w.process, w.former IS NOT NULL OR w.twin IS NOT NULL,
                    CASE WHEN $2 = 0 THEN w.secret_sha256 IS NOT NULL ELSE EXISTS
                        (SELECT 1 FROM tokens WHERE id = $2 AND (expires_at IS NULL OR expires_at > $3)) END
             FROM workers w WHERE w.id = $1",
        )
        .bind(id.0)
        .bind(token)
        .bind(now)
        .fetch_optional(&self.pools.read)
        .await?;
        Ok(match row {
            None => Standing::Removed,
            Some((.., false)) => Standing::Barred,
            Some((name, labels, drained, process, followed, true)) => {
                Standing::Good { name, labels: raw::labels(&labels)?, drained, process, followed }
            }
        })
    }

    /// True when this lease is good, but not for this caller.
    pub(crate) async fn is_anothers(&self, lease: &Lease, caller: Identity) -> Result<bool, StoreError> {
        let (own, token) = match caller {
            Identity::Own(worker) => (worker.0, OWN),
            Identity::Token(token) => (0, token.0),
        };
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM attempts a JOIN workers w ON w.id = a.worker_id
             WHERE a.id = $1 AND a.lease_token = $2 AND NOT (w.id = $3 OR (w.token_id = $4 AND w.token_id <> 0))",
        )
        .bind(lease.attempt_id.0)
        .bind(&lease.token)
        .bind(own)
        .bind(token)
        .fetch_one(&self.pools.read)
        .await?;
        Ok(count > 0)
    }

    pub(crate) async fn workers_beat(
        &self,
        workers: &[WorkerId],
    ) -> Result<Vec<(WorkerId, Option<bool>)>, StoreError> {
        let ids = to_json(&workers.iter().map(|worker| worker.0).collect::<Vec<_>>())?;
        let mut tx = self.begin().await?;
        let now = tx.now;
        sqlx::query(concat!(
            "UPDATE workers SET last_seen_at = $2, connected = true WHERE id IN ",
            ids!("$1")
        ))
        .bind(&ids)
        .bind(now)
        .execute(tx.conn())
        .await?;
        let good: Vec<(i64, bool)> = sqlx::query_as(concat!(
            "SELECT w.id, w.drained_by IS NOT NULL FROM workers w
             WHERE CASE WHEN w.token_id = 0 THEN w.secret_sha256 IS NOT NULL ELSE EXISTS
                   (SELECT 1 FROM tokens t
                    WHERE t.id = w.token_id AND (t.expires_at IS NULL OR t.expires_at > $2)) END
                   AND w.id IN ",
            ids!("$1")
        ))
        .bind(&ids)
        .bind(now)
        .fetch_all(tx.conn())
        .await?;
        self.commit(tx).await?;
        let good: HashMap<i64, bool> = good.into_iter().collect();
        Ok(workers.iter().map(|worker| (*worker, good.get(&worker.0).copied())).collect())
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
            return Err(missing(id));
        }
        Ok(())
    }

    pub(crate) async fn worker_ends(&self, id: WorkerId) -> Result<(), StoreError> {
        sqlx::query("UPDATE workers SET ending = true WHERE id = $1 AND NOT ending")
            .bind(id.0)
            .execute(&self.pools.write)
            .await?;
        Ok(())
    }

    pub(crate) async fn drain_worker(&self, id: WorkerId, drained: bool, by: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let name: Option<String> =
            sqlx::query_scalar("UPDATE workers SET drained_by = $2 WHERE id = $1 RETURNING name")
                .bind(id.0)
                .bind(drained.then(|| clean(by)))
                .fetch_optional(tx.conn())
                .await?;
        let name = name.ok_or_else(|| missing(id))?;
        let action = if drained { AuditAction::WorkerDrained } else { AuditAction::WorkerResumed };
        tx.note(by, action, &format!("worker {id}"), &name).await?;
        tx.wake(Wake::Worker(id));
        self.commit(tx).await
    }

    /// Takes its identity away and gives it no more jobs; its row stays until [`Core::delete_worker`].
    pub(crate) async fn bar_worker(&self, id: WorkerId, by: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let now = tx.now;
        sqlx::query(
            "INSERT INTO removed_workers (secret_sha256, name, removed_by, removed_at)
             SELECT secret_sha256, name, $2, $3 FROM workers WHERE id = $1 AND secret_sha256 IS NOT NULL
             ON CONFLICT (secret_sha256) DO NOTHING",
        )
        .bind(id.0)
        .bind(clean(by))
        .bind(now)
        .execute(tx.conn())
        .await?;
        let name: Option<String> = sqlx::query_scalar(
            "UPDATE workers SET secret_sha256 = NULL, drained_by = $2 WHERE id = $1 RETURNING name",
        )
        .bind(id.0)
        .bind(clean(by))
        .fetch_optional(tx.conn())
        .await?;
        let name = name.ok_or_else(|| missing(id))?;
        tx.note(by, AuditAction::WorkerRemoved, &format!("worker {id}"), &name).await?;
        self.commit(tx).await
    }

    pub(crate) async fn delete_worker(&self, id: WorkerId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM workers WHERE id = $1").bind(id.0).execute(tx.conn()).await?;
        tx.wake(Wake::Worker(id));
        self.commit(tx).await
    }

    pub(crate) async fn workers_of_token(&self, token: TokenId) -> Result<Vec<WorkerId>, StoreError> {
        let ids: Vec<i64> = sqlx::query_scalar("SELECT id FROM workers WHERE token_id = $1 ORDER BY id")
            .bind(token.0)
            .fetch_all(&self.pools.read)
            .await?;
        Ok(ids.into_iter().map(WorkerId).collect())
    }

    pub(crate) async fn list_workers(&self) -> Result<Vec<Worker>, StoreError> {
        let mut tx = self.snapshot().await?;
        let now = now(&mut tx).await?;
        let workers: Vec<WorkerRow> = sqlx::query_as(
            "SELECT w.id, w.name, w.labels, w.slots, w.version, w.sharing, w.disk_free, w.disk_total, w.unwell,
                    w.last_seen_at, w.connected, w.token_id = 0 AS enrolled, t.name AS token, w.drained_by, w.ending, w.twin_at
             FROM workers w LEFT JOIN tokens t ON t.id = w.token_id ORDER BY w.name, w.id",
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
                let holds = holds.remove(&WorkerId(row.id)).unwrap_or_default();
                row.into_worker(now, holds)
            })
            .collect()
    }
}

/// Free and total, as the database takes them.
fn bytes(condition: Option<&Condition>) -> (Option<i64>, Option<i64>) {
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    condition.and_then(|condition| condition.disk).map(|(free, total)| (bytes(free), bytes(total))).unzip()
}

impl WorkerRow {
    fn into_worker(self, now: i64, holds: Vec<(Held, Repo, String)>) -> Result<Worker, StoreError> {
        Ok(Worker {
            id: WorkerId(self.id),
            name: self.name,
            labels: raw::labels(&self.labels)?,
            slots: self.slots as u32,
            version: self.version,
            sharing: self.sharing,
            condition: Condition {
                disk: self.disk_free.zip(self.disk_total).map(|(free, total)| (free as u64, total as u64)),
                unwell: self.unwell,
            },
            last_seen_at: time(self.last_seen_at)?,
            silent_ms: (now - self.last_seen_at).max(0) / 1000,
            connected: self.connected,
            enrolled: self.enrolled,
            token: self.token,
            drained_by: self.drained_by,
            ending: self.ending,
            twin_at: self.twin_at.map(time).transpose()?,
            holds,
        })
    }
}

async fn hello_with_token(tx: &mut Tx, token: TokenId, hello: &Hello) -> Result<WorkerId, StoreError> {
    let known: Option<i64> = sqlx::query_scalar("SELECT id FROM tokens WHERE id = $1")
        .bind(token.0)
        .fetch_optional(tx.conn())
        .await?;
    known.ok_or_else(|| tokens::missing(token))?;
    let now = tx.now;
    let condition = hello.condition.as_ref();
    let (free, total) = bytes(condition);
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO workers (token_id, name, labels, slots, version, sharing, last_seen_at, connected,
                              disk_free, disk_total, unwell)
         VALUES ($1, $2, $3, $4, $5, $6, $7, true, $8, $9, $10)
         ON CONFLICT (token_id, name) DO UPDATE SET labels = excluded.labels, slots = excluded.slots,
             version = excluded.version, sharing = excluded.sharing,
             last_seen_at = excluded.last_seen_at, connected = true, ending = false,
             disk_free = excluded.disk_free, disk_total = excluded.disk_total, unwell = excluded.unwell
         RETURNING id",
    )
    .bind(token.0)
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
    Ok(WorkerId(id))
}

/// Its name, and the labels of its enrolment, are not its own to choose.
async fn hello_of_its_own(tx: &mut Tx, id: WorkerId, hello: &Hello) -> Result<WorkerId, StoreError> {
    let enrolled: Option<String> =
        sqlx::query_scalar("SELECT enrolled_labels FROM workers WHERE id = $1 AND secret_sha256 IS NOT NULL")
            .bind(id.0)
            .fetch_optional(tx.conn())
            .await?;
    let mut labels = hello.labels.clone();
    labels.extend(raw::labels(&enrolled.ok_or_else(|| missing(id))?)?);
    let now = tx.now;
    let condition = hello.condition.as_ref();
    let (free, total) = bytes(condition);
    sqlx::query(
        "UPDATE workers SET labels = $2, slots = $3, version = $4, sharing = $5, last_seen_at = $6,
                            connected = true, ending = false, disk_free = $7, disk_total = $8, unwell = $9
         WHERE id = $1",
    )
    .bind(id.0)
    .bind(to_json(&labels)?)
    .bind(i64::from(hello.slots))
    .bind(clean(&hello.version))
    .bind(clean(&hello.sharing))
    .bind(now)
    .bind(free)
    .bind(total)
    .bind(condition.and_then(|condition| condition.unwell.as_deref()).map(clean))
    .execute(tx.conn())
    .await?;
    Ok(id)
}

fn missing(id: WorkerId) -> StoreError {
    StoreError::NotFound(format!("worker {id}"))
}
