//! The website: the list of builds and one build with its live log, rendered here, whole without any script.
//!
//! It reads the store like the API does and decides nothing: rights come from `access::may`, changes go through `builds/`.

mod ansi;
pub(crate) mod assets;
pub(crate) mod build;
pub(crate) mod builds;
mod log;
pub(crate) mod sign_in;
pub(crate) mod stats;
mod view;

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use ocelot_model::access::{Action, Actor, limit_words, may};
use ocelot_store::StoreError;

/// Nothing but our own files; no inline script or style, no frames, forms only to us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A rendered page with the headers that every page has.
fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => {
            let mut response = (status, Html(html)).into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A page with one message.
#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    title: &'a str,
    text: &'a str,
    who: Option<String>,
    now: i64,
}

/// "No such page", the same for what is missing and for what one may not see.
pub(crate) fn not_found(actor: &Actor) -> Response {
    let text = "It does not exist, or you may not see it.";
    let message = Message { title: "Not found", text, who: name_of(actor), now: now_ms() };
    page(StatusCode::NOT_FOUND, &message)
}

fn failed(actor: &Actor, status: StatusCode, text: &str) -> Response {
    let message = Message { title: "That did not work", text, who: name_of(actor), now: now_ms() };
    page(status, &message)
}

/// Who is signed in, and what that is limited to.
fn name_of(actor: &Actor) -> Option<String> {
    match actor {
        Actor::Token { name, scope, .. } => Some(format!("{name}{}", limit_words(scope))),
        Actor::Anonymous | Actor::Worker(_) => None,
    }
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// Who wants that no job begins, and why, for those who may see the queue.
async fn paused(app: &crate::App, actor: &Actor) -> Result<Option<String>, StoreError> {
    if !may(actor, Action::ReadFleet, None) {
        return Ok(None);
    }
    Ok(app.store.paused().await?.map(|pause| view::shown(&pause.to_string())))
}
