//! Builds: look, start, cancel, do again.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use ocelot_api::body as api;
use ocelot_model::access::Action;
use ocelot_model::{BuildNumber, EventKind, RepoName, Status};
use ocelot_store::{BuildDetail, BuildFilter, crash};
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::Caller;
use super::body;
use super::extract::{self, MaybeJson, NoQuery, Query, Segments, build_number, limit};
use super::problem::{Answer, Refusal};
use crate::App;
use crate::builds::{approve, cancel, chain, retry, trigger};
use crate::notify::{self, undelivered_for};

/// Which builds to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Handle of a repository.
    repo: Option<String>,
    /// Name of a branch.
    branch: Option<String>,
    /// Commit, or its first 7 characters or more.
    commit: Option<String>,
    /// A status, for example `failed`.
    status: Option<String>,
    /// What made it, for example `push`.
    event: Option<String>,
    /// Queued at this time (RFC 3339) or later.
    since: Option<String>,
    /// Queued before this time (RFC 3339).
    until: Option<String>,
    /// Name of a worker that had one of its jobs.
    worker: Option<String>,
    /// Text anywhere in message, author or branch, or at the beginning of the commit.
    q: Option<String>,
    /// Rows, 1 to 500; default 50.
    #[param(value_type = Option<u32>)]
    limit: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists builds, newest first, without their jobs. A page is read quickly whatever is asked: when few builds fit it may have fewer
/// than `limit`, or none, and go on at `next`; the end is where that is null.
#[utoipa::path(get, path = "/api/v1/builds", tag = "builds", params(Filter),
    responses((status = 200, body = api::Page<api::Build>)))]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    Query(asked): Query<Filter>,
) -> Answer<Response> {
    let key = (caller.0.clone(), query.unwrap_or_default());
    let state = app.store.state().await?;
    if let Some(body) = app.recent.get(state.as_deref(), &key) {
        return Ok(json(body));
    }
    let page = page(&app, &caller, &asked).await?;
    let body = Bytes::from(serde_json::to_vec(&page).map_err(Refusal::internal)?);
    app.recent.keep(state, key, &body);
    Ok(json(body))
}

