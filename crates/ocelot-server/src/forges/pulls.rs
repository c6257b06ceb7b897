//! Which pull requests are open.

use ocelot_forge::ApiError;
use ocelot_model::event::PullRequest;
use ocelot_model::forge::{RemoteId, RemoteName};
use ocelot_store::Repo;

use super::{ForgeError, follow, full_name, within};
use crate::App;

/// The open pull requests of a repository, and whether there are more than the forge showed.
pub async fn pull_requests(app: &App, repo: &Repo) -> Result<(Vec<PullRequest>, bool), ForgeError> {
    let (_, open) = app.forges.open(&app.store, &repo.name.forge).await?;
    let name =
        |repo: &Repo| RemoteName { id: RemoteId::new(&repo.remote_id), full_name: full_name(&repo.name) };
    let forge = &repo.name.forge;
    let found = within(forge, async {
        match open.pull_requests(&name(repo)).await {
            // It may have another name by now.
            Err(ApiError::NotFound(_)) => {
                let repo = follow::follow(app, repo, None).await?;
                open.pull_requests(&name(&repo)).await.map_err(ForgeError::of(forge))
            }
            other => other.map_err(ForgeError::of(forge)),
        }
    });
    let found = found.await?;
    Ok((found.items, found.cut))
}
