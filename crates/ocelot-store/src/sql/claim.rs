//! A worker takes the first job that it may have.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ocelot_model::pipeline::Job as JobSpec;
use ocelot_model::{AttemptId, JobId, RepoId, StageId, Status, WorkerId};

use super::super::WRITE;
use super::{Conn, Core, Tx, now};
use crate::raw::{self, BuildRow, from_json, read, time, to_json};
use crate::{Build, Claimed, EventBody, Lease, Next, StoreError, secret};

/// How long an offer stands before it counts as refused.
pub(super) const OFFER_US: i64 = 30_000_000;

/// Who claims.
struct Claimer {
    id: WorkerId,
    name: String,
    /// The label sets that it serves, as a JSON list.
    suiting: String,
}

/// A job that waits, with all that its claim must know.
#[derive(sqlx::FromRow)]
struct First {
    job_id: i64,
    spec: String,
    job_status: String,
    attempt: i64,
    attempt_id: i64,
    attempt_status: String,
    #[sqlx(flatten)]
    build: BuildRow,
}

impl Core {
    pub(crate) async fn claim(
        &self,
        worker: WorkerId,
        but: &[RepoId],
    ) -> Result<Option<Claimed>, StoreError> {
        let mut tx = self.pools.write.begin_with(WRITE).await?;
        let row: Option<(String, String, i64, bool, i64)> = sqlx::query_as(concat!(
            "SELECT name, labels, (SELECT count(*) FROM label_sets),
                    EXISTS (SELECT 1 FROM settings WHERE key = 'paused') OR drained_by IS NOT NULL OR ending, ",
            now_us!(),
            " FROM workers WHERE id = $1"
        ))
        .bind(worker.0)
        .fetch_optional(&mut *tx)
        .await?;
        let (name, labels, sets, closed, now) =
            row.ok_or_else(|| StoreError::NotFound(format!("worker {worker}")))?;
        if closed {
            return Ok(None);
        }
        let mut tx = Tx::new(tx, now);
        let suiting = self.suiting(tx.conn(), sets, &raw::labels(&labels)?).await?;
        // Further ones: those whose jobs other claims have their hands on.
        let mut passed: Vec<i64> = but.iter().map(|repo| repo.0).collect();
        passed.extend(self.full_repos(tx.conn()).await?);
        loop {
            let lines = next_lines(tx.conn(), now, &suiting, &passed).await?;
            let Some((_, repo)) = lines.first().copied() else { return Ok(None) };
            if self.is_full(tx.conn(), repo).await? {
                passed.push(repo);
                continue;
            }
            for (set, _) in lines {
                if let Some(first) = lock_first(&mut tx, set, repo).await? {
                    let claimed = take(&mut tx, Claimer { id: worker, name, suiting }, first).await?;
                    self.commit(tx).await?;
                    return Ok(Some(claimed));
                }
            }
            passed.push(repo);
        }
    }

    pub(crate) async fn find_next(
        &self,
        labels: &BTreeMap<String, String>,
        but: &[RepoId],
    ) -> Result<Option<Next>, StoreError> {
        let mut conn = self.pools.read.acquire().await?;
        let now = now(&mut conn).await?;
        let sets: i64 = sqlx::query_scalar("SELECT count(*) FROM label_sets").fetch_one(&mut *conn).await?;
        let suiting = self.suiting(&mut conn, sets, labels).await?;
        let mut passed: Vec<i64> = but.iter().map(|repo| repo.0).collect();
        passed.extend(self.full_repos(&mut conn).await?);
        let lines = next_lines(&mut conn, now, &suiting, &passed).await?;
        let Some((set, repo)) = lines.first().copied() else { return Ok(None) };
        let row: Option<(String, String, String, i64)> = sqlx::query_as(
            "SELECT r.clone_url, j.spec, s.labels, coalesce(q.ready_at, q.queued_at)
             FROM queue q JOIN jobs j ON j.id = q.job_id JOIN repos r ON r.id = q.repo_id
             JOIN label_sets s ON s.id = q.label_set
             WHERE q.label_set = $1 AND q.repo_id = $2 AND q.ready AND q.not_before <= $3
             ORDER BY q.priority DESC, q.build, q.job_id LIMIT 1",
        )
        .bind(set)
        .bind(repo)
        .bind(now)
        .fetch_optional(&mut *conn)
        .await?;
        row.map(|(clone_url, spec, labels, since)| {
            let waited = Duration::from_micros((now - since).max(0) as u64);
            let image = from_json::<JobSpec>(&spec)?.image;
            Ok(Next { repo: RepoId(repo), clone_url, image, labels: raw::labels(&labels)?, waited })
        })
        .transpose()
    }

