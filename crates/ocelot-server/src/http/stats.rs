//! Counts and times of what ended.

use axum::Json;
use axum::extract::State;
use ocelot_api::body as api;
use ocelot_model::Bucket;
use ocelot_model::access::Action;
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::Caller;
use super::builds::{parse, time};
use super::extract::{Query, limit};
use super::problem::{Answer, Refusal};
use crate::App;
use crate::builds::stats::{By, Question, StatsError, answer};

/// What is to be counted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Handle of a repository; without, all that the caller may read.
    repo: Option<String>,
    /// Name of a branch of it.
    branch: Option<String>,
    /// Name of a job: it is counted instead of whole builds.
    job: Option<String>,
    /// Name of a stage of that job.
    stage: Option<String>,
    /// Ended at this time (RFC 3339) or later; the whole period in which it lies.
    from: Option<String>,
    /// Ended before this time (RFC 3339); now when left out.
    to: Option<String>,
    /// Length of a period: `hour` (of the last 35 days), `day` (when left out), `week` (from Monday). All in UTC.
    bucket: Option<String>,
    /// Instead of periods: `repo`, `branch`, `job` or `stage`, one by one.
    by: Option<String>,
    /// With `by`: rows at most, 1 to 500; default 50. `more` says whether there are more.
    #[param(value_type = Option<u32>)]
    limit: Option<String>,
}

/// How builds, jobs or stages ended, how long they took and how long they waited. Each counts in the period in which its build
/// ended, a few seconds later, and goes on counting when the build is removed for its age. Of a job that was tried several times,
/// the last attempt counts. Times that people took to approve are not waiting.
#[utoipa::path(get, path = "/api/v1/stats", tag = "stats", params(Asked),
    responses((status = 200, body = api::Stats),
        (status = 404, description = "There is no such repository, or the caller may not see it")))]
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Answer<Json<api::Stats>> {
    let (repos, readable) = caller.scope(&app).await?;
    let repo = match &asked.repo {
        Some(handle) => Some(caller.repo(&app, handle, Action::ReadRepo).await?),
        None => None,
    };
    let bucket = parse::<Bucket>("bucket", asked.bucket.as_ref())?;
    let by = parse::<By>("by", asked.by.as_ref())?;
    if bucket.is_some() && matches!(by, Some(By::Part(_))) {
        return Err(Refusal::bad_request("bucket: with `by` there are no periods"));
    }
    if asked.limit.is_some() && !matches!(by, Some(By::Part(_))) {
        return Err(Refusal::bad_request(
            "limit: it is for `by`; of periods all are told, from `from` to `to`",
        ));
    }
    let question = Question {
        repo,
        readable,
        branch: asked.branch.filter(|name| !name.is_empty()),
        job: asked.job.filter(|name| !name.is_empty()),
        stage: asked.stage.filter(|name| !name.is_empty()),
        by: by.unwrap_or(By::Period(bucket.unwrap_or(Bucket::Day))),
        from: time("from", asked.from.as_ref())?,
        to: time("to", asked.to.as_ref())?,
        limit: limit(asked.limit.as_deref())? as usize,
    };
    match answer(&app.store, &question, &repos).await {
        Ok(stats) => Ok(Json(stats)),
        Err(StatsError::Bad(words)) => Err(Refusal::bad_request(words)),
        Err(StatsError::Store(error)) => Err(error.into()),
    }
}
