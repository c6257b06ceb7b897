//! What earlier builds say about one: which shapes the lines of passed runs had, what is new in a failed log, how long
//! jobs take, and since when a branch is broken.

use std::collections::{BTreeMap, HashSet};

use ocelot_model::novel::Novel;
use ocelot_model::{BuildNumber, RepoId, StageId, Status};
use sqlx::FromRow;

use super::Core;
use crate::raw::{from_json, read, to_json};
use crate::{BrokenSince, BuildRef, Compared, StoreError};

/// Passed runs that a failed one is compared with.
const RUNS: i64 = 20;
/// Newest builds among which passed ones are looked for.
const LOOK: i64 = 200;

#[derive(FromRow)]
struct RefRow {
    number: i64,
    commit_id: String,
    status: String,
}

impl RefRow {
    fn into_ref(self) -> BuildRef {
        BuildRef { number: BuildNumber(self.number), commit: self.commit_id }
    }
}

#[derive(FromRow)]
struct NovelRow {
    lines: String,
    novel: i64,
    compared: i64,
}

impl Core {
    pub(crate) async fn learn_shapes(&self, stage: StageId, shapes: &[u64]) -> Result<(), StoreError> {
        let bytes: Vec<u8> = shapes.iter().flat_map(|shape| shape.to_le_bytes()).collect();
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO stage_shapes (stage_id, repo_id, job, stage, build, shapes)
             SELECT s.id, b.repo_id, j.name, s.name, b.number, $2 FROM stages s JOIN attempts a ON a.id = s.attempt_id
             JOIN jobs j ON j.id = a.job_id JOIN builds b ON b.number = s.build
             WHERE s.id = $1 AND s.status = 'passed' AND b.trusted ON CONFLICT (stage_id) DO NOTHING",
        )
        .bind(stage.0)
        .bind(bytes)
        .execute(tx.conn())
        .await?;
        sqlx::query(
            "DELETE FROM stage_shapes WHERE stage_id IN (
                 SELECT o.stage_id FROM stage_shapes n
                 JOIN stage_shapes o ON o.repo_id = n.repo_id AND o.job = n.job AND o.stage = n.stage
                 WHERE n.stage_id = $1 ORDER BY o.build DESC, o.stage_id DESC LIMIT 1000 OFFSET $2)",
        )
        .bind(stage.0)
        .bind(RUNS)
        .execute(tx.conn())
        .await?;
        self.commit(tx).await
    }

    pub(crate) async fn known_shapes(&self, stage: StageId) -> Result<(HashSet<u64>, u32), StoreError> {
        let mut conn = self.pools.read.acquire().await?;
        let rows: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT o.shapes FROM stages s JOIN attempts a ON a.id = s.attempt_id JOIN jobs j ON j.id = a.job_id
             JOIN builds b ON b.number = s.build
             JOIN stage_shapes o ON o.repo_id = b.repo_id AND o.job = j.name AND o.stage = s.name AND o.build < b.number
             WHERE s.id = $1 ORDER BY o.build DESC LIMIT $2",
        )
        .bind(stage.0)
        .bind(RUNS)
        .fetch_all(&mut *conn)
        .await?;
        let shapes =
            rows.iter().flat_map(|bytes| bytes.as_chunks().0.iter().copied().map(u64::from_le_bytes));
        Ok((shapes.collect(), rows.len() as u32))
    }

    pub(crate) async fn keep_novel(
        &self,
        stage: StageId,
        novel: &Novel,
        compared: u32,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO stage_novel (stage_id, lines, novel, compared)
             SELECT id, $2, $3, $4 FROM stages WHERE id = $1 ON CONFLICT (stage_id) DO NOTHING",
        )
        .bind(stage.0)
        .bind(to_json(&novel.lines)?)
        .bind(novel.all as i64)
        .bind(i64::from(compared))
        .execute(tx.conn())
        .await?;
        self.commit(tx).await
    }

    pub(crate) async fn find_novel(&self, stage: StageId) -> Result<Option<Compared>, StoreError> {
        let mut conn = self.pools.read.acquire().await?;
        let row: Option<NovelRow> =
            sqlx::query_as("SELECT lines, novel, compared FROM stage_novel WHERE stage_id = $1")
                .bind(stage.0)
                .fetch_optional(&mut *conn)
                .await?;
        row.map(|row| {
            let novel = Novel { lines: from_json(&row.lines)?, all: row.novel as u64 };
            Ok(Compared { novel, with: row.compared as u32 })
        })
        .transpose()
    }

    pub(crate) async fn usual_times(
        &self,
        repo: RepoId,
        branch: Option<&str>,
    ) -> Result<BTreeMap<String, Vec<i64>>, StoreError> {
        let mut conn = self.pools.read.acquire().await?;
        let newest = if branch.is_some() {
            "SELECT number, status FROM builds WHERE repo_id = $1 AND branch = $2 AND trusted ORDER BY number DESC LIMIT $3"
        } else {
            "SELECT number, status FROM builds WHERE repo_id = $1 AND $2 IS NOT NULL AND trusted ORDER BY number DESC LIMIT $3"
        };
        let numbers: Vec<(i64, String)> = sqlx::query_as(newest)
            .bind(repo.0)
            .bind(branch.unwrap_or_default())
            .bind(LOOK)
            .fetch_all(&mut *conn)
            .await?;
        let passed = numbers.into_iter().filter(|(_, status)| status == Status::Passed.as_str());
        let passed: Vec<i64> = passed.map(|(number, _)| number).take(RUNS as usize).collect();
        let rows: Vec<(String, i64)> = sqlx::query_as(concat!(
            "SELECT j.name, (a.finished_at - min(s.started_at)) / 1000 FROM jobs j
             JOIN attempts a ON a.job_id = j.id AND a.number = j.attempt JOIN stages s ON s.attempt_id = a.id
             WHERE j.build IN ",
            ids!("$1"),
            " AND a.status = 'passed' AND a.finished_at IS NOT NULL AND s.started_at IS NOT NULL
             GROUP BY j.id, j.name, a.finished_at ORDER BY j.id DESC"
        ))
        .bind(to_json(&passed)?)
        .fetch_all(&mut *conn)
        .await?;
        let mut times: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (name, ms) in rows {
            times.entry(name).or_default().push(ms);
        }
        Ok(times)
    }

    pub(crate) async fn broken_since(&self, number: BuildNumber) -> Result<Option<BrokenSince>, StoreError> {
        let mut tx = self.snapshot().await?;
        // A retry of something old says nothing about what came since; asked about, it is what it does again.
        let rows: Vec<RefRow> = sqlx::query_as(concat!(
            "WITH RECURSIVE again (number, retry_of) AS (
                 SELECT number, retry_of FROM builds WHERE number = $1
                 UNION ALL
                 SELECT e.number, e.retry_of FROM again a JOIN builds e ON e.number = a.retry_of
             )
             SELECT o.number, o.commit_id, o.status FROM builds b JOIN builds o ON ",
            same_history!(),
            " AND o.number <= b.number
             WHERE b.number = (SELECT min(number) FROM again) AND b.event <> 'retry' AND o.event <> 'retry'
             ORDER BY o.number DESC LIMIT $2"
        ))
        .bind(number.0)
        .bind(LOOK)
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        let mut first = None;
        let mut builds = 0;
        for row in rows {
            match read(&row.status)? {
                Status::Passed => {
                    return Ok(first.map(|first_bad| BrokenSince {
                        last_good: Some(row.into_ref()),
                        first_bad,
                        builds,
                    }));
                }
                Status::Failed | Status::Error | Status::TimedOut => {
                    builds += 1;
                    first = Some(row.into_ref());
                }
                Status::Blocked | Status::Queued | Status::Running | Status::Cancelled | Status::Skipped => {}
            }
        }
        Ok(first.map(|first_bad| BrokenSince { last_good: None, first_bad, builds }))
    }
}
