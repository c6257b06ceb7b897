//! What is owed to the world outside. It is written down in the transaction that changes a build, and holds for each thing
//! outside only the newest state: what was never sent and is out of date is never sent.

use std::collections::BTreeMap;
use std::time::Duration;

use ocelot_model::{BuildNumber, ForgeId, Status};
use sqlx::FromRow;

use super::super::now;
use super::{Core, Tx, notices};
use crate::raw::{RepoRow, clean, from_json, maybe_time, read, to_json, us};
use crate::{EventBody, Post, StoreError, Undelivered, Wake, secret};

#[derive(FromRow)]
struct PostRow {
    id: i64,
    version: i64,
    kind: String,
    subject: String,
    context: String,
    build: i64,
    status: String,
    reason: Option<String>,
    duration_ms: Option<i64>,
    mark: String,
    tries: i64,
    notice: Option<String>,
    #[sqlx(flatten)]
    repo: RepoRow,
}

impl PostRow {
    fn into_post(self) -> Result<Post, StoreError> {
        Ok(Post {
            id: self.id,
            version: self.version,
            kind: read(&self.kind)?,
            repo: self.repo.into_repo()?,
            subject: self.subject,
            context: self.context,
            build: BuildNumber(self.build),
            status: read(&self.status)?,
            reason: self.reason,
            duration_ms: self.duration_ms,
            mark: self.mark,
            tries: self.tries as u32,
            notice: self.notice.as_deref().map(from_json).transpose()?,
        })
    }
}

#[derive(FromRow)]
struct UndeliveredRow {
    kind: String,
    context: String,
    error: String,
    due_at: Option<i64>,
}

pub(super) fn lane(forge: ForgeId) -> String {
    format!("forge:{forge}")
}

