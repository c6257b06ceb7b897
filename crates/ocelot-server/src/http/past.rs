//! How a build stood after a certain change of its history: what a new reader of its stream gets first.
//!
//! It is made from the history and not from the build's rows, which may be newer already: so it is the same list each
//! time, and a reader who was cut off in the middle of it gets exactly the rest.

use std::collections::{HashMap, HashSet};

use ocelot_api::body as api;
use ocelot_model::{JobId, StageId, Status};
use ocelot_store::{BuildDetail, Event, EventBody, Job, Stage, Store, StoreError};

use super::body;

/// Rows of the history that are read at once.
const ROWS: u32 = 2_000;

/// The last word about each part of a build, up to a change.
#[derive(Debug, Default)]
struct Past {
    build: Option<Event>,
    jobs: HashMap<JobId, Event>,
    stages: HashMap<StageId, Event>,
    /// Of these more is told later.
    later_jobs: HashSet<JobId>,
    later_stages: HashSet<StageId>,
}

/// The build, its jobs and the stages of their newest attempts as they were after the change `seq`.
pub(super) async fn picture(
    store: &Store,
    detail: &BuildDetail,
    seq: i64,
) -> Result<Vec<api::Event>, StoreError> {
    let past = read(store, detail, seq).await?;
    let repo = detail.build.repo.name.to_string();
    let mut events = vec![past.build(detail, &repo)];
    for job in &detail.jobs {
        let told = past.job(job, detail, &repo);
        let number = if let api::Event::Job { attempt, .. } = told { attempt } else { 1 };
        events.push(told);
        let attempt = job.attempts.iter().find(|attempt| attempt.number == number);
        let stages = attempt.iter().flat_map(|attempt| &attempt.stages);
        events.extend(stages.map(|stage| past.stage(job, stage, detail, &repo)));
    }
    Ok(events)
}

async fn read(store: &Store, detail: &BuildDetail, seq: i64) -> Result<Past, StoreError> {
    let mut past = Past::default();
    let mut at = 0;
    loop {
        let rows = store.events_after(at, Some(detail.build.number), ROWS).await?;
        let Some(last) = rows.last() else { return Ok(past) };
        at = last.seq;
        rows.into_iter().for_each(|row| past.take(row, seq));
    }
}

impl Past {
    fn take(&mut self, row: Event, seq: i64) {
        let known = row.seq <= seq;
        match row.what {
            EventBody::Build { .. } if known => self.build = Some(row),
            EventBody::Build { .. } => {}
            EventBody::Job { job, .. } if known => drop(self.jobs.insert(job, row)),
            EventBody::Job { job, .. } => {
                self.later_jobs.insert(job);
            }
            EventBody::Stage { stage, .. } if known => drop(self.stages.insert(stage, row)),
            EventBody::Stage { stage, .. } => {
                self.later_stages.insert(stage);
            }
        }
    }

    fn build(&self, detail: &BuildDetail, repo: &str) -> api::Event {
        match &self.build {
            Some(row) => body::event(row.clone(), repo),
            None => api::Event::Build {
                build: detail.build.number.0,
                repo: repo.to_owned(),
                status: Status::Queued,
                reason: None,
            },
        }
    }

    fn job(&self, job: &Job, detail: &BuildDetail, repo: &str) -> api::Event {
        if let Some(row) = self.jobs.get(&job.id) {
            return body::event(row.clone(), repo);
        }
        // What nothing is told about is as it was made.
        let later = self.later_jobs.contains(&job.id);
        api::Event::Job {
            build: detail.build.number.0,
            job: job.id.0,
            name: job.spec.name.clone(),
            status: if later { Status::Queued } else { job.status },
            attempt: 1,
            worker: None,
            reason: if later { None } else { job.reason.clone() },
        }
    }

    fn stage(&self, job: &Job, stage: &Stage, detail: &BuildDetail, repo: &str) -> api::Event {
        if let Some(row) = self.stages.get(&stage.id) {
            return body::event(row.clone(), repo);
        }
        let later = self.later_stages.contains(&stage.id);
        api::Event::Stage {
            build: detail.build.number.0,
            job: job.id.0,
            stage: stage.id.0,
            name: stage.name.clone(),
            status: if later { Status::Queued } else { stage.status },
            exit_code: None,
            duration_ms: None,
            reason: if later { None } else { stage.reason.clone() },
        }
    }
}
