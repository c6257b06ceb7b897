//! What a forge says of pull requests: which are open, which files they change, and of what commit they are.

use ocelot_forge::{ApiError, Forge};
use ocelot_model::event::PullRequest;
use ocelot_model::forge::{RemoteId, RemoteName};
use ocelot_store::Repo;

use super::{ForgeError, follow, full_name, within};
use crate::App;

/// The open pull requests of a repository, and whether there are more than the forge showed.
pub async fn pull_requests(app: &App, repo: &Repo) -> Result<(Vec<PullRequest>, bool), ForgeError> {
    let forge = &repo.name.forge;
    let open = open(app, repo).await?;
    let asked = within(forge, async {
        match open.pull_requests(&name(repo)).await {
            // It may have another name by now.
            Err(ApiError::NotFound(_)) => {
                let repo = follow::follow(app, repo, None).await?;
                open.pull_requests(&name(&repo)).await.map_err(ForgeError::of(forge))
            }
            other => other.map_err(ForgeError::of(forge)),
        }
    });
    let found = asked.await?;
    Ok((found.items, found.cut))
}

/// The files that a pull request changes, and whether there are more.
pub async fn changed_files(app: &App, repo: &Repo, number: u64) -> Result<(Vec<String>, bool), ForgeError> {
    let forge = &repo.name.forge;
    let open = open(app, repo).await?;
    let asked = within(forge, async {
        open.pull_request_files(&full_name(&repo.name), number).await.map_err(ForgeError::of(forge))
    });
    let found = asked.await?;
    Ok((found.items, found.cut))
}

/// The whole id of a commit that begins so; when the repository does not have it, that of the one which it comes from.
pub async fn whole_commit(
    app: &App,
    repo: &Repo,
    begin: &str,
    source: Option<&str>,
) -> Result<Option<String>, ForgeError> {
    let forge = &repo.name.forge;
    let open = open(app, repo).await?;
    within(forge, async {
        let here = open.resolve(&full_name(&repo.name), begin).await.map_err(ForgeError::of(forge))?;
        match (here, source) {
            (None, Some(source)) => open.resolve(source, begin).await.map_err(ForgeError::of(forge)),
            (here, _) => Ok(here),
        }
    })
    .await
}

async fn open(app: &App, repo: &Repo) -> Result<Forge, ForgeError> {
    Ok(app.forges.open(&app.store, &repo.name.forge).await?.1)
}

fn name(repo: &Repo) -> RemoteName {
    RemoteName { id: RemoteId::new(&repo.remote_id), full_name: full_name(&repo.name) }
}
