//! A build comes into being: all its rows in one transaction.

use ocelot_model::build::{self, BuildState, Happening, JobState};
use ocelot_model::pipeline::{Decided, Job as JobSpec, Retry};
use ocelot_model::{BuildNumber, EventKind, JobId, Origin, Status, Trust};

use super::state::{Locked, Writer};
use super::{Core, Db, Tx, passes, polls, queue, repos, schedules, subscriptions};
use crate::raw::{clean, to_json};
use crate::{BuildDetail, ConfigProblem, Due, EventBody, NewBuild, Plan, StoreError};

/// The stage before those of the file: image and checkout.
const SETUP: &str = "setup";

impl Core {
    pub(crate) async fn create_build(&self, new: &NewBuild) -> Result<BuildDetail, StoreError> {
        let mut tx = self.begin().await?;
        let repo: Option<i64> = sqlx::query_scalar(concat!(
            "SELECT id FROM repos WHERE id = $1 AND NOT removing",
            for_key_share!()
        ))
        .bind(new.repo.0)
        .fetch_optional(tx.conn())
        .await?;
        repo.ok_or_else(|| repos::missing(new.repo))?;
        let number = insert(&mut tx, new).await?;
        self.commit(tx).await?;
        let detail = self.find_build_detail(number).await?;
        detail.ok_or_else(|| StoreError::NotFound(format!("build {number}")))
    }
}

/// All rows of the build.
pub(super) async fn insert(tx: &mut Tx, new: &NewBuild) -> Result<BuildNumber, StoreError> {
    let number = match &new.plan {
        Plan::Broken { reason, problems } => insert_broken(tx, new, reason, problems).await?,
        Plan::Jobs(jobs) => insert_whole(tx, new, jobs).await?,
    };
    match &new.due {
        None => {}
        Some(Due::Schedule(turn)) => schedules::settle(tx, *turn, &format!("build {number}")).await?,
        Some(Due::Poll { turn, before }) => {
            polls::note_head(tx, *turn, &new.branch, before.as_deref(), &new.commit).await?;
        }
        Some(Due::Pass(turn)) => passes::settle(tx, *turn, number).await?,
    }
    if let Some(beside) = &new.beside {
        subscriptions::take(tx, new.repo, beside, number).await?;
    }
    if let Some(of) = new.retry_of {
        passes::follow_again(tx, number, of).await?;
    }
    Ok(number)
}

async fn insert_broken(
    tx: &mut Tx,
    new: &NewBuild,
    reason: &str,
    problems: &[ConfigProblem],
) -> Result<BuildNumber, StoreError> {
    let number = insert_build(tx, new, Status::Error, Some(reason), problems).await?;
    let what = EventBody::Build { status: Status::Error, reason: Some(clean(reason)) };
    tx.events.push((number, new.repo, what));
    Ok(number)
}

async fn insert_whole(
    tx: &mut Tx,
    new: &NewBuild,
    jobs: &[(JobSpec, Status)],
) -> Result<BuildNumber, StoreError> {
    if let Some((spec, _)) = jobs.iter().find(|(_, status)| *status == Status::Running) {
        return Err(StoreError::Conflict(format!("job {} of a new build cannot be running", spec.name)));
    }
    let begins: Vec<_> = jobs.iter().map(|(spec, status)| begin(&new.trust, spec, *status)).collect();
    let open = |(status, _): &(Status, _)| *status == Status::Blocked || status.is_terminal();
    let blocked = begins.iter().all(open) && begins.iter().any(|(status, _)| *status == Status::Blocked);
    let (status, reason) =
        if blocked { (Status::Blocked, new.trust.waits_for()) } else { (Status::Queued, None) };
    let number = insert_build(tx, new, status, reason.as_deref(), &[]).await?;
    tx.events.push((number, new.repo, EventBody::Build { status, reason }));
    let mut states = Vec::with_capacity(jobs.len());
    let mut stages: Vec<NewStage<'_>> = Vec::new();
    for (place, ((spec, _), (begin, reason))) in jobs.iter().zip(begins).enumerate() {
        let state = job_state(spec, begin, reason);
        let (id, attempt) = insert_job(tx, number, place as i64, spec, &state).await?;
        if !begin.is_terminal() {
            queue::enter(tx, id, number, new.repo.0, spec, new.trust.origin).await?;
        }
        states.push(JobState { id, ..state });
        // What can never begin is nobody's fault below it.
        let rest = if begin == Status::Error { Status::Skipped } else { below(begin) };
        stages.extend(new_stages(attempt, spec, rest));
    }
    insert_stages(tx, number, &stages).await?;
    let before = BuildState {
        status,
        cancel_requested: false,
        cancel_reason: None,
        admitted: new.concurrency.is_none(),
        jobs: states,
    };
    let mut locked = Locked { number, repo: new.repo, state: before.clone() };
    let changes =
        build::advance(&mut locked.state, Happening::Created).map_err(|build::Stale| StoreError::Stale)?;
    Writer::new(tx, &locked, &before).write(&before, &changes).await?;
    Ok(number)
}

