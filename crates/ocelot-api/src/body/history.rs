//! Statistics and badges.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How builds, or jobs or stages of one name, ended within a time.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// Handle of the repository; null: all that the caller may read.
    pub repo: Option<String>,
    /// Its branch; null: all.
    pub branch: Option<String>,
    /// The job of this name; null: whole builds.
    pub job: Option<String>,
    /// The stage of this name in that job.
    pub stage: Option<String>,
    /// What `items` are: `hour`, `day`, `week`; or `repo`, `branch`, `job`, `stage`.
    pub by: String,
    /// Where the first period begins.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Where the last one ends.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// All of it.
    pub total: Counts,
    /// Period by period, from the first; or one by one, those that ended most often first.
    pub items: Vec<StatsItem>,
    /// True when there are more than these: than `limit`, or than the 1,000 that ended last, which are looked at.
    #[serde(default)]
    pub more: bool,
}

/// One period, or one repository, branch, job or stage.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct StatsItem {
    /// Where the period begins.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Where it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Handle of the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Name of the branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Name of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Name of the stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// How they ended.
    #[serde(flatten)]
    pub counts: Counts,
}

/// How some ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// How many.
    pub total: u64,
    /// How many by status.
    pub counts: ByStatus,
    /// The share that passed of those that passed, failed, ended in an error or ran out of time; null when there are none.
    pub pass_rate: Option<f64>,
    /// How long these took.
    pub duration_ms: Percentiles,
    /// How long what began had waited.
    pub queue_ms: Percentiles,
}

/// Counts by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ByStatus {
    /// Passed.
    pub passed: u64,
    /// The script said no.
    pub failed: u64,
    /// Infrastructure or configuration was at fault.
    pub error: u64,
    /// Took longer than allowed.
    pub timed_out: u64,
    /// Was stopped.
    pub cancelled: u64,
    /// Did not have to run.
    pub skipped: u64,
}

/// Times at or below which half of all are, and nineteen of twenty; off by at most 2 percent. Null when there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Percentiles {
    /// The median.
    pub p50: Option<i64>,
    /// The 95th percentile.
    pub p95: Option<i64>,
}

/// The badge of a repository.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Badge {
    /// Handle of the repository.
    pub repo: String,
    /// Address of the picture.
    pub image: String,
    /// What to put into a README.
    pub markdown: String,
    /// True when everyone who has the address sees it.
    pub visible: bool,
    /// The key in the address; null when the repository is public, or has none.
    pub key: Option<String>,
}

/// How the key of a badge is to be made.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewBadge {
    /// The branch that the badge shows; the default branch when left out.
    pub branch: Option<String>,
    /// Another key: the address with the one before shows nothing any more.
    pub renew: bool,
}
