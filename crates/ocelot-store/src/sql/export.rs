//! Everything that ended, a page after the other.

use ocelot_model::{BuildNumber, duration};
use sqlx::QueryBuilder;

use super::{Core, Db};
use crate::raw::{BuildRow, maybe_time, read, to_json};
use crate::{Build, Exported, Looked, PastJob, PastStage, StoreError};

#[derive(sqlx::FromRow)]
struct JobRow {
    build: i64,
    job: String,
    attempt: i64,
    status: String,
    worker: Option<String>,
    started_at: Option<i64>,
    finished_at: Option<i64>,
    ready_at: Option<i64>,
    reason: Option<String>,
    approved_by: Option<String>,
}

#[derive(sqlx::FromRow)]
struct StageRow {
    build: i64,
    job: String,
    attempt: i64,
    stage: String,
    status: String,
    exit_code: Option<i64>,
    started_at: Option<i64>,
    duration_ms: Option<i64>,
    reason: Option<String>,
}

impl Core {
    pub(crate) async fn ended_builds(
        &self,
        what: &Exported,
        after: Option<Looked>,
        limit: u32,
    ) -> Result<Vec<Build>, StoreError> {
        let after = after.unwrap_or(Looked { ended_us: i64::MIN, number: BuildNumber(0) });
        let mut sql = QueryBuilder::<Db>::new(concat!(
            "SELECT ",
            build_columns!(),
            " FROM ",
            build_tables!(),
            " WHERE NOT r.removing AND b.finished_at IS NOT NULL AND (b.finished_at, b.number) > ("
        ));
        sql.push_bind(after.ended_us).push(", ").push_bind(after.number.0).push(")");
        if let Some(since) = what.since {
            sql.push(" AND b.finished_at >= ").push_bind(since.as_microsecond());
        }
        if let Some(until) = what.until {
            sql.push(" AND b.finished_at < ").push_bind(until.as_microsecond());
        }
        if let Some(repos) = &what.repos {
            sql.push(" AND b.repo_id IN (-1");
            for repo in repos {
                sql.push(", ").push(repo.0);
            }
            sql.push(")");
        }
        sql.push(" ORDER BY b.finished_at, b.number LIMIT ").push_bind(i64::from(limit));
        let rows: Vec<BuildRow> = sql.build_query_as().fetch_all(&self.pools.read).await?;
        rows.into_iter().map(BuildRow::into_build).collect()
    }

    pub(crate) async fn past_jobs(&self, builds: &[BuildNumber]) -> Result<Vec<PastJob>, StoreError> {
        let rows: Vec<JobRow> = sqlx::query_as(concat!(
            "SELECT j.build, j.name AS job, a.number AS attempt, a.status, a.worker, a.finished_at, a.reason, j.approved_by,
                    coalesce(a.started_at, (SELECT min(s.started_at) FROM stages s WHERE s.attempt_id = a.id)) AS started_at,
                    CASE WHEN a.number = j.attempt THEN j.ready_at END AS ready_at
             FROM jobs j JOIN attempts a ON a.job_id = j.id WHERE j.build IN ",
            ids!("$1"),
            " ORDER BY j.build, j.place, a.number"
        ))
        .bind(numbers(builds)?)
        .fetch_all(&self.pools.read)
        .await?;
        rows.into_iter().map(JobRow::into_job).collect()
    }

    pub(crate) async fn past_stages(&self, builds: &[BuildNumber]) -> Result<Vec<PastStage>, StoreError> {
        let rows: Vec<StageRow> = sqlx::query_as(concat!(
            "SELECT j.build, j.name AS job, a.number AS attempt, s.name AS stage, s.status, s.exit_code, s.started_at,
                    s.duration_ms, s.reason
             FROM jobs j JOIN attempts a ON a.job_id = j.id JOIN stages s ON s.attempt_id = a.id WHERE j.build IN ",
            ids!("$1"),
            " ORDER BY j.build, j.place, a.number, s.place"
        ))
        .bind(numbers(builds)?)
        .fetch_all(&self.pools.read)
        .await?;
        rows.into_iter().map(StageRow::into_stage).collect()
    }
}

fn numbers(builds: &[BuildNumber]) -> Result<String, StoreError> {
    to_json(&builds.iter().map(|number| number.0).collect::<Vec<_>>())
}

impl JobRow {
    fn into_job(self) -> Result<PastJob, StoreError> {
        let waited = self.started_at.zip(self.ready_at).map(|(at, ready)| duration::ms(ready, at));
        Ok(PastJob {
            build: BuildNumber(self.build),
            job: self.job,
            attempt: self.attempt as u32,
            status: read(&self.status)?,
            worker: self.worker,
            started_at: maybe_time(self.started_at)?,
            finished_at: maybe_time(self.finished_at)?,
            queue_ms: waited,
            reason: self.reason,
            approved_by: self.approved_by,
        })
    }
}

impl StageRow {
    fn into_stage(self) -> Result<PastStage, StoreError> {
        Ok(PastStage {
            build: BuildNumber(self.build),
            job: self.job,
            attempt: self.attempt as u32,
            stage: self.stage,
            status: read(&self.status)?,
            exit_code: self.exit_code.map(|code| code as i32),
            started_at: maybe_time(self.started_at)?,
            duration_ms: self.duration_ms,
            reason: self.reason,
        })
    }
}
