//! How the server itself is: alive, ready, in numbers, and described.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::{Answer, Refusal};
use crate::{App, metrics};

/// The process is alive.
#[utoipa::path(get, path = "/healthz", tag = "server", responses((status = 200, content_type = "text/plain", body = String)))]
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// Whether the server can do its work: the database (brought up to date when it was opened) and the log store take what
/// is written.
#[utoipa::path(get, path = "/readyz", tag = "server",
    responses((status = 200, content_type = "text/plain", body = String),
        (status = 503, description = "In words, what takes nothing or does not answer")))]
pub(super) async fn ready(State(app): State<App>) -> Answer<&'static str> {
    if app.stopping.is_cancelled() {
        return Err(not_ready("the server stops"));
    }
    app.store.check_ready().await.map_err(|fault| not_ready(&fault.to_string()))?;
    match app.store.ping_log_store().await {
        Ok(()) => Ok("ready\n"),
        Err(error) => {
            tracing::warn!(%error, "the log store cannot be written");
            Err(not_ready("the log store cannot be written"))
        }
    }
}

fn not_ready(what: &str) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", format!("Not ready: {what}."))
        .with(header::RETRY_AFTER, header::HeaderValue::from_static("5"))
}

/// Numbers for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "server",
    responses((status = 200, content_type = "text/plain", body = String)))]
pub(super) async fn numbers(State(app): State<App>) -> Answer<Response> {
    let text = metrics::render(&app).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// This description.
#[utoipa::path(get, path = "/api/openapi.json", tag = "server",
    responses((status = 200, content_type = "application/json", body = Object)))]
pub(super) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(super::describe::openapi())
}
