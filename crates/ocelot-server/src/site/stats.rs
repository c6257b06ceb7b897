//! The page of statistics: bars by period, and one table for each thing that is told apart. All of it is there without a script.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use jiff::{SignedDuration, Timestamp};
use ocelot_api::body::{Counts, Stats, StatsItem};
use ocelot_model::access::Actor;
use ocelot_model::{Bucket, duration};
use ocelot_store::{Apart, Repo, StoreError};
use serde::Deserialize;

use super::builds::{readable, unavailable};
use super::view::shown;
use crate::App;
use crate::builds::stats::{By, Question, StatsError, answer};
use crate::http::auth::Caller;
use crate::http::badges;

/// Rows of a table.
const ROWS: usize = 30;
/// Height of the tallest bar, and width of the whole picture.
const HEIGHT: u64 = 120;
const WIDTH: u64 = 960;

/// What the form asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Form {
    repo: String,
    branch: String,
    job: String,
    stage: String,
    span: String,
}

/// How far back, and in which steps.
const SPANS: [(&str, &str, i64, Bucket); 4] = [
    ("day", "24 hours", 1, Bucket::Hour),
    ("month", "30 days", 30, Bucket::Day),
    ("quarter", "13 weeks", 91, Bucket::Week),
    ("year", "52 weeks", 364, Bucket::Week),
];

/// One period: a bar of what passed below one of what did not.
struct Bar {
    x: u64,
    width: u64,
    good_y: u64,
    good: u64,
    bad_y: u64,
    bad: u64,
    words: String,
}

struct Row {
    name: String,
    /// Where it is told apart further.
    link: Option<String>,
    total: u64,
    bad: u64,
    rate: String,
    took: [String; 2],
    waited: [String; 2],
}

struct Table {
    heading: &'static str,
    rows: Vec<Row>,
    /// Others are left out.
    more: bool,
}

#[derive(Template)]
#[template(path = "stats.html")]
struct Page {
    title: String,
    who: Option<String>,
    now: i64,
    form: Form,
    repos: Vec<String>,
    spans: [(&'static str, &'static str, i64, Bucket); 4],
    total: Row,
    bars: Vec<Bar>,
    /// So many are the tallest bar, of which each is an hour, a day or a week.
    most: u64,
    step: &'static str,
    begin: String,
    end: String,
    tables: Vec<Table>,
    /// What to put into a README, and whether others see it.
    badge: Option<(String, bool)>,
}

/// `GET /stats`
pub(crate) async fn show(State(app): State<App>, caller: Caller, Query(form): Query<Form>) -> Response {
    match gather(&app, &caller, form).await {
        Ok(Some(page)) => super::page(StatusCode::OK, &page),
        Ok(None) if caller.0 == Actor::Anonymous => Redirect::to("/login").into_response(),
        Ok(None) => super::not_found(&caller.0),
        Err(StatsError::Store(error)) => unavailable(&caller.0, &error),
        Err(StatsError::Bad(words)) => super::failed(&caller.0, StatusCode::BAD_REQUEST, &words),
    }
}

/// `None` for what is not there, or what one may not see.
async fn gather(app: &App, caller: &Caller, form: Form) -> Result<Option<Page>, StatsError> {
    let (repos, ids) = readable(app, &caller.0).await?;
    let repo = repos.iter().find(|repo| repo.name.to_string() == form.repo).cloned();
    if (repo.is_none() && !form.repo.is_empty()) || (repos.is_empty() && caller.0 == Actor::Anonymous) {
        return Ok(None);
    }
    let span = SPANS.iter().find(|(name, ..)| *name == form.span).unwrap_or(&SPANS[1]);
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let job = some(&form.job).or_else(|| some(&form.stage).map(|_| "default".to_owned()));
    let question = Question {
        readable: ids,
        branch: some(&form.branch),
        job,
        stage: some(&form.stage),
        by: By::Period(span.3),
        from: app.store.now().await?.checked_sub(SignedDuration::from_hours(span.2 * 24)).ok(),
        to: None,
        limit: ROWS,
        repo: repo.clone(),
    };
    let stats = answer(&app.store, &question, &repos).await?;
    let tables = tables(app, &question, &repos, &form).await?;
    let badge = match &repo {
        Some(repo) => Some(badge(app, caller, repo).await?),
        None => None,
    };
    Ok(Some(Page {
        title: if form.repo.is_empty() { "Statistics".to_owned() } else { shown(&form.repo) },
        who: super::name_of(&caller.0),
        now: Timestamp::now().as_millisecond(),
        repos: repos.iter().map(|repo| repo.name.to_string()).collect(),
        spans: SPANS,
        total: row(String::new(), None, &stats.total),
        bars: bars(&stats),
        most: most(&stats),
        step: match span.3 {
            Bucket::Hour => "an hour",
            Bucket::Day => "a day",
            Bucket::Week => "a week",
        },
        begin: stats.from.strftime("%Y-%m-%d").to_string(),
        end: stats.to.strftime("%Y-%m-%d").to_string(),
        tables,
        badge,
        form,
    }))
}

