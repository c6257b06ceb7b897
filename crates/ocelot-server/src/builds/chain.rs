//! Which builds come before and after a build, as far as somebody may see them.

use std::collections::{BTreeMap, HashMap};

use ocelot_model::access::{Action, Actor, RepoView, may};
use ocelot_model::{BuildNumber, EventKind, RepoId};
use ocelot_store::{Build, Downstream, Repo, StoreError, Subscription, Upstream};

use crate::App;

/// The build that a build follows, with its repository.
pub(crate) struct Above {
    pub(crate) row: Upstream,
    pub(crate) repo: Repo,
}

/// A subscription as somebody sees it.
pub(crate) struct View {
    pub(crate) row: Subscription,
    /// They see a repository of the upstream's name.
    pub(crate) known: bool,
    /// What is wrong with it, in words.
    pub(crate) fault: Option<String>,
}

impl View {
    /// What is wrong with it, for the build whose file it stands in.
    fn note(&self) -> Option<String> {
        self.fault.as_ref().map(|fault| format!("subscription {}: {fault}", self.row.alias))
    }
}

/// What is said of a build that follows one of a repository that is hidden or gone.
const UNNAMED: &str =
    "It was made after a build of another repository, which you may not see or which is not there any more.";

/// All that is around a build.
pub(crate) struct Chain {
    pub(crate) above: Option<Above>,
    /// It follows a build, and `above` does not say which.
    unnamed: bool,
    pub(crate) below: Vec<Downstream>,
    /// Those in its file.
    pub(crate) subscriptions: Vec<View>,
}

impl Chain {
    /// What is to be said of it in words.
    pub(crate) fn notes(&self) -> Vec<String> {
        let unnamed = self.unnamed.then(|| UNNAMED.to_owned());
        unnamed.into_iter().chain(self.subscriptions.iter().filter_map(View::note)).collect()
    }
}

/// What this build follows and is followed by, and the subscriptions that its file brought.
pub(crate) async fn of(app: &App, actor: &Actor, build: &Build) -> Result<Chain, StoreError> {
    let rows = app.store.upstreams_of(&[build.number]).await?;
    // A retry of one that follows a build follows it, too.
    let follows = build.event == EventKind::Subscription || !rows.is_empty();
    let above = named(app, actor, rows).await?.remove(&build.number);
    let unnamed = follows && above.is_none();
    let mut below = app.store.downstream_of(build.number).await?;
    below.retain(|one| sees(actor, &one.repo));
    let mut subscriptions = subscriptions(app, actor).await?;
    subscriptions.retain(|view| view.row.stored_by == build.number);
    Ok(Chain { above, unnamed, below, subscriptions })
}

/// True when it does a build again that is not here any more.
pub(crate) async fn retry_removed(app: &App, build: &Build) -> Result<bool, StoreError> {
    match build.retry_of {
        Some(of) => Ok(app.store.find_build(of).await?.is_none()),
        None => Ok(false),
    }
}

/// What each of these builds follows.
pub(crate) async fn above(
    app: &App,
    actor: &Actor,
    builds: &[BuildNumber],
) -> Result<BTreeMap<BuildNumber, Above>, StoreError> {
    named(app, actor, app.store.upstreams_of(builds).await?).await
}

/// Those of repositories that they see.
async fn named(
    app: &App,
    actor: &Actor,
    rows: BTreeMap<BuildNumber, Upstream>,
) -> Result<BTreeMap<BuildNumber, Above>, StoreError> {
    if rows.is_empty() {
        return Ok(BTreeMap::new());
    }
    let repos: HashMap<RepoId, Repo> =
        seen(app, actor).await?.into_iter().map(|repo| (repo.id, repo)).collect();
    let above = |(number, row): (BuildNumber, Upstream)| {
        let repo = repos.get(&row.repo)?.clone();
        Some((number, Above { row, repo }))
    };
    Ok(rows.into_iter().filter_map(above).collect())
}

/// All subscriptions of repositories that they see.
pub(crate) async fn subscriptions(app: &App, actor: &Actor) -> Result<Vec<View>, StoreError> {
    let rows = app.store.list_subscriptions().await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let seen: Vec<String> = seen(app, actor).await?.iter().map(|repo| repo.name.to_string()).collect();
    let rows = rows.into_iter().filter(|row| sees(actor, &row.repo));
    Ok(rows.map(|row| view(row, &seen)).collect())
}

/// What is not here and what one may not see look the same.
fn view(row: Subscription, seen: &[String]) -> View {
    let known = seen.contains(&row.upstream);
    let fault = match &row.refused {
        // Its own name stands in the file; those of others on the way are for those who see them.
        Some(refused) => {
            let shown = |handle: &str| handle == row.upstream || seen.iter().any(|name| name == handle);
            Some(refused.filtered(shown).to_string())
        }
        None if !known => {
            Some(format!("there is no repository {} here, or you may not see it", row.upstream))
        }
        None => None,
    };
    View { row, known, fault }
}

async fn seen(app: &App, actor: &Actor) -> Result<Vec<Repo>, StoreError> {
    let mut repos = app.store.list_repos().await?;
    repos.retain(|repo| sees(actor, repo));
    Ok(repos)
}

fn sees(actor: &Actor, repo: &Repo) -> bool {
    may(actor, Action::ReadRepo, Some(RepoView { name: &repo.name, public: repo.public }))
}
