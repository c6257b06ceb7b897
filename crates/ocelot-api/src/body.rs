//! The JSON bodies of `/api/v1`. Times are RFC 3339 in UTC, durations milliseconds.

mod audit;
mod forge;
mod history;
mod insights;
mod notify;
mod secrets;
mod subscriptions;
mod times;

pub use audit::AuditRow;
pub use forge::*;
pub use history::*;
pub use insights::*;
pub use notify::*;
pub use secrets::{Hidden, NewSecret, Secret};
pub use subscriptions::*;
pub use times::*;

use std::collections::BTreeMap;

use jiff::Timestamp;
use ocelot_model::access::Role;
use ocelot_model::{Approvals, DeliveryState, EventKind, Origin, Status};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One page of a listing.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Give it back as `cursor` to go on; null at the end.
    pub next: Option<String>,
}

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

/// A webhook as it came, and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// Ever rising.
    pub id: i64,
    /// Short name of the forge that sent it.
    pub forge: String,
    /// Handle of the repository; null when it is about none that is here.
    pub repo: Option<String>,
    /// What the forge calls it.
    pub remote_id: String,
    /// The forge's word for what happened.
    pub event: String,
    /// When it came.
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    /// `waiting`, `built`, `skipped`, `duplicate`, `superseded`, `ignored`, `refused`, `failed` or `conflict`.
    #[schema(value_type = String, example = "built")]
    pub state: DeliveryState,
    /// The same in words.
    pub outcome: String,
    /// When that was known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub handled_at: Option<Timestamp>,
    /// How often it was tried.
    pub tries: u32,
    /// What it tells: one for each branch, tag or pull request.
    pub parts: Vec<DeliveryPart>,
}

/// One thing that a webhook tells.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeliveryPart {
    /// `refs/heads/x`, `refs/tags/x` or `pull/3`.
    pub subject: String,
    /// What became of it.
    #[schema(value_type = String, example = "built")]
    pub state: DeliveryState,
    /// The same in words.
    pub outcome: String,
    /// The build of its commit.
    pub build: Option<i64>,
}

/// What the sender of a webhook is told.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Received {
    /// Number of the delivery, for `ocelot deliveries`.
    pub delivery: i64,
    /// What became of it so far.
    #[schema(value_type = String, example = "waiting")]
    pub state: DeliveryState,
    /// The same in words.
    pub outcome: String,
    /// Its build, when there is one already.
    pub build: Option<i64>,
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

/// A repository.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Repo {
    /// Its handle, for example `git/example`.
    pub repo: String,
    /// Short name of its forge.
    pub forge: String,
    /// Owner; empty for plain git.
    pub owner: String,
    /// Name.
    pub name: String,
    /// Where it is cloned from.
    pub clone_url: String,
    /// Its default branch.
    pub default_branch: String,
    /// Readable without a token.
    pub public: bool,
    /// Which of its builds wait for `approve`: `forks` (those of commits that are not its own), `all` (those of every pull
    /// request, too) or `none`.
    #[serde(default)]
    #[schema(value_type = String, example = "forks")]
    pub approvals: Approvals,
    /// Its forge sends webhooks (`ocelot watch`).
    #[serde(default)]
    pub watched: bool,
    /// The last look whether its forge told of everything; not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconciled: Option<Reconciled>,
}

/// What came of looking whether a forge told of everything.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Reconciled {
    /// When that was; null before the first look.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// In words, such as why it could not look.
    pub outcome: Option<String>,
}

/// Body of `PATCH /api/v1/repos/{handle}`. What is left out stays as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RepoChange {
    /// Which builds wait for `approve`, of those made from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "forks")]
    pub approvals: Option<Approvals>,
    /// Whether anyone may read it, without a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
}

/// Body of `POST /api/v1/repos`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRepo {
    /// For plain git: `https://…`, `ssh://…`, `git@host:path`, or a local path where the server allows it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub clone_url: String,
    /// Short name of the forge; default `git`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forge: Option<String>,
    /// For other forges: `OWNER/NAME` there. The forge is asked for all the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_name: Option<String>,
    /// It is cloned over ssh, not HTTPS.
    #[serde(default)]
    pub ssh: bool,
    /// For plain git; default: the last segment of the URL without `.git`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Readable without a token.
    #[serde(default)]
    pub public: bool,
    /// Which of its builds wait for `approve`: `forks`, `all` or `none`.
    #[serde(default)]
    #[schema(value_type = String, example = "forks")]
    pub approvals: Approvals,
}

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

/// Whom the server takes the caller for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// Name of the token.
    pub name: String,
    /// Its role.
    #[schema(value_type = String, example = "read")]
    pub role: Role,
    /// Repositories it is limited to; empty for all.
    pub repos: Vec<String>,
}

/// An access token, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Id.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Role.
    #[schema(value_type = String, example = "read")]
    pub role: Role,
    /// Repositories it is limited to: handles, or prefixes ending in `/`; empty for all.
    pub repos: Vec<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was last used (to the minute).
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}

/// Body of `POST /api/v1/tokens`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Name, unique.
    pub name: String,
    /// Role.
    #[schema(value_type = String, example = "read")]
    pub role: Role,
    /// Repositories it is limited to; empty for all.
    #[serde(default)]
    pub repos: Vec<String>,
    /// Days until it ends; absent for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_days: Option<u32>,
}

/// Answer of `POST /api/v1/tokens`: the only time that the secret is shown.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// The token's row.
    #[serde(flatten)]
    pub token: Token,
    /// The secret.
    pub secret: String,
}

/// Something changed: the data of an event stream's `build`, `job` and `stage` events, and what
/// wakes readers of a log (`log` events).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// A build changed.
    Build {
        /// Build.
        build: i64,
        /// Repository.
        repo: String,
        /// New status.
        #[schema(value_type = String)]
        status: Status,
        /// Why.
        reason: Option<String>,
    },
    /// A job changed.
    Job {
        /// Build.
        build: i64,
        /// Job id.
        job: i64,
        /// Job name.
        name: String,
        /// New status.
        #[schema(value_type = String)]
        status: Status,
        /// Attempt.
        attempt: u32,
        /// Worker.
        worker: Option<String>,
        /// Why.
        reason: Option<String>,
    },
    /// A stage changed.
    Stage {
        /// Build.
        build: i64,
        /// Job id.
        job: i64,
        /// Stage id.
        stage: i64,
        /// Stage name.
        name: String,
        /// New status.
        #[schema(value_type = String)]
        status: Status,
        /// Exit code.
        exit_code: Option<i32>,
        /// How long it took.
        duration_ms: Option<i64>,
        /// Why.
        reason: Option<String>,
    },
    /// Log bytes, as text (bytes that are not UTF-8 replaced).
    Log {
        /// Build.
        build: i64,
        /// Stage id.
        stage: i64,
        /// Offset of the first byte.
        offset: i64,
        /// Bytes that this event covers; the next one begins at `offset + bytes`.
        bytes: i64,
        /// The text.
        text: String,
    },
    /// Nothing more comes for this build.
    End {
        /// Build.
        build: i64,
        /// Final status.
        #[schema(value_type = String)]
        status: Status,
    },
}
