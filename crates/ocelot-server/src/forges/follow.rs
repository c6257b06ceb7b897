//! Which repository of a forge one of ours is. The forge's number says it; its name may change.

use ocelot_forge::{ApiError, Forge, RemoteRepo};
use ocelot_model::{Approvals, RepoName};
use ocelot_store::{Forge as ForgeRow, NewRepo, RenamedRepo, Repo};

use super::{ForgeError, full_name, within};
use crate::App;

/// A repository to be added, as its forge shows it.
pub async fn look_up(app: &App, forge: &str, name: &str, ssh: bool) -> Result<NewRepo, ForgeError> {
    let (row, open) = app.forges.open(&app.store, forge).await?;
    let remote = within(forge, async { open.repo(name).await.map_err(ForgeError::of(forge)) }).await?;
    let facts = facts(&row, &remote, ssh)?;
    Ok(NewRepo {
        name: facts.name,
        remote_id: number(&row, &remote)?,
        clone_url: facts.clone_url,
        default_branch: facts.default_branch,
        public: false,
        approvals: Approvals::default(),
    })
}

/// The repository under the name that it has at its forge now, which may be the one that the forge just `said`. Its builds
/// stay with it.
pub async fn follow(app: &App, repo: &Repo, said: Option<&str>) -> Result<Repo, ForgeError> {
    let (row, open) = app.forges.open(&app.store, &repo.name.forge).await?;
    within(&row.name, async {
        let remote = find(&row, &open, repo, said).await?;
        let facts = facts(&row, &remote, is_ssh(&repo.clone_url))?;
        if facts.name == repo.name && facts.clone_url == repo.clone_url {
            return Ok(repo.clone());
        }
        tracing::info!(from = %repo.name, to = %facts.name, "{} is {} now", repo.name, facts.name);
        Ok(Box::pin(app.store.rename_repo(repo.id, &facts)).await?)
    })
    .await
}

async fn find(
    row: &ForgeRow,
    open: &Forge,
    repo: &Repo,
    said: Option<&str>,
) -> Result<RemoteRepo, ForgeError> {
    let old = full_name(&repo.name);
    let is_it =
        |remote: &RemoteRepo| remote.name.id.as_ref().is_some_and(|number| number.as_str() == repo.remote_id);
    let mut other = None;
    for name in [said, Some(old.as_str())].into_iter().flatten() {
        match open.repo(name).await {
            Ok(remote) if is_it(&remote) => return Ok(remote),
            Ok(remote) => other = Some(remote),
            Err(ApiError::NotFound(_)) => {}
            Err(error) => return Err(ForgeError::of(&row.name)(error)),
        }
    }
    // Not all forges lead from an old name to the new one.
    let all = open.repos(None).await.map_err(ForgeError::of(&row.name))?;
    let words = match other {
        Some(_) => format!(
            "{old} at {} is another repository than the one that was added here, and that one is not found; remove it with \
             `ocelot repo remove {}` and add the new one",
            row.name, repo.name
        ),
        None => format!("{old}: it is gone, or the credentials do not reach it"),
    };
    let gone = || ForgeError::of(&row.name)(ApiError::NotFound(words));
    all.items.into_iter().find(is_it).ok_or_else(gone)
}

fn facts(row: &ForgeRow, remote: &RemoteRepo, ssh: bool) -> Result<RenamedRepo, ForgeError> {
    let bad = |words: String| ForgeError::of(&row.name)(ApiError::Nonsense(words));
    let full_name = &remote.name.full_name;
    let name: RepoName = format!("{}/{full_name}", row.name)
        .parse()
        .map_err(|_| bad(format!("`{full_name}` is no name that can stand in a handle")))?;
    let default_branch = remote.default_branch.clone().ok_or_else(|| {
        let words = format!("{full_name} has no default branch: push a first commit");
        ForgeError::BadRequest(words)
    })?;
    let clone_url = if ssh { &remote.clone_ssh } else { &remote.clone_https };
    if clone_url.is_empty() {
        return Err(bad(format!("it does not say where {full_name} can be cloned")));
    }
    Ok(RenamedRepo { name, clone_url: clone_url.clone(), default_branch })
}

fn number(row: &ForgeRow, remote: &RemoteRepo) -> Result<String, ForgeError> {
    let number = remote.name.id.as_ref().map(|number| number.as_str().to_owned());
    number.ok_or_else(|| {
        let words = format!("it does not say the number of {}", remote.name.full_name);
        ForgeError::of(&row.name)(ApiError::Nonsense(words))
    })
}

fn is_ssh(clone_url: &str) -> bool {
    !clone_url.starts_with("https://") && !clone_url.starts_with("http://")
}
