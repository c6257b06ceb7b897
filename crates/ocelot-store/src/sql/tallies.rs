//! Counts what ended: each build once, with its jobs and stages, in the transaction that notes that it is counted.
//!
//! That happens some seconds after the end, for many builds at once, so that ends need not wait for each other at the rows
//! that all of them would change. Builds that were there before there were tallies are counted in the same way.

use std::collections::{BTreeMap, HashMap};

use ocelot_model::duration::ms;
use ocelot_model::tally::Tally;
use ocelot_model::{Bucket, Status};
use sqlx::QueryBuilder;

use super::{Conn, Core, Db, Tx};
use crate::raw::{read, to_json, us};
use crate::{Store, StoreError};

/// Rows of one statement.
const ROWS: usize = 500;
/// Stages that are counted in one transaction, unless a single build has more.
const STAGES: i64 = 10_000;
/// Tallies of a repository that are taken away in one transaction.
const BATCH: i64 = 500;

/// Repository (0: all), branch, job and stage; empty text: all branches, whole builds, whole jobs.
type Key = (i64, String, String, String);
/// Length and number of a period.
type Period = (i64, i64);
type Tallies = BTreeMap<Key, BTreeMap<Period, Tally>>;

#[derive(sqlx::FromRow)]
struct Ended {
    number: i64,
    repo_id: i64,
    branch: String,
    /// It is what that branch of the repository held: no pull request, no tag, nothing of others.
    of_branch: bool,
    status: String,
    free_at: i64,
    started_at: Option<i64>,
    finished_at: i64,
}

#[derive(sqlx::FromRow)]
struct EndedJob {
    build: i64,
    attempt_id: i64,
    name: String,
    status: String,
    ready_at: Option<i64>,
    started_at: Option<i64>,
    finished_at: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct EndedStage {
    attempt_id: i64,
    name: String,
    status: String,
    started_at: Option<i64>,
    duration_ms: Option<i64>,
}

impl Core {
    pub(crate) async fn has_uncounted(&self) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM builds WHERE counted = false AND finished_at IS NOT NULL)";
        Ok(sqlx::query_scalar(sql).fetch_one(&self.pools.read).await?)
    }

    pub(crate) async fn count_builds(&self, limit: u32) -> Result<usize, StoreError> {
        let mut tx = self.begin().await?;
        // Whoever changes tallies reads them first.
        tx.one_after_the_other("tallies").await?;
        let mut builds: Vec<Ended> = sqlx::query_as(concat!(
            "SELECT b.number, b.repo_id, b.branch, b.status, b.started_at, b.finished_at, ",
            of_branch!("b"),
            " AS of_branch, ",
            free_at!(),
            " FROM builds b WHERE b.counted = false AND b.finished_at IS NOT NULL ORDER BY b.number LIMIT $1",
            for_no_key_update_of_build!()
        ))
        .bind(i64::from(limit))
        .fetch_all(tx.conn())
        .await?;
        bound(&mut tx, &mut builds).await?;
        if builds.is_empty() {
            return Ok(0);
        }
        let numbers = numbers(&builds)?;
        let tallies = add_up(&mut tx, &builds, &numbers).await?;
        store(&mut tx, tallies).await?;
        sqlx::query(concat!("UPDATE builds SET counted = true WHERE number IN ", ids!("$1")))
            .bind(&numbers)
            .execute(tx.conn())
            .await?;
        self.commit(tx).await?;
        Ok(builds.len())
    }

    /// Hours are kept for a while only; days and weeks for as long as their repository. Answers how many rows went.
    pub(crate) async fn drop_hours(&self, limit: u32) -> Result<usize, StoreError> {
        let before = Bucket::Hour.of(self.now().await? - us(Store::HOURS_KEPT));
        let gone = sqlx::query(
            "DELETE FROM tallies WHERE (series_id, hours, period) IN
             (SELECT series_id, hours, period FROM tallies WHERE hours = 1 AND period < $1 LIMIT $2)",
        )
        .bind(before)
        .bind(i64::from(limit))
        .execute(&self.pools.write)
        .await?;
        Ok(gone.rows_affected() as usize)
    }

    /// Takes what a repository had out of what all had, and forgets it. Its builds are gone before, so that none is counted
    /// afterwards.
    pub(super) async fn uncount_repo(&self, repo: i64) -> Result<(), StoreError> {
        while self.uncount_some(repo).await? > 0 {}
        sqlx::query("DELETE FROM series WHERE repo_id = $1 AND repo_id > 0")
            .bind(repo)
            .execute(&self.pools.write)
            .await?;
        Ok(())
    }

    async fn uncount_some(&self, repo: i64) -> Result<usize, StoreError> {
        let mut tx = self.begin().await?;
        // Whoever changes tallies reads them first.
        tx.one_after_the_other("tallies").await?;
        let rows: Vec<(i64, i64, i64, Vec<u8>, bool)> = sqlx::query_as(
            "SELECT t.series_id, t.hours, t.period, t.tally, s.branch = '' AND s.job = '' AND s.stage = ''
             FROM series s JOIN tallies t ON t.series_id = s.id WHERE s.repo_id = $1
             ORDER BY t.series_id, t.hours, t.period LIMIT $2",
        )
        .bind(repo)
        .bind(BATCH)
        .fetch_all(tx.conn())
        .await?;
        for (series, hours, period, tally, whole) in &rows {
            if *whole {
                take_from_all(&mut tx, (*hours, *period), &open(tally)?).await?;
            }
            sqlx::query("DELETE FROM tallies WHERE series_id = $1 AND hours = $2 AND period = $3")
                .bind(series)
                .bind(hours)
                .bind(period)
                .execute(tx.conn())
                .await?;
        }
        self.commit(tx).await?;
        Ok(rows.len())
    }
}

