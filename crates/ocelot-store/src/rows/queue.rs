//! What waits for a worker, and who has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use ocelot_model::pipeline::Job as JobSpec;
use ocelot_model::turns::Ticket;
use ocelot_model::{AttemptId, BuildNumber, JobId, RepoId, StageId, Trust, WorkerId};

use super::{Build, Repo};

/// The right to write about one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Which attempt.
    pub attempt_id: AttemptId,
    /// Its number.
    pub attempt: u32,
    /// Random, made at the claim.
    pub token: Vec<u8>,
}

/// A job that a worker just got.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The right to it.
    pub lease: Lease,
    /// Its build.
    pub build: Build,
    /// The job.
    pub job_id: JobId,
    /// What it does.
    pub spec: JobSpec,
    /// Ids and names of its stages, `setup` first.
    pub stages: Vec<(StageId, String)>,
}

/// An attempt that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which attempt.
    pub attempt_id: AttemptId,
    /// Its number.
    pub attempt: u32,
    /// Its build.
    pub build: BuildNumber,
    /// Its job.
    pub job_id: JobId,
    /// Its worker.
    pub worker: WorkerId,
}

/// A held attempt whose lease ran out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The attempt.
    pub held: Held,
    /// How long its worker was not heard; `None` when it is not known any more.
    pub silent: Option<std::time::Duration>,
}

/// A waiting job, for those who look at the queue.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Its build.
    pub build: BuildNumber,
    /// Its repository.
    pub repo: Repo,
    /// The job.
    pub job_id: JobId,
    /// Its name.
    pub job: String,
    /// Labels that a worker must have.
    pub labels: BTreeMap<String, String>,
    /// Jobs that it needs.
    pub needs: Vec<String>,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// True when it may be claimed (its needs are met).
    pub ready: bool,
    /// Not to be claimed before this time (a new attempt after a failure).
    pub not_before: Option<Timestamp>,
    /// The concurrency group in which its build waits for a place.
    pub group: Option<Group>,
    /// Where the commit of its build comes from.
    pub trust: Trust,
    /// A person must let this job start, and nobody has.
    pub approval: bool,
}

/// A waiting job, as far as its place and those of others hang on it. Very many may wait, so that it is small; what else
/// there is to say is in [`Waiting`].
#[derive(Debug, Clone)]
pub struct Place {
    /// What decides when it starts, among those that may be claimed.
    pub ticket: Ticket,
    /// Labels that a worker must have; the same ones for all that want the same.
    pub labels: Arc<BTreeMap<String, String>>,
    /// True when it may be claimed (its needs are met), now or at a time that is known.
    pub ready: bool,
    /// True when it may be claimed now.
    pub due: bool,
}

/// A concurrency group. What is not the repository's own is in other groups than what is: it cannot keep that waiting,
/// nor cancel it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupKey {
    /// Its repository.
    pub repo: RepoId,
    /// Its name.
    pub name: String,
    /// Whether it is the one of the repository's own commits.
    pub trusted: bool,
}

/// A concurrency group that keeps a build waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The builds that hold a place.
    pub holders: Vec<BuildNumber>,
}

/// A job that waited longer than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue {
    /// Its build.
    pub build: BuildNumber,
    /// The job.
    pub job_id: JobId,
    /// Which attempt waits.
    pub attempt: u32,
}

/// Why no jobs are handed out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Pause {
    /// Who wants it so.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// Since when, by the database's clock.
    pub since: Timestamp,
}

impl std::fmt::Display for Pause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "paused by {}: {reason}", self.by),
            None => write!(f, "paused by {}", self.by),
        }
    }
}

/// How far builds were looked at, in the order in which they ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looked {
    /// When the last one of them ended, in microseconds since 1970.
    pub(crate) ended_us: i64,
    /// Its number.
    pub(crate) number: BuildNumber,
}

impl Looked {
    /// At this build, if it is over.
    pub fn at(build: &Build) -> Option<Looked> {
        Some(Looked { ended_us: build.finished_at?.as_microsecond(), number: build.number })
    }
}

/// What was wrong with a build and is not any more.
#[derive(Debug, Default)]
pub struct Mended {
    /// In words, for the server's log.
    pub what: Vec<String>,
    /// What followed.
    pub changes: Vec<ocelot_model::build::Change>,
}
