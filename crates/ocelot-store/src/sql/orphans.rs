//! Builds that nothing would ever end: rows that do not fit together, whatever brought them about. What is written in one
//! transaction always fits, so each row found here is a fault of ours or of somebody who wrote to the database; there is
//! no race to be patient about, and everything is looked at again under the build's lock.

use ocelot_model::build::{Change, Happening, Outcome};
use ocelot_model::{BuildNumber, JobId, Status};

use super::advance::advance_in;
use super::{Core, Tx, queue, state};
use crate::raw::read;
use crate::{Mended, StoreError, Wake};

/// The newest attempt of a job.
#[derive(sqlx::FromRow)]
struct NewestRow {
    id: i64,
    status: String,
    reason: Option<String>,
    held: bool,
    waits: bool,
}

impl Core {
    pub(crate) async fn orphans(&self, limit: u32) -> Result<Vec<BuildNumber>, StoreError> {
        let numbers: Vec<i64> = sqlx::query_scalar(
            "SELECT b.number FROM builds b
             WHERE b.status IN ('queued', 'running', 'blocked')
               AND (EXISTS (SELECT 1 FROM jobs j JOIN attempts a ON a.job_id = j.id AND a.number = j.attempt
                            WHERE j.build = b.number AND j.status = 'running' AND a.lease_until IS NULL)
                 OR EXISTS (SELECT 1 FROM jobs j LEFT JOIN queue q ON q.job_id = j.id
                            WHERE j.build = b.number AND j.status = 'queued' AND q.job_id IS NULL)
                 OR NOT EXISTS (SELECT 1 FROM jobs j WHERE j.build = b.number
                                AND j.status IN ('queued', 'running', 'blocked'))
                 OR (b.admitted AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.build = b.number
                     AND (j.status IN ('running', 'blocked') OR (j.status = 'queued' AND j.ready)))))
             ORDER BY b.number LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.pools.read)
        .await?;
        Ok(numbers.into_iter().map(BuildNumber).collect())
    }

    pub(crate) async fn mend(&self, number: BuildNumber) -> Result<Mended, StoreError> {
        let mut tx = self.begin().await?;
        let mut mended = Mended::default();
        let jobs = state::lock(tx.conn(), number).await?.state.jobs;
        for job in jobs.into_iter().filter(|job| !job.status.is_terminal()) {
            let newest = newest(&mut tx, job.id).await?;
            if job.status == Status::Running && !newest.held {
                let (words, changes) = end_running(&mut tx, number, job.id, job.attempt, newest).await?;
                mended.what.push(format!("job {} ran and nobody held it: {words}", job.name));
                mended.changes.extend(changes);
            } else if job.status == Status::Queued && !newest.waits {
                queue::enter_again(&mut tx, job.id, 0).await?;
                if !job.ready {
                    queue::close(&mut tx, job.id).await?;
                }
                mended.what.push(format!("job {} was in no queue: it is again", job.name));
                tx.wake(Wake::Queue);
            }
        }
        // Whatever follows from the jobs as they stand.
        let follows = advance_in(&mut tx, number, Happening::Created).await?;
        if !follows.is_empty() && mended.what.is_empty() {
            mended.what.push("its jobs stood so that more had to follow: it has".to_owned());
        }
        mended.changes.extend(follows);
        self.commit(tx).await?;
        self.wake_later(&mended.changes);
        Ok(mended)
    }
}

async fn newest(tx: &mut Tx, job: JobId) -> Result<NewestRow, StoreError> {
    let row: Option<NewestRow> = sqlx::query_as(
        "SELECT a.id, a.status, a.reason, a.lease_until IS NOT NULL AS held,
                EXISTS (SELECT 1 FROM queue q WHERE q.job_id = j.id) AS waits
         FROM jobs j JOIN attempts a ON a.job_id = j.id AND a.number = j.attempt WHERE j.id = $1",
    )
    .bind(job.0)
    .fetch_optional(tx.conn())
    .await?;
    row.ok_or_else(|| StoreError::Corrupt(format!("job {job} has no attempt")))
}

/// The job ends as its attempt has, or as one whose worker is lost.
async fn end_running(
    tx: &mut Tx,
    number: BuildNumber,
    job: JobId,
    attempt: u32,
    newest: NewestRow,
) -> Result<(String, Vec<Change>), StoreError> {
    let status: Status = read(&newest.status)?;
    // The rules end an attempt that runs.
    sqlx::query("UPDATE attempts SET status = 'running' WHERE id = $1")
        .bind(newest.id)
        .execute(tx.conn())
        .await?;
    let (words, what) = if status.is_terminal() {
        let outcome = Outcome { status, reason: newest.reason, infrastructure: false };
        (format!("it ends as {status}"), Happening::Finished { job, attempt, outcome })
    } else {
        let reason = "nobody holds it any more".to_owned();
        ("it is lost".to_owned(), Happening::Lost { job, attempt, reason })
    };
    Ok((words, advance_in(tx, number, what).await?))
}