fn numbers(builds: &[Ended]) -> Result<String, StoreError> {
    to_json(&builds.iter().map(|build| build.number).collect::<Vec<_>>())
}

/// Leaves as many as have no more than [`STAGES`] together, but one at least.
async fn bound(tx: &mut Tx, builds: &mut Vec<Ended>) -> Result<(), StoreError> {
    let sizes: Vec<(i64, i64)> = sqlx::query_as(concat!(
        "SELECT build, count(*) FROM stages WHERE build IN ",
        ids!("$1"),
        " GROUP BY build"
    ))
    .bind(numbers(builds)?)
    .fetch_all(tx.conn())
    .await?;
    let sizes: HashMap<i64, i64> = sizes.into_iter().collect();
    let mut all = 0;
    let fit = builds.iter().take_while(|build| {
        all += sizes.get(&build.number).copied().unwrap_or_default();
        all <= STAGES
    });
    let fit = fit.count().max(1);
    builds.truncate(fit);
    Ok(())
}

/// The tallies of these builds alone.
async fn add_up(tx: &mut Tx, builds: &[Ended], numbers: &str) -> Result<Tallies, StoreError> {
    let jobs: Vec<EndedJob> = sqlx::query_as(concat!(
        "SELECT j.build, a.id AS attempt_id, j.name, j.status, j.ready_at, a.started_at, a.finished_at
         FROM jobs j JOIN attempts a ON a.job_id = j.id AND a.number = j.attempt WHERE j.build IN ",
        ids!("$1")
    ))
    .bind(numbers)
    .fetch_all(tx.conn())
    .await?;
    let rows: Vec<EndedStage> = sqlx::query_as(concat!(
        "SELECT s.attempt_id, s.name, s.status, s.started_at, s.duration_ms FROM stages s WHERE s.build IN ",
        ids!("$1"),
        " ORDER BY s.place"
    ))
    .bind(numbers)
    .fetch_all(tx.conn())
    .await?;
    let mut stages: HashMap<i64, Vec<EndedStage>> = HashMap::new();
    for row in rows {
        stages.entry(row.attempt_id).or_default().push(row);
    }
    let mut sum = Sum { tallies: Tallies::new(), oldest: tx.now - us(Store::HOURS_KEPT) };
    let by_number: HashMap<i64, &Ended> = builds.iter().map(|build| (build.number, build)).collect();
    for build in builds {
        let status = read(&build.status)?;
        let took = build.started_at.map(|at| ms(at, build.finished_at));
        let waited = build.started_at.map(|at| ms(build.free_at, at));
        sum.add(build, ("", ""), status, (took, waited));
    }
    for job in &jobs {
        let Some(build) = by_number.get(&job.build) else { continue };
        sum.job(build, job, stages.get(&job.attempt_id).map_or(&[], Vec::as_slice))?;
    }
    Ok(sum.tallies)
}