/// A stage of a new attempt.
pub(super) struct NewStage<'s> {
    attempt: i64,
    place: i64,
    name: &'s str,
    status: Status,
    reason: Option<&'s str>,
}

/// The stages of a new attempt that stands at `status`; what was decided about one when the build was made holds
/// for every attempt.
pub(super) fn new_stages(attempt: i64, spec: &JobSpec, status: Status) -> impl Iterator<Item = NewStage<'_>> {
    let setup = NewStage { attempt, place: 0, name: SETUP, status, reason: None };
    let rest = spec.stages.iter().zip(1i64..).map(move |(stage, place)| {
        let (status, reason) = match &stage.decided {
            Some(Decided::Skip(why)) => (Status::Skipped, Some(why.as_str())),
            Some(Decided::Run(why)) => (status, Some(why.as_str())),
            None => (status, None),
        };
        NewStage { attempt, place, name: &stage.name, status, reason }
    });
    std::iter::once(setup).chain(rest)
}

/// How a job of a commit of this trust begins, when the caller wants it to begin so; and why, where there is something to
/// say.
fn begin(trust: &Trust, spec: &JobSpec, wanted: Status) -> (Status, Option<String>) {
    if wanted == Status::Skipped {
        return (wanted, spec.skipped());
    }
    if wanted.is_terminal() {
        return (wanted, None);
    }
    let own = spec.approval.then(|| "needs approval, as its file says".to_owned());
    match (trust.refuses(spec), own.or_else(|| trust.waits_for())) {
        (Some(why), _) => (Status::Error, Some(why)),
        (None, Some(what)) => (Status::Blocked, Some(what)),
        (None, None) => (wanted, None),
    }
}

/// Attempt and stages of a blocked job wait; those of a job that is over are over with it.
fn below(job: Status) -> Status {
    if job.is_terminal() { job } else { Status::Queued }
}

fn job_state(spec: &JobSpec, status: Status, reason: Option<String>) -> JobState {
    JobState {
        // It gets one when it is written.
        id: JobId(0),
        name: spec.name.clone(),
        status,
        reason,
        ready: false,
        needs: spec.needs.clone(),
        approval: spec.approval,
        always: spec.always,
        allow_failure: spec.allow_failure,
        attempt: 1,
        retry: spec.retry,
        retried: Retry { infrastructure: 0, script: 0 },
    }
}

