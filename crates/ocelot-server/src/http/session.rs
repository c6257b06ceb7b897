//! Signing in and out with a browser: what the form of the sign-in page sends, and one-use links.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::auth::{own_path, redeem, sign_in, sign_out};
use super::extract::{Segments, Whole};
use super::problem::{Answer, Refusal};
use crate::App;

/// What the form, or a program as JSON, sends.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Form {
    token: String,
    redirect: String,
}

/// `POST /login`. A form is answered by going on, JSON by 204 or a problem.
pub(super) async fn login(
    State(app): State<App>,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Answer<Response> {
    let is = |kind: &str| {
        let value =
            headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(';').next().is_some_and(|own| own.trim().eq_ignore_ascii_case(kind))
    };
    if is("application/json") {
        let form: Form = serde_json::from_slice(&body)
            .map_err(|error| Refusal::bad_request(format!("The body cannot be read: {error}")))?;
        let bad = || Refusal::unauthorized("No token has this secret, or it has ended.");
        let cookie = sign_in(&app, &form.token).await?.ok_or_else(bad)?;
        return Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response());
    }
    if !is("application/x-www-form-urlencoded") {
        let words = "Send a form, or JSON with the header `Content-Type: application/json`.";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", words));
    }
    let form = form(&body);
    let next = own_path(&form.redirect);
    if let Some(cookie) = sign_in(&app, &form.token).await? {
        return Ok(go(next, cookie));
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("failed", "token").append_pair("redirect", next);
    Ok(Redirect::to(&format!("/login?{}", query.finish())).into_response())
}

fn form(body: &[u8]) -> Form {
    let mut form = Form::default();
    for (name, value) in form_urlencoded::parse(body) {
        match &*name {
            "token" => form.token = value.into_owned(),
            "redirect" => form.redirect = value.into_owned(),
            _ => {}
        }
    }
    form
}

/// `POST /login/link/{secret}`: signs in once. Looking at the link (a preview, a scanner) does not use it up.
pub(super) async fn link(State(app): State<App>, Segments(secret): Segments<String>) -> Answer<Response> {
    let cookie = redeem(&app, &secret).await?;
    Ok(cookie.map_or_else(|| Redirect::to("/login?failed=link").into_response(), |cookie| go("/", cookie)))
}

/// `POST /logout`
pub(super) async fn logout(State(app): State<App>, headers: HeaderMap) -> Answer<Response> {
    Ok(go("/login", sign_out(&app, &headers).await?))
}

fn go(path: &str, cookie: HeaderValue) -> Response {
    ([(header::SET_COOKIE, cookie)], Redirect::to(path)).into_response()
}
