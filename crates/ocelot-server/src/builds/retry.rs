//! Doing a build again: a new build of the same commit, which remembers the old one.
//!
//! A commit stays what it was, wherever the wish comes from. What had to be approved of has to be again, unless somebody did
//! so before and the one who asks now may: then it is in their name. A build that nobody ever approved of waits again.

use ocelot_model::access::Actor;
use ocelot_model::{EventKind, Status, Trust};
use ocelot_store::{Build, BuildDetail, Job, NewBuild, Plan};

use super::approve::may_approve;
use super::name_of;
use super::plan::{self, Origin};
use super::trigger::{self, TriggerError};
use crate::App;

/// Does a build that is over again. With `failed`, jobs that passed are carried over.
pub async fn retry(
    app: &App,
    old: &BuildDetail,
    failed: bool,
    actor: &Actor,
) -> Result<BuildDetail, TriggerError> {
    let build = &old.build;
    let number = build.number;
    if !build.status.is_terminal() {
        let words = format!("build {number} is {}; cancel it first, or wait until it is over", build.status);
        return Err(TriggerError::State(words));
    }
    if old.jobs.is_empty() {
        // Its file could not be read: perhaps a newer Ocelot can.
        let follows = app.store.upstreams_of(&[number]).await?;
        let origin = Origin {
            retry_of: Some(number),
            force: true,
            upstream: follows.into_values().map(|upstream| upstream.alias).collect(),
            pull_request: build.pull_request,
            tag: build.tag.clone(),
            ..Origin::new(EventKind::Retry, &build.branch, name_of(actor), trust(build, actor))
        };
        return trigger::from_commit(app, &build.repo, &build.commit, origin).await;
    }
    if failed && old.jobs.iter().all(|job| job.status == Status::Passed) {
        return Err(TriggerError::State(format!(
            "every job of build {number} passed: there is nothing to do again"
        )));
    }
    let row = NewBuild {
        repo: build.repo.id,
        event: EventKind::Retry,
        branch: build.branch.clone(),
        commit: build.commit.clone(),
        message: build.message.clone(),
        author: build.author.clone(),
        triggered_by: Some(name_of(actor)),
        retry_of: Some(number),
        concurrency: build.concurrency.clone(),
        trust: trust(build, actor),
        due: None,
        beside: None,
        notify: None,
        pull_request: build.pull_request,
        tag: build.tag.clone(),
        plan: Plan::Jobs(old.jobs.iter().map(|job| again(job, failed)).collect()),
    };
    Ok(trigger::create(app, &row).await?)
}

/// What is to be thought of the same commit now.
fn trust(old: &Build, actor: &Actor) -> Trust {
    let Trust { origin, account, approved_by, .. } = old.trust.clone();
    let trust = Trust::new(origin, account, old.repo.approvals);
    let again = approved_by.is_some() && trust.needs_approval && may_approve(actor, &old.repo);
    Trust { approved_by: again.then(|| name_of(actor)), ..trust }
}

fn again(job: &Job, failed: bool) -> (ocelot_model::pipeline::Job, Status) {
    // What was decided about its stages holds for this build too.
    let (spec, status) = plan::begin(job.spec.clone());
    let status = if failed && job.status == Status::Passed { Status::Passed } else { status };
    (spec, status)
}