async fn insert_build(
    tx: &mut Tx,
    new: &NewBuild,
    status: Status,
    reason: Option<&str>,
    problems: &[ConfigProblem],
) -> Result<BuildNumber, StoreError> {
    let now = tx.now;
    let (group, trust) = (new.concurrency.as_ref(), &new.trust);
    let number: i64 = sqlx::query_scalar(
        "INSERT INTO builds (repo_id, status, event, branch, commit_id, message, author, triggered_by, queued_at,
                             finished_at, reason, problems, retry_of, concurrency_group, concurrency_limit,
                             cancel_running, admitted, origin, trusted, origin_account, needs_approval, approved_by,
                             approved_at, pull_request, tag, of_branch, notify)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
                 $23, $24, $25, coalesce((SELECT of_branch FROM builds WHERE number = $13), $26),
                 coalesce($27, (SELECT notify FROM builds WHERE number = $13)))
         RETURNING number",
    )
    .bind(new.repo.0)
    .bind(status.as_str())
    .bind(new.event.as_str())
    .bind(clean(&new.branch))
    .bind(clean(&new.commit))
    .bind(clean(&new.message))
    .bind(clean(&new.author))
    .bind(new.triggered_by.as_deref().map(clean))
    .bind(now)
    .bind(status.is_terminal().then_some(now))
    .bind(reason.map(clean))
    .bind(to_json(problems)?)
    .bind(new.retry_of.map(|earlier| earlier.0))
    .bind(group.map(|it| clean(&it.group)))
    .bind(group.map_or(1, |it| i64::from(it.limit)))
    .bind(group.is_some_and(|it| it.cancel_running))
    .bind(group.is_none())
    .bind(trust.origin.as_str())
    .bind(trust.origin.is_trusted())
    .bind(trust.account.as_deref().map(clean))
    .bind(trust.needs_approval)
    .bind(trust.approved_by.as_deref().map(clean))
    .bind(trust.approved_by.is_some().then_some(now))
    .bind(new.pull_request.map(|number| number as i64))
    .bind(new.tag.as_deref().map(clean))
    .bind(is_of_branch(new))
    .bind(new.notify.as_ref().map(to_json).transpose()?)
    .fetch_one(tx.conn())
    .await?;
    Ok(BuildNumber(number))
}

/// True when it builds what a branch of the repository holds, which others may be built after.
fn is_of_branch(new: &NewBuild) -> bool {
    new.event != EventKind::PullRequest && new.tag.is_none() && new.trust.origin == Origin::Repository
}

/// The job and its first attempt.
async fn insert_job(
    tx: &mut Tx,
    number: BuildNumber,
    place: i64,
    spec: &JobSpec,
    state: &JobState,
) -> Result<(JobId, i64), StoreError> {
    let JobState { status, reason, .. } = state;
    let job: i64 = sqlx::query_scalar(
        "INSERT INTO jobs (build, place, name, status, spec, needs, always, allow_failure, retry_infrastructure,
                           retry_script, reason, needs_approval)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id",
    )
    .bind(number.0)
    .bind(place)
    .bind(clean(&spec.name))
    .bind(status.as_str())
    .bind(to_json(spec)?)
    .bind(to_json(&spec.needs)?)
    .bind(spec.always)
    .bind(spec.allow_failure)
    .bind(i64::from(spec.retry.infrastructure))
    .bind(i64::from(spec.retry.script))
    .bind(reason.as_deref().map(clean))
    .bind(spec.approval)
    .fetch_one(tx.conn())
    .await?;
    let status = below(*status);
    let finished = status.is_terminal().then_some(tx.now);
    let attempt: i64 = sqlx::query_scalar(
        "INSERT INTO attempts (job_id, build, number, status, finished_at, reason) VALUES ($1, $2, 1, $3, $4, $5)
         RETURNING id",
    )
    .bind(job)
    .bind(number.0)
    .bind(status.as_str())
    .bind(finished)
    .bind(reason.as_deref().map(clean))
    .fetch_one(tx.conn())
    .await?;
    Ok((JobId(job), attempt))
}

pub(super) async fn insert_stages(
    tx: &mut Tx,
    number: BuildNumber,
    stages: &[NewStage<'_>],
) -> Result<(), StoreError> {
    for some in stages.chunks(1000) {
        let mut sql = sqlx::QueryBuilder::<Db>::new(
            "INSERT INTO stages (attempt_id, build, place, name, status, reason) ",
        );
        sql.push_values(some, |mut row, stage| {
            row.push_bind(stage.attempt)
                .push_bind(number.0)
                .push_bind(stage.place)
                .push_bind(clean(stage.name))
                .push_bind(stage.status.as_str())
                .push_bind(stage.reason.map(clean));
        });
        sql.build().execute(tx.conn()).await?;
    }
    Ok(())
}
