//! A webhook becomes builds: each part of it makes one, or says why it makes none.

use ocelot_forge::{CloneUrl, GitError, Snapshot};
use ocelot_model::build::Happening;
use ocelot_model::delivery::says_skip;
use ocelot_model::event::CommitId;
use ocelot_model::pipeline::{self, Facts, Pipeline, branch_matches, decide};
use ocelot_model::{BuildNumber, DeliveryState, Event, EventKind};
use ocelot_store::{
    Arrived, Cause, FromFile, NewBuild, Older, PartId, Plan, Repo, StoreError, TakenDelivery, crash,
};

use super::advance::after;
use super::coming::{Coming, Wish, wish};
use super::trigger::{FILE, TriggerError, begin, broken, settle_new};
use super::{beside, changed, clone, inbox};
use crate::App;

/// Works on all parts that are not settled.
pub(crate) async fn deliver(app: &App, taken: &TakenDelivery) -> Result<(), TriggerError> {
    let delivery = &taken.delivery;
    let Some(repo) = &delivery.repo else { return Ok(give_up(app, taken, "the repository is gone").await?) };
    let event = match inbox::read(delivery, &taken.body) {
        Ok(event) => event,
        Err(error) => return Ok(give_up(app, taken, &error.to_string()).await?),
    };
    let mut trouble = None;
    for (place, part) in delivery.parts.iter().enumerate() {
        if part.state != DeliveryState::Waiting {
            continue;
        }
        let id = PartId { delivery: delivery.id, place: place as u32 };
        match one(app, repo, &event, id).await {
            Ok(()) => {}
            Err(TriggerError::Store(error)) => return Err(error.into()),
            // The others may do better.
            Err(error) => trouble = Some(error),
        }
    }
    trouble.map_or(Ok(()), Err)
}

/// All that is left of it has failed.
pub(crate) async fn give_up(app: &App, taken: &TakenDelivery, why: &str) -> Result<(), StoreError> {
    metrics::counter!("ocelot_deliveries_given_up_total").increment(1);
    for place in 0..taken.delivery.parts.len() {
        let part = PartId { delivery: taken.delivery.id, place: place as u32 };
        app.store.settle_part(part, DeliveryState::Failed, why).await?;
    }
    Ok(())
}

async fn one(app: &App, repo: &Repo, event: &Event, part: PartId) -> Result<(), TriggerError> {
    let (state, words) = match wish(event, part.place as usize, repo.approvals) {
        None => (DeliveryState::Failed, "it does not tell what it told when it came".to_owned()),
        Some(Wish::Stop { branch, why }) => (DeliveryState::Ignored, stop(app, repo, &branch, &why).await?),
        Some(Wish::Build(coming)) => match build(app, repo, &coming, part).await? {
            Ok(()) => return Ok(()),
            Err(why) => (DeliveryState::Skipped, why),
        },
    };
    app.store.settle_part(part, state, &words).await?;
    Ok(())
}

/// Cancels what has not begun, and says what that was.
async fn stop(app: &App, repo: &Repo, branch: &str, why: &str) -> Result<String, TriggerError> {
    let builds = app.store.open_builds(repo.id, Older::Branch(branch), None).await?;
    cancel(app, &builds, why).await?;
    let numbers: Vec<String> = builds.iter().map(ToString::to_string).collect();
    Ok(match &numbers[..] {
        [] => why.to_owned(),
        [one] => format!("{why}; build {one} was cancelled"),
        all => format!("{why}; builds {} were cancelled", all.join(", ")),
    })
}

