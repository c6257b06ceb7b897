//! Forges: which there are, what they have, and the webhooks that they send.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ocelot_api::body as api;
use ocelot_model::access::Action;
use ocelot_store::Forge;
use serde::Deserialize;

use super::auth::Caller;
use super::extract::{self, NoQuery, PageQuery, Query, Segments};
use super::problem::{Answer, Refusal};
use crate::App;
use crate::forges::{add, discover, watch};

/// All forges, by name.
#[utoipa::path(get, path = "/api/v1/forges", tag = "forges", params(PageQuery),
    responses((status = 200, body = api::Page<api::Forge>)))]
pub(super) async fn list(
    State(app): State<App>,
    Query(page): Query<PageQuery>,
) -> Answer<Json<api::Page<api::Forge>>> {
    let rows = app.store.list_forges().await?;
    Ok(Json(page.page(rows.into_iter().map(body).collect())?))
}

/// Adds a forge. Its credentials are tried there first.
#[utoipa::path(post, path = "/api/v1/forges", tag = "forges", request_body = api::NewForge,
    responses((status = 201, body = api::Forge), (status = 409, description = "There is one with this name"),
        (status = 422, description = "The forge does not take the credentials, or the body cannot be understood"),
        (status = 502, description = "The forge does not answer as one does")))]
pub(super) async fn add(
    State(app): State<App>,
    caller: Caller,
    Query(NoQuery {}): Query<NoQuery>,
    extract::Json(new): extract::Json<api::NewForge>,
) -> Answer<(StatusCode, Json<api::Forge>)> {
    if app.store.find_forge(&new.name).await?.is_some() {
        return Err(Refusal::conflict(format!(
            "there is a forge `{}` already; choose another name",
            new.name
        )));
    }
    let row = add::add(&app, new, &caller.name()).await?;
    tracing::info!(forge = %row.name, by = %caller.name(), "forge {} added", row.name);
    Ok((StatusCode::CREATED, Json(body(row))))
}

/// Gives a forge other credentials or authorities. They are tried there first.
#[utoipa::path(patch, path = "/api/v1/forges/{name}", tag = "forges", request_body = api::ForgeChange,
    params(("name" = String, Path, description = "Short name of the forge")),
    responses((status = 200, body = api::Forge),
        (status = 422, description = "The forge does not take the credentials, or the body cannot be understood"),
        (status = 502, description = "The forge does not answer as one does")))]
pub(super) async fn change(
    State(app): State<App>,
    caller: Caller,
    Segments(name): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
    extract::Json(change): extract::Json<api::ForgeChange>,
) -> Answer<Json<api::Forge>> {
    find(&app, &name).await?;
    let row = add::change(&app, &name, change, &caller.name()).await?;
    tracing::info!(forge = %row.name, by = %caller.name(), "forge {} was changed", row.name);
    Ok(Json(body(row)))
}

/// Forgets a forge and its credentials.
#[utoipa::path(delete, path = "/api/v1/forges/{name}", tag = "forges",
    params(("name" = String, Path, description = "Short name of the forge")),
    responses((status = 204), (status = 409, description = "It has repositories here, or is plain git")))]
pub(super) async fn remove(
    State(app): State<App>,
    caller: Caller,
    Segments(name): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<StatusCode> {
    app.store.remove_forge(find(&app, &name).await?.id, &caller.name()).await?;
    tracing::info!(forge = %name, by = %caller.name(), "forge {name} removed");
    Ok(StatusCode::NO_CONTENT)
}

/// Whose repositories.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OwnerQuery {
    /// An account or group at the forge; default: all that the credentials reach.
    owner: Option<String>,
}

/// The repositories that a forge has for Ocelot's credentials, with and without an `ocelot.yml`.
#[utoipa::path(get, path = "/api/v1/forges/{name}/repos", tag = "forges",
    params(("name" = String, Path, description = "Short name of the forge"), OwnerQuery),
    responses((status = 200, body = api::ForgeRepos), (status = 422, description = "There is no such forge, or it does not take the credentials"),
        (status = 502, description = "The forge does not answer as one does")))]
pub(super) async fn repos(
    State(app): State<App>,
    Segments(name): Segments<String>,
    Query(query): Query<OwnerQuery>,
) -> Answer<Json<api::ForgeRepos>> {
    Ok(Json(discover::discover(&app, &name, query.owner.as_deref()).await?))
}

/// Makes the webhook of a repository at its forge, or mends it. Doing it twice is fine.
#[utoipa::path(post, path = "/api/v1/watch/{handle}", tag = "repos",
    params(("handle" = String, Path, description = "Handle, with its slashes: `github/acme/app`")),
    responses((status = 200, body = api::Watch), (status = 409, description = "Another repository has its new name here"),
        (status = 422, description = "It is plain git, or the forge does not allow it"),
        (status = 502, description = "The forge does not answer as one does")))]
pub(super) async fn watch(
    State(app): State<App>,
    caller: Caller,
    Segments(handle): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<Json<api::Watch>> {
    let repo = caller.repo(&app, &handle, Action::AdminRepo).await?;
    let watch = watch::watch(&app, &repo, &caller.name()).await?;
    tracing::info!(repo = %watch.repo, by = %caller.name(), "{} is watched", watch.repo);
    Ok(Json(watch))
}

/// Removes the webhook of a repository. Doing it twice is fine.
#[utoipa::path(delete, path = "/api/v1/watch/{handle}", tag = "repos",
    params(("handle" = String, Path, description = "Handle, with its slashes: `github/acme/app`")),
    responses((status = 204), (status = 422, description = "The forge does not allow it"),
        (status = 502, description = "The forge does not answer as one does")))]
pub(super) async fn unwatch(
    State(app): State<App>,
    caller: Caller,
    Segments(handle): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<StatusCode> {
    let repo = caller.repo(&app, &handle, Action::AdminRepo).await?;
    watch::unwatch(&app, &repo, &caller.name()).await?;
    tracing::info!(repo = %repo.name, by = %caller.name(), "{} is no longer watched", repo.name);
    Ok(StatusCode::NO_CONTENT)
}

async fn find(app: &App, name: &str) -> Answer<Forge> {
    app.store.find_forge(name).await?.ok_or_else(Refusal::not_found)
}

fn body(row: Forge) -> api::Forge {
    api::Forge {
        name: row.name,
        kind: row.kind.as_str().to_owned(),
        base_url: row.base_url,
        insecure_http: row.insecure_http,
        ca: row.ca.is_some(),
        access: row.access_kind,
        hook_secret: row.has_hook_secret,
    }
}
