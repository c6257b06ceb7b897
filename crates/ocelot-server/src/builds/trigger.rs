//! How a build begins: which commit, what its `ocelot.yml` says, and then one transaction.

use ocelot_api::body::NewBuild;
use ocelot_forge::{GitError, Snapshot, git};
use ocelot_model::access::Actor;
use ocelot_model::{EventKind, Origin as CommitOrigin, Trust};
use ocelot_store::{BuildDetail, NewBuild as NewRow, Repo, StoreError};

use super::plan::{FILE, Origin, Planned, Unplanned, plan};
use super::{beside, clone, concurrency, name_of};
use crate::App;
use crate::forges::ForgeError;

/// Why there is no build.
#[derive(Debug, thiserror::Error)]
pub enum TriggerError {
    /// Asked for something that is not there yet.
    #[error("{0}")]
    Unsupported(String),
    /// The request makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// The commit has no `ocelot.yml`.
    #[error("{0}")]
    NoFile(String),
    /// The file leaves this branch out.
    #[error("{0}")]
    Excluded(String),
    /// The earlier build is not in a state for that.
    #[error("{0}")]
    State(String),
    /// Git did not give the commit.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The forge did not say what only it knows.
    #[error(transparent)]
    Forge(ForgeError),
    /// The database did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A person asks for a build of a branch or commit.
pub async fn manual(
    app: &App,
    repo: &Repo,
    new: &NewBuild,
    actor: &Actor,
) -> Result<BuildDetail, TriggerError> {
    if !new.params.is_empty() {
        return Err(TriggerError::Unsupported("`params` is not supported yet".to_owned()));
    }
    let branch = new.branch.as_deref().unwrap_or(&repo.default_branch);
    let origin = Origin::new(EventKind::Manual, branch, name_of(actor), Trust::own());
    let origin = Origin { force: new.force, ..origin };
    if let Some(commit) = &new.commit {
        let (branch, commit, trust) = revision(app, repo, new, commit).await?;
        return from_commit(app, repo, &commit, Origin { branch, trust, ..origin }).await;
    }
    from_head(app, repo, origin).await
}

/// The newest commit of a branch.
pub(super) async fn from_head(app: &App, repo: &Repo, origin: Origin) -> Result<BuildDetail, TriggerError> {
    let url = clone::url(app, repo).await?;
    let (commit, snapshot) = app.git.head(&url, &origin.branch, FILE).await?;
    from_snapshot(app, repo, &commit, snapshot, origin).await
}

/// Reads the file at `commit` and makes the build.
pub(super) async fn from_commit(
    app: &App,
    repo: &Repo,
    commit: &str,
    origin: Origin,
) -> Result<BuildDetail, TriggerError> {
    let url = clone::url(app, repo).await?;
    let snapshot = app.git.read(&url, commit, &origin.branch, FILE).await?;
    from_snapshot(app, repo, commit, snapshot, origin).await
}

/// Makes the build of what a commit holds.
pub(super) async fn from_snapshot(
    app: &App,
    repo: &Repo,
    commit: &str,
    snapshot: Snapshot,
    origin: Origin,
) -> Result<BuildDetail, TriggerError> {
    match plan(app, repo, commit, snapshot, origin).await? {
        Ok(planned) => {
            let detail = insert(app, repo, planned).await?;
            settle_new(app, &detail).await;
            Ok(detail)
        }
        Err(Unplanned::NoFile(short)) => {
            Err(TriggerError::NoFile(format!("there is no {FILE} at {short} of {}", repo.name)))
        }
        Err(Unplanned::LeftOut(branch)) => Err(TriggerError::Excluded(format!(
            "`branches` in {FILE} leaves `{branch}` out; use `--force` (\"force\": true) to build it all the same"
        ))),
    }
}

/// Writes the build, and with it what its file says beside it.
async fn insert(app: &App, repo: &Repo, planned: Planned) -> Result<BuildDetail, TriggerError> {
    let Planned { mut build, says, .. } = planned;
    loop {
        build.beside = beside::look(app, repo, &build, says.as_ref()).await?;
        match app.store.create_build(&build).await {
            Err(StoreError::Overtaken) => {}
            made => return Ok(made?),
        }
    }
}

/// Writes the build; one that is over from the start is counted here.
pub(super) async fn create(app: &App, row: &NewRow) -> Result<BuildDetail, StoreError> {
    let detail = app.store.create_build(row).await?;
    settle_new(app, &detail).await;
    Ok(detail)
}

/// What follows when a build was made.
pub(super) async fn settle_new(app: &App, detail: &BuildDetail) {
    let build = &detail.build;
    if build.status.is_terminal() {
        crate::metrics::build_ended(build);
    }
    if build.event == EventKind::Subscription {
        metrics::counter!("ocelot_subscription_builds_total").increment(1);
    }
    concurrency::settle(app, build).await;
    tracing::info!(build = build.number.0, repo = %build.repo.name, "build {} made", build.number);
}

/// Branch and commit that a request for `commit` means, and what is to be thought of the commit. One that no branch or
/// tag reaches may come from anyone, because a fork's commits can be fetched by their id: who asks for it does not make
/// it the repository's own.
async fn revision(
    app: &App,
    repo: &Repo,
    new: &NewBuild,
    commit: &str,
) -> Result<(String, String, Trust), TriggerError> {
    let url = clone::url(app, repo).await?;
    let branch = new.branch.as_deref().unwrap_or(&repo.default_branch);
    let commit = commit.to_ascii_lowercase();
    if !git::is_commit(&commit) {
        let words = format!("commit: `{commit}` is no whole commit id (40 or 64 hexadecimal digits)");
        return Err(TriggerError::BadRequest(words));
    }
    match app.git.contains(&url, &commit, branch).await? {
        Some(found) if new.branch.is_none() || found == branch => Ok((found, commit, Trust::own())),
        Some(found) => {
            let words = format!("commit {commit} of {} is not on `{branch}`, but on `{found}`", repo.name);
            Err(TriggerError::BadRequest(words))
        }
        None => {
            let trust = Trust::new(CommitOrigin::Unreached, None, repo.approvals);
            Ok((branch.to_owned(), commit, trust))
        }
    }
}
