//! One build: its stages, its live log, and the buttons.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use jiff::Timestamp;
use ocelot_model::access::{Action, Actor, RepoView, may};
use ocelot_model::{BuildNumber, Origin, StageId};
use ocelot_store::{BrokenSince, BuildDetail, ConfigProblem, Downstream, Repo, StoreError, Undelivered};
use serde::Deserialize;

use super::ansi::Style;
use super::log::{self, Piece, Place};
use super::view::{BuildRow, JobView, LogView, counts, shown, words};
use crate::App;
use crate::builds::chain;
use crate::builds::insight::{self, NewLines};
use crate::http::auth::Caller;
use crate::http::{Segments, build_number};
use crate::notify::{self, undelivered_for};

#[derive(Template)]
#[template(path = "build.html")]
struct Page {
    head: BuildRow,
    ended: bool,
    cancelling: bool,
    waits: bool,
    origin: Option<String>,
    approved_by: Option<String>,
    may_write: bool,
    retry_of: Option<i64>,
    /// That one is not here any more.
    retry_removed: bool,
    above: Option<Neighbour>,
    below: Vec<Neighbour>,
    problems: Vec<ConfigProblem>,
    undelivered: Vec<Undelivered>,
    notes: Vec<String>,
    new_lines: Vec<NewLines>,
    broken_since: Option<BrokenSince>,
    expected: Option<String>,
    several: bool,
    counts: Vec<(String, i64)>,
    jobs: Vec<JobView>,
    who: Option<String>,
    paused: Option<String>,
    now: i64,
}

/// A build of another repository that comes before or after this one.
struct Neighbour {
    number: i64,
    /// No link leads there.
    removed: bool,
    repo: String,
    what: String,
}

impl Neighbour {
    fn above(above: &chain::Above) -> Neighbour {
        let short: String = above.row.commit.chars().take(10).collect();
        let what = shown(&format!("{} {short}", above.row.branch));
        Neighbour {
            number: above.row.build.0,
            removed: above.row.removed,
            repo: above.repo.name.to_string(),
            what,
        }
    }

    fn below(below: &Downstream) -> Neighbour {
        let what = words(below.status.as_str());
        Neighbour { number: below.build.0, removed: false, repo: below.repo.name.to_string(), what }
    }
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
    Segments(number): Segments<String>,
    Query(part): Query<Part>,
) -> Response {
    match load(&app, &actor, &number).await {
        Ok(Some(detail)) => match render(&app, &actor, &detail, part.part != "status").await {
            Ok(response) => response,
            Err(error) => unavailable(&actor, &error),
        },
        Ok(None) if actor == Actor::Anonymous => to_sign_in(&number),
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
    let mut jobs = JobView::all(&detail.jobs, now);
    for stage in jobs.iter_mut().flat_map(|job| &mut job.stages).filter(|stage| with_logs && stage.open) {
        stage.log = first_lines(app, build.number, StageId(stage.id)).await?;
    }
    let chain = chain::of(app, actor, build).await?;
    let paused = if build.status.is_terminal() { None } else { super::paused(app, actor).await? };
    let (undelivered, administers) =
        (app.store.undelivered(build.number).await?, allowed(actor, Action::AdminRepo, &build.repo));
    let mut notes = chain.notes();
    if administers {
        notes.extend(notify::notes(app, build).await?);
    }
    let page = Page {
        head: BuildRow::new(build, now),
        ended: build.status.is_terminal(),
        cancelling: build.cancel_requested_at.is_some(),
        waits: !build.status.is_terminal() && !build.trust.may_start(),
        origin: (build.trust.origin != Origin::Repository).then(|| build.trust.words()),
        approved_by: build.trust.approved_by.clone(),
        may_write: allowed(actor, Action::WriteRepo, &build.repo),
        retry_of: build.retry_of.map(|number| number.0),
        retry_removed: chain::retry_removed(app, build).await?,
        above: chain.above.as_ref().map(Neighbour::above),
        below: chain.below.iter().map(Neighbour::below).collect(),
        problems: build.problems.clone(),
        undelivered: undelivered.into_iter().map(|row| undelivered_for(administers, row)).collect(),
        notes,
        new_lines: insight::new_lines(app, detail).await?,
        broken_since: insight::broken_since(app, build).await?,
        expected: insight::expected(app, detail).await?.map(super::view::expected),
        several: jobs.len() > 1,
        counts: counts(&jobs),
        jobs,
        who: super::name_of(actor),
        paused,
        now: now.as_millisecond(),
    };
    Ok(super::page(StatusCode::OK, &page))
}

/// The last lines of a log, and the way to all that comes before them.
async fn first_lines(app: &App, number: BuildNumber, id: StageId) -> Result<LogView, StoreError> {
    let from = log::tail(&app.store, id).await?;
    let piece = log::piece(&app.store, id, from).await?;
    let mut html = String::new();
    if from.offset > 0 {
        html = earlier(number, id, from.offset);
    }
    html.push_str(&piece.html);
    let Place { offset, line, style } = piece.next;
    Ok(LogView { html, next: Some(offset), line, style: style.code() })
}

/// The way to what stands before `offset`: in place, and without scripts as text.
fn earlier(number: BuildNumber, id: StageId, offset: u64) -> String {
    let text = format!("/api/v1/builds/{number}/stages/{id}/log");
    format!(
        "<div class=\"l earlier\"><span class=\"n\"></span><span class=\"t\"><a href=\"{text}\" data-before=\"{offset}\">\
         Earlier lines</a> <a href=\"{text}\">The whole log as plain text</a></span></div>"
    )
}

/// Where a piece of log begins.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct After {
    /// Without it, the last lines are wanted.
    offset: Option<u64>,
    line: u64,
    style: String,
    /// The lines before this offset are wanted instead.
    before: Option<u64>,
}

