//! SQLite: two files, one writer each. Only what differs from PostgreSQL stands here; the SQL is in `sql/`.

use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::Connection as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};

use crate::wake::Wakes;
use crate::{Options, StoreError, migrations};

pub(crate) type Db = sqlx::Sqlite;

/// One writer at a time, from the beginning, so that no transaction fails half way for a lock.
pub(crate) const WRITE: &str = "BEGIN IMMEDIATE";
/// Claims are made one after the other, like all that is written.
pub(crate) const CLAIM: &str = WRITE;
/// A transaction sees one state of the database.
pub(crate) const READ: &str = "BEGIN";

// There is one writer: nothing needs a lock.
macro_rules! for_update {
    () => {
        ""
    };
}
macro_rules! for_no_key_update {
    () => {
        ""
    };
}
macro_rules! for_no_key_update_of_build {
    () => {
        ""
    };
}
macro_rules! for_no_key_update_of_build_skip_locked {
    () => {
        ""
    };
}
macro_rules! for_key_share {
    () => {
        ""
    };
}
macro_rules! skip_locked {
    () => {
        ""
    };
}
/// Several changes and a query in one call; all have the same bound values.
macro_rules! at_once {
    ($one:expr, $two:expr, $three:expr, $four:expr, $five:expr, $query:expr) => {
        concat!($one, "; ", $two, "; ", $three, "; ", $four, "; ", $five, "; ", $query)
    };
}
/// The clock as SQL, to the millisecond.
macro_rules! now_us {
    () => {
        "CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER)"
    };
}
/// Writes events (a JSON list of `[build, repository, body]`, `$1`) and answers the last one's number. The single writer
/// orders them already, and no other process listens (`$2`).
macro_rules! insert_events {
    () => {
        "INSERT INTO events (build, repo_id, body)
         SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($1) WHERE $2 IS NOT NULL ORDER BY key
         RETURNING seq"
    };
}
/// The elements of a JSON list that is bound as text, each a `value`.
macro_rules! elements {
    ($bound:literal) => {
        concat!("json_each(", $bound, ") AS e")
    };
}
macro_rules! from_hex {
    ($text:literal) => {
        concat!("unhex(", $text, ")")
    };
}
/// The numbers of a JSON list that is bound as text.
macro_rules! ids {
    ($bound:literal) => {
        concat!("(SELECT value FROM json_each(", $bound, "))")
    };
}

/// Builds of each repository of a JSON list, which is bound as text between the first two parts, newest first; more that they
/// have to be, and how many of each, stands between the last two.
pub(crate) const OF_EACH_REPO: [&str; 3] = [
    "SELECT b.number FROM json_each(",
    ") AS r CROSS JOIN builds b ON b.number IN (SELECT number FROM builds WHERE repo_id = r.value AND number >= ",
    ") ORDER BY 1 DESC LIMIT ",
];

/// Each build (`b`) of the numbers `c`, found by its number: the order of the tables is the order in which they are read.
pub(crate) const EACH_BUILD: &str = " CROSS JOIN builds b";

#[path = "sqlite/catalogue.rs"]
pub(crate) mod catalogue;
#[path = "sql/mod.rs"]
pub(crate) mod sql;

/// The process is the database, so its clock is the database's clock.
pub(crate) async fn now(_: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    Ok(Timestamp::now().as_microsecond())
}

/// Tells states of the database apart: only one connection changes it.
#[derive(Debug, Clone, Default)]
pub(crate) struct State(Arc<Writer>);

#[derive(Debug, Default)]
struct Writer {
    /// Somebody has the connection: something may just have been committed.
    taken: AtomicBool,
    /// How often it was given back.
    turns: AtomicU64,
}

impl State {
    /// Another word as soon as anything may have changed; none while something may be changing.
    #[expect(clippy::unused_async, reason = "the other database has to be asked")]
    pub(crate) async fn read(&self, _: &sqlx::SqlitePool) -> Result<Option<String>, sqlx::Error> {
        let turns = self.0.turns.load(Ordering::SeqCst);
        Ok((!self.0.taken.load(Ordering::SeqCst)).then(|| turns.to_string()))
    }

