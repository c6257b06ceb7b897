//! Badges: a small picture of how the newest build of a branch ended, for READMEs.
//!
//! Public ones are for everyone, others for whoever has their key. What is not there, and what one may not see, look the same.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use ocelot_api::body as api;
use ocelot_model::access::Action;
use ocelot_model::{RepoName, Status};
use ocelot_store::{BuildFilter, Repo, StoreError};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use utoipa::IntoParams;

use super::auth::Caller;
use super::extract::{MaybeJson, NoQuery, Query, Segments};
use super::problem::{Answer, Refusal};
use crate::App;

/// Builds among which one that says something is looked for.
const LOOK: u32 = 50;

/// Which badge.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Name of a branch; the default branch when left out.
    branch: Option<String>,
    /// The key, when the repository is not public.
    #[param(value_type = Option<String>)]
    key: Option<SecretString>,
}

/// A picture (SVG) of how the newest build of a branch ended. Of a repository that is not public only with its key.
#[utoipa::path(get, path = "/badges/{handle}", tag = "badges", params(Asked,
    ("handle" = String, Path, description = "Handle, with its slashes, and `.svg`: `github/acme/app.svg`")),
    responses((status = 200, content_type = "image/svg+xml", body = String),
        (status = 304, description = "It is what the caller has"),
        (status = 400, description = "A parameter is not known"),
        (status = 503, description = "The database does not answer; try again in a moment")))]
pub(super) async fn show(
    State(app): State<App>,
    Segments(handle): Segments<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Answer<Response> {
    let name = handle.strip_suffix(".svg").and_then(|handle| handle.parse::<RepoName>().ok());
    let repo = match name {
        Some(name) => app.store.find_repo(&name).await?,
        None => None,
    };
    let repo = repo.ok_or_else(Refusal::not_found)?;
    if !repo.public && !has_key(&app, &repo, asked.key.as_ref()).await? {
        return Err(Refusal::not_found());
    }
    let branch = asked.branch.as_deref().filter(|name| !name.is_empty()).unwrap_or(&repo.default_branch);
    let svg = draw(newest(&app, &repo, branch).await?);
    let etag = format!("\"{}\"", hex(&Sha256::digest(&svg)[..8]));
    let same = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let same =
        same.is_some_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag));
    let mut response = if same { StatusCode::NOT_MODIFIED.into_response() } else { svg.into_response() };
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/svg+xml"));
    let cache = if repo.public { "public, max-age=30" } else { "private, max-age=30" };
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        out.insert(header::ETAG, etag);
    }
    Ok(response)
}

/// Hashes are compared, so that the time says nothing about the key.
async fn has_key(app: &App, repo: &Repo, given: Option<&SecretString>) -> Result<bool, StoreError> {
    let Some(given) = given else { return Ok(false) };
    let Some(own) = app.store.find_badge_key(repo.id).await? else { return Ok(false) };
    Ok(Sha256::digest(own.expose_secret()) == Sha256::digest(given.expose_secret()))
}

/// How the newest build of the branch itself ended that came to an end of its own.
async fn newest(app: &App, repo: &Repo, branch: &str) -> Result<Option<Status>, StoreError> {
    let filter = BuildFilter {
        repo: Some(repo.id),
        branch: Some(branch.to_owned()),
        of_branch: true,
        ..BuildFilter::default()
    };
    let builds = app.store.page_builds(&filter, LOOK).await?.builds;
    let says =
        |status: Status| status.is_terminal() && !matches!(status, Status::Cancelled | Status::Skipped);
    Ok(builds.into_iter().map(|build| build.status).find(|status| says(*status)))
}

