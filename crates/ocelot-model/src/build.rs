//! The state machine of a build: what follows from what happened.
//!
//! [`advance`] is the only place that decides a status. It gets a picture of the build and one
//! [`Happening`], changes the picture and answers with the [`Change`]s to write down, in order.

#![warn(clippy::wildcard_enum_match_arm, reason = "a new status must be thought about here")]

use crate::pipeline::Retry;
use crate::{JobId, Status};

/// A build as the state machine sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildState {
    /// Its status.
    pub status: Status,
    /// Someone asked to cancel it.
    pub cancel_requested: bool,
    /// Who asked for that, in words.
    pub cancel_reason: Option<String>,
    /// False while it waits for a place in its concurrency group: its jobs stay out of the queue.
    pub admitted: bool,
    /// Its jobs, in the order of the file.
    pub jobs: Vec<JobState>,
}

/// A job as the state machine sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct JobState {
    /// Its id.
    pub id: JobId,
    /// Its name; `needs` of others refer to it.
    pub name: String,
    /// Its status.
    pub status: Status,
    /// Why it is in this status.
    pub reason: Option<String>,
    /// True when it stands in the queue, so that a worker may claim it.
    pub ready: bool,
    /// Names of the jobs that it needs.
    pub needs: Vec<String>,
    /// A person must let it start, and nobody has.
    pub approval: bool,
    /// Runs even when a job that it needs failed.
    pub always: bool,
    /// Its failure counts as passed.
    pub allow_failure: bool,
    /// Number of its newest attempt, from 1.
    pub attempt: u32,
    /// New attempts that it may get by itself.
    pub retry: Retry,
    /// New attempts that it already got, by cause.
    pub retried: Retry,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// The build was just made: find what is ready.
    Created,
    /// Its concurrency group has a place for it.
    Admitted,
    /// A person approved of its commit, or of some of its jobs: what waited for nothing else goes on.
    Approved,
    /// A worker says that its attempt is over.
    Finished {
        /// The job.
        job: JobId,
        /// Which attempt.
        attempt: u32,
        /// How it ended.
        outcome: Outcome,
    },
    /// The lease of an attempt ran out, or its worker is gone.
    Lost {
        /// The job.
        job: JobId,
        /// Which attempt.
        attempt: u32,
        /// Why, in words.
        reason: String,
    },
    /// No worker took the job in the time that it may wait.
    Expired {
        /// The job.
        job: JobId,
        /// Which attempt waited.
        attempt: u32,
        /// Why nobody took it, in words.
        reason: String,
    },
    /// Nobody approved of what waits for a person in the time that it may wait.
    Unapproved {
        /// How long that was, in words.
        reason: String,
    },
    /// Someone wants it stopped.
    CancelRequested {
        /// Who or what, in words.
        reason: String,
    },
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// A terminal status.
    pub status: Status,
    /// Why, in words.
    pub reason: Option<String>,
    /// With `error`: the infrastructure was at fault, another attempt may do better.
    pub infrastructure: bool,
}

/// What must be written down, or done after it was.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// An attempt became terminal; its stages that never started get `rest`.
    Attempt {
        /// The job.
        job: JobId,
        /// Which attempt.
        attempt: u32,
        /// Its status.
        status: Status,
        /// Why.
        reason: Option<String>,
        /// What becomes of stages that did not start.
        rest: Status,
    },
    /// A job changed.
    Job {
        /// The job.
        job: JobId,
        /// Its status.
        status: Status,
        /// Why.
        reason: Option<String>,
    },
    /// A further attempt begins to wait, not to be claimed before `delay_ms` have passed.
    NewAttempt {
        /// The job.
        job: JobId,
        /// Its number.
        attempt: u32,
        /// How long it must wait.
        delay_ms: u64,
    },
    /// A job may be claimed from now on.
    Enqueue {
        /// The job.
        job: JobId,
    },
    /// A job leaves the queue.
    Dequeue {
        /// The job.
        job: JobId,
    },
    /// The worker of this attempt is told to stop it.
    Stop {
        /// The job.
        job: JobId,
        /// Which attempt.
        attempt: u32,
    },
    /// The build changed.
    Build {
        /// Its status.
        status: Status,
        /// Why.
        reason: Option<String>,
    },
}

/// The attempt is not the job's newest or no longer runs: nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this attempt is over, or a newer one took its place")]
pub struct Stale;

/// What failed for reasons of the machine or the network is tried again after this, at first.
const FIRST_PAUSE_MS: u64 = 5_000;

