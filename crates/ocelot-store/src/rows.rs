//! What the store gives and takes: one plain struct per row, no SQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use ocelot_model::access::Role;
use ocelot_model::build::is_allowed;
use ocelot_model::concurrency::Concurrency;
use ocelot_model::notify::{Medium, Rule};
use ocelot_model::pipeline::Job as JobSpec;
use ocelot_model::secret::{Kind, Limits, Scope};
use ocelot_model::turns::Ticket;
use ocelot_model::{
    Approvals, AttemptId, BuildNumber, EventKind, ForgeId, ForgeKind, JobId, RepoId, RepoName, StageId,
    Status, TokenId, Trust, WorkerId, duration,
};
use secrecy::{SecretSlice, SecretString};

/// A fault of a build's `ocelot.yml`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ConfigProblem {
    /// Stable word, for example `unknown_key`.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// What to do.
    pub hint: Option<String>,
}

/// A secret or credential, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Id.
    pub id: i64,
    /// Who may have it.
    pub scope: Scope,
    /// Its name, once in a scope.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// What of it is not secret.
    pub fields: BTreeMap<String, String>,
    /// What narrows its use.
    pub limits: Limits,
    /// Somebody who administers the whole server kept it so.
    pub by_admin: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it was changed last.
    pub changed_at: Timestamp,
    /// By whom.
    pub changed_by: String,
}

impl Secret {
    /// True when it goes by this name: its own, or its `id`, which may be one that no variable can have.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.fields.get("id").is_some_and(|id| id == name)
    }
}

/// A secret to be kept. Checked before: [`ocelot_model::secret`].
#[derive(Debug)]
pub struct NewSecret {
    /// Who may have it.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// What of it is not secret.
    pub fields: BTreeMap<String, String>,
    /// What narrows its use.
    pub limits: Limits,
    /// What is kept.
    pub value: SecretSlice<u8>,
    /// Who says so.
    pub by: String,
    /// They administer the whole server.
    pub by_admin: bool,
}

/// A configured forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forge {
    /// Id.
    pub id: ForgeId,
    /// Short name, the first segment of handles.
    pub name: String,
    /// Which language it speaks.
    pub kind: ForgeKind,
    /// Its address as people type it into a browser; empty for plain git.
    pub base_url: String,
    /// It may be spoken to without TLS.
    pub insecure_http: bool,
    /// Certificates (PEM) of authorities that it is believed with, besides the public ones.
    pub ca: Option<String>,
    /// What kind of credentials Ocelot has for it; `None` for none.
    pub access_kind: Option<String>,
    /// It has a secret of its own, for webhooks of all of its repositories.
    pub has_hook_secret: bool,
    /// Rises with every change.
    pub version: i64,
}

/// A forge to add.
#[derive(Debug, Clone)]
pub struct NewForge {
    /// Short name.
    pub name: String,
    /// Which language it speaks.
    pub kind: ForgeKind,
    /// Its address.
    pub base_url: String,
    /// It may be spoken to without TLS.
    pub insecure_http: bool,
    /// Certificates (PEM) of authorities that it is believed with, besides the public ones.
    pub ca: Option<String>,
    /// Who Ocelot is there.
    pub access: Option<ForgeAccess>,
    /// What it signs with when it sends for all of its repositories.
    pub hook_secret: Option<SecretString>,
}

/// What becomes different about a forge; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct ForgeChange {
    /// Who Ocelot is there.
    pub access: Option<ForgeAccess>,
    /// What it signs with when it sends for all of its repositories.
    pub hook_secret: Option<SecretString>,
    /// Certificates (PEM) of authorities that it is believed with, besides the public ones; empty: none any more.
    pub ca: Option<String>,
}

/// Credentials for a forge.
#[derive(Debug, Clone)]
pub struct ForgeAccess {
    /// The kind, to be shown.
    pub kind: String,
    /// All of it, in a form that is not the store's business.
    pub secret: SecretString,
}

