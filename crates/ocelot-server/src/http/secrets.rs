//! Secrets and credentials. Their values come in and never go out.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ocelot_api::body as api;
use ocelot_model::access::{Action, RepoView, may, may_below};
use ocelot_model::notify::without_login;
use ocelot_model::pipeline::check_branches;
use ocelot_model::secret::{Kind, Limits, Scope, check_name, check_value};
use ocelot_store::{NewSecret, Secret, StoreError};
use secrecy::{ExposeSecret as _, SecretSlice};
use serde::Deserialize;

use super::auth::Caller;
use super::extract::{self, NoQuery, PageQuery, Query, Segments, number};
use super::problem::{Answer, Refusal};
use crate::{App, notify};

/// Events, branches and stages that one may name.
const LIMITS_MAX: usize = 100;

/// Secrets that the caller may change, by name, without their values.
#[utoipa::path(get, path = "/api/v1/secrets", tag = "secrets", params(PageQuery),
    responses((status = 200, body = api::Page<api::Secret>)))]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<PageQuery>,
) -> Answer<Json<api::Page<api::Secret>>> {
    let rows = visible(&app, &caller, Some(Kind::Env)).await?;
    Ok(Json(page.page(rows.into_iter().map(body).collect())?))
}

/// Keeps a secret: a variable of the stages that name it. One of the same scope and name is changed.
#[utoipa::path(post, path = "/api/v1/secrets", tag = "secrets", request_body = api::NewSecret,
    responses((status = 201, body = api::Secret), (status = 200, description = "There was one: it is changed", body = api::Secret),
        (status = 404, description = "There is no such repository"), (status = 422, description = "The body cannot be understood")))]
pub(super) async fn add(
    State(app): State<App>,
    caller: Caller,
    Query(NoQuery {}): Query<NoQuery>,
    extract::Json(new): extract::Json<api::NewSecret>,
) -> Answer<(StatusCode, Json<api::Secret>)> {
    if new.kind != Kind::Env {
        let words = "kind: a secret is a variable; POST /api/v1/credentials takes other kinds";
        return Err(Refusal::bad_request(words));
    }
    keep(&app, &caller, new).await
}

/// Forgets a secret or credential.
#[utoipa::path(delete, path = "/api/v1/secrets/{id}", tag = "secrets", params(("id" = String, Path, description = "Its id")),
    responses((status = 204)))]
pub(super) async fn remove(
    State(app): State<App>,
    caller: Caller,
    Segments(id): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<StatusCode> {
    forget(&app, &caller, &id).await
}

/// Narrows a list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct KindQuery {
    /// Credentials of this kind only.
    kind: Option<String>,
    /// Rows, 1 to 500; default 50.
    #[param(value_type = Option<u32>)]
    limit: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Secrets and credentials of all kinds that the caller may change, by name, without their values.
#[utoipa::path(get, path = "/api/v1/credentials", tag = "secrets", params(KindQuery),
    responses((status = 200, body = api::Page<api::Secret>)))]
pub(super) async fn list_credentials(
    State(app): State<App>,
    caller: Caller,
    Query(KindQuery { kind, limit, cursor }): Query<KindQuery>,
) -> Answer<Json<api::Page<api::Secret>>> {
    let kind = kind.map(|kind| kind.parse::<Kind>()).transpose();
    let kind = kind.map_err(|error| Refusal::bad_request(format!("kind: {error}")))?;
    let rows = visible(&app, &caller, kind).await?;
    Ok(Json(PageQuery { limit, cursor }.page(rows.into_iter().map(body).collect())?))
}

/// Keeps a credential of any kind. One of the same scope and name is changed.
#[utoipa::path(post, path = "/api/v1/credentials", tag = "secrets", request_body = api::NewSecret,
    responses((status = 201, body = api::Secret), (status = 200, description = "There was one: it is changed", body = api::Secret),
        (status = 404, description = "There is no such repository"), (status = 422, description = "The body cannot be understood")))]
pub(super) async fn add_credential(
    State(app): State<App>,
    caller: Caller,
    Query(NoQuery {}): Query<NoQuery>,
    extract::Json(new): extract::Json<api::NewSecret>,
) -> Answer<(StatusCode, Json<api::Secret>)> {
    keep(&app, &caller, new).await
}

/// Forgets a secret or credential.
#[utoipa::path(delete, path = "/api/v1/credentials/{id}", tag = "secrets", params(("id" = String, Path, description = "Its id")),
    responses((status = 204)))]
