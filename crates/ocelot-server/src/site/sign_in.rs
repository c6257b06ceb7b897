//! The pages that take a token or a one-use link. What the form sends is handled by `http/auth`, like a program's sign-in.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "login.html")]
struct Page {
    redirect: String,
    note: Option<&'static str>,
    now: i64,
}

/// Where to go afterwards, and what went wrong before.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    redirect: String,
    failed: Option<String>,
}

#[derive(Template)]
#[template(path = "link.html")]
struct Link {
    secret: String,
    now: i64,
}

/// `GET /login/link/{secret}`: a button. Mail programs and chats look at links that they carry, so looking must not
/// use one up.
pub(crate) async fn link(Path(secret): Path<String>) -> Response {
    super::page(StatusCode::OK, &Link { secret, now: super::now_ms() })
}

/// `GET /login`
pub(crate) async fn show(Query(asked): Query<Asked>) -> Response {
    let note = asked.failed.as_deref().map(|why| match why {
        "link" => "This link was used already or is too old. Sign in with a token.",
        "rate" => "Too many tries. Wait a minute.",
        _ => "No token has this secret, or it has ended.",
    });
    let status = if note.is_some() { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
    super::page(status, &Page { redirect: asked.redirect, note, now: super::now_ms() })
}
