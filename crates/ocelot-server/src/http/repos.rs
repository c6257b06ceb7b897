//! Repositories that Ocelot builds.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use ocelot_api::body as api;
use ocelot_model::RepoName;
use ocelot_model::access::{Action, RepoView, may};
use ocelot_model::repo::is_segment;
use ocelot_store::{NewRepo, Repo, RepoChange};

use super::auth::Caller;
use super::body;
use super::extract::{self, NoQuery, PageQuery, Query, Segments};
use super::problem::{Answer, Refusal};
use crate::App;
use crate::builds::clone;
use crate::forges::{follow, watch};

/// All repositories that the caller may read, by handle.
#[utoipa::path(get, path = "/api/v1/repos", tag = "repos", params(PageQuery),
    responses((status = 200, body = api::Page<api::Repo>)))]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<PageQuery>,
) -> Answer<Json<api::Page<api::Repo>>> {
    let rows = caller.readable(&app).await?;
    let watched: HashMap<_, _> = app.store.list_watched().await?.into_iter().collect();
    let repo = |row: &Repo| body::repo(row, watched.get(&row.id).copied().unwrap_or(false));
    Ok(Json(page.page(rows.iter().map(repo).collect())?))
}

/// Adds a repository. It must be there and readable: its host or forge is asked for its default branch.
#[utoipa::path(post, path = "/api/v1/repos", tag = "repos", request_body = api::NewRepo,
    responses((status = 201, body = api::Repo), (status = 409, description = "There is one with this name"),
        (status = 422, description = "It cannot be read, the forge is not known, or the body cannot be understood"),
        (status = 502, description = "Its host did not give it"), (status = 504, description = "Its host did not answer in time")))]
pub(super) async fn add(
    State(app): State<App>,
    caller: Caller,
    Query(NoQuery {}): Query<NoQuery>,
    extract::Json(new): extract::Json<api::NewRepo>,
) -> Answer<(StatusCode, Json<api::Repo>)> {
    let row = match new.forge.as_deref() {
        None | Some("git") => plain(&app, &caller, &new).await?,
        Some(forge) => of_forge(&app, &caller, forge, &new).await?,
    };
    let repo = app.store.add_repo(&row, &caller.name()).await?;
    Ok((StatusCode::CREATED, Json(body::repo(&repo, false))))
}

/// A repository of plain git.
async fn plain(app: &App, caller: &Caller, new: &api::NewRepo) -> Answer<NewRepo> {
    if new.full_name.is_some() || new.ssh {
        let words =
            "full_name, ssh: they are for forges; plain git has a `clone_url`, and `forge` is missing";
        return Err(Refusal::bad_request(words));
    }
    let name = new.name.clone().unwrap_or_else(|| last_segment(&new.clone_url).to_owned());
    if !is_segment(&name) {
        let words =
            format!("name: `{name}` is no name for a repository; use letters, digits, `.`, `_` and `-`");
        return Err(Refusal::bad_request(words));
    }
    let name = RepoName { forge: "git".to_owned(), owner: String::new(), name };
    check_free(app, caller, &name).await?;
    let url = clone::new_url(app, &new.clone_url, &name).await?;
    let default_branch = app.git.default_branch(&url).await?;
    Ok(NewRepo {
        remote_id: name.name.clone(),
        name,
        clone_url: new.clone_url.clone(),
        default_branch,
        public: new.public,
        approvals: new.approvals,
    })
}

/// A repository of a forge, which is asked for all but its name.
async fn of_forge(app: &App, caller: &Caller, forge: &str, new: &api::NewRepo) -> Answer<NewRepo> {
    // A forge that is not there is the first thing to hear of.
    app.forges.open(&app.store, forge).await?;
    let full_name = new.full_name.as_deref().unwrap_or_default();
    let Ok(name) = format!("{forge}/{full_name}").parse::<RepoName>() else {
        let words = format!("full_name: `{full_name}` is no repository; write OWNER/NAME, as {forge} has it");
        return Err(Refusal::bad_request(words));
    };
    if name.owner.is_empty() || !new.clone_url.is_empty() || new.name.is_some() {
        let words =
            "a repository of a forge has a `full_name`, OWNER/NAME, and neither `clone_url` nor `name`";
        return Err(Refusal::bad_request(words));
    }
    check_free(app, caller, &name).await?;
    let row = follow::look_up(app, forge, full_name, new.ssh).await?;
    // It may have another name there than was asked for.
    check_free(app, caller, &row.name).await?;
    app.git.check_url(&row.clone_url)?;
    Ok(NewRepo { public: new.public, approvals: new.approvals, ..row })
}