/// A webhook that Ocelot made for a repository.
#[derive(Debug, Clone)]
pub struct Hook {
    /// The random text in its address.
    pub id: String,
    /// Its repository.
    pub repo: RepoId,
    /// The repository's forge.
    pub forge: ForgeId,
    /// What it signs with.
    pub secret: SecretString,
    /// What the forge calls it; `None` until the forge has made it.
    pub remote_id: Option<String>,
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    /// Id.
    pub id: RepoId,
    /// Its forge.
    pub forge_id: ForgeId,
    /// Its handle.
    pub name: RepoName,
    /// The forge's own id of it, which stays when the name changes; for plain git its chosen name.
    pub remote_id: String,
    /// Where it is cloned from.
    pub clone_url: String,
    /// Its default branch.
    pub default_branch: String,
    /// Readable without a token.
    pub public: bool,
    /// Which of its builds wait for a person.
    pub approvals: Approvals,
    /// When it was added.
    pub created_at: Timestamp,
}

/// A repository to add.
#[derive(Debug, Clone)]
pub struct NewRepo {
    /// Its handle; the forge must exist.
    pub name: RepoName,
    /// The forge's own id of it; for plain git its chosen name.
    pub remote_id: String,
    /// Where it is cloned from.
    pub clone_url: String,
    /// Its default branch.
    pub default_branch: String,
    /// Readable without a token.
    pub public: bool,
    /// Which of its builds wait for a person.
    pub approvals: Approvals,
}

/// Settings of a repository that change; what is `None` stays as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct RepoChange {
    /// Which of its builds wait for a person, of those made from now on.
    pub approvals: Option<Approvals>,
    /// Readable without a token.
    pub public: Option<bool>,
}

/// What changes when a repository gets another name at its forge.
#[derive(Debug, Clone)]
pub struct RenamedRepo {
    /// Owner and name.
    pub name: RepoName,
    /// Where it is cloned from now.
    pub clone_url: String,
    /// Its default branch.
    pub default_branch: String,
}

/// A build without its jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct Build {
    /// Its number.
    pub number: BuildNumber,
    /// Its repository.
    pub repo: Repo,
    /// Where it stands.
    pub status: Status,
    /// What made it.
    pub event: EventKind,
    /// Branch.
    pub branch: String,
    /// Whole commit id.
    pub commit: String,
    /// Message of the commit.
    pub message: String,
    /// Author of the commit.
    pub author: String,
    /// Who asked for it, when a person did.
    pub triggered_by: Option<String>,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// When the first of its jobs could be claimed; before that, it waited for a person or for a place in its group.
    pub free_at: Timestamp,
    /// When its first job was claimed.
    pub started_at: Option<Timestamp>,
    /// When it became terminal.
    pub finished_at: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
    /// Faults of its `ocelot.yml`.
    pub problems: Vec<ConfigProblem>,
    /// The build that it does again.
    pub retry_of: Option<BuildNumber>,
    /// When someone asked to cancel it.
    pub cancel_requested_at: Option<Timestamp>,
    /// Its concurrency group.
    pub concurrency: Option<Concurrency>,
    /// Where its commit comes from, and what that allows.
    pub trust: Trust,
    /// When somebody approved of it.
    pub approved_at: Option<Timestamp>,
    /// Number of the pull request whose newest commit it builds.
    pub pull_request: Option<u64>,
    /// The tag that it builds.
    pub tag: Option<String>,
}

impl Build {
    /// Milliseconds for which it waited for a worker, once one has it.
    pub fn waited_ms(&self) -> Option<i64> {
        self.started_at.map(|at| duration::between(self.free_at, at))
    }

    /// Milliseconds from its start to its end.
    pub fn took_ms(&self) -> Option<i64> {
        self.started_at.zip(self.finished_at).map(|(from, to)| duration::between(from, to))
    }

    /// Its concurrency group, of which trusted builds and others have one each.
    pub fn group(&self) -> Option<GroupKey> {
        let name = self.concurrency.as_ref()?.group.clone();
        Some(GroupKey { repo: self.repo.id, name, trusted: self.trust.origin.is_trusted() })
    }
}

/// A build with everything below it.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildDetail {
    /// The build.
    pub build: Build,
    /// Its jobs, in the order of the file.
    pub jobs: Vec<Job>,
}

/// A job.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Id.
    pub id: JobId,
    /// Where it stands.
    pub status: Status,
    /// Why.
    pub reason: Option<String>,
    /// What it does; name, labels and needs stand here.
    pub spec: JobSpec,
    /// Who let it start, when its file wants a person to.
    pub approved_by: Option<String>,
    /// All attempts, oldest first; at least one.
    pub attempts: Vec<Attempt>,
}

