//! All rows out of a database and into another one, of either kind.
//!
//! Which tables go into a backup stands here; their columns are what the database says, so a new one is taken along
//! without a change here.

use std::io::Write;

use futures_util::TryStreamExt as _;
use serde_json::json;
use sqlx::{AssertSqlSafe, Pool};

use super::super::{Db, READ, catalogue};
use super::Conn;
use crate::backup::{About, BackupError, Table, Writer};
use crate::log_store::LogStore;
use crate::{LogPlace, Options, StoreError, chunk, secret};

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
    kept("hooks", "id", None),
    kept("reconciled", "repo_id", None),
    kept("polls", "id", NEAR),
    kept("schedules", "id", NEAR),
    kept("active_subscriptions", "id", NEAR),
    kept("deliveries", "id", NEAR),
    kept("delivery_parts", "delivery, place", None),
    kept("builds", "number", NEAR),
    kept("subscription_passes", "id", NEAR),
    kept("subscription_data", "build", None),
    kept("jobs", "id", FAR),
    kept("attempts", "id", FAR),
    kept("stages", "id", FAR),
    kept("stage_novel", "stage_id", None),
    kept("outbox", "id", NEAR),
    kept("label_sets", "id", NEAR),
    kept("queue", "job_id", None),
    // Triggers make some of these rows when the queue is filled; they are replaced.
    kept("queue_lines", "label_set, repo_id", None),
    kept("events", "seq", FAR),
    kept("secrets", "id", NEAR),
    kept("tokens", "id", NEAR),
    kept("enrolments", "id", NEAR),
    kept("audit", "id", FAR),
    kept("workers", "id", NEAR),
    kept("removed_workers", "secret_sha256", None),
    kept("series", "id", NEAR),
    kept("tallies", "series_id, hours, period", None),
    kept("build_blocks", "block", None),
    kept("build_grams", "gram, part", None),
    kept("badge_keys", "repo_id", None),
];
/// The tables of the logs.
pub(crate) const LOGS: &[Kept] =
    &[kept("stage_logs", "stage_id", None), kept("log_chunks", "stage_id, start_at", None)];
/// The one of them that holds their bytes.
pub(crate) const BYTES: &str = "log_chunks";
/// Tables that are not in a backup: who is signed in has to sign in again, what lies in the log store is taken out of it,
/// shapes are learned anew, and the rest says nothing.
const LEFT_OUT: &[&str] =
    &["sessions", "sign_in_links", "log_blobs", "stage_shapes", "_sqlx_migrations", "probe"];
/// Bytes of a log that are read from the log store at once.
const PIECE: usize = 1 << 20;

/// Writes all rows as they are at one moment, the logs as they are a little later: they only grow. Answers how many rows
/// it wrote.
pub(crate) async fn dump<W: Write + Send>(
    state: &Pool<Db>,
    logs: &Pool<Db>,
    options: &Options,
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
    // They come last, and look like the others.
    let place = options.log_store.place.clone().unwrap_or_else(|| LogPlace::below(&options.data));
    let missing = if with_logs {
        copy_stored(&mut log_snapshot, options, &place, &mut writer).await?
    } else {
        Vec::new()
    };
    log_snapshot.commit().await?;
    // As it is now, which the snapshot does not see.
    check_missing(logs, &missing, &place).await?;
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
    // Which log store it has, and who uses that, is true of this database alone.
    let only = if table.name == "settings" { "WHERE key NOT LIKE 'log-store%'" } else { "" };
    let sql = format!("SELECT {row} FROM {} {only} ORDER BY {}", table.name, table.order);
    let mut rows = sqlx::query_scalar::<Db, String>(AssertSqlSafe(sql)).fetch(conn);
    while let Some(row) = rows.try_next().await? {
        out.row(&row)?;
    }
    Ok(())
}

/// The logs that lie only in the log store, as rows of [`BYTES`]; answers the stages and blobs that are not there.
async fn copy_stored<W: Write + Send>(
    conn: &mut Conn,
    options: &Options,
    place: &LogPlace,
    out: &mut Writer<W>,
) -> Result<Vec<(i64, String)>, BackupError> {
    let stored: Vec<(i64, String, i64)> = sqlx::query_as(
        "SELECT stage_id, blob, bytes FROM stage_logs
         WHERE blob IS NOT NULL AND hot_until IS NULL AND NOT removed ORDER BY stage_id",
    )
    .fetch_all(&mut *conn)
    .await?;
    if stored.is_empty() {
        return Ok(Vec::new());
    }
    let columns = catalogue::columns(conn, BYTES).await?;
    if let LogPlace::Folder { path, .. } = place
        && !path.is_dir()
    {
        return Err(not_there(place).into());
    }
    let store = LogStore::open(place.clone(), &options.log_store.variables)?;
    let mut missing = Vec::new();
    for (stage, blob, bytes) in stored {
        let mut at = 0;
        while at < bytes {
            let Some(slice) = store.read(&blob, at as u64, PIECE).await? else {
                missing.push((stage, blob));
                break;
            };
            if slice.data.is_empty() {
                return Err(StoreError::Corrupt(format!(
                    "the log of stage {stage} ends early in its log store"
                ))
                .into());
            }
            for chunk in chunk::cut(&slice.data, &slice.marks)? {
                let value = |name: &str| {
                    Ok(match name {
                        "stage_id" => json!(stage),
                        "start_at" => json!(at),
                        "len" => json!(chunk.len),
                        "marks" => json!(secret::hex(&chunk.marks)),
                        "data" => json!(secret::hex(&chunk.data)),
                        other => return Err(StoreError::Corrupt(format!("{BYTES} has a column `{other}`"))),
                    })
                };
                let row = columns.iter().map(|column| value(&column.name)).collect::<Result<Vec<_>, _>>()?;
                out.row(&serde_json::Value::from(row).to_string())?;
                at += chunk.len as i64;
            }
        }
    }
    Ok(missing)
}

/// An error when one of these logs still is where it could not be found. What was removed in the meantime is no loss.
async fn check_missing(
    logs: &Pool<Db>,
    missing: &[(i64, String)],
    place: &LogPlace,
) -> Result<(), StoreError> {
    for (stage, blob) in missing {
        let still =
            "SELECT EXISTS (SELECT 1 FROM stage_logs WHERE stage_id = $1 AND blob = $2 AND NOT removed)";
        if sqlx::query_scalar(still).bind(stage).bind(blob).fetch_one(logs).await? {
            return Err(not_there(place));
        }
    }
    Ok(())
}

fn not_there(place: &LogPlace) -> StoreError {
    let words = format!(
        "the log store {place} does not have the logs that lie in it. Give the server's own with --log-store, or leave logs \
         out with --without-logs"
    );
    StoreError::LogStore(words)
}
