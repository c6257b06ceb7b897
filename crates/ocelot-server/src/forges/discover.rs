//! Which repositories a forge has, which of them can be built, and which are here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use ocelot_api::body::{ForgeRepo, ForgeRepos};
use ocelot_forge::{ApiError, Forge, RemoteRepo};
use ocelot_store::Forge as ForgeRow;
use tokio::time::Instant;

use super::{ForgeError, within};
use crate::App;
use crate::builds::plan::FILE;

/// So many are shown, and looked into for their file.
const SHOWN: usize = 300;
/// So many are looked into at once.
const AT_ONCE: usize = 8;
/// Those that were not looked into by then are shown without.
const LOOK: Duration = Duration::from_secs(30);

/// The repositories that a forge has for Ocelot's credentials, of one account or of all.
pub async fn discover(app: &App, forge: &str, owner: Option<&str>) -> Result<ForgeRepos, ForgeError> {
    let (row, open) = app.forges.open(&app.store, forge).await?;
    let until = Instant::now() + LOOK;
    let mut all = within(forge, async { open.repos(owner).await.map_err(ForgeError::of(forge)) }).await?;
    let cut = all.cut || all.items.len() > SHOWN;
    all.items.truncate(SHOWN);
    let here = here(app, &row).await?;
    let tired = AtomicBool::new(false);
    let items = stream::iter(all.items)
        .map(async |remote| {
            let pipeline = has_file(&open, &remote, until, &tired).await;
            let found = remote.name.id.as_ref().and_then(|number| here.get(number.as_str()));
            ForgeRepo {
                full_name: remote.name.full_name,
                private: remote.private,
                default_branch: remote.default_branch,
                pipeline,
                repo: found.map(|(handle, _)| handle.clone()),
                watched: found.is_some_and(|(_, watched)| *watched),
            }
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    Ok(ForgeRepos { items, cut })
}

/// Handle of each repository of the forge that is here, by its number, and whether it is watched.
async fn here(app: &App, row: &ForgeRow) -> Result<HashMap<String, (String, bool)>, ForgeError> {
    let watched: HashMap<_, _> = app.store.list_watched().await?.into_iter().collect();
    let repos = app.store.list_repos().await?.into_iter().filter(|repo| repo.forge_id == row.id);
    Ok(repos
        .map(|repo| {
            let is_watched = watched.get(&repo.id).copied().unwrap_or(false);
            (repo.remote_id, (repo.name.to_string(), is_watched))
        })
        .collect())
}

/// `None` when it could not be found out, or is not asked for because the forge has had enough.
async fn has_file(forge: &Forge, remote: &RemoteRepo, until: Instant, tired: &AtomicBool) -> Option<bool> {
    let Some(branch) = &remote.default_branch else { return Some(false) };
    if tired.load(Ordering::Relaxed) {
        return None;
    }
    let asked = tokio::time::timeout_at(until, forge.file(&remote.name.full_name, branch, FILE)).await;
    match asked {
        Ok(Ok(file)) => Some(file.is_some()),
        // By the name of a branch a forge cannot say whether the file is missing or all of it.
        Ok(Err(ApiError::NotFound(_))) => Some(false),
        Ok(Err(ApiError::RateLimited { .. } | ApiError::Unavailable(_))) | Err(_) => {
            tired.store(true, Ordering::Relaxed);
            None
        }
        Ok(Err(_)) => None,
    }
}
