//! One build, alone or with everything below it.

use std::collections::HashMap;

use ocelot_model::{BuildNumber, StageId};

use super::{Conn, Core};
use crate::raw::{AttemptRow, BuildRow, JobRow, StageRow};
use crate::{Attempt, Build, BuildDetail, Stage, StoreError};

impl Core {
    pub(crate) async fn find_build(&self, number: BuildNumber) -> Result<Option<Build>, StoreError> {
        let mut conn = self.pools.read.acquire().await?;
        find_build(&mut conn, number).await
    }

    pub(crate) async fn find_build_detail(
        &self,
        number: BuildNumber,
    ) -> Result<Option<BuildDetail>, StoreError> {
        let mut tx = self.snapshot().await?;
        let Some(build) = find_build(&mut tx, number).await? else { return Ok(None) };
        let jobs: Vec<JobRow> = sqlx::query_as(
            "SELECT id, status, reason, spec, approved_by FROM jobs WHERE build = $1 ORDER BY place",
        )
        .bind(number.0)
        .fetch_all(&mut *tx)
        .await?;
        let attempts: Vec<AttemptRow> = sqlx::query_as(
            "SELECT id, job_id, number, status, reason, worker FROM attempts WHERE build = $1 ORDER BY number",
        )
        .bind(number.0)
        .fetch_all(&mut *tx)
        .await?;
        let stages: Vec<StageRow> = sqlx::query_as(concat!(
            "SELECT ",
            stage_columns!(),
            " FROM stages s WHERE s.build = $1 ORDER BY s.attempt_id, s.place"
        ))
        .bind(number.0)
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        let ids: Vec<i64> = stages.iter().map(|stage| stage.id).collect();
        let bytes = self.log_bytes(&ids).await?;
        let jobs = nest(jobs, attempts, stages, &bytes)?;
        Ok(Some(BuildDetail { build, jobs }))
    }

    pub(crate) async fn find_stage(&self, id: StageId) -> Result<Option<(Build, Stage)>, StoreError> {
        let mut tx = self.snapshot().await?;
        let number: Option<i64> = sqlx::query_scalar("SELECT build FROM stages WHERE id = $1")
            .bind(id.0)
            .fetch_optional(&mut *tx)
            .await?;
        let Some(number) = number else { return Ok(None) };
        let row: StageRow =
            sqlx::query_as(concat!("SELECT ", stage_columns!(), " FROM stages s WHERE s.id = $1"))
                .bind(id.0)
                .fetch_one(&mut *tx)
                .await?;
        let build = load_build(&mut tx, BuildNumber(number)).await?;
        tx.commit().await?;
        let bytes = self.log_bytes(&[id.0]).await?;
        Ok(Some((build, row.into_stage(bytes.get(&id.0).copied().unwrap_or(0))?)))
    }
}

async fn find_build(conn: &mut Conn, number: BuildNumber) -> Result<Option<Build>, StoreError> {
    let row: Option<BuildRow> = sqlx::query_as(concat!(
        "SELECT ",
        build_columns!(),
        " FROM ",
        build_tables!(),
        " WHERE b.number = $1"
    ))
    .bind(number.0)
    .fetch_optional(conn)
    .await?;
    row.map(BuildRow::into_build).transpose()
}

pub(super) async fn load_build(conn: &mut Conn, number: BuildNumber) -> Result<Build, StoreError> {
    find_build(conn, number).await?.ok_or_else(|| StoreError::NotFound(format!("build {number}")))
}

/// Puts stages into attempts and attempts into jobs; each list keeps its order.
fn nest(
    jobs: Vec<JobRow>,
    attempts: Vec<AttemptRow>,
    stages: Vec<StageRow>,
    bytes: &HashMap<i64, i64>,
) -> Result<Vec<crate::Job>, StoreError> {
    let mut by_attempt: HashMap<i64, Vec<Stage>> = HashMap::new();
    for row in stages {
        let (id, attempt) = (row.id, row.attempt_id);
        let stage = row.into_stage(bytes.get(&id).copied().unwrap_or(0))?;
        by_attempt.entry(attempt).or_default().push(stage);
    }
    let mut by_job: HashMap<i64, Vec<Attempt>> = HashMap::new();
    for row in attempts {
        let stages = by_attempt.remove(&row.id).unwrap_or_default();
        by_job.entry(row.job_id).or_default().push(row.into_attempt(stages)?);
    }
    jobs.into_iter()
        .map(|row| {
            let attempts = by_job.remove(&row.id).unwrap_or_default();
            row.into_job(attempts)
        })
        .collect()
}
