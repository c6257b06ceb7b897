//! The pages that take a token or a one-use link. What the form sends is handled by `http/auth`, like a program's sign-in.

use std::time::Duration;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde::Deserialize;

use crate::App;
use crate::http::Segments;

#[derive(Template)]
#[template(path = "login.html")]
struct Page {
    redirect: String,
    note: Option<String>,
    /// The address that people use is not encrypted, and leaves this machine.
    in_the_clear: bool,
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
pub(crate) async fn link(Segments(secret): Segments<String>) -> Response {
    super::page(StatusCode::OK, &Link { secret, now: super::now_ms() })
}

/// `GET /login`
pub(crate) async fn show(State(app): State<App>, Query(asked): Query<Asked>) -> Response {
    let note = asked.failed.as_deref().map(|why| match why {
        "link" => "This link was used already or is too old. Sign in with a token.",
        _ => "No token has this secret, or it has ended.",
    });
    let status = if note.is_some() { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
    form(&app, status, asked.redirect, note.map(str::to_owned))
}

/// The same page for who tried too often.
pub(crate) fn too_often(app: &App, wait: Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let note = format!("Too many tries from this address. Try again in {seconds} s.");
    let mut response = form(app, StatusCode::TOO_MANY_REQUESTS, String::new(), Some(note));
    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    response
}

fn form(app: &App, status: StatusCode, redirect: String, note: Option<String>) -> Response {
    let in_the_clear = is_in_the_clear(&app.public_url);
    super::page(status, &Page { redirect, note, in_the_clear, now: super::now_ms() })
}

fn is_in_the_clear(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let own = ["localhost", "127.", "[::1]"];
    !own.iter().any(|host| rest.starts_with(host))
}

#[cfg(test)]
mod tests {
    use super::is_in_the_clear;

    #[test]
    fn only_what_leaves_the_machine_unencrypted_is_warned_of() {
        assert!(is_in_the_clear("http://ci.example.org"));
        for url in
            ["https://ci.example.org", "http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:1"]
        {
            assert!(!is_in_the_clear(url), "{url}");
        }
    }
}