    fn take(&self) {
        self.0.taken.store(true, Ordering::SeqCst);
    }

    fn give_back(&self) {
        self.0.turns.fetch_add(1, Ordering::SeqCst);
        self.0.taken.store(false, Ordering::SeqCst);
    }
}

/// No other process listens.
pub(crate) async fn notify(_: &mut SqliteConnection, _: &str) -> Result<(), sqlx::Error> {
    Ok(())
}

/// Logs have a file of their own, which may be on a disk of its own.
pub(crate) async fn probe_logs(pool: &sqlx::SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO probe (id, at) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET at = excluded.at")
        .bind(Timestamp::now().as_microsecond())
        .execute(pool)
        .await
        .map(drop)
}

/// Deleted bytes are overwritten in the file already (`secure_delete`); this takes them out of the journal too. False while
/// readers need it.
pub(crate) async fn scrub_logs(pool: &sqlx::SqlitePool) -> Result<bool, StoreError> {
    let mut conn = pool.acquire().await?;
    // Nothing is written while it waits for readers; it is done again anyway.
    sqlx::query("PRAGMA busy_timeout = 500").execute(&mut *conn).await?;
    let done: Result<(i64, i64, i64), _> =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *conn).await;
    sqlx::query("PRAGMA busy_timeout = 5000").execute(&mut *conn).await?;
    Ok(done?.0 == 0)
}

/// Where it lies; `None` when that cannot be understood.
pub(crate) fn file(database_url: &str) -> Option<std::path::PathBuf> {
    Some(SqliteConnectOptions::from_str(database_url).ok()?.get_filename().to_owned())
}

/// State and logs for a backup: nothing is changed.
pub(crate) async fn open_to_read(
    options: &Options,
) -> Result<(sqlx::SqlitePool, sqlx::SqlitePool), StoreError> {
    let main = SqliteConnectOptions::from_str(&options.database_url)?;
    let logs = SqliteConnectOptions::new().filename(options.data.join("logs.db"));
    let open = |options: SqliteConnectOptions| {
        let options = options.create_if_missing(false).read_only(true).busy_timeout(Duration::from_secs(5));
        SqlitePoolOptions::new().max_connections(1).connect_with(options)
    };
    Ok((open(main).await?, open(logs).await?))
}

pub(crate) async fn open(options: &Options) -> Result<sql::Core, StoreError> {
    let main = SqliteConnectOptions::from_str(&options.database_url)?;
    for folder in [Some(options.data.as_path()), main.get_filename().parent()].into_iter().flatten() {
        make_folder(folder).await?;
    }
    let logs = SqliteConnectOptions::new()
        .filename(options.data.join("logs.db"))
        .page_size(16_384)
        // What is deleted from a log may be a secret.
        .pragma("secure_delete", "ON");
    for file in [main.get_filename(), logs.get_filename()] {
        make_file(file).await?;
    }
    let state = State::default();
    let (write, read) = pools(main, &state).await?;
    migrations::bring_up_to_date(sqlx::migrate!("migrations/sqlite"), &write).await?;
    let (write_logs, read_logs) = pools(logs, &State::default()).await?;
    migrations::bring_up_to_date(sqlx::migrate!("migrations/sqlite-logs"), &write_logs).await?;
    // What was deleted just before a server was killed.
    scrub_logs(&write_logs).await?;
    let pools = sql::Pools { read, write, read_logs, write_logs };
    sql::Core::start(pools, state, Wakes::new(), None, options).await
}

async fn make_folder(folder: &Path) -> Result<(), StoreError> {
    if folder.as_os_str().is_empty() {
        return Ok(());
    }
    tokio::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .await
        .map_err(|error| StoreError::Unavailable(format!("folder {}: {error}", folder.display())))
}