/// Writes down what is owed after the transaction's events.
pub(super) async fn note(tx: &mut Tx) -> Result<(), StoreError> {
    let mut changed: BTreeMap<BuildNumber, (bool, Vec<i64>)> = BTreeMap::new();
    let mut told: BTreeMap<BuildNumber, Status> = BTreeMap::new();
    for (build, _, what) in &tx.events {
        if let EventBody::Build { status, .. } = what {
            told.insert(*build, *status);
        }
        match what {
            // A new one: all of its jobs are.
            EventBody::Build { status: Status::Queued, .. } => changed.entry(*build).or_default().0 = true,
            EventBody::Build { .. } => {
                changed.entry(*build).or_default();
            }
            EventBody::Job { job, .. } => changed.entry(*build).or_default().1.push(job.0),
            EventBody::Stage { .. } => {}
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    for (build, status) in told.into_iter().filter(|(_, is)| is.is_terminal() || *is == Status::Blocked) {
        if notices::note(tx, build, status).await? > 0 {
            tx.wake(Wake::Outbox);
        }
    }
    note_for_forges(tx, changed).await
}

/// What forges are told of these builds: of all of the jobs of a new one, and of these jobs.
async fn note_for_forges(
    tx: &mut Tx,
    changed: BTreeMap<BuildNumber, (bool, Vec<i64>)>,
) -> Result<(), StoreError> {
    // Most changes are of repositories that no forge is told about: one question for all of them.
    let numbers: Vec<i64> = changed.keys().map(|build| build.0).collect();
    let told: Vec<i64> = sqlx::query_scalar(concat!(
        "SELECT b.number FROM builds b JOIN repos r ON r.id = b.repo_id JOIN forges f ON f.id = r.forge_id
         WHERE f.access IS NOT NULL AND b.number IN ",
        ids!("$1")
    ))
    .bind(to_json(&numbers)?)
    .fetch_all(tx.conn())
    .await?;
    for (build, (is_new, jobs)) in changed.into_iter().filter(|(build, _)| told.contains(&build.0)) {
        let statuses = note_statuses(tx, build, is_new, &jobs).await?;
        if statuses + note_comment(tx, build).await? > 0 {
            tx.wake(Wake::Outbox);
        }
    }
    Ok(())
}

/// A build that is skipped says nothing, unless something was said of it before. A job's failure that its file allows
/// counts as success, as it does for the build.
async fn note_statuses(tx: &mut Tx, build: BuildNumber, all: bool, jobs: &[i64]) -> Result<u64, StoreError> {
    let now = tx.now;
    let sql = concat!(
        "INSERT INTO outbox (lane, kind, repo_id, subject, context, build, status, mark, due_at)
         SELECT 'forge:' || f.id, 'status', b.repo_id, b.commit_id, c.context, b.number, c.status, $4, $5
         FROM (
             SELECT number AS build, 'ocelot' AS context, status FROM builds WHERE number = $1
             UNION ALL
             SELECT build, 'ocelot/' || name, CASE
                 WHEN allow_failure AND status IN ('failed', 'error', 'timed_out') THEN 'passed' ELSE status END
             FROM jobs WHERE build = $1 AND ($2 OR id IN ",
        ids!("$3"),
        ") AND (SELECT count(*) FROM jobs WHERE build = $1) > 1
         ) c JOIN builds b ON b.number = c.build JOIN repos r ON r.id = b.repo_id JOIN forges f ON f.id = r.forge_id
         WHERE f.access IS NOT NULL
             AND (b.status <> 'skipped' OR EXISTS (SELECT 1 FROM outbox o WHERE o.build = b.number AND o.kind = 'status'))
         ORDER BY c.context
         ON CONFLICT (kind, repo_id, subject, context) DO UPDATE
         SET build = excluded.build, status = excluded.status, version = outbox.version + 1, due_at = excluded.due_at,
             tries = 0, failing_since = NULL
         WHERE outbox.build < excluded.build
             OR (outbox.build = excluded.build AND outbox.status <> excluded.status)"
    );
    let noted = sqlx::query(sql)
        .bind(build.0)
        .bind(all)
        .bind(to_json(jobs)?)
        .bind(secret::hex(&secret::random::<16>()))
        .bind(now)
        .execute(tx.conn())
        .await?;
    Ok(noted.rows_affected())
}

/// A pull request has one comment, which says how its newest build ended, or that a person is waited for.
async fn note_comment(tx: &mut Tx, build: BuildNumber) -> Result<u64, StoreError> {
    let now = tx.now;
    let noted = sqlx::query(
        "INSERT INTO outbox (lane, kind, repo_id, subject, context, build, status, mark, due_at)
         SELECT 'forge:' || f.id, 'comment', b.repo_id, CAST(b.pull_request AS TEXT), '', b.number, b.status, $2, $3
         FROM builds b JOIN repos r ON r.id = b.repo_id JOIN forges f ON f.id = r.forge_id
         WHERE b.number = $1 AND b.pull_request IS NOT NULL AND f.access IS NOT NULL
             AND b.status NOT IN ('queued', 'running', 'skipped')
         ON CONFLICT (kind, repo_id, subject, context) DO UPDATE
         SET build = excluded.build, status = excluded.status, version = outbox.version + 1, due_at = excluded.due_at,
             tries = 0, failing_since = NULL
         WHERE outbox.build < excluded.build
             OR (outbox.build = excluded.build AND outbox.status <> excluded.status)",
    )
    .bind(build.0)
    .bind(secret::hex(&secret::random::<16>()))
    .bind(now)
    .execute(tx.conn())
    .await?;
    Ok(noted.rows_affected())
}

/// What a forge did not take is tried again at once: it may take it now.
pub(super) async fn try_again(tx: &mut Tx, forge: ForgeId) -> Result<(), StoreError> {
    let now = tx.now;
    sqlx::query(
        "UPDATE outbox SET due_at = $1, tries = 0, failing_since = NULL WHERE lane = $2 AND error IS NOT NULL",
    )
    .bind(now)
    .bind(lane(forge))
    .execute(tx.conn())
    .await?;
    tx.wake(Wake::Outbox);
    Ok(())
}

impl Core {
    pub(crate) async fn outbox_lanes(&self) -> Result<Vec<(String, Duration)>, StoreError> {
        let mut conn = self.pools.read.acquire().await?;
        let now = now(&mut conn).await?;
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT lane, min(CASE WHEN busy_until > due_at THEN busy_until ELSE due_at END)
             FROM outbox WHERE due_at IS NOT NULL GROUP BY lane ORDER BY lane",
        )
        .fetch_all(&mut *conn)
        .await?;
        Ok(rows
            .into_iter()
            .map(|(lane, at)| (lane, Duration::from_micros((at - now).max(0) as u64)))
            .collect())
    }

    pub(crate) async fn take_posts(
        &self,
        lane: &str,
        most: u32,
        busy: Duration,
    ) -> Result<Vec<Post>, StoreError> {
        let mut tx = self.begin().await?;
        let now = tx.now;
        let ids: Vec<i64> = sqlx::query_scalar(concat!(
            "SELECT id FROM outbox
             WHERE lane = $1 AND due_at <= $2 AND (busy_until IS NULL OR busy_until <= $2)
             ORDER BY due_at, id LIMIT $3",
            skip_locked!()
        ))
        .bind(lane)
        .bind(now)
        .bind(i64::from(most))
        .fetch_all(tx.conn())
        .await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = to_json(&ids)?;
        sqlx::query(concat!("UPDATE outbox SET busy_until = $1 WHERE id IN ", ids!("$2")))
            .bind(now + us(busy))
            .bind(&ids)
            .execute(tx.conn())
            .await?;
        let rows: Vec<PostRow> = sqlx::query_as(concat!(
            "SELECT o.id, o.version, o.kind, o.subject, o.context, o.build, o.status, o.mark, o.tries, o.notice,
                    CASE WHEN j.id IS NULL THEN b.reason ELSE j.reason END AS reason,
                    CASE WHEN j.id IS NULL THEN (b.finished_at - b.started_at + 500) / 1000 END AS duration_ms, ",
            repo_columns!(),
            " FROM outbox o JOIN builds b ON b.number = o.build
              JOIN repos r ON r.id = o.repo_id JOIN forges f ON f.id = r.forge_id
              LEFT JOIN jobs j ON j.build = o.build AND o.context = 'ocelot/' || j.name
              WHERE o.id IN ",
            ids!("$1"),
            " ORDER BY o.due_at, o.id"
        ))
        .bind(&ids)
        .fetch_all(tx.conn())
        .await?;
        self.commit(tx).await?;
        rows.into_iter().map(PostRow::into_post).collect()
    }

    pub(crate) async fn post_sent(&self, post: &Post) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE outbox SET due_at = CASE WHEN version = $2 THEN NULL ELSE due_at END, busy_until = NULL,
                               tries = 0, failing_since = NULL, error = NULL
             WHERE id = $1",
        )
        .bind(post.id)
        .bind(post.version)
        .execute(&self.pools.write)
        .await?;
        Ok(())
    }

    pub(crate) async fn post_failed(
        &self,
        post: &Post,
        error: &str,
        again_in: Duration,
        give_up: Duration,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let now = tx.now;
        let left: Option<Option<i64>> = sqlx::query_scalar(
            "UPDATE outbox SET busy_until = NULL, error = $3, failing_since = coalesce(failing_since, $4),
                               tries = CASE WHEN version = $2 THEN tries + 1 ELSE tries END,
                               notice = CASE WHEN version = $2 THEN $7 ELSE notice END,
                               due_at = CASE WHEN version <> $2 THEN due_at
                                             WHEN coalesce(failing_since, $4) <= $5 THEN NULL ELSE $6 END
             WHERE id = $1 RETURNING due_at",
        )
        .bind(post.id)
        .bind(post.version)
        .bind(clean(error))
        .bind(now)
        .bind(now - us(give_up))
        .bind(now + us(again_in))
        .bind(post.notice.as_ref().map(to_json).transpose()?)
        .fetch_optional(tx.conn())
        .await?;
        self.commit(tx).await?;
        Ok(left.is_some_and(|due_at| due_at.is_none()))
    }

    pub(crate) async fn undelivered(&self, build: BuildNumber) -> Result<Vec<Undelivered>, StoreError> {
        let rows: Vec<UndeliveredRow> = sqlx::query_as(
            "SELECT kind, context, error, due_at FROM outbox WHERE build = $1 AND error IS NOT NULL
             ORDER BY kind, context",
        )
        .bind(build.0)
        .fetch_all(&self.pools.read)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(Undelivered {
                    kind: read(&row.kind)?,
                    context: row.context,
                    error: row.error,
                    again_at: maybe_time(row.due_at)?,
                })
            })
            .collect()
    }
}
