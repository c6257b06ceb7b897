//! PostgreSQL: one database that several servers may share. Only what differs from SQLite stands here; the SQL is
//! in `sql/`.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions};
use sqlx::{Connection as _, Executor as _, PgPool};

use crate::wake::Wakes;
use crate::{Options, StoreError, Wake, migrations};

pub(crate) type Db = sqlx::Postgres;

/// Rows are locked one by one.
pub(crate) const WRITE: &str = "BEGIN";
/// Claims of several servers are made one after the other: each takes several repositories' lines in the order of their turns,
/// and two that had some each would wait for each other. Its few large statements are planned once by each connection, not anew
/// for each of the first five times: to plan one takes longer than to run it.
pub(crate) const CLAIM: &str =
    "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; SELECT pg_advisory_xact_lock(7954774)";
/// A transaction sees one state of the database.
pub(crate) const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

const CHANNEL: &str = "ocelot_wake";
/// A server that vanished in the middle of a transaction, without a word, must not keep its locks for hours; nor may a query go on
/// for which nobody waits any more (`calls::SHORT`).
const SESSION: &str = "SET idle_in_transaction_session_timeout = '60s'; SET statement_timeout = '60s'; \
                       SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";
/// A listener that has heard nothing for so long asks whether its connection is still one.
const QUIET: Duration = Duration::from_secs(30);
/// A connection that was used within this time is still one.
const FRESH: Duration = Duration::from_secs(1);
/// Longest time for the answer.
const ANSWER: Duration = Duration::from_secs(10);

macro_rules! for_update {
    () => {
        " FOR UPDATE"
    };
}
/// Does not stand in the way of rows that only refer to this one.
macro_rules! for_no_key_update {
    () => {
        " FOR NO KEY UPDATE"
    };
}
/// The same, where other tables are read with the build.
macro_rules! for_no_key_update_of_build {
    () => {
        " FOR NO KEY UPDATE OF b"
    };
}
macro_rules! for_no_key_update_of_build_skip_locked {
    () => {
        " FOR NO KEY UPDATE OF b SKIP LOCKED"
    };
}
macro_rules! for_key_share {
    () => {
        " FOR KEY SHARE"
    };
}
macro_rules! skip_locked {
    () => {
        " FOR UPDATE SKIP LOCKED"
    };
}
/// Several changes and a query in one call; all have the same bound values. None of them sees what another one did.
macro_rules! at_once {
    ($one:expr, $two:expr, $three:expr, $four:expr, $five:expr, $query:expr) => {
        concat!(
            "WITH one AS (",
            $one,
            "), two AS (",
            $two,
            "), three AS (",
            $three,
            "), four AS (",
            $four,
            "), five AS (",
            $five,
            ") ",
            $query
        )
    };
}
/// The clock as SQL.
macro_rules! now_us {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    };
}
/// Writes events (a JSON list of `[build, repository, body]`, `$1`), answers the last one's number and tells it to the
/// other servers (after the text `$2`), when the transaction commits.
///
/// The lock is taken before the first number is, and held until the commit, so that whoever sees an event has seen all
/// with smaller numbers. Nothing else may be locked after this.
macro_rules! insert_events {
    () => {
        "WITH told AS (
             INSERT INTO events (build, repo_id, body)
             SELECT (e.it ->> 0)::bigint, (e.it ->> 1)::bigint, e.it ->> 2
             FROM (SELECT pg_advisory_xact_lock(7954773)) AS alone
             CROSS JOIN LATERAL json_array_elements($1::json) WITH ORDINALITY AS e (it, place)
             ORDER BY e.place
             RETURNING seq
         )
         SELECT last.seq FROM (SELECT max(seq) AS seq FROM told) AS last,
                              LATERAL (SELECT pg_notify('ocelot_wake', $2 || last.seq)) AS heard"
    };
}
/// The elements of a JSON list that is bound as text, each a `value`.
macro_rules! elements {
    ($bound:literal) => {
        concat!("json_array_elements(", $bound, "::json) AS e (value)")
    };
}
macro_rules! from_hex {
    ($text:literal) => {
        concat!("decode(", $text, ", 'hex')")
    };
}
/// The numbers of a JSON list that is bound as text.
macro_rules! ids {
    ($bound:literal) => {
        concat!("(SELECT value::bigint FROM json_array_elements_text(", $bound, "::json))")
    };
}

/// Builds of each repository of a JSON list, which is bound as text between the first two parts, newest first; more that they
/// have to be, and how many of each, stands between the last two.
pub(crate) const OF_EACH_REPO: [&str; 3] = [
    "SELECT c.number FROM json_array_elements_text(",
    "::json) AS r (value) CROSS JOIN LATERAL (SELECT number FROM builds WHERE repo_id = r.value::bigint AND number >= ",
    ") AS c ORDER BY 1 DESC LIMIT ",
];