async fn badge(app: &App, caller: &Caller, repo: &Repo) -> Result<(String, bool), StoreError> {
    let key = badges::key_for(app, caller, repo).await?;
    let badge = badges::badge(app, repo, key.as_ref(), None);
    Ok((badge.markdown, badge.visible))
}

/// What can still be told apart.
async fn tables(
    app: &App,
    question: &Question,
    repos: &[Repo],
    form: &Form,
) -> Result<Vec<Table>, StatsError> {
    let parts: &[(Apart, &'static str)] = match question {
        Question { repo: None, .. } => &[(Apart::Repo, "Repositories")],
        Question { stage: Some(_), branch: None, .. } => &[(Apart::Branch, "Branches")],
        Question { stage: Some(_), .. } => &[],
        Question { job: Some(_), branch: None, .. } => {
            &[(Apart::Stage, "Stages"), (Apart::Branch, "Branches")]
        }
        Question { job: Some(_), .. } => &[(Apart::Stage, "Stages")],
        Question { branch: None, .. } => {
            &[(Apart::Branch, "Branches"), (Apart::Job, "Jobs"), (Apart::Stage, "Stages")]
        }
        Question { .. } => &[(Apart::Job, "Jobs"), (Apart::Stage, "Stages")],
    };
    let mut tables = Vec::new();
    for (apart, heading) in parts {
        let one = Question { by: By::Part(*apart), ..question.clone() };
        let stats = answer(&app.store, &one, repos).await?;
        let rows = stats.items.iter().map(|item| part(item, form)).collect();
        tables.push(Table { heading, rows, more: stats.more });
    }
    Ok(tables)
}

fn part(item: &StatsItem, form: &Form) -> Row {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let mut put = |key: &str, own: Option<&String>, asked: &String| {
        let value = own.unwrap_or(asked);
        if !value.is_empty() {
            query.append_pair(key, value);
        }
    };
    put("repo", item.repo.as_ref(), &form.repo);
    put("branch", item.branch.as_ref(), &form.branch);
    put("job", item.job.as_ref(), &form.job);
    put("stage", item.stage.as_ref(), &form.stage);
    put("span", None, &form.span);
    let names = [&item.repo, &item.branch, &item.job, &item.stage];
    let name = names.into_iter().flatten().map(|name| shown(name)).collect::<Vec<_>>().join(" / ");
    row(name, Some(format!("/stats?{}", query.finish())), &item.counts)
}

fn row(name: String, link: Option<String>, counts: &Counts) -> Row {
    let words = |ms: Option<i64>| ms.map_or_else(|| "–".to_owned(), duration::took);
    Row {
        name,
        link,
        total: counts.total,
        bad: bad(counts),
        rate: counts.pass_rate.map_or_else(|| "–".to_owned(), |rate| format!("{:.1} %", rate * 100.0)),
        took: [words(counts.duration_ms.p50), words(counts.duration_ms.p95)],
        waited: [words(counts.queue_ms.p50), words(counts.queue_ms.p95)],
    }
}

fn bad(counts: &Counts) -> u64 {
    counts.counts.failed + counts.counts.error + counts.counts.timed_out
}

/// What the tallest bar stands for.
fn most(stats: &Stats) -> u64 {
    stats.items.iter().map(|item| item.counts.counts.passed + bad(&item.counts)).max().unwrap_or_default()
}

fn bars(stats: &Stats) -> Vec<Bar> {
    let most = most(stats).max(1);
    let step = WIDTH / stats.items.len().max(1) as u64;
    let bar = |(at, item): (usize, &StatsItem)| {
        let Counts { counts, pass_rate, duration_ms, .. } = &item.counts;
        // Whatever there is can be seen.
        let high = |count: u64| if count == 0 { 0 } else { (count * HEIGHT / most).max(2) };
        let (good, wrong) = (high(counts.passed), high(bad(&item.counts)));
        let when = item.from.map(|from| {
            from.strftime(if stats.by == "hour" { "%Y-%m-%d %H:00" } else { "%Y-%m-%d" }).to_string()
        });
        let rate = pass_rate.map_or_else(String::new, |rate| format!(", {:.1} % passed", rate * 100.0));
        let took =
            duration_ms.p50.map_or_else(String::new, |ms| format!(", half within {}", duration::took(ms)));
        Bar {
            x: at as u64 * step,
            width: (step * 4 / 5).max(1),
            good_y: (HEIGHT + 4).saturating_sub(good),
            good,
            bad_y: (HEIGHT + 4).saturating_sub(good + wrong),
            bad: wrong,
            words: format!("{}: {} ended{rate}{took}", when.unwrap_or_default(), item.counts.total),
        }
    };
    stats.items.iter().enumerate().map(bar).collect()
}
