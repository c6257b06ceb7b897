//! With which credential a repository is read and cloned.

use std::cmp::Reverse;

use ocelot_forge::CloneUrl;
use ocelot_model::login::{self, Candidate};
use ocelot_model::secret::{Limits, Scope};
use ocelot_model::{RepoId, RepoName};
use ocelot_store::{Repo, Secret, StoreError};
use secrecy::ExposeSecret as _;

use super::trigger::TriggerError;
use crate::App;
use crate::forges::consumer;

/// What the server's git is given for a repository: its address, and who Ocelot is there.
pub(crate) async fn url(app: &App, repo: &Repo) -> Result<CloneUrl, TriggerError> {
    url_of(app, &repo.clone_url, repo.id, &repo.name).await
}

/// The same for one that is just being added: what its owner has is good for it.
pub(crate) async fn new_url(app: &App, clone_url: &str, name: &RepoName) -> Result<CloneUrl, TriggerError> {
    url_of(app, clone_url, RepoId(0), name).await
}

async fn url_of(app: &App, clone_url: &str, id: RepoId, name: &RepoName) -> Result<CloneUrl, TriggerError> {
    let url = app.git.check_url(clone_url)?;
    let url = match ca(app, name).await? {
        Some(ca) => app.git.with_ca(url, &ca)?,
        None => url,
    };
    let reach = app.store.secrets_in_reach(id, name).await?;
    // The server reads before it knows of which build.
    let free: Vec<&Secret> = reach.iter().filter(|secret| secret.limits == Limits::default()).collect();
    let Some(secret) = fitting(clone_url, &free) else { return Ok(url) };
    let opened = app.store.open_secrets(&[secret.id]).await?;
    let Some((_, value)) = opened.first() else { return Ok(url) };
    let value = String::from_utf8_lossy(value.expose_secret());
    let (fields, value) =
        consumer::login_of(app, &secret.name, &secret.fields, &value).await.map_err(TriggerError::Forge)?;
    let candidate = Candidate { kind: secret.kind, fields: &fields };
    Ok(app.git.with_login(url, candidate.login(&secret.name, clone_url, value.expose_secret()))?)
}

/// The authorities (PEM) that the forge of a repository is believed with, besides the public ones.
pub(crate) async fn ca(app: &App, name: &RepoName) -> Result<Option<String>, StoreError> {
    Ok(app.store.find_forge(&name.forge).await?.and_then(|forge| forge.ca))
}

/// The credential with which a repository at this address is cloned: that of the nearest scope which fits it.
pub(super) fn fitting<'s>(clone_url: &str, among: &[&'s Secret]) -> Option<&'s Secret> {
    let mut nearest: Vec<&Secret> = among.to_vec();
    nearest.sort_by_key(|secret| {
        Reverse(match &secret.scope {
            Scope::All => 0,
            Scope::Owner(prefix) => prefix.len(),
            Scope::Repo(_) => usize::MAX,
        })
    });
    let candidates: Vec<Candidate<'_>> =
        nearest.iter().map(|secret| Candidate { kind: secret.kind, fields: &secret.fields }).collect();
    login::choose(clone_url, &candidates).map(|at| nearest[at])
}