/// Applies one happening. On [`Stale`] the picture is as before.
pub fn advance(build: &mut BuildState, what: Happening) -> Result<Vec<Change>, Stale> {
    let mut changes = Vec::new();
    let mut reason = None;
    match what {
        Happening::Created => {}
        Happening::Admitted => build.admitted = true,
        Happening::Approved => build.jobs.iter_mut().for_each(|job| unblock(job, &mut changes)),
        Happening::Finished { job, attempt, outcome } => {
            let cancelled = build.cancel_requested;
            end_attempt(running(build, job, attempt)?, outcome, FIRST_PAUSE_MS, cancelled, &mut changes);
        }
        Happening::Lost { job, attempt, reason } => {
            let cancelled = build.cancel_requested;
            let outcome = Outcome { status: Status::Error, reason: Some(reason), infrastructure: true };
            // It has waited long enough for its worker, and the next one is another.
            end_attempt(running(build, job, attempt)?, outcome, 0, cancelled, &mut changes);
        }
        Happening::Expired { job, attempt, reason } => {
            end_waiting(claimable(build, job, attempt)?, Status::Error, &reason, &mut changes);
        }
        Happening::Unapproved { reason: why } => {
            // Else a person was faster, or something of it goes on without one.
            let waits = build.jobs.iter().any(|job| job.status == Status::Blocked)
                && build.jobs.iter().all(|job| job.status != Status::Running && !job.ready);
            if !waits {
                return Err(Stale);
            }
            build.jobs.iter_mut().for_each(|job| cancel_job(job, &why, &mut changes));
            reason = Some(why);
        }
        Happening::CancelRequested { reason: why } => {
            if !build.status.is_terminal() {
                build.cancel_requested = true;
                build.cancel_reason.get_or_insert_with(|| why.clone());
                build.jobs.iter_mut().for_each(|job| cancel_job(job, &why, &mut changes));
                reason = Some(why);
            }
        }
    }
    settle_jobs(build, &mut changes);
    settle_build(build, reason, &mut changes);
    Ok(changes)
}

fn running(build: &mut BuildState, id: JobId, attempt: u32) -> Result<&mut JobState, Stale> {
    find(build, id, attempt, Status::Running)
}

fn claimable(build: &mut BuildState, id: JobId, attempt: u32) -> Result<&mut JobState, Stale> {
    find(build, id, attempt, Status::Queued).and_then(|job| if job.ready { Ok(job) } else { Err(Stale) })
}

fn find(build: &mut BuildState, id: JobId, attempt: u32, status: Status) -> Result<&mut JobState, Stale> {
    let mut jobs = build.jobs.iter_mut();
    jobs.find(|job| job.id == id && job.attempt == attempt && job.status == status).ok_or(Stale)
}

fn end_attempt(
    job: &mut JobState,
    outcome: Outcome,
    pause_ms: u64,
    cancelled: bool,
    changes: &mut Vec<Change>,
) {
    let rest =
        if cancelled || outcome.status == Status::Cancelled { Status::Cancelled } else { Status::Skipped };
    changes.push(Change::Attempt {
        job: job.id,
        attempt: job.attempt,
        status: outcome.status,
        reason: outcome.reason.clone(),
        rest,
    });
    job.reason.clone_from(&outcome.reason);
    if let Some(delay_ms) = retry_delay(job, &outcome, pause_ms).filter(|_| !cancelled) {
        job.attempt += 1;
        job.status = Status::Queued;
        job.ready = true;
        changes.push(Change::Job { job: job.id, status: Status::Queued, reason: outcome.reason });
        changes.push(Change::NewAttempt { job: job.id, attempt: job.attempt, delay_ms });
        return;
    }
    // A worker that is lost while the build is being cancelled leaves a cancelled job.
    job.status = if cancelled && outcome.infrastructure { Status::Cancelled } else { outcome.status };
    changes.push(Change::Job { job: job.id, status: job.status, reason: outcome.reason });
}

/// How long a further attempt waits, when there is to be one; twice as long each time. Counts it.
fn retry_delay(job: &mut JobState, outcome: &Outcome, pause_ms: u64) -> Option<u64> {
    if outcome.status == Status::Error
        && outcome.infrastructure
        && job.retried.infrastructure < job.retry.infrastructure
    {
        job.retried.infrastructure += 1;
        return Some(pause_ms << (job.retried.infrastructure - 1).min(6));
    }
    if outcome.status == Status::Failed && job.retried.script < job.retry.script {
        job.retried.script += 1;
        return Some(0);
    }
    None
}

fn cancel_job(job: &mut JobState, why: &str, changes: &mut Vec<Change>) {
    match job.status {
        Status::Blocked | Status::Queued => end_waiting(job, Status::Cancelled, why, changes),
        Status::Running => changes.push(Change::Stop { job: job.id, attempt: job.attempt }),
        Status::Passed
        | Status::Failed
        | Status::Error
        | Status::TimedOut
        | Status::Cancelled
        | Status::Skipped => {}
    }
}

fn unblock(job: &mut JobState, changes: &mut Vec<Change>) {
    if job.status == Status::Blocked && !job.approval {
        job.status = Status::Queued;
        job.reason = None;
        changes.push(Change::Job { job: job.id, status: Status::Queued, reason: None });
    }
}

