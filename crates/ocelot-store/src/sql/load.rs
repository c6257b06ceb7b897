//! A backup becomes a database again.
//!
//! Whoever had a lease when the backup was made has none any more: between the backup and now, time has passed that this
//! database knows nothing of. Their attempts count as lost, and are tried again.

use std::path::Path;

use ocelot_model::build::Happening;
use sqlx::AssertSqlSafe;

use super::super::{WRITE, catalogue, now};
use super::dump::{Kept, LOGS, STATE};
use super::{Conn, Core};
use crate::backup::{About, BackupError, Line, Reader, Table};
use crate::catalogue::Column;
use crate::{Lost, Mark, StoreError, chunk, secret};

/// Bytes of JSON that are inserted at once, about.
const BATCH: usize = 4 << 20;
/// Said of attempts that were with a worker.
const LOST: &str = "the server was restored from a backup that was made while this ran";
/// Stands in the place of logs that were left out of the backup.
const NO_LOGS: &str = "[this log was left out of the backup that the server was restored from]\n";

impl Core {
    /// Fills this empty database with all that is in the file, or changes nothing.
    pub(crate) async fn load(&self, path: &Path) -> Result<About, BackupError> {
        let mut reader = Reader::open(path)?;
        let about = reader.about.clone();
        let mut logs = self.pools.write_logs.begin_with(WRITE).await?;
        // On SQLite these are two files; the logs are committed first, since nothing refers to what is not there.
        let mut state = self.pools.write.begin_with(WRITE).await?;
        check_empty(&mut state, STATE).await?;
        check_empty(&mut logs, LOGS).await?;
        let log_store: Option<String> =
            sqlx::query_scalar("SELECT value FROM settings WHERE key = 'log-store'")
                .fetch_optional(&mut *state)
                .await?;
        fill(&mut reader, &mut state, &mut logs).await?;
        tidy(&mut state, &mut logs).await?;
        put_notes(&mut logs).await?;
        // A server that has looked at this database before has marked a log store as its own.
        sqlx::query("INSERT INTO settings (key, value) SELECT 'log-store', $1 WHERE $1 IS NOT NULL")
            .bind(log_store)
            .execute(&mut *state)
            .await?;
        logs.commit().await.map_err(StoreError::from)?;
        state.commit().await.map_err(StoreError::from)?;
        self.lose_all().await?;
        Ok(about)
    }

    /// What workers had is tried again; what they were offered waits again.
    async fn lose_all(&self) -> Result<(), StoreError> {
        // Offers first; what is left was accepted.
        for Lost { held, .. } in self.expired_leases().await? {
            let what = Happening::Lost { job: held.job_id, attempt: held.attempt, reason: LOST.to_owned() };
            self.advance(held.build, what).await?;
        }
        Ok(())
    }
}

/// A database in which a server has already begun has tokens at least.
async fn check_empty(conn: &mut Conn, tables: &[Kept]) -> Result<(), StoreError> {
    for table in tables.iter().filter(|table| !matches!(table.name, "settings" | "forges")) {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", table.name);
        if sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *conn).await? {
            let words = format!(
                "the database is not empty: there are rows in {}. A backup is restored into a new database, before a server \
                 has used it",
                table.name
            );
            return Err(StoreError::Conflict(words));
        }
    }
    Ok(())
}

async fn fill(reader: &mut Reader, state: &mut Conn, logs: &mut Conn) -> Result<(), BackupError> {
    let mut target: Option<Target> = None;
    loop {
        match reader.next()? {
            Line::Row(row) => {
                let Some(target) = &mut target else {
                    return Err(BackupError::Damaged(
                        "the backup file is damaged: a row has no table".into(),
                    ));
                };
                target.batch.push_str(if target.batch.is_empty() { "[" } else { "," });
                target.batch.push_str(&row);
                if target.batch.len() >= BATCH {
                    target.insert(state, logs).await?;
                }
            }
            next => {
                if let Some(target) = &mut target {
                    target.insert(state, logs).await?;
                }
                match next {
                    Line::Table(table) => target = Some(Target::begin(table, state, logs).await?),
                    Line::Row(_) | Line::End => return Ok(()),
                }
            }
        }
    }
}

/// The table that is filled.
struct Target {
    insert: String,
    is_log: bool,
    batch: String,
}

