//! The list of builds.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ocelot_model::access::{Action, Actor, RepoView, may};
use ocelot_model::{EventKind, RepoId, Status};
use ocelot_store::{BuildFilter, BuildPage, Repo, StoreError};
use serde::Deserialize;

use super::view::{BuildRow, shown};
use crate::App;
use crate::http::auth::Caller;
use crate::http::build_number;

const ROWS: u32 = 50;
/// Pages of the store that are put together to one.
const LOOKS: usize = 8;

/// What the form above the list asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Form {
    q: String,
    repo: String,
    status: String,
    branch: String,
    event: String,
    commit: String,
    worker: String,
    /// Days, in UTC.
    since: String,
    until: String,
    before: String,
    /// The API's; this page has none.
    cursor: String,
}

impl Form {
    fn fields(&self) -> [(&'static str, &String); 9] {
        [
            ("q", &self.q),
            ("repo", &self.repo),
            ("status", &self.status),
            ("branch", &self.branch),
            ("event", &self.event),
            ("commit", &self.commit),
            ("worker", &self.worker),
            ("since", &self.since),
            ("until", &self.until),
        ]
    }

    fn is_plain(&self) -> bool {
        self.fields().iter().all(|(_, value)| value.is_empty())
    }

    /// Whether one of those is used that are shown on demand.
    fn is_wide(&self) -> bool {
        self.fields()[3..].iter().any(|(_, value)| !value.is_empty())
    }
}

#[derive(Template)]
#[template(path = "builds.html")]
struct Page {
    title: String,
    who: Option<String>,
    paused: Option<String>,
    now: i64,
    form: Form,
    repos: Vec<String>,
    statuses: Vec<&'static str>,
    events: Vec<&'static str>,
    rows: Vec<BuildRow>,
    newest: Option<String>,
    next: Option<String>,
    /// It was not looked further back than to this build.
    looked: Option<i64>,
    /// What is wrong with what was asked for.
    fault: Option<String>,
}

/// `GET /`
pub(crate) async fn list(
    State(app): State<App>,
    Caller(actor): Caller,
    Query(form): Query<Form>,
) -> Response {
    let repos = match readable(&app, &actor).await {
        Ok(repos) => repos,
        Err(error) => return unavailable(&actor, &error),
    };
    if repos.0.is_empty() && actor == Actor::Anonymous {
        return Redirect::to("/login").into_response();
    }
    let (status, asked, fault) = match filter(&form, &repos) {
        Ok(asked) => (StatusCode::OK, asked, None),
        Err(words) => (StatusCode::BAD_REQUEST, None, Some(shown(&words))),
    };
    let found = match asked {
        Some(filter) => find(&app, filter).await,
        None => Ok(BuildPage { builds: Vec::new(), next: None }),
    };
    let found = match found {
        Ok(found) => found,
        Err(error) => return unavailable(&actor, &error),
    };
    let paused = match super::paused(&app, &actor).await {
        Ok(paused) => paused,
        Err(error) => return unavailable(&actor, &error),
    };
    let now = Timestamp::now();
    let rows: Vec<BuildRow> = found.builds.iter().map(|build| BuildRow::new(build, now)).collect();
    let short = rows.len() < ROWS as usize;
    let page = Page {
        title: if form.repo.is_empty() { "Builds".to_owned() } else { shown(&form.repo) },
        newest: (!form.before.is_empty()).then(|| link(&form, None)),
        who: super::name_of(&actor),
        paused,
        now: now.as_millisecond(),
        repos: repos.0.iter().map(|repo| repo.name.to_string()).collect(),
        statuses: Status::ALL.iter().map(|status| status.as_str()).collect(),
        events: EventKind::ALL.iter().map(|event| event.as_str()).collect(),
        rows,
        next: found.next.map(|before| link(&form, Some(before.0))),
        looked: found.next.filter(|_| short).map(|before| before.0),
        fault,
        form,
    };
    super::page(status, &page)
}

/// A page that is as full as can be within a moment.
async fn find(app: &App, mut filter: BuildFilter) -> Result<BuildPage, StoreError> {
    let mut builds = Vec::new();
    for _ in 0..LOOKS {
        let page = app.store.page_builds(&filter, ROWS - builds.len() as u32).await?;
        builds.extend(page.builds);
        filter.before = page.next;
        if page.next.is_none() || builds.len() >= ROWS as usize {
            break;
        }
    }
    Ok(BuildPage { builds, next: filter.before })
}

/// `None` when no build can fit: it is another repository than one may read. An error, in words, for what is no filter.
fn filter(
    form: &Form,
    (repos, readable): &(Vec<Repo>, Option<Vec<RepoId>>),
) -> Result<Option<BuildFilter>, String> {
    let commit = form.commit.trim().to_ascii_lowercase();
    let is_commit = (7..=64).contains(&commit.len()) && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !commit.is_empty() && !is_commit {
        return Err(format!("commit: `{}` is not 7 to 64 hexadecimal digits", form.commit));
    }
    if !form.cursor.is_empty() {
        return Err(
            "cursor: it is one of the API; this page goes on with `before`, a number of a build".to_owned()
        );
    }
    let number =
        |text: &str| build_number(text).ok_or_else(|| format!("before: `{text}` is no number of a build"));
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let repo = repos.iter().find(|repo| repo.name.to_string() == form.repo).map(|repo| repo.id);
    let found = BuildFilter {
        repo,
        readable: readable.clone(),
        status: word("status", &form.status)?,
        event: word("event", &form.event)?,
        branch: some(&form.branch),
        commit: some(&commit),
        worker: some(&form.worker),
        since: day("since", &form.since, 0)?,
        // The day itself belongs to it.
        until: day("until", &form.until, 1)?,
        text: some(&form.q),
        before: some(&form.before).map(|text| number(&text)).transpose()?,
        ..BuildFilter::default()
    };
    Ok((repo.is_some() || form.repo.is_empty()).then_some(found))
}

fn word<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str, text: &str) -> Result<Option<T>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| format!("{name}: {error}"))
}

