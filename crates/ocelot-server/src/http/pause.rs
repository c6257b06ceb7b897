//! The switch that keeps waiting jobs waiting, for the time of an upgrade or a repair.

use axum::Json;
use axum::extract::State;
use ocelot_api::body as api;
use ocelot_store::Pause;

use super::auth::Caller;
use super::extract::{MaybeJson, NoQuery, Query};
use super::problem::{Answer, Refusal};
use crate::App;

/// Longest reason, in characters.
const REASON_MAX: usize = 500;

/// Whether jobs are handed out.
#[utoipa::path(get, path = "/api/v1/pause", tag = "fleet", responses((status = 200, body = api::PauseState)))]
pub(super) async fn show(
    State(app): State<App>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<Json<api::PauseState>> {
    Ok(Json(state(app.store.paused().await?)))
}

/// Hands out no more jobs, on any server, until it is undone. Running ones go on.
#[utoipa::path(post, path = "/api/v1/pause", tag = "fleet", request_body = Option<api::NewPause>,
    responses((status = 200, body = api::PauseState), (status = 422, description = "The body cannot be understood")))]
pub(super) async fn pause(
    State(app): State<App>,
    caller: Caller,
    MaybeJson(new): MaybeJson<api::NewPause>,
) -> Answer<Json<api::PauseState>> {
    let reason = new.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    if reason.is_some_and(|r| r.chars().count() > REASON_MAX || r.chars().any(char::is_control)) {
        return Err(Refusal::bad_request(format!("reason: one line of at most {REASON_MAX} characters")));
    }
    let by = caller.name();
    let pause = app.store.pause(&by, reason).await?;
    tracing::info!(%by, "paused by {by}");
    Ok(Json(state(Some(pause))))
}

/// Hands out jobs again.
#[utoipa::path(post, path = "/api/v1/unpause", tag = "fleet", responses((status = 200, body = api::PauseState)))]
pub(super) async fn unpause(State(app): State<App>, caller: Caller) -> Answer<Json<api::PauseState>> {
    app.store.unpause(&caller.name()).await?;
    tracing::info!(by = %caller.name(), "no longer paused");
    Ok(Json(state(None)))
}

fn state(pause: Option<Pause>) -> api::PauseState {
    match pause {
        Some(Pause { by, reason, since }) => {
            api::PauseState { paused: true, by: Some(by), reason, since: Some(since) }
        }
        None => api::PauseState { paused: false, by: None, reason: None, since: None },
    }
}
