//! What became of webhooks: listed, shown, done again, and forgotten after a while.

use std::collections::HashMap;

use jiff::Timestamp;
use ocelot_model::{BuildNumber, DeliveryId, DeliveryState};
use sqlx::QueryBuilder;

use super::deliveries::{missing, unpack};
use super::{Conn, Core, Db};
use crate::raw::{RepoRow, maybe_time, read, time, to_json};
use crate::{Delivery, DeliveryFilter, DeliveryPart, StoreError, Wake};

/// At most this many in one answer.
const LIMIT: u32 = 1000;

const COLUMNS: &str = "SELECT d.id, d.repo_id, d.hook_id, d.remote_id, d.event, d.received_at, d.state, d.outcome, d.handled_at,
                             d.tries, f.name AS forge, f.kind
                      FROM deliveries d JOIN forges f ON f.id = d.forge_id";

#[derive(sqlx::FromRow)]
struct DeliveryRow {
    id: i64,
    repo_id: Option<i64>,
    hook_id: Option<String>,
    remote_id: String,
    event: String,
    received_at: i64,
    state: String,
    outcome: String,
    handled_at: Option<i64>,
    tries: i64,
    forge: String,
    kind: String,
}

#[derive(sqlx::FromRow)]
struct PartRow {
    delivery: i64,
    subject: String,
    state: String,
    outcome: String,
    build: Option<i64>,
}

impl Core {
    pub(crate) async fn list_deliveries(
        &self,
        filter: &DeliveryFilter,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let mut sql = QueryBuilder::<Db>::new(COLUMNS);
        sql.push(" WHERE d.id < ").push_bind(filter.before.map_or(i64::MAX, |id| id.0));
        if let Some(repo) = filter.repo {
            sql.push(" AND d.repo_id = ").push_bind(repo.0);
        }
        if let Some(readable) = &filter.readable {
            // Numbers need no binding, and there may be more of them than a statement takes.
            sql.push(" AND d.repo_id IN (-1");
            for id in readable {
                sql.push(", ").push(id.0);
            }
            sql.push(")");
        }
        if let Some(forge) = &filter.forge {
            sql.push(" AND f.name = ").push_bind(forge);
        }
        if let Some(state) = filter.state {
            sql.push(" AND d.state = ").push_bind(state.as_str());
        }
        sql.push(" ORDER BY d.id DESC LIMIT ").push_bind(i64::from(limit.min(LIMIT)));
        let mut tx = self.snapshot().await?;
        let rows: Vec<DeliveryRow> = sql.build_query_as().fetch_all(&mut *tx).await?;
        complete(&mut tx, rows).await
    }

    pub(crate) async fn find_delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        let mut sql = QueryBuilder::<Db>::new(COLUMNS);
        sql.push(" WHERE d.id = ").push_bind(id.0);
        let mut tx = self.snapshot().await?;
        let rows: Vec<DeliveryRow> = sql.build_query_as().fetch_all(&mut *tx).await?;
        Ok(complete(&mut tx, rows).await?.pop())
    }

    /// Its raw bytes.
    pub(crate) async fn load_delivery_body(&self, id: DeliveryId) -> Result<Vec<u8>, StoreError> {
        let body: Option<Vec<u8>> = sqlx::query_scalar("SELECT body FROM deliveries WHERE id = $1")
            .bind(id.0)
            .fetch_optional(&self.pools.read)
            .await?;
        unpack(&body.ok_or_else(|| missing(id))?)
    }

    /// Works on it again from the beginning; parts that have a build keep it.
    pub(crate) async fn replay_delivery(&self, id: DeliveryId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let now = tx.now;
        // What has a build, or is a copy of something, is done; only what came to nothing is tried once more.
        let again = sqlx::query(
            "UPDATE delivery_parts SET state = 'waiting', outcome = ''
             WHERE delivery = $1 AND build IS NULL AND state NOT IN ('waiting', 'duplicate', 'superseded')",
        )
        .bind(id.0)
        .execute(tx.conn())
        .await?;
        let waits = again.rows_affected() > 0;
        let changed = sqlx::query(
            "UPDATE deliveries SET tries = 0, since = $1, not_before = 0,
                    state = CASE WHEN $2 THEN 'waiting' ELSE state END,
                    outcome = CASE WHEN $2 THEN '' ELSE outcome END
             WHERE id = $3",
        )
        .bind(now)
        .bind(waits)
        .bind(id.0)
        .execute(tx.conn())
        .await?;
        if changed.rows_affected() == 0 {
            return Err(missing(id));
        }
        tx.wake(Wake::Deliveries);
        self.commit(tx).await
    }

    pub(crate) async fn expire_deliveries(&self, before: Timestamp, limit: u32) -> Result<usize, StoreError> {
        let gone = sqlx::query(
            "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE received_at < $1 AND state <> 'waiting'
                                                 ORDER BY received_at LIMIT $2)",
        )
        .bind(before.as_microsecond())
        .bind(i64::from(limit))
        .execute(&self.pools.write)
        .await?;
        Ok(gone.rows_affected() as usize)
    }

    /// Forgets up to `limit` deliveries of a repository; answers how many.
    pub(super) async fn remove_deliveries(&self, repo: i64, limit: i64) -> Result<u64, StoreError> {
        let gone = sqlx::query(
            "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE repo_id = $1 LIMIT $2)",
        )
        .bind(repo)
        .bind(limit)
        .execute(&self.pools.write)
        .await?;
        Ok(gone.rows_affected())
    }
}

/// With their repositories and parts.
async fn complete(conn: &mut Conn, rows: Vec<DeliveryRow>) -> Result<Vec<Delivery>, StoreError> {
    let mut repos = HashMap::new();
    let mut wanted: Vec<i64> = rows.iter().filter_map(|row| row.repo_id).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let found: Vec<RepoRow> = sqlx::query_as(concat!(
        "SELECT ",
        repo_columns!(),
        " FROM ",
        repo_tables!(),
        " WHERE NOT r.removing AND r.id IN ",
        ids!("$1")
    ))
    .bind(to_json(&wanted)?)
    .fetch_all(&mut *conn)
    .await?;
    for row in found {
        repos.insert(row.repo_id, row.into_repo()?);
    }
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let parts: Vec<PartRow> = sqlx::query_as(concat!(
        "SELECT delivery, subject, state, outcome, build FROM delivery_parts WHERE delivery IN ",
        ids!("$1"),
        " ORDER BY delivery, place"
    ))
    .bind(to_json(&ids)?)
    .fetch_all(conn)
    .await?;
    let mut of: HashMap<i64, Vec<DeliveryPart>> = HashMap::new();
    for PartRow { delivery, subject, state, outcome, build } in parts {
        let (state, build) = (read::<DeliveryState>(&state)?, build.map(BuildNumber));
        of.entry(delivery).or_default().push(DeliveryPart { subject, state, outcome, build });
    }
    rows.into_iter()
        .map(|row| {
            Ok(Delivery {
                id: DeliveryId(row.id),
                forge: row.forge,
                kind: read(&row.kind)?,
                repo: row.repo_id.and_then(|id| repos.get(&id).cloned()),
                hook: row.hook_id,
                remote_id: row.remote_id,
                event: row.event,
                received_at: time(row.received_at)?,
                state: read(&row.state)?,
                outcome: row.outcome,
                handled_at: maybe_time(row.handled_at)?,
                tries: row.tries as u32,
                parts: of.remove(&row.id).unwrap_or_default(),
            })
        })
        .collect()
}
