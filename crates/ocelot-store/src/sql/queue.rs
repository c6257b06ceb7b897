//! What waits for a worker.
//!
//! Labels are matched set by set, not job by job: there are few different sets, and a worker's answer to each of them
//! is the same for every job that asks for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use ocelot_model::pipeline::Job as JobSpec;
use ocelot_model::turns::Ticket;
use ocelot_model::{BuildNumber, JobId, Origin, RepoId};

use super::{Core, Tx};
use crate::raw::{self, RepoRow, TrustRow, from_json, read, time, to_json, us};
use crate::wanted::{LabelSet, Wanted};
use crate::{Group, Overdue, Place, StoreError, Waiting};

#[derive(sqlx::FromRow)]
struct WaitingRow {
    build: i64,
    job_id: i64,
    name: String,
    needs: String,
    labels: String,
    queued_at: i64,
    ready: bool,
    not_before: i64,
    approval: bool,
    #[sqlx(flatten)]
    trust: TrustRow,
    #[sqlx(flatten)]
    repo: RepoRow,
}

impl WaitingRow {
    fn into_waiting(self, groups: &HashMap<i64, Group>) -> Result<Waiting, StoreError> {
        Ok(Waiting {
            build: BuildNumber(self.build),
            job_id: JobId(self.job_id),
            job: self.name,
            labels: raw::labels(&self.labels)?,
            repo: self.repo.into_repo()?,
            needs: from_json(&self.needs)?,
            queued_at: time(self.queued_at)?,
            ready: self.ready,
            not_before: (self.not_before > 0).then(|| time(self.not_before)).transpose()?,
            group: groups.get(&self.build).cloned(),
            trust: self.trust.into_trust()?,
            approval: self.approval,
        })
    }
}

impl Core {
    pub(crate) async fn list_queue(&self) -> Result<Vec<Place>, StoreError> {
        let now = self.now().await?;
        let mut rows = sqlx::query_as::<_, (i64, i64, i64, i64, i64, i64, bool, i64)>(
            "SELECT q.build, q.job_id, q.repo_id, q.label_set, q.priority, coalesce(l.turn, 0), q.ready, q.not_before
             FROM queue q LEFT JOIN queue_lines l ON l.label_set = q.label_set AND l.repo_id = q.repo_id
             ORDER BY q.build, q.job_id",
        )
        .fetch(&self.pools.read);
        let mut places = Vec::new();
        while let Some((build, job, repo, set, priority, turn, ready, not_before)) = rows.try_next().await? {
            let (build, job, repo) = (BuildNumber(build), JobId(job), RepoId(repo));
            let ticket = Ticket { repo, turn, priority: priority as i32, build, job };
            places.push((set, ticket, ready, ready && not_before <= now));
        }
        drop(rows);
        // After the rows: sets only become more, so that none of theirs is missing.
        let sets = self.wanted().await?.sets;
        let sets: HashMap<i64, _> = sets.iter().map(|set| (set.id, &set.labels)).collect();
        let place = |(set, ticket, ready, due)| {
            let labels = sets.get(&set).ok_or_else(|| StoreError::Corrupt(format!("no label set {set}")))?;
            Ok(Place { ticket, labels: Arc::clone(labels), ready, due })
        };
        places.into_iter().map(place).collect()
    }

    pub(crate) async fn waiting(&self, jobs: &[JobId]) -> Result<Vec<Waiting>, StoreError> {
        let jobs: Vec<i64> = jobs.iter().map(|job| job.0).collect();
        let rows: Vec<WaitingRow> = sqlx::query_as(concat!(
            "SELECT q.build, q.job_id, j.name, j.needs, s.labels, q.queued_at, q.ready, q.not_before,
                    j.needs_approval AND j.approved_by IS NULL AS approval, ",
            trust_columns!(),
            ", ",
            repo_columns!(),
            " FROM queue q JOIN builds b ON b.number = q.build JOIN jobs j ON j.id = q.job_id JOIN label_sets s ON s.id = q.label_set
              JOIN repos r ON r.id = q.repo_id JOIN forges f ON f.id = r.forge_id
              WHERE q.job_id IN ",
            ids!("$1"),
            " ORDER BY q.build, q.job_id"
        ))
        .bind(to_json(&jobs)?)
        .fetch_all(&self.pools.read)
        .await?;
        let mut builds: Vec<i64> = rows.iter().map(|row| row.build).collect();
        builds.dedup();
        let groups = self.groups_in_the_way(&builds).await?;
        rows.into_iter().map(|row| row.into_waiting(&groups)).collect()
    }

    pub(crate) async fn queue_depth(&self) -> Result<u64, StoreError> {
        let depth: i64 = sqlx::query_scalar("SELECT count(*) FROM queue").fetch_one(&self.pools.read).await?;
        Ok(depth as u64)
    }

    pub(crate) async fn longest_wait(&self) -> Result<Duration, StoreError> {
        // During a pause nothing could be claimed: as if time stood still, and afterwards it did (`pause::forget_waiting`).
        let now = match self.paused().await? {
            Some(pause) => pause.since.as_microsecond(),
            None => self.now().await?,
        };
        let since: Option<i64> = sqlx::query_scalar(
            "SELECT min(coalesce(ready_at, queued_at)) FROM queue WHERE ready AND not_before <= $1",
        )
        .bind(now)
        .fetch_one(&self.pools.read)
        .await?;
        Ok(Duration::from_micros(since.map_or(0, |since| (now - since).max(0)) as u64))
    }

