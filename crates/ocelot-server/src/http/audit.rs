//! The audit: who changed what, let whose commit start, and which builds got secrets.

use axum::Json;
use axum::extract::State;
use ocelot_api::body as api;
use ocelot_model::AuditAction;
use ocelot_store::{AuditFilter, AuditRow};
use serde::Deserialize;
use utoipa::IntoParams;

use super::builds::{parse, time};
use super::extract::{Query, limit};
use super::problem::{Answer, Refusal};
use crate::App;

/// Which rows to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Name of who did it.
    actor: Option<String>,
    /// What was done, for example `token_created`.
    action: Option<String>,
    /// What it was done to: a name, a handle, `build 7`.
    subject: Option<String>,
    /// Done at this time (RFC 3339) or later.
    since: Option<String>,
    /// Done before this time (RFC 3339).
    until: Option<String>,
    /// Rows, 1 to 500; default 50.
    #[param(value_type = Option<u32>)]
    limit: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// What was done to settings, tokens and secrets, newest first; it is kept for two years.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(Filter),
    responses((status = 200, body = api::Page<api::AuditRow>)))]
pub(super) async fn list(
    State(app): State<App>,
    Query(asked): Query<Filter>,
) -> Answer<Json<api::Page<api::AuditRow>>> {
    let limit = limit(asked.limit.as_deref())?;
    let filter = AuditFilter {
        action: parse::<AuditAction>("action", asked.action.as_ref())?,
        since: time("since", asked.since.as_ref())?,
        until: time("until", asked.until.as_ref())?,
        before: asked.cursor.as_deref().map(read_cursor).transpose()?,
        actor: asked.actor,
        subject: asked.subject,
    };
    let mut rows = app.store.list_audit(&filter, limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|last| cursor(last.id));
    Ok(Json(api::Page { items: rows.into_iter().map(body).collect(), next }))
}

fn body(row: AuditRow) -> api::AuditRow {
    let AuditRow { id, at, actor, action, subject, detail } = row;
    api::AuditRow { id, at, actor, action, subject, detail }
}

/// Where the next page begins. Opaque to callers.
fn cursor(id: i64) -> String {
    format!("a{id:x}")
}

fn read_cursor(text: &str) -> Answer<i64> {
    let bad = || Refusal::bad_request("cursor: give back `next` of the page before, as it was");
    let id = text.strip_prefix('a').and_then(|hex| i64::from_str_radix(hex, 16).ok());
    id.filter(|id| *id > 0 && cursor(*id) == text).ok_or_else(bad)
}