impl Target {
    async fn begin(table: Table, state: &mut Conn, logs: &mut Conn) -> Result<Target, BackupError> {
        let unknown = |what: String| {
            StoreError::Conflict(format!(
                "the backup has {what}, which this version does not know: restore it with the version that made it, or a \
                 newer one"
            ))
        };
        let is_log = LOGS.iter().any(|kept| kept.name == table.table);
        if !is_log && !STATE.iter().any(|kept| kept.name == table.table) {
            return Err(unknown(format!("a table `{}`", table.table)).into());
        }
        let conn = if is_log { logs } else { state };
        let own = catalogue::columns(conn, &table.table).await?;
        let columns: Vec<Column> = table
            .columns
            .iter()
            .map(|name| own.iter().find(|column| column.name == *name).cloned().ok_or(name))
            .collect::<Result<_, _>>()
            .map_err(|name| unknown(format!("a column `{name}` in `{}`", table.table)))?;
        // What a new database brings along, or triggers have made.
        let clear = format!("DELETE FROM {}", table.table);
        sqlx::query(AssertSqlSafe(clear)).execute(conn).await?;
        Ok(Target { insert: catalogue::insert(&table.table, &columns), is_log, batch: String::new() })
    }

    async fn insert(&mut self, state: &mut Conn, logs: &mut Conn) -> Result<(), StoreError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.batch) + "]";
        let conn = if self.is_log { logs } else { state };
        sqlx::query(AssertSqlSafe(self.insert.clone())).bind(rows).execute(conn).await?;
        Ok(())
    }
}

/// Ends what was true only of the server that the backup was made of.
async fn tidy(state: &mut Conn, logs: &mut Conn) -> Result<(), StoreError> {
    let now = now(state).await?;
    // The lease is over at once, and no worker knows this token.
    sqlx::query("UPDATE attempts SET lease_token = $1, lease_until = $2 WHERE lease_token IS NOT NULL")
        .bind(secret::random::<16>().to_vec())
        .bind(now)
        .execute(&mut *state)
        .await?;
    sqlx::query("UPDATE workers SET connected = false").execute(&mut *state).await?;
    sqlx::query("DELETE FROM settings WHERE key = 'ready' OR key LIKE 'turn:%' OR key LIKE 'alone:%'")
        .execute(&mut *state)
        .await?;
    let last: i64 =
        sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM stages").fetch_one(&mut *state).await?;
    for table in STATE {
        if let Some(by) = table.jump {
            catalogue::jump(state, table.name, table.order, by).await?;
        }
    }
    // All logs are in the database now, until they are copied into the log store of the new server.
    sqlx::query("UPDATE stage_logs SET blob = NULL, hot_until = NULL").execute(&mut *logs).await?;
    // Logs of stages that began after the state was written down.
    sqlx::query("DELETE FROM log_chunks WHERE stage_id > $1").bind(last).execute(&mut *logs).await?;
    sqlx::query("DELETE FROM stage_logs WHERE stage_id > $1").bind(last).execute(logs).await?;
    Ok(())
}

/// Says in the place of each log that is not there why.
async fn put_notes(logs: &mut Conn) -> Result<(), StoreError> {
    let now = now(logs).await?;
    sqlx::query(
        "UPDATE stage_logs SET bytes = $1, complete = true, removed = true, sha256 = NULL
         WHERE bytes > 0 AND NOT EXISTS (SELECT 1 FROM log_chunks c WHERE c.stage_id = stage_logs.stage_id)",
    )
    .bind(NO_LOGS.len() as i64)
    .execute(&mut *logs)
    .await?;
    for chunk in chunk::cut(NO_LOGS.as_bytes(), &[Mark { at: 0, time_us: now }])? {
        sqlx::query(
            "INSERT INTO log_chunks (stage_id, start_at, len, marks, data)
             SELECT stage_id, 0, $1, $2, $3 FROM stage_logs l
             WHERE bytes > 0 AND NOT EXISTS (SELECT 1 FROM log_chunks c WHERE c.stage_id = l.stage_id)",
        )
        .bind(chunk.len as i64)
        .bind(&chunk.marks)
        .bind(&chunk.data)
        .execute(&mut *logs)
        .await?;
    }
    Ok(())
}