/// The beginning of a day, or of one so much later.
fn day(name: &str, text: &str, later: i64) -> Result<Option<Timestamp>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let day = text.parse::<Date>().and_then(|day| day.checked_add(SignedDuration::from_hours(24 * later)));
    let begin = day.and_then(|day| day.to_zoned(TimeZone::UTC)).map(|day| day.timestamp());
    begin.map(Some).map_err(|_| format!("{name}: `{text}` is no day; write it like 2026-01-31"))
}

/// The same list before this build, or from its beginning.
fn link(form: &Form, before: Option<i64>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (key, value) in form.fields() {
        if !value.is_empty() {
            query.append_pair(key, value);
        }
    }
    if let Some(before) = before {
        query.append_pair("before", &before.to_string());
    }
    format!("/?{}", query.finish())
}

/// What the actor may read, and its ids unless that is everything.
pub(super) async fn readable(
    app: &App,
    actor: &Actor,
) -> Result<(Vec<Repo>, Option<Vec<RepoId>>), StoreError> {
    let mut repos = app.store.list_repos().await?;
    let all = repos.len();
    repos.retain(|repo| {
        may(actor, Action::ReadRepo, Some(RepoView { name: &repo.name, public: repo.public }))
    });
    let ids = (repos.len() < all).then(|| repos.iter().map(|repo| repo.id).collect());
    Ok((repos, ids))
}

pub(super) fn unavailable(actor: &Actor, error: &StoreError) -> Response {
    tracing::error!(%error, "a page cannot be read from the database");
    super::failed(
        actor,
        StatusCode::SERVICE_UNAVAILABLE,
        "The database does not answer. Try again in a moment.",
    )
}
