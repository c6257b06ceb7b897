//! What waits for a worker, and the pause of the whole server.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One page of the jobs that wait.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Queue {
    /// The rows.
    pub items: Vec<QueueItem>,
    /// Give it back as `cursor` to go on; null at the end.
    pub next: Option<String>,
    /// How many wait, on all pages.
    #[serde(default)]
    pub waiting: u64,
}

/// A waiting job.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct QueueItem {
    /// From 1, in the order in which jobs would start.
    pub position: u32,
    /// Build; null when the caller may not read its repository.
    pub build: Option<i64>,
    /// Repository, or `another repo's job`.
    pub repo: String,
    /// Job.
    pub job: Option<String>,
    /// Labels that its worker must have.
    pub labels: BTreeMap<String, String>,
    /// When it was queued.
    #[schema(value_type = String, format = DateTime)]
    pub queued_at: Timestamp,
    /// Why it waits, in words.
    pub reason: String,
}

/// Whether jobs are handed out.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PauseState {
    /// No job is handed out.
    pub paused: bool,
    /// Who wants it so.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
}

/// Body of `POST /api/v1/pause`; may be left out.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPause {
    /// Why, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
