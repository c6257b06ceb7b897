//! Repositories that Ocelot builds.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ocelot_api::body as api;
use ocelot_model::RepoName;
use ocelot_model::access::{Action, RepoView, may};
use ocelot_model::repo::is_segment;
use ocelot_store::NewRepo;

use super::auth::Caller;
use super::body;
use super::extract::{self, NoQuery, PageQuery, Query, Segments};
use super::problem::{Answer, Refusal};
use crate::App;
use crate::builds::clone;

/// All repositories that the caller may read, by handle.
#[utoipa::path(get, path = "/api/v1/repos", tag = "repos", params(PageQuery),
    responses((status = 200, body = api::Page<api::Repo>)))]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<PageQuery>,
) -> Answer<Json<api::Page<api::Repo>>> {
    let rows = caller.readable(&app).await?;
    Ok(Json(page.page(rows.iter().map(body::repo).collect())?))
}

/// Adds a repository. It must be there and readable: its default branch is asked for.
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
    let name = handle(&app, &new).await?;
    if !may(&caller.0, Action::AdminRepo, Some(RepoView { name: &name, public: false })) {
        return Err(caller.forbidden(Action::AdminRepo));
    }
    let url = clone::new_url(&app, &new.clone_url, &name).await?;
    if app.store.find_repo(&name).await?.is_some() {
        return Err(Refusal::conflict(format!("{name} is there already; choose another name for this one")));
    }
    let default_branch = app.git.default_branch(&url).await?;
    let row = NewRepo {
        remote_id: name.name.clone(),
        name,
        clone_url: new.clone_url,
        default_branch,
        public: new.public,
        approvals: new.approvals,
    };
    let repo = app.store.add_repo(&row).await?;
    Ok((StatusCode::CREATED, Json(body::repo(&repo))))
}

/// The handle that the new repository gets.
async fn handle(app: &App, new: &api::NewRepo) -> Answer<RepoName> {
    let forge = new.forge.clone().unwrap_or_else(|| "git".to_owned());
    let known: Vec<String> = app.store.list_forges().await?.into_iter().map(|forge| forge.name).collect();
    if !known.contains(&forge) {
        let words = format!("forge: there is no `{forge}`; there is {}", known.join(", "));
        return Err(Refusal::unprocessable("unknown_forge", words));
    }
    let name = new.name.clone().unwrap_or_else(|| last_segment(&new.clone_url).to_owned());
    if !is_segment(&name) {
        let words =
            format!("name: `{name}` is no name for a repository; use letters, digits, `.`, `_` and `-`");
        return Err(Refusal::bad_request(words));
    }
    Ok(RepoName { forge, owner: String::new(), name })
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
    Ok(Json(body::repo(&repo)))
}

/// Changes a setting of a repository.
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
    if let Some(approvals) = change.approvals {
        app.store.set_approvals(repo.id, approvals).await?;
        tracing::info!(repo = %repo.name, by = caller.name(), %approvals, "builds of {} wait for approval: {approvals}", repo.name);
    }
    Ok(Json(body::repo(&app.store.load_repo(repo.id).await?)))
}

/// Forgets a repository with its builds and logs.
#[utoipa::path(delete, path = "/api/v1/repos/{handle}", tag = "repos",
    params(("handle" = String, Path, description = "Handle, with its slashes: `git/example`")),
    responses((status = 204), (status = 409, description = "A build of it is not over yet")))]
pub(super) async fn remove(
    State(app): State<App>,
    caller: Caller,
    Segments(handle): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<StatusCode> {
    let repo = caller.repo(&app, &handle, Action::AdminRepo).await?;
    app.store.remove_repo(repo.id).await?;
    Ok(StatusCode::NO_CONTENT)
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
