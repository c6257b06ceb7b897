//! Webhooks: checked over their raw bytes, stored, and answered when they are durable. What becomes of them is the
//! business of `loops/deliveries`.

use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use ocelot_api::body as api;
use ocelot_forge::{BadBody, Unverified, verify};
use ocelot_model::AuditAction;
use ocelot_model::{DeliveryState, Event};
use ocelot_store::{Delivery, NewDelivery, crash};

use super::extract::{self, Segments};
use super::middleware::WEBHOOK_MAX;
use super::problem::{Answer, Refusal};
use crate::builds::inbox::{self, Understood, Unheard};
use crate::hooks::Address;
use crate::metrics;
use crate::{App, audit};

/// A body must be there within this time.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Larger bodies are checked and read where they keep nobody else waiting.
const LARGE: usize = 256 << 10;

type Reply = (StatusCode, Json<api::Received>);

/// Takes a webhook that the forge sends for all of its repositories, signed with the forge's own secret.
#[utoipa::path(post, path = "/hooks/{forge}", tag = "webhooks",
    params(("forge" = String, Path, description = "Short name of the forge")),
    request_body(content = String, description = "What the forge sends"),
    responses((status = 200, body = api::Received, description = "Stored; nothing is to be done, or was done before"),
        (status = 202, body = api::Received, description = "Stored; a build follows"),
        (status = 400, description = "No forge sends this"), (status = 401, description = "It is not signed, or not rightly"),
        (status = 429, description = "Too many wrong ones from this address"), (status = 503, description = "Not stored: send it again")))]
pub(super) async fn of_forge(
    State(app): State<App>,
    Segments(forge): Segments<String>,
    request: Request,
) -> Answer<Reply> {
    receive(&app, (&forge, None), request).await
}

/// Takes a webhook of one repository, signed with the secret that Ocelot gave it.
#[utoipa::path(post, path = "/hooks/{forge}/{hook}", tag = "webhooks",
    params(("forge" = String, Path, description = "Short name of the forge"), ("hook" = String, Path, description = "The webhook's own text")),
    request_body(content = String, description = "What the forge sends"),
    responses((status = 200, body = api::Received, description = "Stored; nothing is to be done, or was done before"),
        (status = 202, body = api::Received, description = "Stored; a build follows"),
        (status = 400, description = "No forge sends this"), (status = 401, description = "It is not signed, or not rightly"),
        (status = 429, description = "Too many wrong ones from this address"), (status = 503, description = "Not stored: send it again")))]
pub(super) async fn of_repo(
    State(app): State<App>,
    Segments((forge, hook)): Segments<(String, String)>,
    request: Request,
) -> Answer<Reply> {
    receive(&app, (&forge, Some(&hook)), request).await
}

/// Which address.
type At<'a> = (&'a str, Option<&'a str>);

async fn receive(app: &App, at: At<'_>, request: Request) -> Answer<Reply> {
    let address = app.hooks.find(&app.store, at.0, at.1).await?.ok_or_else(Refusal::not_found)?;
    let headers = request.headers().clone();
    let body = extract::whole(request, app, BODY_WITHIN, WEBHOOK_MAX).await?;
    let begin = Instant::now();
    let answer = take_in(app, at, address, headers, body).await;
    let (event, outcome) = match &answer {
        Ok((class, _, reply)) => (*class, reply.state.as_str()),
        Err(refusal) if refusal.problem.status == 401 => ("none", "unauthorized"),
        Err(refusal) if refusal.problem.status < 500 => ("none", "malformed"),
        Err(_) => ("none", "error"),
    };
    metrics::webhook(at.0, event, outcome, begin.elapsed());
    answer.map(|(_, status, reply)| (status, Json(reply)))
}

async fn take_in(
    app: &App,
    at: At<'_>,
    address: Address,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<(&'static str, StatusCode, api::Received)> {
    let read = match read(&address, &headers, &body).await? {
        // Perhaps the secret is another one by now.
        Err(Unverified::Wrong(header)) => match app.hooks.find_again(&app.store, at, &address).await? {
            Some(now) => read(&now, &headers, &body).await?,
            None => Err(Unverified::Wrong(header)),
        },
        other => other,
    };
    let Read { event, delivery, says } = read.map_err(|error| refuse(&error))?;
    let understood = inbox::understand(app, address.forge, address.repo, says).await;
    if let Err(error @ Unheard::Foreign(_)) = &understood {
        let subject = format!("hooks/{}/{}", at.0, at.1.unwrap_or_default());
        let who = format!("forge {}", at.0);
        audit::note(app, &who, AuditAction::WebhookRefused, &subject, &error.to_string()).await;
    }
    let Understood { repo, told, class } = understood.map_err(|error| unheard(error, at))?;
    let new = NewDelivery {
        forge: address.forge,
        repo,
        hook: at.1,
        remote_id: &delivery,
        event: &event,
        body: &body,
        told: &told,
    };
    let (stored, is_new) = app.store.take_in(&new).await?;
    crash::point("delivery-stored");
    if stored.state == DeliveryState::Conflict && is_new {
        tracing::warn!(delivery = stored.id.0, "delivery {}: {}", stored.id, stored.outcome);
    }
    let waits = is_new && stored.state == DeliveryState::Waiting && !inbox::only_ends(&told);
    let status = if waits { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((class, status, received(stored)))
}

/// A webhook whose sender had the secret.
struct Read {
    event: String,
    delivery: String,
    says: Result<Event, BadBody>,
}

async fn read(address: &Address, headers: &HeaderMap, body: &Bytes) -> Answer<Result<Read, Unverified>> {
    if body.len() < LARGE {
        return Ok(check(address, headers, body));
    }
    let (address, headers, body) = (address.clone(), headers.clone(), body.clone());
    let work = tokio::task::spawn_blocking(move || check(&address, &headers, &body));
    work.await.map_err(Refusal::internal)
}

fn check(address: &Address, headers: &HeaderMap, body: &[u8]) -> Result<Read, Unverified> {
    let webhook = verify(address.kind, headers, body, &address.secret)?;
    let (event, delivery) = (webhook.event().to_owned(), webhook.delivery().to_owned());
    Ok(Read { event, delivery, says: webhook.parse() })
}

fn refuse(error: &Unverified) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "unverified", error.to_string())
}

fn unheard(error: Unheard, (forge, hook): At<'_>) -> Refusal {
    match error {
        Unheard::Malformed(error) => Refusal::bad_request(error.to_string()),
        Unheard::Foreign(_) => {
            let hook = hook.unwrap_or_default();
            tracing::warn!(forge, hook, "a webhook at /hooks/{forge}/{hook} was refused: {error}");
            Refusal::new(StatusCode::UNAUTHORIZED, "unverified", error.to_string())
        }
        Unheard::Store(error) => error.into(),
    }
}

fn received(row: Delivery) -> api::Received {
    let build = row.parts.iter().find_map(|part| part.build).map(|number| number.0);
    api::Received { delivery: row.id.0, state: row.state, outcome: row.outcome, build }
}
