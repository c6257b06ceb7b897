//! All rows out of a database and into another one, of either kind.
//!
//! Which tables go into a backup stands here; their columns are what the database says, so a new one is taken along
//! without a change here.

use std::io::Write;

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Pool};

use super::super::{Db, READ, catalogue};
use super::Conn;
use crate::StoreError;
use crate::backup::{About, BackupError, Table, Writer};

/// One table of a backup.
pub(crate) struct Kept {
    pub(crate) name: &'static str,
    /// What its rows are ordered by: its key.
    pub(crate) order: &'static str,
    /// How far the numbers of new rows jump after a restore. What was made after the backup is lost, but people, workers'
    /// folders and the names of containers still know its numbers: they are not given again.
    pub(crate) jump: Option<i64>,
}

const fn kept(name: &'static str, order: &'static str, jump: Option<i64>) -> Kept {
    Kept { name, order, jump }
}

/// People know builds by their numbers.
const NEAR: Option<i64> = Some(1_000);
const FAR: Option<i64> = Some(1_000_000);

/// The tables of the state; each one comes after those that its rows refer to.
pub(crate) const STATE: &[Kept] = &[
    kept("settings", "key", None),
    kept("forges", "id", NEAR),
    kept("repos", "id", NEAR),
    kept("builds", "number", NEAR),
    kept("jobs", "id", FAR),
    kept("attempts", "id", FAR),
    kept("stages", "id", FAR),
    kept("label_sets", "id", NEAR),
    kept("queue", "job_id", None),
    // Triggers make some of these rows when the queue is filled; they are replaced.
    kept("queue_lines", "label_set, repo_id", None),
    kept("events", "seq", FAR),
    kept("tokens", "id", NEAR),
    kept("workers", "id", NEAR),
];
/// The tables of the logs.
pub(crate) const LOGS: &[Kept] =
    &[kept("stage_logs", "stage_id", None), kept("log_chunks", "stage_id, start_at", None)];
/// The one of them that holds their bytes.
pub(crate) const BYTES: &str = "log_chunks";
/// Tables that are not in a backup: who is signed in has to sign in again, and the rest says nothing.
const LEFT_OUT: &[&str] = &["sessions", "sign_in_links", "_sqlx_migrations", "probe"];

/// Writes all rows as they are at one moment, the logs as they are a little later: they only grow. Answers how many rows
/// it wrote.
pub(crate) async fn dump<W: Write + Send>(
    state: &Pool<Db>,
    logs: &Pool<Db>,
    with_logs: bool,
    out: W,
) -> Result<u64, BackupError> {
    let mut snapshot = state.begin_with(READ).await?;
    check_known(&mut snapshot).await?;
    // A snapshot begins with its first question.
    let mut log_snapshot = logs.begin_with(READ).await?;
    check_known(&mut log_snapshot).await?;
    let mut writer = Writer::new(out, &About::new(with_logs))?;
    for table in STATE {
        copy(&mut snapshot, table, &mut writer).await?;
    }
    snapshot.commit().await?;
    for table in LOGS.iter().filter(|table| with_logs || table.name != BYTES) {
        copy(&mut log_snapshot, table, &mut writer).await?;
    }
    log_snapshot.commit().await?;
    writer.end()
}

/// A table that nobody thought of here would be lost without a word.
async fn check_known(conn: &mut Conn) -> Result<(), StoreError> {
    let known =
        |name: &str| STATE.iter().chain(LOGS).any(|table| table.name == name) || LEFT_OUT.contains(&name);
    match catalogue::tables(conn).await?.into_iter().find(|name| !known(name)) {
        Some(name) => Err(StoreError::Conflict(format!(
            "the database has a table `{name}` that this version of Ocelot does not know: a newer one has brought it up \
             to date, use that one"
        ))),
        None => Ok(()),
    }
}

async fn copy<W: Write + Send>(
    conn: &mut Conn,
    table: &Kept,
    out: &mut Writer<W>,
) -> Result<(), BackupError> {
    let columns = catalogue::columns(conn, table.name).await?;
    let names = columns.iter().map(|column| column.name.clone()).collect();
    out.table(&Table { table: table.name.to_owned(), columns: names })?;
    let row = catalogue::row(&columns);
    let sql = format!("SELECT {row} FROM {} ORDER BY {}", table.name, table.order);
    let mut rows = sqlx::query_scalar::<Db, String>(AssertSqlSafe(sql)).fetch(conn);
    while let Some(row) = rows.try_next().await? {
        out.row(&row)?;
    }
    Ok(())
}
