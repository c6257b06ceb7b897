//! Polls and schedules.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A repository that is looked at from time to time.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Poll {
    /// Id.
    pub id: i64,
    /// Handle of the repository.
    pub repo: String,
    /// Minute, hour, day, month, weekday; or a word like `@hourly`.
    pub cron: String,
    /// Name of the time zone in which that is meant.
    pub time_zone: String,
    /// `ALL`, or regular expressions that match whole names; empty for all.
    pub branches: Vec<String>,
    /// When it comes round.
    #[schema(value_type = String, format = DateTime)]
    pub next_at: Timestamp,
    /// The last look.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_at: Option<Timestamp>,
    /// What came of it, in words.
    pub outcome: Option<String>,
    /// Who wants it.
    pub created_by: String,
}

/// A poll to add.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPoll {
    /// Handle of the repository.
    pub repo: String,
    /// Minute, hour, day, month, weekday; or a word like `@hourly`.
    pub cron: String,
    /// Name of a time zone; UTC when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// `ALL`, or regular expressions that match whole names; all when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<String>,
}

/// A time at which a branch is built.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Schedule {
    /// Id.
    pub id: i64,
    /// Handle of the repository.
    pub repo: String,
    /// It stands in `ocelot.yml` of the default branch, and is changed there.
    pub from_file: bool,
    /// Minute, hour, day, month, weekday; or a word like `@daily`.
    pub cron: String,
    /// Name of the time zone in which that is meant.
    pub time_zone: String,
    /// The branch.
    pub branch: String,
    /// When it comes round.
    #[schema(value_type = String, format = DateTime)]
    pub next_at: Timestamp,
    /// When it came last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_at: Option<Timestamp>,
    /// What came of it, in words.
    pub outcome: Option<String>,
    /// Who wants it.
    pub created_by: String,
}

/// A schedule to add.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSchedule {
    /// Handle of the repository.
    pub repo: String,
    /// Minute, hour, day, month, weekday; or a word like `@daily`.
    pub cron: String,
    /// Name of a time zone; UTC when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The default branch when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
}