    /// Repositories that run as many jobs as they may.
    async fn full_repos(&self, conn: &mut Conn) -> Result<Vec<i64>, StoreError> {
        let most = self.jobs_per_repo.load(Ordering::Relaxed);
        if most == 0 {
            return Ok(Vec::new());
        }
        let full = "SELECT b.repo_id FROM attempts a JOIN builds b ON b.number = a.build
                    WHERE a.lease_until IS NOT NULL GROUP BY b.repo_id HAVING count(*) >= $1";
        Ok(sqlx::query_scalar(full).bind(i64::from(most)).fetch_all(conn).await?)
    }

    /// The same for one, which until the end of the transaction gets no job by another claim.
    async fn is_full(&self, conn: &mut Conn, repo: i64) -> Result<bool, StoreError> {
        if self.jobs_per_repo.load(Ordering::Relaxed) == 0 {
            return Ok(false);
        }
        sqlx::query(concat!("SELECT id FROM repos WHERE id = $1", for_no_key_update!()))
            .bind(repo)
            .execute(&mut *conn)
            .await?;
        Ok(self.full_repos(conn).await?.contains(&repo))
    }

    /// The label sets, of which there are so many, that suit a worker with these labels, as a JSON list.
    async fn suiting(
        &self,
        conn: &mut Conn,
        sets: i64,
        labels: &BTreeMap<String, String>,
    ) -> Result<String, StoreError> {
        let sets = self.label_sets(conn, sets).await?;
        let suiting: Vec<i64> = sets.iter().filter(|set| set.suits(labels)).map(|set| set.id).collect();
        to_json(&suiting)
    }
}

/// The label sets in which the repository whose turn it is has jobs, the one with its most urgent job first, and that
/// repository. Reads a few rows of an index per set, however many jobs wait.
async fn next_lines(
    conn: &mut Conn,
    now: i64,
    suiting: &str,
    passed: &[i64],
) -> Result<Vec<(i64, i64)>, StoreError> {
    let sql = concat!(
        "WITH suiting AS (SELECT s.id FROM label_sets s WHERE s.id IN ",
        ids!("$2"),
        "), heads AS (
             SELECT s.id AS label_set, (
                 SELECT l.repo_id FROM queue_lines l
                 WHERE l.label_set = s.id AND l.waiting > 0 AND l.repo_id NOT IN ",
        ids!("$3"),
        "          AND EXISTS (SELECT 1 FROM queue q WHERE q.label_set = l.label_set AND q.repo_id = l.repo_id
                                  AND q.ready AND q.not_before <= $1)
                 ORDER BY l.turn, l.repo_id LIMIT 1) AS repo_id
             FROM suiting s
         ), next AS (
             SELECT l.repo_id FROM heads h
             JOIN queue_lines l ON l.label_set = h.label_set AND l.repo_id = h.repo_id
             ORDER BY l.turn, l.repo_id LIMIT 1
         ), firsts AS (
             SELECT (SELECT q.job_id FROM queue q
                     WHERE q.label_set = s.id AND q.repo_id = n.repo_id AND q.ready AND q.not_before <= $1
                     ORDER BY q.priority DESC, q.build, q.job_id LIMIT 1) AS job_id
             FROM suiting s CROSS JOIN next n
         )
         SELECT q.label_set, q.repo_id FROM firsts f JOIN queue q ON q.job_id = f.job_id
         ORDER BY q.priority DESC, q.build, q.job_id"
    );
    let passed = to_json(passed)?;
    Ok(sqlx::query_as(sql).bind(now).bind(suiting).bind(passed).fetch_all(conn).await?)
}

