//! From the store's rows to the JSON bodies. No I/O.

use ocelot_api::body;
use ocelot_store as store;

use crate::builds::chain;

/// A build without its jobs, as lists show it.
pub(super) fn build(row: store::Build) -> body::Build {
    body::Build {
        queue_ms: row.waited_ms(),
        duration_ms: row.took_ms(),
        number: row.number.0,
        repo: row.repo.name.to_string(),
        status: row.status,
        event: row.event,
        branch: row.branch,
        commit: row.commit,
        message: row.message,
        author: row.author,
        queued_at: row.queued_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
        reason: row.reason,
        problems: row.problems.into_iter().map(problem).collect(),
        upstream: None,
        upstream_build: None,
        downstream: Vec::new(),
        subscriptions: Vec::new(),
        retry_of: row.retry_of.map(|number| number.0),
        retry_removed: false,
        cancel_requested_at: row.cancel_requested_at,
        triggered_by: row.triggered_by,
        trusted: row.trust.origin.is_trusted(),
        needs_approval: !row.status.is_terminal() && !row.trust.may_start(),
        origin: row.trust.origin,
        origin_account: row.trust.account,
        approved_by: row.trust.approved_by,
        approved_at: row.approved_at,
        undelivered: Vec::new(),
        notes: Vec::new(),
        pull_request: row.pull_request,
        tag: row.tag,
        jobs: None,
    }
}

/// A build with everything below it.
pub(super) fn detail(row: store::BuildDetail) -> body::Build {
    let jobs = row.jobs.into_iter().map(job).collect();
    body::Build { jobs: Some(jobs), ..build(row.build) }
}

/// What could not be said of a build.
pub(super) fn undelivered(row: store::Undelivered) -> body::Undelivered {
    let kind = row.kind.as_str().to_owned();
    body::Undelivered { kind, context: row.context, error: row.error, again_at: row.again_at }
}

fn problem(row: store::ConfigProblem) -> body::ConfigProblem {
    body::ConfigProblem {
        code: row.code,
        message: row.message,
        file: crate::builds::plan::FILE.to_owned(),
        line: row.line,
        column: row.column,
        hint: row.hint,
    }
}

fn job(row: store::Job) -> body::Job {
    let attempts: Vec<body::Attempt> = row.attempts.iter().map(|one| attempt(&row, one)).collect();
    let newest = attempts.last();
    body::Job {
        id: row.id.0,
        status: row.status,
        allowed: row.is_allowed(),
        needs_approval: row.waits(),
        attempt: newest.map_or(1, |attempt| attempt.number),
        worker: newest.and_then(|attempt| attempt.worker.clone()),
        stages: newest.map(|attempt| attempt.stages.clone()).unwrap_or_default(),
        approved_by: row.approved_by,
        name: row.spec.name,
        labels: row.spec.labels,
        needs: row.spec.needs,
        reason: row.reason,
        attempts,
    }
}

fn attempt(job: &store::Job, row: &store::Attempt) -> body::Attempt {
    body::Attempt {
        number: row.number,
        status: row.status,
        worker: row.worker.clone(),
        reason: row.reason.clone(),
        stages: row.stages.iter().map(|one| stage(one, job.allows(row, one))).collect(),
    }
}

fn stage(row: &store::Stage, allowed: bool) -> body::Stage {
    body::Stage {
        id: row.id.0,
        name: row.name.clone(),
        status: row.status,
        allowed,
        exit_code: row.exit_code,
        started_at: row.started_at,
        duration_ms: row.duration_ms,
        log_bytes: row.log_bytes,
        reason: row.reason.clone(),
    }
}

/// The build with the one that it follows.
pub(super) fn follows(build: body::Build, upstream: Option<chain::Above>) -> body::Build {
    let upstream = upstream.map(|chain::Above { row, repo }| body::UpstreamBuild {
        build: row.build.0,
        removed: row.removed,
        repo: repo.name.to_string(),
        branch: row.branch,
        commit: row.commit,
        alias: row.alias,
    });
    body::Build { upstream: upstream.as_ref().map(|it| it.build), upstream_build: upstream, ..build }
}

/// A build that follows another one.
pub(super) fn downstream(row: store::Downstream) -> body::DownstreamBuild {
    body::DownstreamBuild {
        build: row.build.0,
        repo: row.repo.name.to_string(),
        branch: row.branch,
        status: row.status,
    }
}

/// A repository that is built after another one.
pub(super) fn subscription(view: chain::View) -> body::Subscription {
    let chain::View { row, known, fault } = view;
    body::Subscription {
        repo: row.repo.name.to_string(),
        alias: row.alias,
        upstream: row.upstream,
        known,
        branches: row.branches,
        active: row.refused.is_none(),
        fault,
        stored_by: row.stored_by.0,
        last_at: row.last_at,
        outcome: row.outcome,
    }
}

/// A webhook as it came.
pub(super) fn delivery(row: store::Delivery) -> body::Delivery {
    body::Delivery {
        id: row.id.0,
        forge: row.forge,
        repo: row.repo.map(|repo| repo.name.to_string()),
        remote_id: row.remote_id,
        event: row.event,
        received_at: row.received_at,
        state: row.state,
        outcome: row.outcome,
        handled_at: row.handled_at,
        tries: row.tries,
        parts: row.parts.into_iter().map(part).collect(),
    }
}

fn part(row: store::DeliveryPart) -> body::DeliveryPart {
    let build = row.build.map(|number| number.0);
    body::DeliveryPart { subject: row.subject, state: row.state, outcome: row.outcome, build }
}

/// A repository.
pub(super) fn repo(row: &store::Repo, watched: bool) -> body::Repo {
    body::Repo {
        repo: row.name.to_string(),
        forge: row.name.forge.clone(),
        owner: row.name.owner.clone(),
        name: row.name.name.clone(),
        clone_url: row.clone_url.clone(),
        default_branch: row.default_branch.clone(),
        public: row.public,
        approvals: row.approvals,
        watched,
        reconciled: None,
    }
}

/// A token without its secret.
pub(super) fn token(row: store::Token) -> body::Token {
    body::Token {
        id: row.id.0,
        name: row.name,
        role: row.role,
        repos: row.repos,
        created_at: row.created_at,
        expires_at: row.expires_at,
        last_used_at: row.last_used_at,
    }
}

/// An entry of the history of changes; `repo` is the handle of its build's repository.
pub(super) fn event(row: store::Event, repo: &str) -> body::Event {
    let build = row.build.0;
    match row.what {
        store::EventBody::Build { status, reason } => {
            body::Event::Build { build, repo: repo.to_owned(), status, reason }
        }
        store::EventBody::Job { job, name, status, attempt, worker, reason } => {
            body::Event::Job { build, job: job.0, name, status, attempt, worker, reason }
        }
        store::EventBody::Stage { job, stage, name, status, exit_code, duration_ms, reason } => {
            body::Event::Stage {
                build,
                job: job.0,
                stage: stage.0,
                name,
                status,
                exit_code,
                duration_ms,
                reason,
            }
        }
    }
}
