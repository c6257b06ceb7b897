//! A year of builds, written by the database itself: 1,000,000 take a minute or so. They are the same each time.
//!
//! A hundred repositories share them unevenly: the first has a third, the last one of 50,000. Each build has one job, one attempt
//! and three stages; most passed, most are of `main`, the rest is of branches that live for a week and have eight builds each.

use std::str::FromStr as _;

use anyhow::Result;
use ocelot_store::{Options, Store};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use crate::claims;

pub(crate) const REPOS: usize = 100;
const YEAR_US: i64 = 365 * 86_400_000_000;

/// Fills an empty database, counts everything and writes down what blocks of builds have in common.
pub(crate) async fn generate(options: &Options, count: i64) -> Result<()> {
    let store = Store::open(options).await?;
    let mut ids = Vec::new();
    for at in 0..REPOS {
        ids.push(claims::repo(&store, at).await?.id.0);
    }
    let now = store.now().await?.as_microsecond();
    // The last ones were queued some minutes ago, so that none can join them any more.
    let begin = now - YEAR_US - 900_000_000;
    let statements = statements(count, begin, ids[0]);
    if options.database_url.starts_with("sqlite:") {
        let connect = SqliteConnectOptions::from_str(&options.database_url)?;
        let mut conn: SqliteConnection = connect.synchronous(SqliteSynchronous::Off).connect().await?;
        for sql in statements {
            sqlx::raw_sql(AssertSqlSafe(sqlite(&sql, count))).execute(&mut conn).await?;
        }
        sqlx::raw_sql("ANALYZE").execute(&mut conn).await?;
        conn.close().await?;
    } else {
        let mut conn = PgConnection::connect(&options.database_url).await?;
        for sql in statements {
            sqlx::raw_sql(AssertSqlSafe(postgres(&sql, count))).execute(&mut conn).await?;
        }
        for (table, column) in [("builds", "number"), ("jobs", "id"), ("attempts", "id"), ("stages", "id")] {
            let next = format!(
                "SELECT setval(pg_get_serial_sequence('{table}', '{column}'), (SELECT max({column}) FROM {table}))"
            );
            sqlx::raw_sql(AssertSqlSafe(next)).execute(&mut conn).await?;
        }
        sqlx::raw_sql("VACUUM ANALYZE").execute(&mut conn).await?;
        conn.close().await?;
    }
    while store.count_builds(1000).await? > 0 {}
    while store.seal_blocks(64).await? > 0 {}
    store.close().await;
    Ok(())
}

