//! Stands before every route: who calls, and whether this route is for them. Rights on a single
//! repository are the handler's to ask for, since only it knows which repository.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ocelot_model::access::{Action, Actor, may};

use super::auth::{anonymous, identify};
use super::origin::{BAD_WEBHOOKS, Net, SIGN_INS, Tries, address, same_origin, too_many};
use super::problem::Answer;
use crate::App;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Anyone; the handler does not know who.
    Public,
    /// Anyone, a few times a minute: what takes secrets from people.
    SignIn,
    /// Whoever signs with the webhook's secret, which the handler checks.
    Signature,
    /// A page: anyone arrives, the page sends those away who may not see it.
    Page,
    /// The handler asks for a right on a repository. Unknown callers get only what is public.
    Repo,
    /// Everyone with a token or session.
    SignedIn,
    /// This right, which belongs to no repository.
    Whole(Action),
}

/// What all guards share.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) app: App,
    pub(super) proxies: Vec<Net>,
    pub(super) tries: Tries,
    bad_webhooks: Tries,
}

impl Gate {
    pub(super) fn new(app: App) -> Arc<Gate> {
        // `check_proxies` has refused what cannot be read.
        let proxies = Net::parse_all(&app.config.trusted_proxies).unwrap_or_default();
        Arc::new(Gate { app, proxies, tries: Tries::new(SIGN_INS), bad_webhooks: Tries::new(BAD_WEBHOOKS) })
    }
}

/// Says which of these trusted proxies is none.
pub(crate) fn check_proxies(texts: &[String]) -> Result<(), String> {
    Net::parse_all(texts).map(drop)
}

/// The layer before a route.
pub(super) async fn guard(
    State((gate, right)): State<(Arc<Gate>, Right)>,
    mut request: Request,
    next: Next,
) -> Response {
    if right == Right::SignIn {
        return sign_in(&gate, request, next).await;
    }
    if right == Right::Signature {
        return webhook(&gate, request, next).await;
    }
    match admit(&gate, right, &mut request).await {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Tries are counted before they are looked at, so that many at once are no way around, and a good one is taken back:
/// people who sign in are not slowed down, only guessing is.
async fn sign_in(gate: &Gate, mut request: Request, next: Next) -> Response {
    if let Err(refusal) = admit(gate, Right::SignIn, &mut request).await {
        return refusal.into_response();
    }
    let address = address(request.extensions(), request.headers(), &gate.proxies);
    if let Err(wait) = gate.tries.count(address) {
        let page = !is_json(request.headers());
        return if page {
            crate::site::sign_in::too_often(&gate.app, wait)
        } else {
            too_many(wait).into_response()
        };
    }
    let response = next.run(request).await;
    if response.headers().contains_key(header::SET_COOKIE) {
        gate.tries.forgive(address);
    }
    response
}

/// Only what is wrong is counted, so that good webhooks always arrive, whoever shares their address.
async fn webhook(gate: &Gate, request: Request, next: Next) -> Response {
    let address = address(request.extensions(), request.headers(), &gate.proxies);
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    if !matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND) {
        return response;
    }
    match gate.bad_webhooks.count(address) {
        Ok(()) => {
            let from = address.map(|address| address.to_string()).unwrap_or_default();
            tracing::info!(path, from, "a webhook from {from} to {path} was refused: {}", response.status());
            response
        }
        Err(wait) => too_many(wait).into_response(),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

async fn admit(gate: &Gate, right: Right, request: &mut Request) -> Answer<()> {
    let headers = request.headers();
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && !headers.contains_key(header::AUTHORIZATION) {
        same_origin(headers, &gate.app.public_url)?;
    }
    match right {
        Right::Public | Right::SignIn | Right::Signature => return Ok(()),
        Right::Page | Right::Repo | Right::SignedIn | Right::Whole(_) => {}
    }
    let caller = identify(&gate.app, headers).await?;
    match right {
        Right::SignedIn if caller.0 == Actor::Anonymous => return Err(anonymous()),
        // What is public may be read, and no more.
        Right::Repo if changes && caller.0 == Actor::Anonymous => return Err(anonymous()),
        Right::Whole(action) if !may(&caller.0, action, None) => return Err(caller.forbidden(action)),
        Right::Public
        | Right::SignIn
        | Right::Signature
        | Right::Page
        | Right::Repo
        | Right::SignedIn
        | Right::Whole(_) => {}
    }
    request.extensions_mut().insert(caller);
    Ok(())
}