/// `GET /builds/{number}/stages/{id}/lines`: the next lines as HTML; where to go on stands in the headers.
pub(crate) async fn lines(
    State(app): State<App>,
    Caller(actor): Caller,
    Segments((number, stage)): Segments<(String, String)>,
    Query(from): Query<After>,
) -> Response {
    let stage = match stage_of(&app, &actor, &number, &stage).await {
        Ok(Some(stage)) => stage,
        Ok(None) => return StatusCode::NOT_FOUND.into_response(),
        Err(error) => return unavailable(&actor, &error),
    };
    if let Some(end) = from.before {
        return match log::before(&app.store, stage.1, end).await {
            Ok((piece, first)) => {
                let way = if first > 0 { earlier(stage.0, stage.1, first) } else { String::new() };
                let headers = [(axum::http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
                (headers, Html(way + &piece.html)).into_response()
            }
            Err(error) => unavailable(&actor, &error),
        };
    }
    match next_lines(&app, stage, &from).await {
        Ok((before, piece)) => {
            let mut headers = HeaderMap::new();
            headers.insert("ocelot-next", HeaderValue::from(piece.next.offset));
            headers.insert("ocelot-line", HeaderValue::from(piece.next.line));
            headers
                .insert("ocelot-more", HeaderValue::from_static(if piece.more { "true" } else { "false" }));
            if let Ok(style) = HeaderValue::from_str(&piece.next.style.code()) {
                headers.insert("ocelot-style", style);
            }
            headers.insert(axum::http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            (headers, Html(before.unwrap_or_default() + &piece.html)).into_response()
        }
        Err(error) => unavailable(&actor, &error),
    }
}

/// The lines after those that a page has, and what stands before them when they are its first ones.
async fn next_lines(
    app: &App,
    (number, stage): (BuildNumber, StageId),
    from: &After,
) -> Result<(Option<String>, Piece), StoreError> {
    let place = match from.offset {
        Some(offset) => Place { offset, line: from.line, style: Style::parse(&from.style) },
        None => log::tail(&app.store, stage).await?,
    };
    let before = (from.offset.is_none() && place.offset > 0).then(|| earlier(number, stage, place.offset));
    Ok((before, log::piece(&app.store, stage, place).await?))
}

/// `POST /builds/{number}/cancel`, from the button.
pub(crate) async fn cancel(
    State(app): State<App>,
    Caller(actor): Caller,
    Segments(number): Segments<String>,
) -> Response {
    let detail = match to_change(&app, &actor, &number).await {
        Ok(detail) => detail,
        Err(refused) => return *refused,
    };
    let number = detail.build.number;
    match crate::builds::cancel::cancel(&app, number, &actor).await {
        Ok(_) => Redirect::to(&format!("/builds/{number}")).into_response(),
        Err(error) => super::failed(&actor, StatusCode::CONFLICT, &error.to_string()),
    }
}

/// What is approved of: one job, or the whole.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Which {
    job: Option<String>,
}

/// `POST /builds/{number}/approve`, from the button.
pub(crate) async fn approve(
    State(app): State<App>,
    Caller(actor): Caller,
    Segments(number): Segments<String>,
    Query(which): Query<Which>,
) -> Response {
    let detail = match to_change(&app, &actor, &number).await {
        Ok(detail) => detail,
        Err(refused) => return *refused,
    };
    let number = detail.build.number;
    match crate::builds::approve::approve(&app, number, which.job.as_deref(), &actor).await {
        Ok(_) => Redirect::to(&format!("/builds/{number}")).into_response(),
        Err(error) => super::failed(&actor, StatusCode::CONFLICT, &error.to_string()),
    }
}

/// `POST /builds/{number}/retry`, from the button.
pub(crate) async fn retry(
    State(app): State<App>,
    Caller(actor): Caller,
    Segments(number): Segments<String>,
) -> Response {
    let detail = match to_change(&app, &actor, &number).await {
        Ok(detail) => detail,
        Err(refused) => return *refused,
    };
    match crate::builds::retry::retry(&app, &detail, false, &actor).await {
        Ok(new) => Redirect::to(&format!("/builds/{}", new.build.number)).into_response(),
        Err(error) => super::failed(&actor, StatusCode::CONFLICT, &error.to_string()),
    }
}

/// The build when it exists and the actor may read its repository.
async fn load(app: &App, actor: &Actor, number: &str) -> Result<Option<BuildDetail>, StoreError> {
    let Some(number) = build_number(number) else { return Ok(None) };
    let detail = app.store.find_build_detail(number).await?;
    Ok(detail.filter(|detail| allowed(actor, Action::ReadRepo, &detail.build.repo)))
}

/// The build when the actor may change it; else the page that says why not. Who may see it is told what is missing.
async fn to_change(app: &App, actor: &Actor, number: &str) -> Result<BuildDetail, Box<Response>> {
    let detail = match load(app, actor, number).await {
        Ok(Some(detail)) => detail,
        Ok(None) => return Err(Box::new(super::not_found(actor))),
        Err(error) => return Err(Box::new(unavailable(actor, &error))),
    };
    if allowed(actor, Action::WriteRepo, &detail.build.repo) {
        return Ok(detail);
    }
    if *actor == Actor::Anonymous {
        return Err(Box::new(to_sign_in(number)));
    }
    let words = Caller(actor.clone()).forbidden(Action::WriteRepo).problem.detail;
    Err(Box::new(super::failed(actor, StatusCode::FORBIDDEN, &words)))
}

fn to_sign_in(number: &str) -> Response {
    let back = build_number(number).map(|number| format!("?redirect=/builds/{number}"));
    Redirect::to(&format!("/login{}", back.unwrap_or_default())).into_response()
}

/// A stage of this build, when the actor may read it.
async fn stage_of(
    app: &App,
    actor: &Actor,
    number: &str,
    stage: &str,
) -> Result<Option<(BuildNumber, StageId)>, StoreError> {
    let (Some(number), Ok(stage)) = (build_number(number), stage.parse::<StageId>()) else { return Ok(None) };
    let found = app.store.find_stage(stage).await?;
    let may = found
        .is_some_and(|(build, _)| build.number == number && allowed(actor, Action::ReadRepo, &build.repo));
    Ok(may.then_some((number, stage)))
}

fn allowed(actor: &Actor, action: Action, repo: &Repo) -> bool {
    may(actor, action, Some(RepoView { name: &repo.name, public: repo.public }))
}

fn unavailable(actor: &Actor, error: &StoreError) -> Response {
    tracing::error!(%error, "a page cannot be read from the database");
    super::failed(
        actor,
        StatusCode::SERVICE_UNAVAILABLE,
        "The database does not answer. Try again in a moment.",
    )
}