/// A job that no worker has ends.
fn end_waiting(job: &mut JobState, status: Status, why: &str, changes: &mut Vec<Change>) {
    if job.ready {
        changes.push(Change::Dequeue { job: job.id });
    }
    job.ready = false;
    job.status = status;
    let reason = Some(why.to_owned());
    job.reason.clone_from(&reason);
    let rest = if status == Status::Cancelled { status } else { Status::Skipped };
    changes.push(Change::Attempt { job: job.id, attempt: job.attempt, status, reason: reason.clone(), rest });
    changes.push(Change::Job { job: job.id, status, reason });
}

/// Queues the jobs whose needs are met and skips those whose needs cannot be met any more.
fn settle_jobs(build: &mut BuildState, changes: &mut Vec<Change>) {
    // A skipped job may decide over another one further up, so go round until nothing moves.
    while let Some((at, verdict)) = (0..build.jobs.len()).find_map(|at| Some((at, verdict(build, at)?))) {
        let job = &mut build.jobs[at];
        match verdict {
            Ok(()) => {
                job.ready = true;
                changes.push(Change::Enqueue { job: job.id });
            }
            Err(reason) => {
                job.status = Status::Skipped;
                job.reason = Some(reason.clone());
                changes.push(Change::Attempt {
                    job: job.id,
                    attempt: job.attempt,
                    status: Status::Skipped,
                    reason: Some(reason.clone()),
                    rest: Status::Skipped,
                });
                changes.push(Change::Job { job: job.id, status: Status::Skipped, reason: Some(reason) });
            }
        }
    }
}

/// For a job that is not in the queue yet: `Ok` to enqueue, `Err` with the reason to skip
/// it, `None` to go on waiting.
fn verdict(build: &BuildState, at: usize) -> Option<Result<(), String>> {
    let job = &build.jobs[at];
    if !matches!(job.status, Status::Queued | Status::Blocked) || job.ready {
        return None;
    }
    if !job.always
        && let Some(bad) = bad_need(build, job)
    {
        return Some(Err(format!("it needs job `{}`, which ended as {}", bad.name, bad.status)));
    }
    let free = build.admitted && job.status == Status::Queued;
    (free && needs(build, job).all(|n| n.status.is_terminal())).then_some(Ok(()))
}

fn needs<'a>(build: &'a BuildState, job: &'a JobState) -> impl Iterator<Item = &'a JobState> {
    build.jobs.iter().filter(|other| job.needs.contains(&other.name))
}

/// The need that keeps a job from running. A job that was skipped by a rule is no hindrance, one
/// that was skipped because of its own needs is: it hands their failure on.
fn bad_need<'a>(build: &'a BuildState, job: &'a JobState) -> Option<&'a JobState> {
    needs(build, job).find(|n| {
        if n.status == Status::Skipped {
            !n.always && bad_need(build, n).is_some()
        } else {
            n.status.is_terminal() && !counts_as(n).is_good()
        }
    })
}

fn counts_as(job: &JobState) -> Status {
    if is_allowed(job.status, job.allow_failure) { Status::Passed } else { job.status }
}

/// True when a job that ended so counts as passed though it did not pass.
pub fn is_allowed(status: Status, allow_failure: bool) -> bool {
    allow_failure && matches!(status, Status::Failed | Status::Error | Status::TimedOut)
}

fn settle_build(build: &mut BuildState, reason: Option<String>, changes: &mut Vec<Change>) {
    let status = whole(&build.jobs);
    if build.status.is_terminal() || status == build.status {
        return;
    }
    build.status = status;
    let reason =
        reason.or_else(|| (status.is_terminal() && status != Status::Passed).then(|| decided(build))?);
    changes.push(Change::Build { status, reason });
}

/// Why a build that is over did not end well: the words of its first job that ended like it. Where there are several
/// jobs, the sentence names it and says how many more there are.
fn decided(build: &BuildState) -> Option<String> {
    if build.status == Status::Cancelled && build.cancel_reason.is_some() {
        return build.cancel_reason.clone();
    }
    let mut same = build.jobs.iter().filter(|job| counts_as(job) == build.status);
    let first = same.next()?;
    if build.jobs.len() == 1 {
        return first.reason.clone();
    }
    let name = &first.name;
    let words = first.reason.as_ref().map_or_else(
        || format!("job {name} ended as {}", first.status),
        |reason| format!("job {name}: {reason}"),
    );
    Some(match same.count() {
        0 => words,
        1 => format!("{words} (and 1 more job)"),
        more => format!("{words} (and {more} more jobs)"),
    })
}

/// The status of a build with these jobs: its worst one once all are terminal.
pub fn whole(jobs: &[JobState]) -> Status {
    if jobs.iter().all(|job| job.status.is_terminal()) {
        return jobs.iter().map(counts_as).max_by_key(|s| s.severity()).unwrap_or(Status::Skipped);
    }
    if jobs.iter().all(|job| job.status == Status::Blocked || job.status.is_terminal()) {
        return Status::Blocked;
    }
    let started =
        jobs.iter().any(|job| job.status == Status::Running || job.attempt > 1 || job.status.is_terminal());
    if started { Status::Running } else { Status::Queued }
}

#[cfg(test)]
mod tests;
