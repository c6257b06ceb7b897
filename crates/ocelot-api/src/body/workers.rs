//! Workers and their enrolment.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A worker.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    /// Id.
    pub id: i64,
    /// Name.
    pub name: String,
    /// `idle`, `busy`, `draining` (it gets no more jobs), `unreachable` (not heard for a minute) or `disconnected`.
    pub state: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Jobs that it runs at most.
    pub slots: u32,
    /// Jobs that it runs now.
    pub busy: u32,
    /// Version of its program.
    pub version: String,
    /// How it shares folders with its engine.
    pub sharing: String,
    /// Free bytes on the file system that has the least to spare: its own folder's or its engine's. Null when not known.
    #[serde(default)]
    pub disk_free_bytes: Option<u64>,
    /// All bytes of that file system.
    #[serde(default)]
    pub disk_total_bytes: Option<u64>,
    /// Why it takes no jobs, in words; null when it takes jobs.
    #[serde(default)]
    pub unwell: Option<String>,
    /// Last heartbeat.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen_at: Timestamp,
    /// Who drained it: it gets no more jobs until it is resumed, also after it was away.
    #[serde(default)]
    pub drained_by: Option<String>,
    /// It has an identity of its own, by an enrolment token.
    #[serde(default)]
    pub enrolled: bool,
    /// When another process with the same identity was last refused; null when none was.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub twin_at: Option<Timestamp>,
    /// Otherwise the name of the token that it comes with; null when that was revoked.
    #[serde(default)]
    pub token: Option<String>,
    /// What it runs, as far as the caller may see.
    pub jobs: Vec<WorkerJob>,
}

/// A token with which new workers enrol. Its secret was shown when it was made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WorkerToken {
    /// Id.
    pub id: i64,
    /// Labels that every worker has that came with it, whatever it says itself.
    pub labels: BTreeMap<String, String>,
    /// Workers that may come with it; null for any number.
    pub uses: Option<u32>,
    /// Workers that came with it.
    pub used: u32,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

/// Body of `POST /api/v1/worker-tokens`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWorkerToken {
    /// Labels for the workers that come with it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Workers that may come with it; absent for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// Milliseconds until it ends; absent for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
}

/// Answer of `POST /api/v1/worker-tokens`: the only time that the secret is shown.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedWorkerToken {
    /// The token's row.
    #[serde(flatten)]
    pub token: WorkerToken,
    /// The secret.
    pub secret: String,
}

/// A job that a worker runs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WorkerJob {
    /// Build; null when it belongs to a repository that the caller may not read.
    pub build: Option<i64>,
    /// Repository; `another repo's job` when the caller may not read it.
    pub repo: String,
    /// Job.
    pub job: Option<String>,
}