fn json(body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn page(app: &App, caller: &Caller, asked: &Filter) -> Answer<api::Page<api::Build>> {
    let readable = caller.readable_ids(app).await?;
    let limit = limit(asked.limit.as_deref())?;
    let mut filter = BuildFilter { readable, ..filter(asked)? };
    if let Some(handle) = &asked.repo {
        let repo = match handle.parse::<RepoName>() {
            Ok(name) => app.store.find_repo(&name).await?,
            Err(_) => None,
        };
        match repo.filter(|repo| caller.may(Action::ReadRepo, repo)) {
            Some(repo) => filter.repo = Some(repo.id),
            None => return Ok(api::Page { items: Vec::new(), next: None }),
        }
    }
    let page = app.store.page_builds(&filter, limit).await?;
    let numbers: Vec<BuildNumber> = page.builds.iter().map(|row| row.number).collect();
    let mut above = chain::above(app, &caller.0, &numbers).await?;
    let items = page.builds.into_iter().map(|row| {
        let upstream = above.remove(&row.number);
        body::follows(body::build(row), upstream)
    });
    Ok(api::Page { items: items.collect(), next: page.next.map(cursor) })
}

/// All that was asked for but the repository.
fn filter(asked: &Filter) -> Answer<BuildFilter> {
    let commit = asked.commit.clone().map(|text| text.to_ascii_lowercase());
    if commit
        .as_ref()
        .is_some_and(|c| !(7..=64).contains(&c.len()) || !c.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return Err(Refusal::bad_request("commit: give 7 to 64 hexadecimal digits"));
    }
    Ok(BuildFilter {
        branch: asked.branch.clone(),
        commit,
        status: parse::<Status>("status", asked.status.as_ref())?,
        event: parse::<EventKind>("event", asked.event.as_ref())?,
        since: time("since", asked.since.as_ref())?,
        until: time("until", asked.until.as_ref())?,
        worker: asked.worker.clone(),
        text: asked.q.clone().filter(|q| !q.is_empty()),
        before: asked.cursor.as_deref().map(read_cursor).transpose()?,
        ..BuildFilter::default()
    })
}

pub(super) fn parse<T: std::str::FromStr>(name: &str, text: Option<&String>) -> Answer<Option<T>>
where
    T::Err: std::fmt::Display,
{
    text.map(|text| text.parse().map_err(|error| Refusal::bad_request(format!("{name}: {error}"))))
        .transpose()
}

pub(super) fn time(name: &str, text: Option<&String>) -> Answer<Option<Timestamp>> {
    let read = |text: &String| {
        let words = || format!("{name}: `{text}` is no time; write it like 2026-01-31T12:00:00Z");
        text.parse().map_err(|_| Refusal::bad_request(words()))
    };
    text.map(read).transpose()
}

/// Where the next page begins. Opaque to callers, so that it may become something else.
fn cursor(number: BuildNumber) -> String {
    format!("b{:x}", number.0)
}

fn read_cursor(text: &str) -> Answer<BuildNumber> {
    let bad = || Refusal::bad_request("cursor: give back `next` of the page before, as it was");
    let number = text.strip_prefix('b').and_then(|hex| i64::from_str_radix(hex, 16).ok()).map(BuildNumber);
    number.filter(|number| number.0 > 0 && cursor(*number) == text).ok_or_else(bad)
}

/// Queues a build of a branch or commit.
#[utoipa::path(post, path = "/api/v1/builds", tag = "builds", request_body = api::NewBuild,
    responses((status = 201, body = api::Build),
        (status = 404, description = "There is no such repository, or the caller may not see it"),
        (status = 409, description = "The file leaves this branch out; `force` builds it all the same"),
        (status = 422, description = "There is no such branch or commit, or no `ocelot.yml` in it; or the body cannot be understood"),
        (status = 502, description = "The repository's host did not give it"), (status = 504, description = "The repository's host did not answer in time")))]
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    Query(NoQuery {}): Query<NoQuery>,
    extract::Json(new): extract::Json<api::NewBuild>,
) -> Answer<(StatusCode, Json<api::Build>)> {
    let repo = caller.repo(&app, &new.repo, Action::WriteRepo).await?;
    let detail = trigger::manual(&app, &repo, &new, &caller.0).await?;
    crash::point("build-created");
    Ok((StatusCode::CREATED, Json(told(&app, &caller, detail).await?)))
}

/// One build with its jobs and stages.
#[utoipa::path(get, path = "/api/v1/builds/{number}", tag = "builds", params(("number" = String, Path, description = "Build number")),
    responses((status = 200, body = api::Build)))]
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Segments(number): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<Json<api::Build>> {
    let number = find(&app, &caller, &number, Action::ReadRepo).await?;
    let detail = app.store.find_build_detail(number).await?.ok_or_else(|| caller.not_found())?;
    let administers = caller.may(Action::AdminRepo, &detail.build.repo);
    let undelivered = app.store.undelivered(number).await?.into_iter();
    let undelivered = undelivered.map(|row| body::undelivered(undelivered_for(administers, row))).collect();
    let chain = chain::of(&app, &caller.0, &detail.build).await?;
    let mut notes = chain.notes();
    if administers {
        notes.extend(notify::notes(&app, &detail.build).await?);
    }
    let downstream = chain.below.into_iter().map(body::downstream).collect();
    let subscriptions = chain.subscriptions.into_iter().map(body::subscription).collect();
    let retry_removed = chain::retry_removed(&app, &detail.build).await?;
    let build = body::follows(body::detail(detail), chain.above);
    Ok(Json(api::Build { undelivered, notes, downstream, subscriptions, retry_removed, ..build }))
}

