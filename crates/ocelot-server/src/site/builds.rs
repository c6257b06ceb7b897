//! The list of builds.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use ocelot_model::access::{Action, Actor, RepoView, may};
use ocelot_model::{BuildNumber, Status};
use ocelot_store::{BuildFilter, Repo, StoreError};
use serde::Deserialize;

use super::view::{BuildRow, shown};
use crate::App;
use crate::http::auth::Caller;

const ROWS: u32 = 50;

/// What the form above the list asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Form {
    q: String,
    repo: String,
    status: String,
    before: String,
}

impl Form {
    fn is_plain(&self) -> bool {
        self.q.is_empty() && self.repo.is_empty() && self.status.is_empty()
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
    rows: Vec<BuildRow>,
    newest: Option<String>,
    next: Option<String>,
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
    if repos.is_empty() && actor == Actor::Anonymous {
        return Redirect::to("/login").into_response();
    }
    let builds = match filter(&form, &repos) {
        Some(filter) => app.store.list_builds(&filter, ROWS + 1).await,
        None => Ok(Vec::new()),
    };
    let builds = match builds {
        Ok(builds) => builds,
        Err(error) => return unavailable(&actor, &error),
    };
    let paused = match super::paused(&app, &actor).await {
        Ok(paused) => paused,
        Err(error) => return unavailable(&actor, &error),
    };
    let now = Timestamp::now();
    let rows: Vec<BuildRow> = builds.iter().take(ROWS as usize).map(|b| BuildRow::new(b, now)).collect();
    let next =
        rows.last().filter(|_| builds.len() > ROWS as usize).map(|last| link(&form, Some(last.number)));
    let page = Page {
        title: if form.repo.is_empty() { "Builds".to_owned() } else { shown(&form.repo) },
        newest: (!form.before.is_empty()).then(|| link(&form, None)),
        who: super::name_of(&actor),
        paused,
        now: now.as_millisecond(),
        repos: repos.iter().map(|repo| repo.name.to_string()).collect(),
        statuses: Status::ALL.iter().map(|status| status.as_str()).collect(),
        rows,
        next,
        form,
    };
    super::page(StatusCode::OK, &page)
}

/// `None` when no build can fit: another repository than one may read, or a status that does not exist.
fn filter(form: &Form, repos: &[Repo]) -> Option<BuildFilter> {
    let repo = match form.repo.as_str() {
        "" => None,
        handle => Some(repos.iter().find(|repo| repo.name.to_string() == handle)?.id),
    };
    let status = match form.status.as_str() {
        "" => None,
        word => Some(word.parse::<Status>().ok()?),
    };
    Some(BuildFilter {
        repo,
        readable: Some(repos.iter().map(|repo| repo.id).collect()),
        status,
        text: (!form.q.is_empty()).then(|| form.q.clone()),
        before: form.before.parse().ok().map(BuildNumber),
        ..BuildFilter::default()
    })
}

/// The same list before this build, or from its beginning.
fn link(form: &Form, before: Option<i64>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (key, value) in [("q", &form.q), ("repo", &form.repo), ("status", &form.status)] {
        if !value.is_empty() {
            query.append_pair(key, value);
        }
    }
    if let Some(before) = before {
        query.append_pair("before", &before.to_string());
    }
    format!("/?{}", query.finish())
}

async fn readable(app: &App, actor: &Actor) -> Result<Vec<Repo>, StoreError> {
    let mut repos = app.store.list_repos().await?;
    repos.retain(|repo| {
        may(actor, Action::ReadRepo, Some(RepoView { name: &repo.name, public: repo.public }))
    });
    Ok(repos)
}

fn unavailable(actor: &Actor, error: &StoreError) -> Response {
    tracing::error!(%error, "a page cannot be read from the database");
    super::failed(
        actor,
        StatusCode::SERVICE_UNAVAILABLE,
        "The database does not answer. Try again in a moment.",
    )
}