pub(super) async fn remove_credential(
    State(app): State<App>,
    caller: Caller,
    Segments(id): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<StatusCode> {
    forget(&app, &caller, &id).await
}

/// Those of one kind, or of all, that the caller may change.
pub(super) async fn visible(app: &App, caller: &Caller, kind: Option<Kind>) -> Answer<Vec<Secret>> {
    let mut rows = app.store.list_secrets().await?;
    rows.retain(|row| kind.is_none_or(|kind| row.kind == kind) && allowed(caller, &row.scope));
    Ok(rows)
}

fn allowed(caller: &Caller, scope: &Scope) -> bool {
    match scope {
        Scope::All => may(&caller.0, Action::Administer, None),
        Scope::Owner(prefix) => may_below(&caller.0, Action::AdminRepo, prefix),
        Scope::Repo(name) => may(&caller.0, Action::AdminRepo, Some(RepoView { name, public: false })),
    }
}

/// Checks it and keeps it.
pub(super) async fn keep(
    app: &App,
    caller: &Caller,
    new: api::NewSecret,
) -> Answer<(StatusCode, Json<api::Secret>)> {
    let row = check(new, caller)?;
    if let Scope::Repo(name) = &row.scope {
        caller.repo(app, &name.to_string(), Action::AdminRepo).await?;
    } else if !allowed(caller, &row.scope) {
        let action = if row.scope == Scope::All { Action::Administer } else { Action::AdminRepo };
        return Err(caller.forbidden(action));
    }
    let (row, made) = match app.store.put_secret(&row).await {
        Err(StoreError::NotFound(_)) => return Err(Refusal::not_found()),
        done => done?,
    };
    let (verb, status) = if made { ("made", StatusCode::CREATED) } else { ("changed", StatusCode::OK) };
    tracing::info!(secret = %row.name, kind = %row.kind, scope = %row.scope, by = %caller.name(), "secret {} {verb}", row.name);
    Ok((status, Json(body(row))))
}

fn check(mut new: api::NewSecret, caller: &Caller) -> Answer<NewSecret> {
    let bad = |words: String| Refusal::bad_request(words);
    check_name(&new.name).map_err(bad)?;
    let scope: Scope = new.scope.parse().map_err(|error| bad(format!("scope: {error}")))?;
    new.kind.check_fields(&new.fields).map_err(bad)?;
    let value = value(new.value.take(), new.value_base64.take())?;
    check_value(new.kind, value.expose_secret()).map_err(bad)?;
    let (events, branches, stages) = (new.events, new.branches, new.stages);
    let limits = Limits { events, branches, stages };
    check_branches(&limits.branches).map_err(|error| bad(format!("branches: {error}")))?;
    let names = limits.branches.iter().chain(&limits.stages);
    let fits = |name: &String| (1..=1_000).contains(&name.len()) && !name.chars().any(char::is_control);
    if !names.clone().all(fits) || limits.events.len() + names.count() > LIMITS_MAX {
        return Err(bad(format!(
            "events, branches, stages: at most {LIMITS_MAX} together, each of 1 to 1000 bytes"
        )));
    }
    let api::NewSecret { name, kind, fields, .. } = new;
    if kind == Kind::Notify {
        notify::check(&fields, value.expose_secret(), &limits).map_err(bad)?;
    }
    let by_admin = may(&caller.0, Action::Administer, None);
    Ok(NewSecret { scope, name, kind, fields, limits, value, by: caller.name(), by_admin })
}

fn value(text: Option<api::Hidden>, base64: Option<api::Hidden>) -> Answer<SecretSlice<u8>> {
    match (text, base64) {
        (Some(api::Hidden(text)), None) => Ok(text.into_bytes().into()),
        (None, Some(api::Hidden(code))) => {
            let bytes =
                STANDARD.decode(code).map_err(|_| Refusal::bad_request("value_base64: this is no base64"))?;
            Ok(bytes.into())
        }
        (None, None) | (Some(_), Some(_)) => {
            Err(Refusal::bad_request("value: give either `value` or `value_base64`"))
        }
    }
}

pub(super) async fn forget(app: &App, caller: &Caller, id: &str) -> Answer<StatusCode> {
    let id = number(id).ok_or_else(Refusal::not_found)?;
    let row = app.store.find_secret(id).await?.filter(|row| allowed(caller, &row.scope));
    let row = row.ok_or_else(Refusal::not_found)?;
    app.store.remove_secret(row.id, &caller.name()).await?;
    tracing::info!(secret = %row.name, scope = %row.scope, by = %caller.name(), "secret {} removed", row.name);
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn body(mut row: Secret) -> api::Secret {
    // Those that were kept before it was refused.
    if let Some(url) = row.fields.get_mut("url") {
        *url = without_login(url);
    }
    api::Secret {
        id: row.id,
        name: row.name,
        scope: row.scope.to_string(),
        kind: row.kind,
        fields: row.fields,
        events: row.limits.events,
        branches: row.limits.branches,
        stages: row.limits.stages,
        created_at: row.created_at,
        created_by: row.created_by,
        changed_at: row.changed_at,
        changed_by: row.changed_by,
    }
}
