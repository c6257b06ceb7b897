//! Builds with their jobs, attempts and stages.

use jiff::Timestamp;
use ocelot_model::build::is_allowed;
use ocelot_model::concurrency::Concurrency;
use ocelot_model::notify::Rule;
use ocelot_model::pipeline::Job as JobSpec;
use ocelot_model::{AttemptId, BuildNumber, EventKind, JobId, RepoId, StageId, Status, Trust, duration};

use super::{GroupKey, Repo};

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
    /// Only of what a branch of the repository held: no pull requests, no tags, no commits of others.
    pub of_branch: bool,
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
