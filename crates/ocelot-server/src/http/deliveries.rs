//! The ledger of webhooks: what came, what became of it, and doing it again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ocelot_api::body as api;
use ocelot_model::access::{Action, may};
use ocelot_model::{DeliveryId, DeliveryState};
use ocelot_store::{Delivery, DeliveryFilter};
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::Caller;
use super::body;
use super::builds::parse;
use super::extract::{NoQuery, Query, Segments, limit, number};
use super::problem::{Answer, Refusal};
use crate::App;
use crate::builds::inbox::{self, Unheard};

/// Which deliveries to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Handle of a repository.
    repo: Option<String>,
    /// Short name of a forge.
    forge: Option<String>,
    /// A state, for example `failed`.
    state: Option<String>,
    /// Rows, 1 to 500; default 50.
    #[param(value_type = Option<u32>)]
    limit: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists webhooks as they came, newest first. Those that are about no repository here are for admins.
#[utoipa::path(get, path = "/api/v1/deliveries", tag = "deliveries", params(Filter),
    responses((status = 200, body = api::Page<api::Delivery>)))]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(asked): Query<Filter>,
) -> Answer<Json<api::Page<api::Delivery>>> {
    let readable = caller.readable(&app).await?;
    let limit = limit(asked.limit.as_deref())?;
    let repo = asked
        .repo
        .as_ref()
        .map(|handle| readable.iter().find(|repo| repo.name.to_string() == *handle).map(|repo| repo.id));
    if repo == Some(None) {
        return Ok(Json(api::Page { items: Vec::new(), next: None }));
    }
    let all = may(&caller.0, Action::Administer, None);
    let filter = DeliveryFilter {
        repo: repo.flatten(),
        readable: (!all).then(|| readable.iter().map(|repo| repo.id).collect()),
        forge: asked.forge.clone(),
        state: parse::<DeliveryState>("state", asked.state.as_ref())?,
        before: asked.cursor.as_deref().map(read_cursor).transpose()?,
    };
    let mut rows = app.store.list_deliveries(&filter, limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|last| cursor(last.id));
    Ok(Json(api::Page { items: rows.into_iter().map(body::delivery).collect(), next }))
}

/// Where the next page begins. Opaque to callers.
fn cursor(id: DeliveryId) -> String {
    format!("d{:x}", id.0)
}

fn read_cursor(text: &str) -> Answer<DeliveryId> {
    let bad = || Refusal::bad_request("cursor: give back `next` of the page before, as it was");
    let id = text.strip_prefix('d').and_then(|hex| i64::from_str_radix(hex, 16).ok()).map(DeliveryId);
    id.filter(|id| id.0 > 0 && cursor(*id) == text).ok_or_else(bad)
}

/// One webhook, with what became of each part of it.
#[utoipa::path(get, path = "/api/v1/deliveries/{id}", tag = "deliveries", params(("id" = String, Path, description = "Number of the delivery")),
    responses((status = 200, body = api::Delivery)))]
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Segments(id): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<Json<api::Delivery>> {
    let row = find(&app, &caller, &id, Action::ReadRepo).await?;
    Ok(Json(body::delivery(row)))
}

/// Works on a webhook again, as if it had just come. What it has built stays the only build of it; what came to nothing is
/// tried once more.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/replay", tag = "deliveries", params(("id" = String, Path, description = "Number of the delivery")),
    responses((status = 202, body = api::Delivery), (status = 409, description = "There is nothing in it to do again")))]
pub(super) async fn replay(
    State(app): State<App>,
    caller: Caller,
    Segments(id): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<(StatusCode, Json<api::Delivery>)> {
    let row = find(&app, &caller, &id, Action::WriteRepo).await?;
    let id = row.id;
    if row.state == DeliveryState::Conflict {
        return Err(Refusal::conflict(row.outcome));
    }
    if row.parts.is_empty() {
        read_again(&app, &row).await?;
    } else {
        app.store.replay_delivery(id).await?;
    }
    tracing::info!(delivery = id.0, by = %caller.name(), "delivery {id} is replayed");
    let row = app.store.find_delivery(id).await?.ok_or_else(Refusal::not_found)?;
    Ok((StatusCode::ACCEPTED, Json(body::delivery(row))))
}

/// Nothing was understood of it, or its repository was not here: perhaps now.
async fn read_again(app: &App, row: &Delivery) -> Answer<()> {
    let raw = app.store.load_delivery_body(row.id).await?;
    let forge = app.store.find_forge(&row.forge).await?.ok_or_else(Refusal::not_found)?.id;
    let only = match &row.hook {
        Some(hook) => {
            app.store.find_hook(hook).await?.map(|hook| hook.repo).or(row.repo.as_ref().map(|repo| repo.id))
        }
        None => None,
    };
    let says = inbox::read(row, &raw);
    let understood = inbox::understand(app, forge, only, says).await.map_err(|error| match error {
        Unheard::Store(error) => Refusal::from(error),
        error => Refusal::conflict(error.to_string()),
    })?;
    app.store.tell(row.id, understood.repo, &understood.told).await?;
    Ok(())
}

/// The delivery with this number, when the caller may do this to its repository.
async fn find(app: &App, caller: &Caller, id: &str, action: Action) -> Answer<Delivery> {
    let id = number(id).map(DeliveryId).ok_or_else(|| caller.not_found())?;
    let row = app.store.find_delivery(id).await?.ok_or_else(|| caller.not_found())?;
    match &row.repo {
        Some(repo) => caller.check(action, repo)?,
        None if may(&caller.0, Action::Administer, None) => {}
        None => return Err(caller.not_found()),
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_as_they_were() {
        assert_eq!(read_cursor(&cursor(DeliveryId(4711))).expect("a cursor"), DeliveryId(4711));
        for text in ["", "d", "d0", "d-1", "d01", "b1", "dFF"] {
            assert!(read_cursor(text).is_err(), "{text}");
        }
    }
}
