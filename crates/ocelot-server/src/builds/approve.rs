//! A person has looked at the commit of a build that waits for that, and lets it start.

use ocelot_model::BuildNumber;
use ocelot_model::access::{Action, Actor, RepoView, may};
use ocelot_store::{BuildDetail, Repo, StoreError};

use super::advance::after;
use super::{concurrency, name_of};
use crate::App;

/// True when the actor may let builds of other people's commits start.
pub(super) fn may_approve(actor: &Actor, repo: &Repo) -> bool {
    may(actor, Action::WriteRepo, Some(RepoView { name: &repo.name, public: repo.public }))
}

/// Lets it start, or one of its jobs that waits by its file's word; answers the build as it is then. Of one that somebody approved of before nothing changes. The caller has
/// checked that the actor may.
pub async fn approve(
    app: &App,
    number: BuildNumber,
    job: Option<&str>,
    actor: &Actor,
) -> Result<BuildDetail, StoreError> {
    let changes = app.store.approve(number, job, &name_of(actor)).await?;
    let missing = || StoreError::NotFound(format!("build {number}"));
    let detail = app.store.find_build_detail(number).await?.ok_or_else(missing)?;
    if !changes.is_empty() {
        let build = &detail.build;
        let (by, commit) = (name_of(actor), &build.commit);
        let what = job.map_or_else(String::new, |name| format!("job {name} of "));
        tracing::info!(build = number.0, repo = %build.repo.name, by, commit, "{what}build {number} approved by {by}");
        after(app, number, &changes).await;
        concurrency::settle(app, build).await;
    }
    Ok(detail)
}
