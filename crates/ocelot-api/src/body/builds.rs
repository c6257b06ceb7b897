//! Builds with their jobs, attempts and stages, and what asks for them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ocelot_model::{EventKind, Origin, Status};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DownstreamBuild, Subscription, UpstreamBuild};

/// A build.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Build {
    /// Global, ever rising.
    pub number: i64,
    /// Handle of the repository.
    pub repo: String,
    /// Where it stands.
    #[schema(value_type = String, example = "passed")]
    pub status: Status,
    /// What made it.
    #[schema(value_type = String, example = "push")]
    pub event: EventKind,
    /// Branch.
    pub branch: String,
    /// Whole commit id.
    pub commit: String,
    /// First line and more of the commit's message.
    pub message: String,
    /// Author of the commit.
    pub author: String,
    /// When it was queued.
    #[schema(value_type = String, format = DateTime)]
    pub queued_at: Timestamp,
    /// When its first job was claimed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it became terminal.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// How long it waited for a worker: from when the first of its jobs could be claimed to when one was. Time in which it waited
    /// for a person who approves, or for a place in its concurrency group, is not in it.
    pub queue_ms: Option<i64>,
    /// Time from started to finished.
    pub duration_ms: Option<i64>,
    /// Why it is in `error`, `cancelled` …; for a broken `ocelot.yml` with file, line and column.
    pub reason: Option<String>,
    /// Where the fault stands, when it stands in `ocelot.yml`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ConfigProblem>,
    /// The build whose success made this one; null also when the caller may not see it.
    pub upstream: Option<i64>,
    /// The same with more of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_build: Option<UpstreamBuild>,
    /// Builds that follow this one, the newest first, at most 100; left out in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub downstream: Vec<DownstreamBuild>,
    /// The subscriptions that stand in its `ocelot.yml`, while no newer build has said something else; left out in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<Subscription>,
    /// The build that this one does again.
    pub retry_of: Option<i64>,
    /// That one is not here any more, as old builds are not; left out in lists and when it is here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retry_removed: bool,
    /// When someone asked to cancel it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub cancel_requested_at: Option<Timestamp>,
    /// Who asked for it, when a person did.
    pub triggered_by: Option<String>,
    /// Where its commit comes from: `repository`, `pull_request` (one of the repository itself), `fork`, or `unreached`
    /// (no branch or tag reaches it).
    #[serde(default = "repository")]
    #[schema(value_type = String, example = "repository")]
    pub origin: Origin,
    /// Who brought the commit, when the forge said.
    #[serde(default)]
    pub origin_account: Option<String>,
    /// The commit is the repository's own; only then may it be given secrets.
    #[serde(default = "yes")]
    pub trusted: bool,
    /// It waits for `approve`.
    #[serde(default)]
    pub needs_approval: bool,
    /// Who approved of its commit.
    #[serde(default)]
    pub approved_by: Option<String>,
    /// When.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub approved_at: Option<Timestamp>,
    /// What could not be said of it outside so far; left out in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undelivered: Vec<Undelivered>,
    /// What is not as its file may look: subscriptions that do nothing, and for those who administer the repository who is
    /// not told; left out in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Number of the pull request whose newest commit it builds.
    #[serde(default)]
    pub pull_request: Option<u64>,
    /// The tag that it builds; `branch` then says the same.
    #[serde(default)]
    pub tag: Option<String>,
    /// Its jobs; left out in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<Vec<Job>>,
}

/// What a server of the version before meant by saying nothing.
fn repository() -> Origin {
    Origin::Repository
}

fn yes() -> bool {
    true
}

/// Something that a forge, or a place that is notified, did not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Undelivered {
    /// `status` (of its commit), `comment` (of its pull request), or a notification: `slack`, `webhook`, `email`.
    pub kind: String,
    /// Of a status: `ocelot` or `ocelot/<job>`; of a notification: where it goes, for those who administer the repository.
    pub context: String,
    /// Why, for those who administer the repository.
    pub error: String,
    /// When it is tried again; null when it was given up.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub again_at: Option<Timestamp>,
}

/// A fault in `ocelot.yml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigProblem {
    /// Stable word, for example `unknown_key`.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// `ocelot.yml`.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A job of a build.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Id.
    pub id: i64,
    /// `default` for a file with top-level stages.
    pub name: String,
    /// Where it stands.
    #[schema(value_type = String, example = "passed")]
    pub status: Status,
    /// It did not pass and counts as passed all the same (`allow_failure` in the file).
    #[serde(default)]
    pub allowed: bool,
    /// It waits for `approve`, as its file says.
    #[serde(default)]
    pub needs_approval: bool,
    /// Who let it start then.
    #[serde(default)]
    pub approved_by: Option<String>,
    /// Number of its newest attempt.
    pub attempt: u32,
    /// Name of the worker of the newest attempt.
    pub worker: Option<String>,
    /// Labels that its worker must have.
    pub labels: BTreeMap<String, String>,
    /// Names of the jobs that it needs.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Why.
    pub reason: Option<String>,
    /// All attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// Stages of the newest attempt; the first one is `setup`.
    pub stages: Vec<Stage>,
}

/// One try at a job.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// 1, 2, …
    pub number: u32,
    /// Where it stands.
    #[schema(value_type = String, example = "passed")]
    pub status: Status,
    /// Name of its worker.
    pub worker: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Its stages; the first one is `setup`.
    #[serde(default)]
    pub stages: Vec<Stage>,
}

/// A stage of an attempt.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Stage {
    /// Id; names its log.
    pub id: i64,
    /// `setup`, or as in the file.
    pub name: String,
    /// Where it stands.
    #[schema(value_type = String, example = "passed")]
    pub status: Status,
    /// It did not pass and counts as passed all the same (`allow_failure` in the file).
    #[serde(default)]
    pub allowed: bool,
    /// Exit code of its script.
    pub exit_code: Option<i32>,
    /// When it began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// How long it took.
    pub duration_ms: Option<i64>,
    /// Bytes of its log that are durable.
    pub log_bytes: i64,
    /// Why.
    pub reason: Option<String>,
}

/// Body of `POST /api/v1/builds`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBuild {
    /// Handle of the repository.
    pub repo: String,
    /// Default: the repository's default branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Whole commit id; default: head of the branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Parameters; refused until `params` is supported.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// Build even when the rules of the file would skip it.
    #[serde(default)]
    pub force: bool,
}

/// Body of `POST /api/v1/builds/{number}/approve`; may be left out.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveBuild {
    /// Name of the job that may start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

/// Body of `POST /api/v1/builds/{number}/retry`; may be left out.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryBuild {
    /// Carry over what passed, do again only what did not.
    #[serde(default)]
    pub failed: bool,
}