struct Sum {
    tallies: Tallies,
    /// Hours before this time are not kept.
    oldest: i64,
}

impl Sum {
    /// The newest attempt of a job, and its stages. What a retry carried over did not happen again.
    fn job(&mut self, build: &Ended, job: &EndedJob, stages: &[EndedStage]) -> Result<(), StoreError> {
        let status: Status = read(&job.status)?;
        let started = job.started_at.or_else(|| stages.iter().filter_map(|stage| stage.started_at).min());
        if status == Status::Passed && started.is_none() {
            return Ok(());
        }
        let took = started.zip(job.finished_at).map(|(from, to)| ms(from, to));
        let waited = started.zip(job.ready_at).map(|(at, ready)| ms(ready, at));
        self.add(build, (&job.name, ""), status, (took, waited));
        for stage in stages {
            let took = stage.duration_ms.filter(|_| stage.started_at.is_some());
            self.add(build, (&job.name, &stage.name), read(&stage.status)?, (took, None));
        }
        Ok(())
    }

    /// Into each series and period that it belongs to: by the time at which its build ended.
    fn add(
        &mut self,
        build: &Ended,
        (job, stage): (&str, &str),
        status: Status,
        (took, waited): (Option<i64>, Option<i64>),
    ) {
        let key = |repo: i64, branch: &str| (repo, branch.to_owned(), job.to_owned(), stage.to_owned());
        let mut keys = vec![key(build.repo_id, "")];
        if build.of_branch && !build.branch.is_empty() {
            keys.push(key(build.repo_id, &build.branch));
        }
        if job.is_empty() {
            keys.push(key(0, ""));
        }
        for key in keys {
            // There are many branches, and most of them live for days: their weeks are added up when somebody asks.
            let of_branch = !key.1.is_empty();
            let periods = self.tallies.entry(key).or_default();
            for bucket in Bucket::ALL {
                let old = bucket == Bucket::Hour && build.finished_at < self.oldest;
                if old || (bucket == Bucket::Week && of_branch) {
                    continue;
                }
                let period = (bucket.hours(), bucket.of(build.finished_at));
                periods.entry(period).or_default().add(status, took, waited);
            }
        }
    }
}

