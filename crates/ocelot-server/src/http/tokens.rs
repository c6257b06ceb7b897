//! Access tokens: who may come in. A secret is shown once, when it is made.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ocelot_api::body as api;
use ocelot_model::access::{Actor, Role, passes_for};
use ocelot_model::repo::is_segment;
use ocelot_model::{RepoName, TokenId};

use super::auth::{Caller, anonymous};
use super::body;
use super::extract::{self, NoQuery, PageQuery, Query, Segments, number};
use super::problem::{Answer, Refusal};
use crate::App;
use crate::builds::fence::fence;

/// A token lives ten years at most, or for ever.
const DAYS_MAX: u32 = 3650;

/// All tokens, by name, without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", params(PageQuery),
    responses((status = 200, body = api::Page<api::Token>)))]
pub(super) async fn list(
    State(app): State<App>,
    Query(page): Query<PageQuery>,
) -> Answer<Json<api::Page<api::Token>>> {
    let rows = app.store.list_tokens().await?;
    Ok(Json(page.page(rows.into_iter().map(body::token).collect())?))
}

/// Makes a token.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = api::NewToken,
    responses((status = 201, body = api::CreatedToken), (status = 409, description = "There is one with this name"),
        (status = 422, description = "The body cannot be understood")))]
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    Query(NoQuery {}): Query<NoQuery>,
    extract::Json(new): extract::Json<api::NewToken>,
) -> Answer<(StatusCode, Json<api::CreatedToken>)> {
    check(&new)?;
    let life = new.expires_days.map(|days| Duration::from_secs(u64::from(days) * 24 * 3600));
    let (row, secret) = app.store.create_token(&new.name, new.role, &new.repos, life, &caller.name()).await?;
    tracing::info!(token = %row.name, role = %row.role, by = %caller.name(), "token {} made", row.name);
    Ok((StatusCode::CREATED, Json(api::CreatedToken { token: body::token(row), secret })))
}

fn check(new: &api::NewToken) -> Answer<()> {
    let name = &new.name;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ' ' | '@');
    if name.is_empty() || name.len() > 100 || name.trim() != name || !name.chars().all(plain) {
        let words = "name: use 1 to 100 letters, digits, blanks and `.`, `_`, `-`, `@`";
        return Err(Refusal::bad_request(words));
    }
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        let words = "name: a name of digits alone would be taken for the id of a token; add a letter";
        return Err(Refusal::bad_request(words));
    }
    // One of workers does nothing that anybody reads of.
    if new.role != Role::Worker
        && let Some(other) = passes_for(name)
    {
        let words = format!(
            "name: `{name}` would pass for {other} where it says who did something; choose another name"
        );
        return Err(Refusal::bad_request(words));
    }
    if let Some(bad) = new.repos.iter().find(|entry| !is_scope(entry)) {
        let words =
            format!("repos: `{bad}` is neither a repository (`git/example`) nor a prefix that ends in `/`");
        return Err(Refusal::bad_request(words));
    }
    if new.repos.len() > 100 || new.expires_days.is_some_and(|days| !(1..=DAYS_MAX).contains(&days)) {
        let words = format!("expires_days: 1 to {DAYS_MAX}, or leave it out; repos: at most 100");
        return Err(Refusal::bad_request(words));
    }
    Ok(())
}

fn is_scope(entry: &str) -> bool {
    match entry.strip_suffix('/') {
        Some(prefix) => prefix.split('/').all(is_segment),
        None => entry.parse::<RepoName>().is_ok(),
    }
}

/// Ends a token and the sessions that began with it; what its workers hold gets a new attempt at once. The last admin's cannot be ended.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "tokens", params(("id" = String, Path, description = "Token id")),
    responses((status = 204), (status = 409, description = "It is the last admin's: nobody could make another one")))]
pub(super) async fn revoke(
    State(app): State<App>,
    caller: Caller,
    Segments(id): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<StatusCode> {
    let id = number(&id).map(TokenId).ok_or_else(Refusal::not_found)?;
    let workers = app.store.workers_of_token(id).await?;
    app.store.revoke_token(id, &caller.name()).await?;
    for worker in workers {
        fence(&app, worker, &format!("the token of its worker was revoked by {}", caller.name())).await?;
    }
    tracing::info!(token = id.0, by = %caller.name(), "token {id} revoked");
    Ok(StatusCode::NO_CONTENT)
}

/// Whom the server takes the caller for.
#[utoipa::path(get, path = "/api/v1/whoami", tag = "tokens",
    responses((status = 200, body = api::WhoAmI)))]
pub(super) async fn whoami(
    Caller(actor): Caller,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<Json<api::WhoAmI>> {
    match actor {
        Actor::Token { name, role, scope } => Ok(Json(api::WhoAmI { name, role, repos: scope })),
        Actor::Anonymous | Actor::Worker(_) => Err(anonymous()),
    }
}