/// The repository's first job with these labels that no other claim has its hand on, locked with its build. Nothing is
/// read of the build's other jobs, of which there may be many.
async fn lock_first(tx: &mut Tx, set: i64, repo: i64) -> Result<Option<First>, StoreError> {
    let now = tx.now;
    let first = sqlx::query_as(concat!(
        "SELECT j.id AS job_id, j.spec, j.status AS job_status, j.attempt, a.id AS attempt_id,
                a.status AS attempt_status, ",
        build_columns!(),
        " FROM jobs j JOIN attempts a ON a.job_id = j.id AND a.number = j.attempt
          JOIN builds b ON b.number = j.build JOIN repos r ON r.id = b.repo_id JOIN forges f ON f.id = r.forge_id
          WHERE (NOT b.needs_approval OR b.approved_by IS NOT NULL)
            AND (NOT j.needs_approval OR j.approved_by IS NOT NULL) AND j.id = (
              SELECT job_id FROM queue WHERE label_set = $1 AND repo_id = $2 AND ready AND not_before <= $3
              ORDER BY priority DESC, build, job_id LIMIT 1",
        skip_locked!(),
        ")",
        for_no_key_update_of_build!()
    ))
    .bind(set)
    .bind(repo)
    .bind(now)
    .fetch_optional(tx.conn())
    .await?;
    Ok(first)
}

async fn take(tx: &mut Tx, worker: Claimer, first: First) -> Result<Claimed, StoreError> {
    let First { job_id, spec, job_status, attempt, attempt_id, attempt_status, build } = first;
    let (job, attempt, mut build) = (JobId(job_id), attempt as u32, build.into_build()?);
    for status in [&job_status, &attempt_status] {
        if read::<Status>(status)? != Status::Queued {
            return Err(StoreError::Corrupt(format!("job {job} waits but is {status}")));
        }
    }
    if !build.trust.may_start() {
        return Err(StoreError::Corrupt(format!("job {job} waits for a worker, and nobody approved of it")));
    }
    let token = secret::random::<16>().to_vec();
    let lease = Lease { attempt_id: AttemptId(attempt_id), attempt, token };
    let stages = mark_running(tx, &worker, job, &build, &lease).await?;
    begin_build(tx, &mut build)?;
    let spec: JobSpec = from_json(&spec)?;
    let what = EventBody::Job {
        job,
        name: spec.name.clone(),
        status: Status::Running,
        attempt,
        worker: Some(worker.name),
        reason: None,
    };
    tx.events.push((build.number, build.repo.id, what));
    Ok(Claimed { lease, build, job_id: job, spec, stages })
}

/// The build runs from its first job on.
fn begin_build(tx: &mut Tx, build: &mut Build) -> Result<(), StoreError> {
    if build.status == Status::Queued {
        tx.events.push((
            build.number,
            build.repo.id,
            EventBody::Build { status: Status::Running, reason: None },
        ));
    }
    build.status = Status::Running;
    build.started_at = build.started_at.or(Some(time(tx.now)?));
    Ok(())
}

/// Writes the claim down, in one call because a claim is what workers wait for; answers the job's stages.
///
/// The repository had its turn, in all its lines that this worker serves: whoever spreads jobs over many sets of labels
/// gets no more of a worker for it. Lines that only others serve keep their place.
async fn mark_running(
    tx: &mut Tx,
    worker: &Claimer,
    job: JobId,
    build: &Build,
    lease: &Lease,
) -> Result<Vec<(StageId, String)>, StoreError> {
    let now = tx.now;
    let stages: Vec<(i64, String)> = sqlx::query_as(at_once!(
        concat!(
            "UPDATE queue_lines SET turn = (SELECT max(turn) + 1 FROM queue_lines)
             WHERE repo_id = $1 AND label_set IN ",
            ids!("$2")
        ),
        "DELETE FROM queue WHERE job_id = $3",
        "UPDATE attempts SET status = 'running', worker_id = $4, worker = $5, lease_token = $6, lease_until = $7,
                             accepted = false
         WHERE id = $8",
        "UPDATE jobs SET status = 'running', reason = NULL WHERE id = $3",
        "UPDATE builds SET status = 'running', started_at = coalesce(started_at, $9)
         WHERE number = $10 AND (status <> 'running' OR started_at IS NULL)",
        "SELECT id, name FROM stages WHERE attempt_id = $8 ORDER BY place"
    ))
    .bind(build.repo.id.0)
    .bind(&worker.suiting)
    .bind(job.0)
    .bind(worker.id.0)
    .bind(&worker.name)
    .bind(&lease.token)
    .bind(now + OFFER_US)
    .bind(lease.attempt_id.0)
    .bind(now)
    .bind(build.number.0)
    .fetch_all(tx.conn())
    .await?;
    Ok(stages.into_iter().map(|(id, name)| (StageId(id), name)).collect())
}