/// The picture. All that is in it comes from here.
fn draw(status: Option<Status>) -> String {
    let (words, colour) = match status {
        Some(Status::Passed) => ("passed", "#1f7a3d"),
        Some(Status::Failed) => ("failed", "#c02b2b"),
        Some(Status::Error) => ("error", "#9a3db8"),
        Some(Status::TimedOut) => ("timed out", "#b5540a"),
        Some(Status::Blocked | Status::Queued | Status::Running | Status::Cancelled | Status::Skipped)
        | None => ("no build", "#6d675e"),
    };
    let right = 12 + 7 * words.len();
    let width = 44 + right;
    let (left_middle, right_middle) = (22, 44 + right / 2);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"20\" role=\"img\" aria-label=\"build: {words}\">\
         <title>build: {words}</title>\
         <rect width=\"{width}\" height=\"20\" rx=\"4\" fill=\"#3c3833\"/>\
         <path d=\"M44 0h{flat}a4 4 0 0 1 4 4v12a4 4 0 0 1 -4 4h-{flat}z\" fill=\"{colour}\"/>\
         <g fill=\"#fff\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\" text-anchor=\"middle\">\
         <text x=\"{left_middle}\" y=\"14\">build</text><text x=\"{right_middle}\" y=\"14\">{words}</text></g></svg>\n",
        flat = right - 4
    )
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The address of a repository's badge, and what to put into a README. Who may change the repository sees the key.
#[utoipa::path(get, path = "/api/v1/badges/{handle}", tag = "badges",
    params(("handle" = String, Path, description = "Handle, with its slashes: `github/acme/app`")),
    responses((status = 200, body = api::Badge)))]
pub(super) async fn describe(
    State(app): State<App>,
    caller: Caller,
    Segments(handle): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<Json<api::Badge>> {
    let repo = caller.repo(&app, &handle, Action::ReadRepo).await?;
    let key = key_for(&app, &caller, &repo).await?;
    Ok(Json(badge(&app, &repo, key.as_ref(), None)))
}

/// The key that the caller may see.
pub(crate) async fn key_for(
    app: &App,
    caller: &Caller,
    repo: &Repo,
) -> Result<Option<SecretString>, StoreError> {
    if repo.public || !caller.may(Action::WriteRepo, repo) {
        return Ok(None);
    }
    app.store.find_badge_key(repo.id).await
}

/// Makes the key with which everyone sees the badges of all branches of a repository that is not public. Doing it twice is fine.
#[utoipa::path(post, path = "/api/v1/badges/{handle}", tag = "badges", request_body = Option<api::NewBadge>,
    params(("handle" = String, Path, description = "Handle, with its slashes: `github/acme/app`")),
    responses((status = 200, body = api::Badge), (status = 422, description = "The body cannot be understood")))]
pub(super) async fn make(
    State(app): State<App>,
    caller: Caller,
    Segments(handle): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
    MaybeJson(new): MaybeJson<api::NewBadge>,
) -> Answer<Json<api::Badge>> {
    let repo = caller.repo(&app, &handle, Action::WriteRepo).await?;
    let mut key = None;
    if !repo.public {
        key = Some(app.store.make_badge_key(repo.id, new.renew, &caller.name()).await?);
    }
    Ok(Json(badge(&app, &repo, key.as_ref(), new.branch.as_deref())))
}

/// Ends the key. Doing it twice is fine.
#[utoipa::path(delete, path = "/api/v1/badges/{handle}", tag = "badges",
    params(("handle" = String, Path, description = "Handle, with its slashes: `github/acme/app`")),
    responses((status = 204)))]
pub(super) async fn remove(
    State(app): State<App>,
    caller: Caller,
    Segments(handle): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<StatusCode> {
    let repo = caller.repo(&app, &handle, Action::WriteRepo).await?;
    app.store.remove_badge_key(repo.id, &caller.name()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What to put where.
pub(crate) fn badge(app: &App, repo: &Repo, key: Option<&SecretString>, branch: Option<&str>) -> api::Badge {
    let handle = repo.name.to_string();
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(branch) = branch {
        query.append_pair("branch", branch);
    }
    if let Some(key) = key {
        query.append_pair("key", key.expose_secret());
    }
    let query = query.finish();
    let mark = if query.is_empty() { "" } else { "?" };
    let image = format!("{}/badges/{handle}.svg{mark}{query}", app.public_url);
    let page: String = form_urlencoded::byte_serialize(handle.as_bytes()).collect();
    api::Badge {
        markdown: format!("[![build]({image})]({}/?repo={page})", app.public_url),
        repo: handle,
        image,
        visible: repo.public || key.is_some(),
        key: key.map(|key| key.expose_secret().to_owned()),
    }
}