/// Adds these tallies to those that are stored.
async fn store(tx: &mut Tx, tallies: Tallies) -> Result<(), StoreError> {
    let keys: Vec<Key> = tallies.keys().cloned().collect();
    let ids = series(tx.conn(), &keys).await?;
    let mut rows: BTreeMap<(i64, i64, i64), Tally> = BTreeMap::new();
    for (key, periods) in tallies {
        let id = ids.get(&key).ok_or_else(|| StoreError::Corrupt(format!("series of {key:?}")))?;
        rows.extend(periods.into_iter().map(|((hours, period), tally)| ((*id, hours, period), tally)));
    }
    let places: Vec<(i64, i64, i64)> = rows.keys().copied().collect();
    for some in places.chunks(ROWS) {
        let mut sql = QueryBuilder::<Db>::new(
            "SELECT series_id, hours, period, tally FROM tallies WHERE (series_id, hours, period) IN (",
        );
        sql.push_values(some, |mut row, (series, hours, period)| {
            row.push_bind(*series).push_bind(*hours).push_bind(*period);
        });
        let stored: Vec<(i64, i64, i64, Vec<u8>)> =
            sql.push(")").build_query_as().persistent(false).fetch_all(tx.conn()).await?;
        for (series, hours, period, tally) in stored {
            if let Some(own) = rows.get_mut(&(series, hours, period)) {
                add(own, &tally)?;
            }
        }
    }
    let rows: Vec<_> = rows.into_iter().collect();
    for some in rows.chunks(ROWS) {
        let mut sql = QueryBuilder::<Db>::new("INSERT INTO tallies (series_id, hours, period, tally) ");
        sql.push_values(some, |mut row, ((series, hours, period), tally)| {
            row.push_bind(*series).push_bind(*hours).push_bind(*period).push_bind(tally.to_bytes());
        });
        sql.push(" ON CONFLICT (series_id, hours, period) DO UPDATE SET tally = excluded.tally");
        sql.build().persistent(false).execute(tx.conn()).await?;
    }
    Ok(())
}

/// The ids of these series, made where they are missing.
async fn series(conn: &mut Conn, keys: &[Key]) -> Result<HashMap<Key, i64>, StoreError> {
    let mut ids = HashMap::new();
    for some in keys.chunks(ROWS) {
        let mut sql = QueryBuilder::<Db>::new("INSERT INTO series (repo_id, branch, job, stage) ");
        push_keys(&mut sql, some);
        sql.push(" ON CONFLICT DO NOTHING");
        sql.build().persistent(false).execute(&mut *conn).await?;
        let mut sql = QueryBuilder::<Db>::new(
            "SELECT repo_id, branch, job, stage, id FROM series WHERE (repo_id, branch, job, stage) IN (",
        );
        push_keys(&mut sql, some);
        let rows: Vec<(i64, String, String, String, i64)> =
            sql.push(")").build_query_as().persistent(false).fetch_all(&mut *conn).await?;
        ids.extend(rows.into_iter().map(|(repo, branch, job, stage, id)| ((repo, branch, job, stage), id)));
    }
    Ok(ids)
}

fn push_keys(sql: &mut QueryBuilder<Db>, keys: &[Key]) {
    sql.push_values(keys, |mut row, (repo, branch, job, stage)| {
        row.push_bind(*repo).push_bind(branch.clone()).push_bind(job.clone()).push_bind(stage.clone());
    });
}

async fn take_from_all(tx: &mut Tx, (hours, period): Period, less: &Tally) -> Result<(), StoreError> {
    let row: Option<(i64, Vec<u8>)> = sqlx::query_as(
        "SELECT t.series_id, t.tally FROM series s JOIN tallies t ON t.series_id = s.id
         WHERE s.repo_id = 0 AND s.branch = '' AND s.job = '' AND s.stage = '' AND t.hours = $1 AND t.period = $2",
    )
    .bind(hours)
    .bind(period)
    .fetch_optional(tx.conn())
    .await?;
    let Some((series, tally)) = row else { return Ok(()) };
    let mut tally = open(&tally)?;
    tally.take(less);
    sqlx::query("UPDATE tallies SET tally = $1 WHERE series_id = $2 AND hours = $3 AND period = $4")
        .bind(tally.to_bytes())
        .bind(series)
        .bind(hours)
        .bind(period)
        .execute(tx.conn())
        .await?;
    Ok(())
}

fn open(bytes: &[u8]) -> Result<Tally, StoreError> {
    Tally::from_bytes(bytes).ok_or_else(|| StoreError::Corrupt("a tally".to_owned()))
}

/// Adds a stored tally to another one.
pub(super) fn add(sum: &mut Tally, bytes: &[u8]) -> Result<(), StoreError> {
    if sum.merge_bytes(bytes) { Ok(()) } else { Err(StoreError::Corrupt("a tally".to_owned())) }
}
