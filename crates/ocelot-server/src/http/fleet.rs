//! Workers and the queue. Rows of repositories that the caller may not read are blurred.

use axum::Json;
use axum::extract::State;
use ocelot_api::body as api;
use ocelot_model::BuildNumber;
use ocelot_model::access::Action;
use ocelot_store::{Repo, Waiting, Worker};
use serde::Deserialize;

use super::auth::Caller;
use super::extract::{PageQuery, Query, build_number};
use super::problem::{Answer, Refusal};
use crate::App;
use crate::builds::waiting::{Picture, state};

const ANOTHER: &str = "another repo's job";

/// All workers, by name.
#[utoipa::path(get, path = "/api/v1/workers", tag = "fleet", params(PageQuery),
    responses((status = 200, body = api::Page<api::Worker>)))]
pub(super) async fn workers(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<PageQuery>,
) -> Answer<Json<api::Page<api::Worker>>> {
    let rows = app.store.list_workers().await?;
    let items = rows.into_iter().map(|row| worker(&caller, row)).collect();
    Ok(Json(page.page(items)?))
}

pub(super) fn worker(caller: &Caller, row: Worker) -> api::Worker {
    let state = state(&row).to_owned();
    let (disk_free_bytes, disk_total_bytes) = row.condition.disk.unzip();
    let jobs: Vec<api::WorkerJob> = row
        .holds
        .iter()
        .map(|(held, repo, job)| {
            if !reads(caller, repo) {
                return api::WorkerJob { build: None, repo: ANOTHER.to_owned(), job: None };
            }
            api::WorkerJob { build: Some(held.build.0), repo: repo.name.to_string(), job: Some(job.clone()) }
        })
        .collect();
    api::Worker {
        id: row.id.0,
        name: row.name,
        state,
        labels: row.labels,
        slots: row.slots,
        busy: jobs.len() as u32,
        version: row.version,
        sharing: row.sharing,
        disk_free_bytes,
        disk_total_bytes,
        unwell: row.condition.unwell,
        last_seen_at: row.last_seen_at,
        drained_by: row.drained_by,
        enrolled: row.enrolled,
        twin_at: row.twin_at,
        token: row.token,
        jobs,
    }
}

/// Which part of the queue.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct QueueQuery {
    /// Jobs of this build only.
    #[param(value_type = Option<i64>)]
    build: Option<String>,
    /// Rows, 1 to 500; default 50.
    #[param(value_type = Option<u32>)]
    limit: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// The jobs that wait, in the order in which they would start, and why they wait; how many they are is on each page.
#[utoipa::path(get, path = "/api/v1/queue", tag = "fleet", params(QueueQuery),
    responses((status = 200, body = api::Queue)))]
pub(super) async fn queue(
    State(app): State<App>,
    caller: Caller,
    Query(QueueQuery { build, limit, cursor }): Query<QueueQuery>,
) -> Answer<Json<api::Queue>> {
    let build = match build {
        Some(text) => Some(readable_build(&app, &caller, &text).await?),
        None => None,
    };
    let mut picture = Picture::load(&app).await?;
    let asked = |at: &usize| build.is_none_or(|build| build == Some(picture.queue[*at].ticket.build));
    let places: Vec<usize> = (0..picture.queue.len()).filter(asked).collect();
    let waiting = places.len() as u64;
    let places = PageQuery { limit, cursor }.page(places)?;
    let rows = picture.spoken_of(&app, places.items).await?;
    let items = rows.into_iter().map(|(at, row)| item(&caller, &mut picture, at, row)).collect();
    Ok(Json(api::Queue { items, next: places.next, waiting }))
}

/// A build that the caller may read; the jobs of another one look like those of none.
async fn readable_build(app: &App, caller: &Caller, text: &str) -> Answer<Option<BuildNumber>> {
    let number = build_number(text)
        .ok_or_else(|| Refusal::bad_request(format!("build: it is the number of a build, not `{text}`")))?;
    let build = app.store.find_build(number).await?;
    Ok(build.filter(|build| reads(caller, &build.repo)).map(|build| build.number))
}

fn item(caller: &Caller, picture: &mut Picture, at: usize, row: Waiting) -> api::QueueItem {
    let (position, queued_at) = (at as u32 + 1, row.queued_at);
    if !reads(caller, &row.repo) {
        let (repo, reason) = (ANOTHER.to_owned(), "waits".to_owned());
        let labels = std::collections::BTreeMap::new();
        return api::QueueItem { position, build: None, repo, job: None, labels, queued_at, reason };
    }
    let reason = picture.reason(at, &row);
    let (build, repo, job) = (Some(row.build.0), row.repo.name.to_string(), Some(row.job));
    api::QueueItem { position, build, repo, job, labels: row.labels, queued_at, reason }
}

fn reads(caller: &Caller, repo: &Repo) -> bool {
    caller.may(Action::ReadRepo, repo)
}