impl Job {
    /// True when it did not pass and counts as passed all the same, as its file says.
    pub fn is_allowed(&self) -> bool {
        is_allowed(self.status, self.spec.allow_failure)
    }

    /// True while it waits for a person, as its file says.
    pub fn waits(&self) -> bool {
        self.spec.approval && self.approved_by.is_none() && self.status == Status::Blocked
    }

    /// The same for a stage of one of its attempts.
    pub fn allows(&self, attempt: &Attempt, stage: &Stage) -> bool {
        // Running out of the whole job's time is not the stage's own failure.
        let own = stage.status != Status::TimedOut || attempt.status != Status::TimedOut;
        let spec = self.spec.stages.iter().find(|spec| spec.name == stage.name);
        own && spec.is_some_and(|spec| spec.allow_failure.allows(stage.status, stage.exit_code))
    }
}

/// One try at a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Id.
    pub id: AttemptId,
    /// 1, 2, …
    pub number: u32,
    /// Where it stands.
    pub status: Status,
    /// Name of its worker.
    pub worker: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Its stages, `setup` first.
    pub stages: Vec<Stage>,
}

/// A stage of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Id.
    pub id: StageId,
    /// `setup`, or as in the file.
    pub name: String,
    /// Where it stands.
    pub status: Status,
    /// Exit code of its script.
    pub exit_code: Option<i32>,
    /// When it began, by the database's clock.
    pub started_at: Option<Timestamp>,
    /// How long it took, by the worker's clock.
    pub duration_ms: Option<i64>,
    /// Bytes of its log that are durable.
    pub log_bytes: i64,
    /// Why.
    pub reason: Option<String>,
}

/// A build to make. Build, jobs, first attempts, stages and queue rows are written at once.
#[derive(Debug, Clone)]
pub struct NewBuild {
    /// Its repository.
    pub repo: RepoId,
    /// What made it.
    pub event: EventKind,
    /// Branch.
    pub branch: String,
    /// Whole commit id.
    pub commit: String,
    /// Message of the commit.
    pub message: String,
    /// Author of the commit.
    pub author: String,
    /// Who asked for it.
    pub triggered_by: Option<String>,
    /// The build that it does again.
    pub retry_of: Option<BuildNumber>,
    /// Its concurrency group: it waits there until [`crate::Store::settle_group`] gives it a place.
    pub concurrency: Option<Concurrency>,
    /// Where its commit comes from: while that does not allow it to start, its jobs are `blocked`.
    pub trust: Trust,
    /// What it came of, settled with it: [`crate::StoreError::Stale`], and no build, when somebody else was first.
    pub due: Option<crate::Due>,
    /// What the file says beside the build, where that is to hold: the build is of the default branch.
    pub beside: Option<crate::Beside>,
    /// Whom its file wants to be told; `None` when that is for the default branch's file to say, or for the build that it
    /// does again.
    pub notify: Option<Vec<Rule>>,
    /// Number of the pull request whose newest commit it builds.
    pub pull_request: Option<u64>,
    /// The tag that it builds.
    pub tag: Option<String>,
    /// What it does.
    pub plan: Plan,
}

/// What a new build does.
#[derive(Debug, Clone)]
pub enum Plan {
    /// These jobs. A status other than `queued` (a retry that carries over what passed) is final.
    Jobs(Vec<(JobSpec, Status)>),
    /// Nothing: it is in `error` from the start.
    Broken {
        /// One sentence, with file, line and column where it has them.
        reason: String,
        /// All faults of the file.
        problems: Vec<ConfigProblem>,
    },
}

/// Which builds to list; all that is `None` does not matter. Newest first.
#[derive(Debug, Clone, Default)]
pub struct BuildFilter {
    /// Only of this repository.
    pub repo: Option<RepoId>,
    /// Only of these repositories (what the caller may read); `None` for all.
    pub readable: Option<Vec<RepoId>>,
    /// Only of this branch.
    pub branch: Option<String>,
    /// Only of a commit that begins so (7 hex digits or more).
    pub commit: Option<String>,
    /// Only with this status.
    pub status: Option<Status>,
    /// Only made by this.
    pub event: Option<EventKind>,
    /// Only of commits that are the repository's own, or only of others.
    pub trusted: Option<bool>,
    /// Only queued at this time or later.
    pub since: Option<Timestamp>,
    /// Only queued before this time.
    pub until: Option<Timestamp>,
    /// Only with an attempt on the worker of this name.
    pub worker: Option<String>,
    /// Only with this text in message, author, branch or commit (any case).
    pub text: Option<String>,
    /// Only with a smaller number: the cursor.
    pub before: Option<BuildNumber>,
}

