//! One build: its stages, its live log, and the two buttons.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use jiff::Timestamp;
use ocelot_model::access::{Action, Actor, RepoView, may};
use ocelot_model::{BuildNumber, StageId};
use ocelot_store::{BuildDetail, ConfigProblem, Repo, StoreError};
use serde::Deserialize;

use super::ansi::Style;
use super::log::{self, Place};
use super::view::{BuildRow, JobView, LogView};
use crate::App;
use crate::http::auth::Caller;

#[derive(Template)]
#[template(path = "build.html")]
struct Page {
    head: BuildRow,
    ended: bool,
    cancelling: bool,
    may_write: bool,
    retry_of: Option<i64>,
    problems: Vec<ConfigProblem>,
    jobs: Vec<JobView>,
    who: Option<String>,
    now: i64,
}

/// Which part of the page is wanted; `status` leaves the logs out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Part {
    part: String,
}

/// `GET /builds/{number}`
pub(crate) async fn show(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(number): Path<String>,
    Query(part): Query<Part>,
) -> Response {
    match load(&app, &actor, &number, Action::ReadRepo).await {
        Ok(Some(detail)) => match render(&app, &actor, &detail, part.part != "status").await {
            Ok(response) => response,
            Err(error) => unavailable(&actor, &error),
        },
        Ok(None) if actor == Actor::Anonymous => {
            // The number is echoed into a path of ours: digits only.
            let safe = number.chars().all(|c| c.is_ascii_digit());
            let back = if safe { format!("?redirect=/builds/{number}") } else { String::new() };
            Redirect::to(&format!("/login{back}")).into_response()
        }
        Ok(None) => super::not_found(&actor),
        Err(error) => unavailable(&actor, &error),
    }
}

async fn render(
    app: &App,
    actor: &Actor,
    detail: &BuildDetail,
    with_logs: bool,
) -> Result<Response, StoreError> {
    let now = Timestamp::now();
    let build = &detail.build;
    let mut jobs: Vec<JobView> = detail.jobs.iter().map(|job| JobView::new(job, now)).collect();
    for stage in jobs.iter_mut().flat_map(|job| &mut job.stages).filter(|_| with_logs) {
        let id = StageId(stage.id);
        let from = log::tail(&app.store, id).await?;
        let mut view =
            LogView { html: String::new(), next: from.offset, line: from.line, style: String::new() };
        if stage.open {
            let piece = log::piece(&app.store, id, from).await?;
            if from.offset > 0 {
                let whole = format!("/api/v1/builds/{}/stages/{id}/log", build.number);
                view.html = format!(
                    "<div class=\"l\"><span class=\"n\"></span><a class=\"t\" href=\"{whole}\">Earlier lines: the whole log as plain text</a></div>"
                );
            }
            view.html.push_str(&piece.html);
            (view.next, view.line, view.style) =
                (piece.next.offset, piece.next.line, piece.next.style.code());
        }
        stage.log = Some(view);
    }
    let page = Page {
        head: BuildRow::new(build, now),
        ended: build.status.is_terminal(),
        cancelling: build.cancel_requested_at.is_some(),
        may_write: allowed(actor, Action::WriteRepo, &build.repo),
        retry_of: build.retry_of.map(|number| number.0),
        problems: build.problems.clone(),
        jobs,
        who: super::name_of(actor),
        now: now.as_millisecond(),
    };
    Ok(super::page(StatusCode::OK, &page))
}

/// Where a piece of log begins.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct After {
    offset: u64,
    line: u64,
    style: String,
}

/// `GET /builds/{number}/stages/{id}/lines`: the next lines as HTML; where to go on stands in the headers.
pub(crate) async fn lines(
    State(app): State<App>,
    Caller(actor): Caller,
    Path((number, stage)): Path<(String, String)>,
    Query(from): Query<After>,
) -> Response {
    let found = match (load(&app, &actor, &number, Action::ReadRepo).await, stage.parse::<StageId>()) {
        (Ok(Some(detail)), Ok(stage)) => has_stage(&detail, stage).then_some(stage),
        (Err(error), _) => return unavailable(&actor, &error),
        _ => None,
    };
    let Some(stage) = found else { return StatusCode::NOT_FOUND.into_response() };
    let place = Place { offset: from.offset, line: from.line, style: Style::parse(&from.style) };
    match log::piece(&app.store, stage, place).await {
        Ok(piece) => {
            let mut headers = HeaderMap::new();
            headers.insert("ocelot-next", HeaderValue::from(piece.next.offset));
            headers.insert("ocelot-line", HeaderValue::from(piece.next.line));
            headers
                .insert("ocelot-more", HeaderValue::from_static(if piece.more { "true" } else { "false" }));
            if let Ok(style) = HeaderValue::from_str(&piece.next.style.code()) {
                headers.insert("ocelot-style", style);
            }
            headers.insert(axum::http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            (headers, Html(piece.html)).into_response()
        }
        Err(error) => unavailable(&actor, &error),
    }
}

/// `POST /builds/{number}/cancel`, from the button.
pub(crate) async fn cancel(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(number): Path<String>,
) -> Response {
    let detail = match load(&app, &actor, &number, Action::WriteRepo).await {
        Ok(Some(detail)) => detail,
        Ok(None) => return super::not_found(&actor),
        Err(error) => return unavailable(&actor, &error),
    };
    let number = detail.build.number;
    match crate::builds::cancel::cancel(&app, number, &actor).await {
        Ok(_) => Redirect::to(&format!("/builds/{number}")).into_response(),
        Err(error) => super::failed(&actor, StatusCode::CONFLICT, &error.to_string()),
    }
}

/// `POST /builds/{number}/retry`, from the button.
pub(crate) async fn retry(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(number): Path<String>,
) -> Response {
    let detail = match load(&app, &actor, &number, Action::WriteRepo).await {
        Ok(Some(detail)) => detail,
        Ok(None) => return super::not_found(&actor),
        Err(error) => return unavailable(&actor, &error),
    };
    match crate::builds::retry::retry(&app, &detail, false, &actor).await {
        Ok(new) => Redirect::to(&format!("/builds/{}", new.build.number)).into_response(),
        Err(error) => super::failed(&actor, StatusCode::CONFLICT, &error.to_string()),
    }
}

/// The build when it exists and the actor may do this with its repository.
async fn load(
    app: &App,
    actor: &Actor,
    number: &str,
    action: Action,
) -> Result<Option<BuildDetail>, StoreError> {
    let Ok(number) = number.parse::<i64>() else { return Ok(None) };
    let detail = app.store.find_build_detail(BuildNumber(number)).await?;
    Ok(detail.filter(|detail| allowed(actor, action, &detail.build.repo)))
}

fn allowed(actor: &Actor, action: Action, repo: &Repo) -> bool {
    may(actor, action, Some(RepoView { name: &repo.name, public: repo.public }))
}

fn has_stage(detail: &BuildDetail, id: StageId) -> bool {
    detail.jobs.iter().flat_map(|job| &job.attempts).flat_map(|a| &a.stages).any(|stage| stage.id == id)
}

fn unavailable(actor: &Actor, error: &StoreError) -> Response {
    tracing::error!(%error, "a page cannot be read from the database");
    super::failed(
        actor,
        StatusCode::SERVICE_UNAVAILABLE,
        "The database does not answer. Try again in a moment.",
    )
}