/// For this user alone, and so are the files that SQLite makes beside it; one that is there stays as it is.
async fn make_file(file: &Path) -> Result<(), StoreError> {
    match tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).await {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(StoreError::Unavailable(format!("file {}: {error}", file.display())))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// False for a connection that is to be thrown away. On a full disk SQLite ends a transaction by itself; the library
/// counts it as open for ever, and could never begin another one.
async fn is_clean(conn: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // A rollback may still be under way.
    conn.ping().await?;
    Ok(!conn.is_in_transaction())
}

/// One connection that writes and a few that read beside it.
async fn pools(
    options: SqliteConnectOptions,
    state: &State,
) -> Result<(sqlx::SqlitePool, sqlx::SqlitePool), StoreError> {
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // What was committed survives a power cut.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(true);
    let pool = || {
        SqlitePoolOptions::new()
            .acquire_timeout(Duration::from_secs(10))
            .idle_timeout(None)
            // A file does not hang up.
            .test_before_acquire(false)
    };
    let (made, taken, given_back) = (state.clone(), state.clone(), state.clone());
    let write = pool()
        .max_connections(1)
        .max_lifetime(None)
        .after_connect(move |_, _| {
            made.take();
            Box::pin(std::future::ready(Ok(())))
        })
        .before_acquire(move |_, _| {
            taken.take();
            Box::pin(std::future::ready(Ok(true)))
        })
        .after_release(move |conn, _| {
            let state = given_back.clone();
            Box::pin(async move {
                let clean = is_clean(conn).await?;
                state.give_back();
                Ok(clean)
            })
        })
        .connect_with(options.clone())
        .await?;
    let read = pool().max_connections(4).connect_lazy_with(options.read_only(true).create_if_missing(false));
    Ok((write, read))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills the database up to its limit, in a transaction that then ends in whatever way SQLite has left.
    async fn fill(write: &sqlx::SqlitePool) -> sqlx::Error {
        let mut tx = write.begin_with(WRITE).await.expect("a transaction");
        loop {
            let more = "INSERT INTO t (data) VALUES (randomblob(100000))";
            if let Err(error) = sqlx::query(more).execute(&mut *tx).await {
                return error;
            }
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_got_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = SqliteConnectOptions::new().filename(folder.path().join("a.db"));
        let options = options.pragma("max_page_count", "100");
        let (write, _) = pools(options, &State::default()).await.expect("a database");
        sqlx::query("CREATE TABLE t (data BLOB)").execute(&write).await.expect("a table");
        for _ in 0..3 {
            let error = fill(&write).await.to_string();
            assert!(error.contains("full"), "{error}");
        }
        let mut tx = write.begin_with(WRITE).await.expect("a transaction");
        sqlx::query("INSERT INTO t (data) VALUES ('small')").execute(&mut *tx).await.expect("room");
        tx.commit().await.expect("an end");
    }

    #[tokio::test]
    async fn only_the_writer_makes_another_state() {
        let folder = tempfile::tempdir().expect("a folder");
        let (options, state) =
            (SqliteConnectOptions::new().filename(folder.path().join("a.db")), State::default());
        let (write, read) = pools(options, &state).await.expect("a database");
        let now = || async {
            loop {
                if let Some(word) = state.read(&read).await.expect("a word") {
                    return word;
                }
                tokio::task::yield_now().await;
            }
        };
        sqlx::query("CREATE TABLE t (data)").execute(&write).await.expect("a table");
        let before = now().await;
        sqlx::query("SELECT * FROM t").fetch_all(&read).await.expect("rows");
        assert_eq!(now().await, before);
        let mut tx = write.begin_with(WRITE).await.expect("a transaction");
        sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *tx).await.expect("a row");
        assert_eq!(state.read(&read).await.expect("a word"), None, "something is under way");
        tx.commit().await.expect("a commit");
        assert_ne!(now().await, before);
    }
}