/// Asks to cancel a build. Asking twice is fine.
#[utoipa::path(post, path = "/api/v1/builds/{number}/cancel", tag = "builds", params(("number" = String, Path, description = "Build number")),
    responses((status = 200, body = api::Build)))]
pub(super) async fn cancel(
    State(app): State<App>,
    caller: Caller,
    Segments(number): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<Json<api::Build>> {
    let number = find(&app, &caller, &number, Action::WriteRepo).await?;
    let detail = cancel::cancel(&app, number, &caller.0).await?;
    Ok(Json(told(&app, &caller, detail).await?))
}

/// Lets a build start that waits for a person: its commit is not the repository's own, or the repository's `approvals` say
/// so. Doing it twice is fine. It is for this commit only, and brings no secrets to a commit of others. With `job`, lets that job
/// start, which waits because the file says `approval: true`; without, where the commit waits for nobody, all such jobs.
#[utoipa::path(post, path = "/api/v1/builds/{number}/approve", tag = "builds", params(("number" = String, Path, description = "Build number")),
    request_body = Option<api::ApproveBuild>,
    responses((status = 200, body = api::Build),
        (status = 409, description = "It waits for no approval, or is over"),
        (status = 422, description = "The body cannot be understood")))]
pub(super) async fn approve(
    State(app): State<App>,
    caller: Caller,
    Segments(number): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
    MaybeJson(what): MaybeJson<api::ApproveBuild>,
) -> Answer<Json<api::Build>> {
    let number = find(&app, &caller, &number, Action::WriteRepo).await?;
    let detail = approve::approve(&app, number, what.job.as_deref(), &caller.0).await?;
    Ok(Json(told(&app, &caller, detail).await?))
}

/// Builds the same commit again, as a new build.
#[utoipa::path(post, path = "/api/v1/builds/{number}/retry", tag = "builds", params(("number" = String, Path, description = "Build number")),
    request_body = Option<api::RetryBuild>,
    responses((status = 201, body = api::Build),
        (status = 409, description = "The build is not over yet, or with `failed` there is nothing to do again"),
        (status = 422, description = "The commit is not there any more, or the body cannot be understood"),
        (status = 502, description = "The repository's host did not give it"), (status = 504, description = "The repository's host did not answer in time")))]
pub(super) async fn retry(
    State(app): State<App>,
    caller: Caller,
    Segments(number): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
    MaybeJson(how): MaybeJson<api::RetryBuild>,
) -> Answer<(StatusCode, Json<api::Build>)> {
    let number = find(&app, &caller, &number, Action::WriteRepo).await?;
    let old = app.store.find_build_detail(number).await?.ok_or_else(|| caller.not_found())?;
    let detail = retry::retry(&app, &old, how.failed, &caller.0).await?;
    Ok((StatusCode::CREATED, Json(told(&app, &caller, detail).await?)))
}

/// A build that was just made or changed.
async fn told(app: &App, caller: &Caller, detail: BuildDetail) -> Answer<api::Build> {
    let number = detail.build.number;
    let above = chain::above(app, &caller.0, &[number]).await?.remove(&number);
    Ok(body::follows(body::detail(detail), above))
}

/// The number of a build with which the caller may do this.
pub(super) async fn find(app: &App, caller: &Caller, number: &str, action: Action) -> Answer<BuildNumber> {
    let number = build_number(number).ok_or_else(|| caller.not_found())?;
    let build = app.store.find_build(number).await?.ok_or_else(|| caller.not_found())?;
    caller.check(action, &build.repo)?;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_as_they_were() {
        assert_eq!(read_cursor(&cursor(BuildNumber(4711))).expect("a cursor"), BuildNumber(4711));
        for text in ["", "b", "b0", "b-1", "b+1", "b01", "4711", "bFF", "b8000000000000000"] {
            assert!(read_cursor(text).is_err(), "{text}");
        }
    }
}