pub(super) async fn cancel(app: &App, builds: &[BuildNumber], why: &str) -> Result<(), StoreError> {
    for build in builds {
        match app.store.advance(*build, Happening::CancelRequested { reason: why.to_owned() }).await {
            Ok(changes) => after(app, *build, &changes).await,
            Err(StoreError::NotFound(_) | StoreError::Stale) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes the build; or says which rule is against it.
async fn build(
    app: &App,
    repo: &Repo,
    coming: &Coming,
    part: PartId,
) -> Result<Result<(), String>, TriggerError> {
    if says_skip(&coming.title) {
        return Ok(Err("the pull request's title says not to build it".to_owned()));
    }
    let url = clone::url(app, repo).await?;
    let commit = whole(app, &url, coming).await?;
    let snapshot = app.git.read(&url, &commit, &coming.branch, FILE).await?;
    if says_skip(&snapshot.message) {
        return Ok(Err("the commit's message says not to build it".to_owned()));
    }
    let Some(file) = &snapshot.file else {
        return Ok(Err(format!("there is no {FILE} at {}", &commit[..12])));
    };
    let mut says = None;
    let (plan, concurrency, supersedes) = match pipeline::parse_within(file, &app.config.limits) {
        Err(problems) => (broken(&problems), None, false),
        Ok(mut pipeline) => {
            if !branch_matches(&pipeline.branches, &coming.goes_to) {
                return Ok(Err(format!("`branches` in {FILE} leaves `{}` out", coming.goes_to)));
            }
            let facts = facts(app, repo, coming, &commit, &snapshot, &pipeline).await?;
            decide(&mut pipeline.jobs, &facts);
            let group = pipeline.concurrency.take().map(|group| group.of_branch(&coming.branch));
            says = (coming.event == EventKind::Push).then(|| FromFile {
                schedules: std::mem::take(&mut pipeline.schedules),
                subscriptions: std::mem::take(&mut pipeline.subscriptions),
            });
            let supersedes = pipeline.cancel_superseded
                && coming.tag.is_none()
                && (coming.pull_request.is_some() || coming.branch != repo.default_branch);
            (Plan::Jobs(pipeline.jobs.into_iter().map(begin).collect()), group, supersedes)
        }
    };
    let Snapshot { message, author, .. } = snapshot;
    let mut row = NewBuild {
        repo: repo.id,
        event: coming.event,
        branch: coming.branch.clone(),
        commit,
        message,
        author,
        triggered_by: Some(coming.sender.clone()).filter(|name| !name.is_empty()),
        retry_of: None,
        concurrency,
        pull_request: coming.pull_request,
        tag: coming.tag.clone(),
        trust: coming.trust.clone(),
        due: None,
        beside: None,
        plan,
    };
    let cause = Cause { part, again_is_same: coming.again_is_same, supersedes };
    let arrived = insert(app, repo, &mut row, says.as_ref(), &cause).await?;
    if let Arrived::Made(detail) = arrived {
        crash::point("delivery-built");
        settle_new(app, &detail).await;
        if supersedes {
            let older = app.store.open_builds(repo.id, coming.older(), Some(detail.build.number)).await?;
            cancel(app, &older, &format!("superseded by build {}", detail.build.number)).await?;
        }
    }
    Ok(Ok(()))
}

/// Writes the build, and with it what its file says beside it.
async fn insert(
    app: &App,
    repo: &Repo,
    row: &mut NewBuild,
    says: Option<&FromFile>,
    cause: &Cause,
) -> Result<Arrived, TriggerError> {
    loop {
        row.beside = beside::look(app, repo, row, says).await?;
        match app.store.arrive(row, cause).await {
            Err(StoreError::Overtaken) => {}
            arrived => return Ok(arrived?),
        }
    }
}

/// The whole id of a commit of which the forge said only the beginning: the branch is at it, or was.
async fn whole(app: &App, url: &CloneUrl, coming: &Coming) -> Result<String, GitError> {
    match &coming.commit {
        CommitId::Whole(id) => Ok(id.clone()),
        CommitId::Short(begin) => app.git.resolve(url, begin, &coming.branch).await,
    }
}

async fn facts(
    app: &App,
    repo: &Repo,
    coming: &Coming,
    commit: &str,
    snapshot: &Snapshot,
    pipeline: &Pipeline,
) -> Result<Facts, StoreError> {
    let mut facts = Facts::of_branch(coming.event, &coming.branch);
    facts.tag = coming.tag.clone().unwrap_or_default();
    facts.author_id.clone_from(&coming.author_id);
    facts.messages.push(snapshot.message.clone());
    if !coming.title.is_empty() {
        facts.messages.push(coming.title.clone());
    }
    if pipeline.asks_for_files() && coming.pull_request.is_none() {
        facts.files = match &coming.before {
            Some(CommitId::Whole(before)) => changed::between(app, repo, before, commit).await,
            Some(CommitId::Short(_)) | None => {
                changed::since_it_passed(app, repo, &coming.branch, commit).await?
            }
        };
    }
    Ok(facts)
}