    pub(crate) async fn overdue_jobs(
        &self,
        longest: Duration,
        limit: u32,
    ) -> Result<Vec<Overdue>, StoreError> {
        let now = self.now().await?;
        let rows: Vec<(i64, i64, i64)> = sqlx::query_as(
            "SELECT q.build, q.job_id, j.attempt FROM queue q JOIN jobs j ON j.id = q.job_id
             WHERE q.ready AND coalesce(q.ready_at, q.queued_at) <= $1 AND q.not_before <= $2
             ORDER BY coalesce(q.ready_at, q.queued_at) LIMIT $3",
        )
        .bind(now - us(longest))
        .bind(now)
        .bind(i64::from(limit))
        .fetch_all(&self.pools.read)
        .await?;
        let overdue = |(build, job, attempt)| Overdue {
            build: BuildNumber(build),
            job_id: JobId(job),
            attempt: attempt as u32,
        };
        Ok(rows.into_iter().map(overdue).collect())
    }

    pub(crate) async fn unapproved_builds(
        &self,
        longest: Duration,
        limit: u32,
    ) -> Result<Vec<BuildNumber>, StoreError> {
        let before = self.now().await? - us(longest);
        let rows: Vec<i64> = sqlx::query_scalar(
            "SELECT number FROM builds WHERE queued_at <= $1 AND number IN (SELECT build FROM jobs WHERE status = 'blocked')
                 AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.build = number AND (j.status = 'running' OR j.ready))
             ORDER BY number LIMIT $2",
        )
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(&self.pools.read)
        .await?;
        Ok(rows.into_iter().map(BuildNumber).collect())
    }

    /// The sets of labels that jobs want which may be claimed, among all of them. They only become more, so their number
    /// tells whether the copy in memory is whole.
    pub(super) async fn wanted(&self) -> Result<Wanted, StoreError> {
        let (count, waiting): (i64, Option<String>) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM label_sets),
                    (SELECT string_agg(CAST(s.id AS TEXT), ',') FROM label_sets s
                     WHERE EXISTS (SELECT 1 FROM queue_lines l WHERE l.label_set = s.id AND l.waiting > 0))",
        )
        .fetch_one(&self.pools.read)
        .await?;
        let waiting = waiting.unwrap_or_default();
        let waiting = waiting.split(',').filter_map(|id| id.parse().ok()).collect();
        let known = self.label_sets.read().map(|sets| Arc::clone(&sets)).unwrap_or_default();
        if known.len() as i64 == count {
            return Ok(Wanted { sets: known, waiting });
        }
        let rows: Vec<(i64, String)> = sqlx::query_as("SELECT id, labels FROM label_sets ORDER BY id")
            .fetch_all(&self.pools.read)
            .await?;
        let sets = rows
            .into_iter()
            .map(|(id, text)| Ok(LabelSet { id, labels: raw::labels(&text)?.into() }))
            .collect::<Result<Vec<_>, StoreError>>()?;
        let sets = Arc::new(sets);
        if let Ok(mut cached) = self.label_sets.write() {
            *cached = Arc::clone(&sets);
        }
        Ok(Wanted { sets, waiting })
    }
}

/// Puts a new job into the queue, not ready yet.
pub(super) async fn enter(
    tx: &mut Tx,
    job: JobId,
    build: BuildNumber,
    repo: i64,
    spec: &JobSpec,
    origin: Origin,
) -> Result<(), StoreError> {
    let labels = to_json(&origin.labels(spec))?;
    let find = "SELECT id FROM label_sets WHERE labels = $1";
    let found: Option<i64> = sqlx::query_scalar(find).bind(&labels).fetch_optional(tx.conn()).await?;
    let set = if let Some(id) = found {
        id
    } else {
        let add = "INSERT INTO label_sets (labels) VALUES ($1) ON CONFLICT (labels) DO NOTHING";
        sqlx::query(add).bind(&labels).execute(tx.conn()).await?;
        sqlx::query_scalar(find).bind(&labels).fetch_one(tx.conn()).await?
    };
    let now = tx.now;
    sqlx::query(
        "INSERT INTO queue (job_id, build, repo_id, priority, label_set, queued_at, ready)
         VALUES ($1, $2, $3, $4, $5, $6, false)",
    )
    .bind(job.0)
    .bind(build.0)
    .bind(repo)
    .bind(i64::from(origin.priority(spec)))
    .bind(set)
    .bind(now)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The job may be claimed from now on.
pub(super) async fn open(tx: &mut Tx, job: JobId) -> Result<(), StoreError> {
    let now = tx.now;
    sqlx::query("UPDATE queue SET ready = true, ready_at = $1 WHERE job_id = $2")
        .bind(now)
        .bind(job.0)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// The job may not be claimed any more, or not yet.
pub(super) async fn close(tx: &mut Tx, job: JobId) -> Result<(), StoreError> {
    sqlx::query("UPDATE queue SET ready = false, ready_at = NULL WHERE job_id = $1")
        .bind(job.0)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Puts a job that a worker had back into the queue, ready. It has waited since the time in `jobs`.
pub(super) async fn enter_again(tx: &mut Tx, job: JobId, not_before: i64) -> Result<(), StoreError> {
    let row: Option<(i64, i64, String, String)> = sqlx::query_as(
        "SELECT j.build, b.repo_id, j.spec, b.origin FROM jobs j JOIN builds b ON b.number = j.build WHERE j.id = $1",
    )
    .bind(job.0)
    .fetch_optional(tx.conn())
    .await?;
    let (build, repo, spec, origin) = row.ok_or_else(|| StoreError::NotFound(format!("job {job}")))?;
    enter(tx, job, BuildNumber(build), repo, &from_json(&spec)?, read(&origin)?).await?;
    sqlx::query(
        "UPDATE queue SET ready = true, not_before = $1, ready_at = (SELECT ready_at FROM jobs WHERE id = $2)
         WHERE job_id = $2",
    )
    .bind(not_before)
    .bind(job.0)
    .execute(tx.conn())
    .await?;
    Ok(())
}