/// That the caller may add it, and that nobody has.
async fn check_free(app: &App, caller: &Caller, name: &RepoName) -> Answer<()> {
    if !may(&caller.0, Action::AdminRepo, Some(RepoView { name, public: false })) {
        return Err(caller.forbidden(Action::AdminRepo));
    }
    if app.store.find_repo(name).await?.is_some() {
        let help = match name.forge.as_str() {
            "git" => "choose another name for this one".to_owned(),
            _ => format!("`ocelot watch {name}` builds what is pushed there"),
        };
        return Err(Refusal::conflict(format!("{name} is here already; {help}")));
    }
    Ok(())
}

/// `app` of `https://host/acme/app.git`; of a repository's own `.git` folder the folder around it.
fn last_segment(url: &str) -> &str {
    let url = url.trim_end_matches('/');
    let url = url.strip_suffix("/.git").or(url.strip_suffix(".git")).unwrap_or(url);
    url.rsplit(['/', ':']).next().unwrap_or(url)
}

/// One repository.
#[utoipa::path(get, path = "/api/v1/repos/{handle}", tag = "repos",
    params(("handle" = String, Path, description = "Handle, with its slashes: `git/example`")),
    responses((status = 200, body = api::Repo)))]
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Segments(handle): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<Json<api::Repo>> {
    let repo = caller.repo(&app, &handle, Action::ReadRepo).await?;
    Ok(Json(shown(&app, &repo).await?))
}

async fn shown(app: &App, repo: &Repo) -> Answer<api::Repo> {
    let hook = app.store.find_hook_of(repo.id).await?;
    let reconciled = app.store.find_reconciled(repo.id).await?;
    let reconciled = reconciled.map(|last| api::Reconciled { at: last.last_at, outcome: last.outcome });
    Ok(api::Repo { reconciled, ..body::repo(repo, hook.is_some_and(|hook| hook.remote_id.is_some())) })
}

/// Changes settings of a repository.
#[utoipa::path(patch, path = "/api/v1/repos/{handle}", tag = "repos",
    params(("handle" = String, Path, description = "Handle, with its slashes: `git/example`")),
    request_body = api::RepoChange,
    responses((status = 200, body = api::Repo), (status = 422, description = "The body cannot be understood")))]
pub(super) async fn change(
    State(app): State<App>,
    caller: Caller,
    Segments(handle): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
    extract::Json(change): extract::Json<api::RepoChange>,
) -> Answer<Json<api::Repo>> {
    let repo = caller.repo(&app, &handle, Action::AdminRepo).await?;
    let change = RepoChange { approvals: change.approvals, public: change.public };
    app.store.change_repo(repo.id, change, &caller.name()).await?;
    Ok(Json(shown(&app, &app.store.load_repo(repo.id).await?).await?))
}

/// Forgets a repository with its builds and logs, and removes its webhook at its forge.
#[utoipa::path(delete, path = "/api/v1/repos/{handle}", tag = "repos",
    params(("handle" = String, Path, description = "Handle, with its slashes: `git/example`")),
    responses((status = 204), (status = 200, body = api::Removed, description = "It is gone, but not its webhook"),
        (status = 409, description = "A build of it is not over yet")))]
pub(super) async fn remove(
    State(app): State<App>,
    caller: Caller,
    Segments(handle): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<Response> {
    let repo = caller.repo(&app, &handle, Action::AdminRepo).await?;
    let hook = app.store.find_hook_of(repo.id).await?;
    app.store.remove_repo(repo.id, &caller.name()).await?;
    let Some(hook) = hook else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    match watch::remove_at_forge(&app, &repo, &hook).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(error) => {
            let note = format!(
                "The webhook that ends in {} could not be removed ({error}). Ocelot does not take it any more; remove it in \
                 the settings of the repository there.",
                watch::path(&repo.name.forge, &hook)
            );
            tracing::warn!(repo = %repo.name, "{} is removed, but: {note}", repo.name);
            Ok(Json(api::Removed { note }).into_response())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::last_segment;

    #[test]
    fn names_come_from_urls() {
        for (url, want) in [
            ("https://host/acme/app.git", "app"),
            ("git@host:app", "app"),
            ("file:///srv/app/.git", "app"),
            ("/srv/app/", "app"),
        ] {
            assert_eq!(last_segment(url), want);
        }
    }
}
