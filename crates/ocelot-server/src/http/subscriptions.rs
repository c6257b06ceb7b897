//! Who is built after whom.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use ocelot_api::body as api;

use super::auth::Caller;
use super::body;
use super::extract::{NoQuery, PageQuery, Query};
use super::problem::Answer;
use crate::App;
use crate::builds::chain;

/// Subscriptions of all repositories that the caller may read.
#[utoipa::path(get, path = "/api/v1/subscriptions", tag = "subscriptions", params(PageQuery),
    responses((status = 200, body = api::Page<api::Subscription>)))]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<PageQuery>,
) -> Answer<Json<api::Page<api::Subscription>>> {
    // Who may read nothing is told so.
    caller.readable(&app).await?;
    let views = chain::subscriptions(&app, &caller.0).await?;
    Ok(Json(page.page(views.into_iter().map(body::subscription).collect())?))
}

/// Those that are in force, as a graph of branches: an edge leads from the branch whose build passes to the one that is
/// built then.
#[utoipa::path(get, path = "/api/v1/subscriptions/graph", tag = "subscriptions",
    responses((status = 200, body = api::SubscriptionGraph)))]
pub(super) async fn graph(
    State(app): State<App>,
    caller: Caller,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<Json<api::SubscriptionGraph>> {
    caller.readable(&app).await?;
    let mut edges = Vec::new();
    for chain::View { row, .. } in chain::subscriptions(&app, &caller.0).await? {
        if row.refused.is_some() {
            continue;
        }
        for (there, here) in row.branches {
            edges.push(api::Edge {
                from: api::Branch { repo: row.upstream.clone(), branch: there },
                to: api::Branch { repo: row.repo.name.to_string(), branch: here },
                alias: row.alias.clone(),
            });
        }
    }
    let nodes: BTreeSet<api::Branch> =
        edges.iter().flat_map(|edge| [edge.from.clone(), edge.to.clone()]).collect();
    Ok(Json(api::SubscriptionGraph { nodes: nodes.into_iter().collect(), edges }))
}