/// Each build (`b`) of the numbers `c`, found by its number. `OFFSET 0` says that nothing else may find it: a planner that does not
/// know the values would walk a whole index for each number.
pub(crate) const EACH_BUILD: &str =
    " CROSS JOIN LATERAL (SELECT * FROM builds WHERE number = c.number OFFSET 0) AS b";

#[path = "postgres/catalogue.rs"]
pub(crate) mod catalogue;
#[path = "sql/mod.rs"]
pub(crate) mod sql;

pub(crate) async fn now(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(concat!("SELECT ", now_us!())).fetch_one(conn).await
}

/// Tells states of the database apart.
#[derive(Debug, Default)]
pub(crate) struct State;

impl State {
    /// Another word as soon as any transaction of this database has changed something, whoever made it: a snapshot is the list of
    /// those that it sees.
    pub(crate) async fn read(&self, pool: &PgPool) -> Result<Option<String>, sqlx::Error> {
        sqlx::query_scalar("SELECT pg_current_snapshot()::text").fetch_one(pool).await.map(Some)
    }
}

/// Reaches the other servers when the transaction commits.
pub(crate) async fn notify(conn: &mut PgConnection, text: &str) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_notify('ocelot_wake', $1)").bind(text).execute(conn).await.map(drop)
}

/// Logs stand in the same database.
pub(crate) async fn probe_logs(_: &PgPool) -> Result<(), sqlx::Error> {
    Ok(())
}

/// Frees the space of deleted bytes.
pub(crate) async fn scrub_logs(pool: &PgPool) -> Result<bool, StoreError> {
    // Takes as long as it takes, on a connection that nobody has afterwards.
    let mut conn = pool.acquire().await?.detach();
    conn.execute("SET statement_timeout = 0").await?;
    conn.execute("VACUUM log_chunks").await?;
    conn.close().await?;
    Ok(true)
}

/// State and logs for a backup: nothing is changed.
pub(crate) async fn open_to_read(options: &Options) -> Result<(PgPool, PgPool), StoreError> {
    let connect = PgConnectOptions::from_str(&options.database_url)?.application_name("ocelot backup");
    let pool = PgPoolOptions::new().max_connections(2).connect_with(connect).await?;
    Ok((pool.clone(), pool))
}

pub(crate) async fn open(options: &Options) -> Result<sql::Core, StoreError> {
    let connect = PgConnectOptions::from_str(&options.database_url)?.application_name("ocelot");
    let pool = PgPoolOptions::new()
        .max_connections(16)
        .acquire_timeout(Duration::from_secs(10))
        // One that was used a moment ago is taken as it is; to ask each time would double the calls.
        .test_before_acquire(false)
        .before_acquire(|conn, before| {
            Box::pin(async move {
                if before.idle_for >= FRESH {
                    conn.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(|conn, _| Box::pin(async move { conn.execute(SESSION).await.map(drop) }))
        .connect_with(connect.clone())
        .await?;
    // Under a lock of the database: servers that start together wait for the first one, as long as it takes.
    let migrates = PgPoolOptions::new().max_connections(1).connect_with(connect.clone()).await?;
    migrations::bring_up_to_date(sqlx::migrate!("migrations/postgres"), &migrates).await?;
    migrates.close().await;
    let wakes = Wakes::new();
    let listener = listen(&connect).await?;
    let task = tokio::spawn(pass_on(listener, connect, wakes.clone()));
    let pools =
        sql::Pools { read: pool.clone(), write: pool.clone(), read_logs: pool.clone(), write_logs: pool };
    sql::Core::start(pools, State, wakes, Some(task), options).await
}

/// Listens on a connection of its own, so that the pool's connections stay free for calls.
async fn listen(connect: &PgConnectOptions) -> Result<PgListener, sqlx::Error> {
    let pool: PgPool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(connect.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Passes the notifications of other servers on. Whatever is lost with a connection counts as "look at everything".
async fn pass_on(mut listener: PgListener, connect: PgConnectOptions, wakes: Wakes) {
    loop {
        let lost = match tokio::time::timeout(QUIET, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => {
                wakes.send(&wakes.read_text(notification.payload()));
                continue;
            }
            Ok(Ok(None)) => {
                wakes.send(&[Wake::All]);
                continue;
            }
            Ok(Err(error)) => error,
            // Nothing happened, or the connection was cut in silence.
            Err(_) => match tokio::time::timeout(ANSWER, listener.listen(CHANNEL)).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error,
                Err(_) => sqlx::Error::PoolTimedOut,
            },
        };
        tracing::warn!(error = %lost, "the database's notifications are lost, listening again");
        listener = listen_again(&connect).await;
        wakes.send(&[Wake::All]);
    }
}

async fn listen_again(connect: &PgConnectOptions) -> PgListener {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        match tokio::time::timeout(ANSWER, listen(connect)).await {
            Ok(Ok(listener)) => return listener,
            Ok(Err(error)) => tracing::debug!(%error, "the database does not answer yet"),
            Err(_) => tracing::debug!("the database does not answer at all"),
        }
    }
}