/// `{series}` gives the numbers from 1 as `n`, `{hex:X:8}` is X as eight hex digits, `{h}` a number that looks random.
fn statements(count: i64, begin: i64, first: i64) -> [String; 4] {
    let step = YEAR_US / count;
    let last = first + REPOS as i64 - 1;
    let middle = REPOS as i64 - 2;
    let builds = format!(
        "INSERT INTO builds (number, repo_id, status, event, branch, commit_id, message, author, queued_at, started_at,
            finished_at, problems, logs_removed)
         {{series}}, r AS (SELECT n, {{h}} AS h FROM n)
         SELECT n,
            CASE WHEN n % 50000 = 7 THEN {last} WHEN h % 3 = 0 THEN {first} ELSE {first} + 1 + h / 7 % {middle} END,
            CASE WHEN h % 1000 < 850 THEN 'passed' WHEN h % 1000 < 970 THEN 'failed' WHEN h % 1000 < 980 THEN 'error'
                 WHEN h % 1000 < 985 THEN 'timed_out' WHEN h % 1000 < 995 THEN 'cancelled' ELSE 'skipped' END,
            CASE WHEN h / 11 % 1000 = 0 THEN 'tag' WHEN h / 11 % 1000 < 20 THEN 'schedule'
                 WHEN h / 11 % 1000 < 200 THEN 'pull_request' ELSE 'push' END,
            CASE WHEN h / 13 % 10 < 6 THEN 'main' ELSE 'feature/' || (n / 20000 * 10 + h / 13 % 10) END,
            {{hex:h:8}} || {{hex:n:32}},
            CASE h / 17 % 4 WHEN 0 THEN 'Fix the parser for case ' WHEN 1 THEN 'Bring dependencies up to date, part '
                WHEN 2 THEN 'Speed up the index of table ' ELSE 'Say in the docs what happens to ' END || (h / 19 % 100000),
            'Author ' || (h / 23 % 300) || ' <author@example.org>',
            {begin} + n * {step}, {begin} + n * {step} + h % 30000 * 1000,
            {begin} + n * {step} + h % 30000 * 1000 + h / 29 % 600000 * 1000, '[]', true
         FROM r;"
    );
    let jobs = "INSERT INTO jobs (id, build, place, name, status, spec, needs, always, allow_failure, retry_infrastructure,
            retry_script, ready, ready_at)
         SELECT number, number, 0, 'default', status, '{}', '[]', false, false, 0, 0, true, queued_at FROM builds;";
    let attempts = "INSERT INTO attempts (id, job_id, build, number, status, worker, finished_at, started_at)
         SELECT number, number, number, 1, status,
            CASE WHEN number % 100000 = 11 THEN 'rare' ELSE 'worker' || (started_at / 1000 % 50) END, finished_at, started_at
         FROM builds;";
    let stages = "INSERT INTO stages (attempt_id, build, place, name, status, exit_code, started_at, duration_ms)
         SELECT b.number, b.number, s.place, s.name, b.status, 0, b.started_at, (b.finished_at - b.started_at) / 3000
         FROM builds b CROSS JOIN (SELECT 0 AS place, 'setup' AS name UNION ALL SELECT 1, 'compile' UNION ALL SELECT 2, 'test') s;";
    [builds, jobs.to_owned(), attempts.to_owned(), stages.to_owned()]
}

const RANDOM: &str = "(n * 2654435761 % 4294967296)";

fn sqlite(sql: &str, count: i64) -> String {
    let series = format!("WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})");
    sql.replace("{series}", &series)
        .replace("{h}", RANDOM)
        .replace("{hex:h:8}", "printf('%08x', h)")
        .replace("{hex:n:32}", "printf('%032x', n)")
}

fn postgres(sql: &str, count: i64) -> String {
    let series = format!("WITH n AS (SELECT generate_series(1::bigint, {count}) AS n)");
    sql.replace("{series}", &series)
        .replace("{h}", RANDOM)
        .replace("{hex:h:8}", "lpad(to_hex(h), 8, '0')")
        .replace("{hex:n:32}", "lpad(to_hex(n), 32, '0')")
}

#[cfg(test)]
mod tests {
    use ocelot_model::tally::Tally;
    use ocelot_model::{Bucket, Status};
    use ocelot_store::{BuildFilter, Counted, LogStoreOptions, Periods};
    use ocelot_testkit::Postgres;

    use super::*;

    async fn check(database_url: String, folder: &std::path::Path) {
        let log_store = LogStoreOptions::default();
        let options = Options { database_url, data: folder.join("data"), log_store, key_file: None };
        generate(&options, 3000).await.expect("builds");
        let store = Store::open(&options).await.expect("a store");
        let list = |status| BuildFilter { status: Some(status), ..BuildFilter::default() };
        let failed = store.list_builds(&list(Status::Failed), 3000).await.expect("a list").len() as u64;
        let periods = Periods { bucket: Bucket::Week, from: 0, to: 1_000_000 };
        let tallies = store.count_by_period(&Counted::default(), periods).await.expect("tallies");
        let mut sum = Tally::default();
        tallies.values().for_each(|tally| sum.merge(tally));
        assert_eq!((sum.total(), sum.count(Status::Failed)), (3000, failed));
        assert!((300..420).contains(&failed) && tallies.len() > 50, "{failed} {}", tallies.len());
        store.close().await;
    }

    #[tokio::test]
    async fn both_databases_get_a_year_of_builds() {
        let folder = tempfile::tempdir().expect("a folder");
        check(format!("sqlite://{}/ocelot.db", folder.path().display()), folder.path()).await;
        let cluster = tokio::task::spawn_blocking(Postgres::shared).await.expect("PostgreSQL");
        check(cluster.database(), &folder.path().join("other")).await;
    }
}
