//! A person lets a build start that waits for that, or some of its jobs.

use ocelot_model::build::{Change, Happening};
use ocelot_model::{AuditAction, BuildNumber, Status};

use super::advance::advance_in;
use super::{Conn, Core, Tx, detail, state};
use crate::raw::{clean, read};
use crate::{StoreError, Wake};

/// What there is to approve of.
enum What {
    /// Nothing any more: somebody has.
    Nothing,
    /// The commit.
    Commit,
    /// These jobs.
    Jobs(Vec<i64>),
}

impl Core {
    pub(crate) async fn approve(
        &self,
        number: BuildNumber,
        job: Option<&str>,
        by: &str,
    ) -> Result<Vec<Change>, StoreError> {
        let mut tx = self.begin().await?;
        // Before anything is locked: whoever only asks again must not stand in a claim's way.
        let what = wanted(tx.conn(), number, job).await?;
        if matches!(what, What::Nothing) {
            return Ok(Vec::new());
        }
        state::lock(tx.conn(), number).await?;
        let changes = if write(&mut tx, number, &what, by).await? {
            let build = detail::load_build(tx.conn(), number).await?;
            let of = job.map_or_else(String::new, |name| format!("job {name} of "));
            let words = format!("{of}commit {} of {}", build.commit, build.repo.name);
            tx.note(by, AuditAction::BuildApproved, &format!("build {number}"), &words).await?;
            advance_in(&mut tx, number, Happening::Approved).await?
        } else {
            // Somebody was faster, and a claim may have passed over the rows that were locked here.
            tx.wake(Wake::Queue);
            Vec::new()
        };
        self.commit(tx).await?;
        Ok(changes)
    }
}

/// Notes who approved; false when that was nobody any more.
async fn write(tx: &mut Tx, number: BuildNumber, what: &What, by: &str) -> Result<bool, StoreError> {
    let (now, by) = (tx.now, clean(by));
    match what {
        What::Nothing => Ok(false),
        What::Commit => {
            let commit = "UPDATE builds SET approved_by = $1, approved_at = $2
                          WHERE number = $3 AND approved_by IS NULL AND status = 'blocked'";
            let done = sqlx::query(commit).bind(by).bind(now).bind(number.0).execute(tx.conn()).await?;
            Ok(done.rows_affected() > 0)
        }
        What::Jobs(jobs) => {
            let one = "UPDATE jobs SET approved_by = $1, approved_at = $2
                       WHERE id = $3 AND approved_by IS NULL AND status = 'blocked'";
            let mut any = false;
            for job in jobs {
                let done = sqlx::query(one).bind(&by).bind(now).bind(job).execute(tx.conn()).await?;
                any |= done.rows_affected() > 0;
            }
            Ok(any)
        }
    }
}

async fn wanted(conn: &mut Conn, number: BuildNumber, job: Option<&str>) -> Result<What, StoreError> {
    let build = detail::load_build(conn, number).await?;
    let trust = &build.trust;
    match (job, trust.waits_for()) {
        (None, _) if !trust.needs_approval => jobs(conn, number, None).await,
        (None, None) => Ok(What::Nothing),
        (None, Some(_)) if build.status == Status::Blocked => Ok(What::Commit),
        (None, Some(_)) => Err(over(format_args!("build {number}"), build.status)),
        (Some(_), Some(what)) => {
            Err(StoreError::Conflict(format!("approve build {number} first: it {what}")))
        }
        (Some(name), None) => jobs(conn, number, Some(name)).await,
    }
}

/// The jobs that wait by their file's word, or the one of this name.
async fn jobs(conn: &mut Conn, number: BuildNumber, name: Option<&str>) -> Result<What, StoreError> {
    let rows: Vec<(i64, String, String, Option<String>)> = sqlx::query_as(
        "SELECT id, name, status, approved_by FROM jobs WHERE build = $1 AND needs_approval ORDER BY place",
    )
    .bind(number.0)
    .fetch_all(conn)
    .await?;
    let named: Vec<_> = rows.into_iter().filter(|(_, own, ..)| name.is_none_or(|name| name == own)).collect();
    if let (Some(name), [(_, _, status, None)]) = (name, &named[..])
        && read::<Status>(status)? != Status::Blocked
    {
        return Err(over(format_args!("job {name} of build {number}"), read(status)?));
    }
    if named.is_empty() {
        let what = name.map_or_else(String::new, |name| format!("job `{name}` of "));
        return Err(StoreError::Conflict(format!("{what}build {number} waits for no approval")));
    }
    let waits =
        named.into_iter().filter(|(_, _, status, by)| by.is_none() && status == Status::Blocked.as_str());
    let waits: Vec<i64> = waits.map(|(id, ..)| id).collect();
    Ok(if waits.is_empty() { What::Nothing } else { What::Jobs(waits) })
}

fn over(what: std::fmt::Arguments<'_>, status: Status) -> StoreError {
    StoreError::Conflict(format!("{what} waits for no approval any more: it is {status}"))
}
