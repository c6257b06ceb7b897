//! What a file says beside its build (schedules, subscriptions, who is told) holds when it is the newest file of the default branch.
//!
//! A webhook may be worked on late, a person may build an old commit, another server may be faster: so the branch is asked
//! where it is, and the store refuses when another build came since.

use ocelot_store::{Beside, FromFile, NewBuild, Repo};

use super::clone;
use super::trigger::TriggerError;
use crate::App;

/// What is to be written with a build of this commit, in whose file this stands; `None` for what may not say anything: a
/// retry, or a commit that is not the repository's own. To be looked at again when the store says
/// [`ocelot_store::StoreError::Overtaken`]: then another build was made meanwhile, so that this does not go on for ever.
pub(super) async fn look(
    app: &App,
    repo: &Repo,
    row: &NewBuild,
    says: Option<&FromFile>,
) -> Result<Option<Beside>, TriggerError> {
    let Some(says) = says.filter(|_| row.branch == repo.default_branch) else { return Ok(None) };
    // Before the branch is asked: what is stored after this may know better.
    let seen = app.store.beside(repo.id).await?;
    let silent = says.schedules.is_empty() && says.subscriptions.is_empty() && says.notify.is_empty();
    if seen.nothing && silent {
        return Ok(Some(Beside { seen, file: None }));
    }
    let url = clone::url(app, repo).await?;
    let heads = app.git.heads(&url).await?;
    let newest = heads.get(&repo.default_branch) == Some(&row.commit);
    Ok(newest.then(|| Beside { seen, file: Some(says.clone()) }))
}
