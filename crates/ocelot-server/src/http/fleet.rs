//! Workers and the queue. Rows of repositories that the caller may not read are blurred.

use axum::Json;
use axum::extract::State;
use ocelot_api::body as api;
use ocelot_model::access::Action;
use ocelot_store::{Repo, Worker};

use super::auth::Caller;
use super::extract::{PageQuery, Query};
use super::problem::Answer;
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

/// All jobs that wait, in the order in which they would start, and why they wait.
#[utoipa::path(get, path = "/api/v1/queue", tag = "fleet", params(PageQuery),
    responses((status = 200, body = api::Page<api::QueueItem>)))]
pub(super) async fn queue(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<PageQuery>,
) -> Answer<Json<api::Page<api::QueueItem>>> {
    let mut picture = Picture::load(&app).await?;
    let places = page.page((0..picture.queue.len()).collect())?;
    let items = places.items.into_iter().map(|at| item(&caller, &mut picture, at)).collect();
    Ok(Json(api::Page { items, next: places.next }))
}

fn item(caller: &Caller, picture: &mut Picture, at: usize) -> api::QueueItem {
    let row = &picture.queue[at];
    let (position, queued_at) = (at as u32 + 1, row.queued_at);
    if !reads(caller, &row.repo) {
        let (repo, reason) = (ANOTHER.to_owned(), "waits".to_owned());
        let labels = std::collections::BTreeMap::new();
        return api::QueueItem { position, build: None, repo, job: None, labels, queued_at, reason };
    }
    let (build, repo, job) = (Some(row.build.0), row.repo.name.to_string(), Some(row.job.clone()));
    let labels = row.labels.clone();
    api::QueueItem { position, build, repo, job, labels, queued_at, reason: picture.reason(at) }
}

fn reads(caller: &Caller, repo: &Repo) -> bool {
    caller.may(Action::ReadRepo, repo)
}
