//! A webhook becomes builds: each part of it makes one, or says why it makes none.

use ocelot_forge::{CloneUrl, GitError};
use ocelot_model::build::Happening;
use ocelot_model::delivery::says_skip;
use ocelot_model::event::{CommitId, RefName};
use ocelot_model::{BuildNumber, DeliveryState, Event};
use ocelot_store::{Arrived, Cause, PartId, Repo, StoreError, TakenDelivery, crash};

use super::advance::after;
use super::coming::{Coming, Wish, wish};
use super::plan::{FILE, Planned, Unplanned, plan};
use super::trigger::{TriggerError, settle_new};
use super::{beside, clone, inbox};
use crate::App;
use crate::forges::{self, ForgeError};

/// Works on all parts that are not settled.
pub(crate) async fn deliver(app: &App, taken: &TakenDelivery) -> Result<(), TriggerError> {
    let delivery = &taken.delivery;
    let Some(repo) = &delivery.repo else { return Ok(give_up(app, taken, "the repository is gone").await?) };
    let event = match inbox::read(delivery, &taken.body) {
        Ok(event) => event,
        Err(error) => return Ok(give_up(app, taken, &error.to_string()).await?),
    };
    let renamed = renamed(app, repo, &event).await;
    let repo = renamed.as_ref().unwrap_or(repo);
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

/// The repository under the name that the webhook says, when that is a new one and its forge says the same. Its number is known
/// to be right.
async fn renamed(app: &App, repo: &Repo, event: &Event) -> Option<Repo> {
    let said = event.repo().map(|name| name.full_name.as_str())?;
    if said.eq_ignore_ascii_case(&forges::full_name(&repo.name)) {
        return None;
    }
    match forges::follow::follow(app, repo, Some(said)).await {
        Ok(found) => Some(found),
        Err(error) => {
            tracing::warn!(repo = %repo.name, %error, "{} has another name at its forge, which does not confirm it", repo.name);
            None
        }
    }
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
        Some(Wish::Stop { name, why }) => (DeliveryState::Ignored, stop(app, repo, &name, &why).await?),
        Some(Wish::Build(coming)) => match build(app, repo, *coming, part).await? {
            Ok(()) => return Ok(()),
            Err(why) => (DeliveryState::Skipped, why),
        },
    };
    app.store.settle_part(part, state, &words).await?;
    Ok(())
}

/// Cancels what has not begun, and says what that was.
async fn stop(app: &App, repo: &Repo, name: &RefName, why: &str) -> Result<String, TriggerError> {
    let builds = app.store.waiting_builds(repo.id, name).await?;
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
    coming: Coming,
    part: PartId,
) -> Result<Result<(), String>, TriggerError> {
    let Coming { commit, source, again_is_same, origin } = coming;
    if says_skip(&origin.title) {
        return Ok(Err("the pull request's title says not to build it".to_owned()));
    }
    let url = clone::url(app, repo).await?;
    let commit = match commit {
        CommitId::Whole(id) => id,
        CommitId::Short(begin) => whole(app, repo, &url, (&begin, &origin.branch, source.as_deref())).await?,
    };
    let snapshot = app.git.read(&url, &commit, &origin.branch, FILE).await?;
    if says_skip(&snapshot.message) {
        return Ok(Err("the commit's message says not to build it".to_owned()));
    }
    let planned = match plan(app, repo, &commit, snapshot, origin).await? {
        Ok(planned) => planned,
        Err(Unplanned::NoFile(short)) => return Ok(Err(format!("there is no {FILE} at {short}"))),
        Err(Unplanned::LeftOut(branch)) => {
            return Ok(Err(format!("`branches` in {FILE} leaves `{branch}` out")));
        }
    };
    let cause = Cause { part, again_is_same, supersedes: planned.supersedes };
    if let Arrived::Made { build, superseded } = insert(app, repo, planned, &cause).await? {
        crash::point("delivery-built");
        settle_new(app, &build).await;
        for (older, changes) in superseded {
            after(app, older, &changes).await;
        }
    }
    Ok(Ok(()))
}

/// Writes the build, and with it what its file says beside it.
async fn insert(app: &App, repo: &Repo, planned: Planned, cause: &Cause) -> Result<Arrived, TriggerError> {
    let Planned { mut build, says, .. } = planned;
    loop {
        build.beside = beside::look(app, repo, &build, says.as_ref()).await?;
        match app.store.arrive(&build, cause).await {
            Err(StoreError::Overtaken) => {}
            arrived => return Ok(arrived?),
        }
    }
}

/// The whole id of a commit of which the forge said only the beginning: the branch is at it, or was. Of a fork's commit only
/// the forge knows more.
async fn whole(
    app: &App,
    repo: &Repo,
    url: &CloneUrl,
    (begin, branch, source): (&str, &str, Option<&str>),
) -> Result<String, TriggerError> {
    let unknown = match app.git.resolve(url, begin, branch).await {
        Err(error @ (GitError::NoCommit { .. } | GitError::NoBranch { .. })) => error,
        other => return Ok(other?),
    };
    match forges::whole_commit(app, repo, begin, source).await {
        Ok(Some(id)) => Ok(id),
        Ok(None) | Err(ForgeError::Settings(_) | ForgeError::PlainGit(_)) => Err(unknown.into()),
        Err(error) => Err(TriggerError::Forge(error)),
    }
}
