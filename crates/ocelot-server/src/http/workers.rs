//! What an admin does with workers: let them in, keep them from new jobs, remove them.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ocelot_api::body as api;
use ocelot_model::WorkerId;
use ocelot_store::Enrolment;

use super::auth::Caller;
use super::extract::{self, NoQuery, PageQuery, Query, Segments, number};
use super::fleet;
use super::problem::{Answer, Refusal};
use crate::App;
use crate::builds::fence;

/// A token lives ten years at most, or for ever.
const LONGEST: Duration = Duration::from_hours(3650 * 24);
const USES_MAX: u32 = 100_000;
const LABELS_MAX: usize = 32;
/// Labels that a worker finds out by itself: a token must not make them untrue.
const FOUND_OUT: [&str; 3] = ["os", "arch", "executor"];

/// All enrolment tokens, oldest first, without their secrets.
#[utoipa::path(get, path = "/api/v1/worker-tokens", tag = "fleet", params(PageQuery),
    responses((status = 200, body = api::Page<api::WorkerToken>)))]
pub(super) async fn tokens(
    State(app): State<App>,
    Query(page): Query<PageQuery>,
) -> Answer<Json<api::Page<api::WorkerToken>>> {
    let rows = app.store.list_enrolments().await?;
    Ok(Json(page.page(rows.into_iter().map(token).collect())?))
}

/// Makes an enrolment token: each worker that comes with it gets an identity of its own.
#[utoipa::path(post, path = "/api/v1/worker-tokens", tag = "fleet", request_body = api::NewWorkerToken,
    responses((status = 201, body = api::CreatedWorkerToken),
        (status = 422, description = "The body cannot be understood")))]
pub(super) async fn create_token(
    State(app): State<App>,
    caller: Caller,
    Query(NoQuery {}): Query<NoQuery>,
    extract::Json(new): extract::Json<api::NewWorkerToken>,
) -> Answer<(StatusCode, Json<api::CreatedWorkerToken>)> {
    check(&new)?;
    let life = new.expires_ms.map(Duration::from_millis);
    let (row, secret) = app.store.create_enrolment(&new.labels, new.uses, life, &caller.name()).await?;
    tracing::info!(token = row.id, by = %caller.name(), "enrolment token {} made", row.id);
    Ok((StatusCode::CREATED, Json(api::CreatedWorkerToken { token: token(row), secret })))
}

fn check(new: &api::NewWorkerToken) -> Answer<()> {
    if new.uses.is_some_and(|uses| !(1..=USES_MAX).contains(&uses)) {
        return Err(Refusal::bad_request(format!("uses: 1 to {USES_MAX}, or leave it out for any number")));
    }
    if new.expires_ms.is_some_and(|ms| ms == 0 || Duration::from_millis(ms) > LONGEST) {
        return Err(Refusal::bad_request("expires_ms: from 1 to ten years, or leave it out"));
    }
    check_labels(&new.labels)
}

fn check_labels(labels: &BTreeMap<String, String>) -> Answer<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
    let good = |part: &String| (1..=63).contains(&part.len()) && part.bytes().all(plain);
    if let Some(own) = FOUND_OUT.iter().find(|key| labels.contains_key(**key)) {
        return Err(Refusal::bad_request(format!("labels: a worker finds `{own}` out by itself")));
    }
    if labels.len() > LABELS_MAX || !labels.iter().all(|(key, value)| good(key) && good(value)) {
        let words = format!(
            "labels: at most {LABELS_MAX}, of letters, digits, `.`, `_`, `-` and `/`, at most 63 each"
        );
        return Err(Refusal::bad_request(words));
    }
    Ok(())
}

fn token(row: Enrolment) -> api::WorkerToken {
    api::WorkerToken {
        id: row.id,
        labels: row.labels,
        uses: row.uses,
        used: row.used,
        created_by: row.created_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
    }
}

/// Ends an enrolment token. Workers that have enrolled with it stay.
#[utoipa::path(delete, path = "/api/v1/worker-tokens/{id}", tag = "fleet",
    params(("id" = String, Path, description = "Token id")), responses((status = 204)))]
pub(super) async fn revoke_token(
    State(app): State<App>,
    caller: Caller,
    Segments(id): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<StatusCode> {
    let id = number(&id).ok_or_else(Refusal::not_found)?;
    app.store.revoke_enrolment(id, &caller.name()).await?;
    tracing::info!(token = id, by = %caller.name(), "enrolment token {id} revoked");
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a worker no more jobs, through whichever server; it goes on with what it has. It lasts until it is undone.
#[utoipa::path(post, path = "/api/v1/workers/{id}/drain", tag = "fleet",
    params(("id" = String, Path, description = "Worker id")), responses((status = 200, body = api::Worker)))]
pub(super) async fn drain(
    State(app): State<App>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Answer<Json<api::Worker>> {
    let id = worker_id(&id)?;
    app.store.drain_worker(id, true, &caller.name()).await?;
    tracing::info!(worker = %id, by = %caller.name(), "worker drained");
    shown(&app, &caller, id).await
}

/// Gives a worker jobs again.
#[utoipa::path(post, path = "/api/v1/workers/{id}/resume", tag = "fleet",
    params(("id" = String, Path, description = "Worker id")), responses((status = 200, body = api::Worker)))]
pub(super) async fn resume(
    State(app): State<App>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Answer<Json<api::Worker>> {
    let id = worker_id(&id)?;
    app.store.drain_worker(id, false, &caller.name()).await?;
    tracing::info!(worker = %id, by = %caller.name(), "worker resumed");
    shown(&app, &caller, id).await
}

/// Removes a worker: its own identity ends, and what it holds gets a new attempt at once. One that comes with a token of
/// role worker may come back for as long as that token is good.
#[utoipa::path(delete, path = "/api/v1/workers/{id}", tag = "fleet",
    params(("id" = String, Path, description = "Worker id")), responses((status = 204)))]
pub(super) async fn remove(
    State(app): State<App>,
    caller: Caller,
    Segments(id): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<StatusCode> {
    let (id, by) = (worker_id(&id)?, caller.name());
    // In this order a server that dies in between leaves nothing behind that its lease would not end.
    app.store.bar_worker(id, &by).await?;
    fence::fence(&app, id, &format!("its worker was removed by {by}")).await?;
    app.store.delete_worker(id).await?;
    tracing::info!(worker = %id, %by, "worker removed");
    Ok(StatusCode::NO_CONTENT)
}

fn worker_id(text: &str) -> Answer<WorkerId> {
    number(text).map(WorkerId).ok_or_else(Refusal::not_found)
}

async fn shown(app: &App, caller: &Caller, id: WorkerId) -> Answer<Json<api::Worker>> {
    let rows = app.store.list_workers().await?;
    let row = rows.into_iter().find(|row| row.id == id).ok_or_else(Refusal::not_found)?;
    Ok(Json(fleet::worker(caller, row)))
}