/// Some of the builds that a filter lets through, newest first.
#[derive(Debug, Clone)]
pub struct BuildPage {
    /// The builds; fewer than were asked for when many had to be looked at.
    pub builds: Vec<Build>,
    /// What [`BuildFilter::before`] has to be for the next page; `None` when there is none.
    pub next: Option<BuildNumber>,
}

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

/// A stage's new state, as its worker tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageUpdate {
    /// Which stage.
    pub id: StageId,
    /// Its status.
    pub status: Status,
    /// Exit code of its script.
    pub exit_code: Option<i32>,
    /// How long it took.
    pub duration_ms: Option<i64>,
    /// Why.
    pub reason: Option<String>,
}

/// From byte `at` of a piece of log on, the bytes were written at `time_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Offset from the beginning of the piece.
    pub at: u32,
    /// Microseconds since 1970, worker's clock.
    pub time_us: i64,
}

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSlice {
    /// Offset of its first byte in the stage's log.
    pub offset: u64,
    /// The bytes.
    pub data: Vec<u8>,
    /// When they were written.
    pub marks: Vec<Mark>,
}

/// How far a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogState {
    /// Durable bytes.
    pub bytes: u64,
    /// Nothing more follows.
    pub complete: bool,
    /// The log was removed: its bytes are the note that stands in its place.
    pub removed: bool,
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

/// A token without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Id.
    pub id: TokenId,
    /// Name, unique.
    pub name: String,
    /// Role.
    pub role: Role,
    /// Repositories it is limited to; empty for all.
    pub repos: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// What a worker is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// A token of role worker, which others may have as well: the name tells them apart.
    Token(TokenId),
    /// A secret of its own, from its enrolment.
    Own(WorkerId),
}

/// How a connected worker stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It may work.
    Good {
        /// Its name.
        name: String,
        /// Its labels, those of its enrolment included.
        labels: BTreeMap<String, String>,
        /// It gets no more jobs.
        drained: bool,
        /// The process that has its place, if that said which it is.
        process: Option<String>,
        /// That one took the place of another process, which may still be connected.
        followed: bool,
    },
    /// What it came with is no longer good.
    Barred,
    /// It was removed.
    Removed,
}

/// A token with which new workers enrol, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// Id.
    pub id: i64,
    /// Labels that every worker has that came with it.
    pub labels: BTreeMap<String, String>,
    /// Workers that may come with it; `None` for any number.
    pub uses: Option<u32>,
    /// Workers that came with it.
    pub used: u32,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

impl Enrolment {
    /// Its secret begins so, and no other's.
    pub const PREFIX: &str = "oce_";
}

/// A worker that says hello.
#[derive(Debug, Clone)]
pub struct Hello {
    /// What it came with.
    pub identity: Identity,
    /// Its name, as it wishes.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Jobs that it runs at most.
    pub slots: u32,
    /// Version of its program.
    pub version: String,
    /// How it shares folders with its engine.
    pub sharing: String,
    /// How its machine is; one of an older version does not say.
    pub condition: Option<Condition>,
    /// Tells its process from others that come with the same; empty when it does not say.
    pub process: String,
}

/// How a worker's machine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Free bytes and all bytes of the file system that has the least to spare, when they are known.
    pub disk: Option<(u64, u64)>,
    /// Why it takes no jobs.
    pub unwell: Option<String>,
}

