//! Stands before every route: who calls, and whether this route is for them. Rights on a single
//! repository are the handler's to ask for, since only it knows which repository.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ocelot_model::access::{Action, Actor, may};

use super::auth::{anonymous, identify};
use super::origin::{Net, Tries, address, same_origin};
use super::problem::Answer;
use crate::App;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Anyone; the handler does not know who.
    Public,
    /// Anyone, a few times a minute: what takes secrets from people.
    SignIn,
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
}

impl Gate {
    pub(super) fn new(app: App) -> Arc<Gate> {
        // `check_proxies` has refused what cannot be read.
        let proxies = Net::parse_all(&app.config.trusted_proxies).unwrap_or_default();
        Arc::new(Gate { app, proxies, tries: Tries::default() })
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
    match admit(&gate, right, &mut request).await {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn admit(gate: &Gate, right: Right, request: &mut Request) -> Answer<()> {
    let headers = request.headers();
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && !headers.contains_key(header::AUTHORIZATION) {
        same_origin(headers, &gate.app.public_url)?;
    }
    match right {
        Right::Public => return Ok(()),
        Right::SignIn => return gate.tries.count(address(request.extensions(), headers, &gate.proxies)),
        Right::Page | Right::Repo | Right::SignedIn | Right::Whole(_) => {}
    }
    let caller = identify(&gate.app, headers).await?;
    match right {
        Right::SignedIn if caller.0 == Actor::Anonymous => return Err(anonymous()),
        // What is public may be read, and no more.
        Right::Repo if changes && caller.0 == Actor::Anonymous => return Err(anonymous()),
        Right::Whole(action) if !may(&caller.0, action, None) => return Err(caller.forbidden(action)),
        Right::Public | Right::SignIn | Right::Page | Right::Repo | Right::SignedIn | Right::Whole(_) => {}
    }
    request.extensions_mut().insert(caller);
    Ok(())
}
