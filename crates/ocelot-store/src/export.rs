//! What an export gives: everything that ended, in rows.

use jiff::Timestamp;
use ocelot_model::{BuildNumber, RepoId, Status};

/// Which builds to export: those that ended, in the order in which they did.
#[derive(Debug, Clone, Default)]
pub struct Exported {
    /// Of these repositories; `None`: of all.
    pub repos: Option<Vec<RepoId>>,
    /// Ended at this time or later.
    pub since: Option<Timestamp>,
    /// Ended before this time.
    pub until: Option<Timestamp>,
}

/// An attempt at a job of a build that ended.
#[derive(Debug, Clone)]
pub struct PastJob {
    /// Its build.
    pub build: BuildNumber,
    /// Name of the job.
    pub job: String,
    /// Number of the attempt.
    pub attempt: u32,
    /// How it ended.
    pub status: Status,
    /// Name of its worker.
    pub worker: Option<String>,
    /// When a worker took it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How long the job waited for that worker, of the newest attempt.
    pub queue_ms: Option<i64>,
    /// Why.
    pub reason: Option<String>,
    /// Who let the job start, when its file wants a person to.
    pub approved_by: Option<String>,
}

/// A stage of an attempt.
#[derive(Debug, Clone)]
pub struct PastStage {
    /// Its build.
    pub build: BuildNumber,
    /// Name of its job.
    pub job: String,
    /// Number of the attempt.
    pub attempt: u32,
    /// Its name.
    pub stage: String,
    /// How it ended.
    pub status: Status,
    /// Exit code of its script.
    pub exit_code: Option<i32>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// How long it took.
    pub duration_ms: Option<i64>,
    /// Why.
    pub reason: Option<String>,
}