/// A worker.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Id.
    pub id: WorkerId,
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Jobs that it runs at most.
    pub slots: u32,
    /// Version of its program.
    pub version: String,
    /// How it shares folders with its engine.
    pub sharing: String,
    /// How its machine is, by its own last word on it.
    pub condition: Condition,
    /// Last heartbeat, by the database's clock.
    pub last_seen_at: Timestamp,
    /// Milliseconds since then, by the database's clock.
    pub silent_ms: i64,
    /// False after it said goodbye.
    pub connected: bool,
    /// It has an identity of its own.
    pub enrolled: bool,
    /// Name of the token that it comes with, unless that was revoked.
    pub token: Option<String>,
    /// Who wants that it gets no more jobs.
    pub drained_by: Option<String>,
    /// It takes no more jobs, by its own word: it is about to end.
    pub ending: bool,
    /// When another process with the same identity was last refused.
    pub twin_at: Option<Timestamp>,
    /// The attempts that it holds, with repository and job name.
    pub holds: Vec<(Held, Repo, String)>,
}

/// One entry of the ordered history of changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Rises in the order in which readers may see them; without holes that fill up later.
    pub seq: i64,
    /// Its build.
    pub build: BuildNumber,
    /// Repository of the build.
    pub repo: RepoId,
    /// What changed.
    pub what: EventBody,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventBody {
    /// The build.
    Build {
        /// New status.
        status: Status,
        /// Why.
        reason: Option<String>,
    },
    /// A job.
    Job {
        /// Which.
        job: JobId,
        /// Its name.
        name: String,
        /// New status.
        status: Status,
        /// Newest attempt.
        attempt: u32,
        /// Name of its worker.
        worker: Option<String>,
        /// Why.
        reason: Option<String>,
    },
    /// A stage.
    Stage {
        /// Its job.
        job: JobId,
        /// Which.
        stage: StageId,
        /// Its name.
        name: String,
        /// New status.
        status: Status,
        /// Exit code.
        exit_code: Option<i32>,
        /// How long it took.
        duration_ms: Option<i64>,
        /// Why.
        reason: Option<String>,
    },
}

/// What kind of thing outside shows how a build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostKind {
    /// The status of a commit at its forge.
    Status,
    /// The comment of a pull request.
    Comment,
    /// A notification.
    Notice(Medium),
}

impl PostKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            PostKind::Status => "status",
            PostKind::Comment => "comment",
            PostKind::Notice(medium) => medium.as_str(),
        }
    }
}

impl std::str::FromStr for PostKind {
    type Err = crate::StoreError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let notices = Medium::ALL.into_iter().map(PostKind::Notice);
        let mut known = [PostKind::Status, PostKind::Comment].into_iter().chain(notices);
        known
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| crate::StoreError::Corrupt(format!("kind {text} in the outbox")))
    }
}

/// Something to be sent, which this server alone is sending for a while.
#[derive(Debug, Clone)]
pub struct Post {
    /// Id.
    pub id: i64,
    /// Rises when something else is to be said.
    pub version: i64,
    /// What it is.
    pub kind: PostKind,
    /// Its repository.
    pub repo: Repo,
    /// The commit, or the number of the pull request.
    pub subject: String,
    /// Of a status: `ocelot` or `ocelot/<job>`. Of a notification: where it goes.
    pub context: String,
    /// The build that it is about.
    pub build: BuildNumber,
    /// How that, or its job, stands.
    pub status: Status,
    /// Why.
    pub reason: Option<String>,
    /// How long the build took.
    pub duration_ms: Option<i64>,
    /// What a comment is found again by: nobody can guess it.
    pub mark: String,
    /// How often it was tried in vain.
    pub tries: u32,
    /// Of a notification: what it is about.
    pub notice: Option<crate::Notice>,
}

/// Something that could not be sent so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// What it is.
    pub kind: PostKind,
    /// Of a status: its context. Of a notification: where it goes.
    pub context: String,
    /// Why.
    pub error: String,
    /// When it is tried again; `None` when it was given up.
    pub again_at: Option<Timestamp>,
}

/// Something happened after a commit, here or in another server: look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// A job may be claimed.
    Queue,
    /// Events up to this one can be read.
    Events(i64),
    /// The log of this stage grew or ended.
    Log(StageId),
    /// Someone asked to cancel this build.
    Cancel(BuildNumber),
    /// This worker was drained, resumed or removed, or its token revoked.
    Worker(WorkerId),
    /// Something is to be sent.
    Outbox,
    /// A webhook waits to be worked on.
    Deliveries,
    /// Wake-ups may have been missed: look at everything.
    All,
}
