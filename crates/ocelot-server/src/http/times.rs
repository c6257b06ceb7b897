//! Polls and schedules: what is built without anyone asking.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ocelot_api::body as api;
use ocelot_model::RepoId;
use ocelot_model::access::Action;
use ocelot_model::cron::{BadCron, Cron};
use ocelot_model::pipeline::check_branches;
use ocelot_store::{NewTimes, Poll, Schedule};

use super::auth::Caller;
use super::extract::{self, NoQuery, PageQuery, Query, Segments, number};
use super::problem::{Answer, Refusal};
use crate::App;

/// Most patterns of a poll.
const PATTERNS: usize = 100;
/// Longest name of a branch, in bytes.
const BRANCH_MAX: usize = 500;

/// Polls of all repositories that the caller may read.
#[utoipa::path(get, path = "/api/v1/polls", tag = "times", params(PageQuery),
    responses((status = 200, body = api::Page<api::Poll>)))]
pub(super) async fn polls(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<PageQuery>,
) -> Answer<Json<api::Page<api::Poll>>> {
    let readable = ids(&app, &caller).await?;
    let mut rows = app.store.list_polls().await?;
    rows.retain(|poll| readable.contains(&poll.repo.id));
    Ok(Json(page.page(rows.into_iter().map(poll).collect())?))
}

/// Looks at a repository from now on, each time that the expression comes round. A branch that is new or elsewhere than
/// before is built; at the first look only the default branch is.
#[utoipa::path(post, path = "/api/v1/polls", tag = "times", request_body = api::NewPoll,
    responses((status = 201, body = api::Poll),
        (status = 404, description = "There is no such repository, or the caller may not see it"), (status = 409, description = "There is one for this repository"),
        (status = 422, description = "The body cannot be understood")))]
pub(super) async fn add_poll(
    State(app): State<App>,
    caller: Caller,
    Query(NoQuery {}): Query<NoQuery>,
    extract::Json(new): extract::Json<api::NewPoll>,
) -> Answer<(StatusCode, Json<api::Poll>)> {
    let repo = caller.repo(&app, &new.repo, Action::AdminRepo).await?;
    let cron = cron(&new.cron, new.time_zone.as_deref())?;
    if new.branches.len() > PATTERNS {
        return Err(Refusal::bad_request(format!("branches: at most {PATTERNS}")));
    }
    check_branches(&new.branches).map_err(|why| Refusal::bad_request(format!("branches: {why}")))?;
    let times = NewTimes { repo: repo.id, cron: &cron, by: &caller.name() };
    let made = app.store.add_poll(&times, &new.branches).await?;
    Ok((StatusCode::CREATED, Json(poll(made))))
}

/// Ends the poll of a repository.
#[utoipa::path(delete, path = "/api/v1/polls/{handle}", tag = "times",
    params(("handle" = String, Path, description = "Handle of the repository, with its slashes")),
    responses((status = 204)))]
pub(super) async fn remove_poll(
    State(app): State<App>,
    caller: Caller,
    Segments(handle): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<StatusCode> {
    let repo = caller.repo(&app, &handle, Action::AdminRepo).await?;
    app.store.remove_poll(repo.id, &caller.name()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Schedules of all repositories that the caller may read.
#[utoipa::path(get, path = "/api/v1/schedules", tag = "times", params(PageQuery),
    responses((status = 200, body = api::Page<api::Schedule>)))]
pub(super) async fn schedules(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<PageQuery>,
) -> Answer<Json<api::Page<api::Schedule>>> {
    let readable = ids(&app, &caller).await?;
    let mut rows = app.store.list_schedules().await?;
    rows.retain(|schedule| readable.contains(&schedule.repo.id));
    Ok(Json(page.page(rows.into_iter().map(schedule).collect())?))
}

/// Builds a branch each time that the expression comes round.
#[utoipa::path(post, path = "/api/v1/schedules", tag = "times", request_body = api::NewSchedule,
    responses((status = 201, body = api::Schedule),
        (status = 404, description = "There is no such repository, or the caller may not see it"), (status = 422, description = "The body cannot be understood")))]
pub(super) async fn add_schedule(
    State(app): State<App>,
    caller: Caller,
    Query(NoQuery {}): Query<NoQuery>,
    extract::Json(new): extract::Json<api::NewSchedule>,
) -> Answer<(StatusCode, Json<api::Schedule>)> {
    let repo = caller.repo(&app, &new.repo, Action::AdminRepo).await?;
    let cron = cron(&new.cron, new.time_zone.as_deref())?;
    let branch = new.branch.as_deref();
    if branch.is_some_and(|branch| {
        branch.is_empty() || branch.len() > BRANCH_MAX || branch.chars().any(char::is_control)
    }) {
        return Err(Refusal::bad_request("branch: this is no name of a branch"));
    }
    let times = NewTimes { repo: repo.id, cron: &cron, by: &caller.name() };
    let made = app.store.add_schedule(&times, branch).await?;
    Ok((StatusCode::CREATED, Json(schedule(made))))
}

/// Ends a schedule that a person made; one that stands in a file is taken out there.
#[utoipa::path(delete, path = "/api/v1/schedules/{id}", tag = "times",
    params(("id" = i64, Path, description = "Its id")),
    responses((status = 204), (status = 409, description = "It stands in a file")))]
pub(super) async fn remove_schedule(
    State(app): State<App>,
    caller: Caller,
    Segments(id): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<StatusCode> {
    let id = number(&id).ok_or_else(|| caller.not_found())?;
    let schedule = app.store.load_schedule(id).await?;
    caller.check(Action::AdminRepo, &schedule.repo)?;
    app.store.remove_schedule(id, &caller.name()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn ids(app: &App, caller: &Caller) -> Answer<HashSet<RepoId>> {
    Ok(caller.readable(app).await?.into_iter().map(|repo| repo.id).collect())
}

fn cron(text: &str, zone: Option<&str>) -> Answer<Cron> {
    if zone.is_some_and(|zone| zone.trim().is_empty()) {
        let words = "time_zone: it is empty; name one such as Europe/Rome, or leave it out for UTC";
        return Err(Refusal::bad_request(words));
    }
    Cron::new(text, zone.unwrap_or_default()).map_err(|error| {
        let what = match error {
            BadCron::Zone(_) => "time_zone",
            BadCron::Expression { .. } | BadCron::Never(_) => "cron",
        };
        Refusal::bad_request(format!("{what}: {error}"))
    })
}

fn poll(poll: Poll) -> api::Poll {
    api::Poll {
        id: poll.id,
        repo: poll.repo.name.to_string(),
        cron: poll.cron,
        time_zone: poll.time_zone,
        branches: poll.branches,
        next_at: poll.next_at,
        last_at: poll.last_at,
        outcome: poll.outcome,
        created_by: poll.created_by,
    }
}

fn schedule(schedule: Schedule) -> api::Schedule {
    api::Schedule {
        id: schedule.id,
        from_file: schedule.from_file,
        cron: schedule.cron,
        time_zone: schedule.time_zone,
        branch: schedule.branch.unwrap_or(schedule.repo.default_branch),
        repo: schedule.repo.name.to_string(),
        next_at: schedule.next_at,
        last_at: schedule.last_at,
        outcome: schedule.outcome,
        created_by: schedule.created_by,
    }
}
