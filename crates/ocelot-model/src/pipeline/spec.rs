//! What a checked `ocelot.yml` means: the plan that the server stores and the worker runs.
//!
//! These types are stored as JSON in the database and sent to workers, so a new field needs a default.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::condition::Condition;
use super::subscription::Subscription;
use crate::Status;
use crate::concurrency::Concurrency;
use crate::notify::Rule;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Which branches build; `ALL`, or regexes that match whole names. Empty means all.
    pub branches: Vec<String>,
    /// How the repository is checked out.
    pub checkout: Checkout,
    /// The group whose builds wait for each other.
    #[serde(default)]
    pub concurrency: Option<Concurrency>,
    /// When branches are built without anyone asking.
    #[serde(default)]
    pub schedules: Vec<Schedule>,
    /// Repositories whose passed builds make one here.
    #[serde(default)]
    pub subscriptions: Vec<Subscription>,
    /// Who is told of the build.
    #[serde(default)]
    pub notify: Vec<Rule>,
    /// A newer push to the same pull request, or branch that is not the default one, cancels older builds.
    #[serde(default = "yes")]
    pub cancel_superseded: bool,
    /// At least one job, in the order of the file, matrix already expanded, names unique.
    pub jobs: Vec<Job>,
}

fn yes() -> bool {
    true
}

impl Pipeline {
    /// True when the changed files decide about a stage, so that it is worth finding them out.
    pub fn asks_for_files(&self) -> bool {
        self.jobs.iter().flat_map(|job| &job.stages).any(|stage| stage.condition.asks_for_files())
    }
}

/// A time that comes round, as the file has it. Both texts were checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Expression of cron.
    pub cron: String,
    /// Name of the time zone; UTC when empty.
    pub time_zone: String,
    /// Which branch is built; the default branch when `None`.
    pub branch: Option<String>,
}

/// How the repository is checked out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkout {
    /// Commits of history; 0 for all.
    pub depth: u32,
    /// Tags too.
    pub tags: bool,
}

impl Default for Checkout {
    fn default() -> Self {
        Checkout { depth: 50, tags: true }
    }
}

/// One job: what one worker claims.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// `default` for a file with top-level stages.
    pub name: String,
    /// The Docker image that its stages use; `None` for the host executor.
    pub image: Option<String>,
    /// `uid:gid` inside the container; root when absent.
    pub user: Option<String>,
    /// When the image is pulled.
    pub pull: Pull,
    /// Labels that a worker must have, exactly.
    pub labels: BTreeMap<String, String>,
    /// Higher goes first.
    pub priority: i32,
    /// Names of jobs that must end well first.
    pub needs: Vec<String>,
    /// A person must let it start.
    #[serde(default)]
    pub approval: bool,
    /// Runs even when a job that it needs failed.
    pub always: bool,
    /// A failure of this job does not fail the build.
    pub allow_failure: bool,
    /// Longest run of the whole job, in milliseconds.
    pub timeout_ms: u64,
    /// New attempts by themselves.
    pub retry: Retry,
    /// Limits of the container.
    pub resources: Resources,
    /// Variables for all stages: top-level and job `env`, merged.
    pub env: Vec<(String, String)>,
    /// Secrets and credentials that every stage gets: those of the top level and of the job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// At least one stage; names unique within the job.
    pub stages: Vec<Stage>,
    /// How the repository is checked out (copied from the file, so that a job is whole).
    pub checkout: Checkout,
}

impl Job {
    /// The names of the secrets and credentials that a stage gets, each once.
    pub fn secrets_of<'j>(&'j self, stage: &'j Stage) -> Vec<&'j str> {
        let mut names: Vec<&str> = Vec::new();
        for name in self.secrets.iter().chain(&stage.secrets) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// Why there is nothing to run in it, when none of its stages runs.
    pub fn skipped(&self) -> Option<String> {
        let reasons: Option<Vec<&str>> = self.stages.iter().map(Stage::skipped).collect();
        let reasons = reasons?;
        let first = *reasons.first()?;
        let same = reasons.iter().all(|reason| *reason == first);
        Some(if same { first.to_owned() } else { format!("no stage is to run ({first}, …)") })
    }
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pull {
    /// Only when the engine does not have it.
    #[default]
    IfMissing,
    /// Every time.
    Always,
}

/// How many new attempts a job gets by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// After a failure of the infrastructure or the loss of the worker.
    pub infrastructure: u32,
    /// After the script failed.
    pub script: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { infrastructure: 2, script: 0 }
    }
}

/// Limits of a container; `None` leaves the worker's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Processor cores.
    pub cpu: Option<f64>,
    /// Bytes of memory.
    pub memory: Option<u64>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name; never `setup`.
    pub name: String,
    /// Another image than the job's.
    pub image: Option<String>,
    /// A container of its own.
    pub isolated: bool,
    /// What runs.
    pub run: Run,
    /// Folder below the workspace; `.` for its root.
    pub workdir: String,
    /// Variables of this stage only.
    pub env: Vec<(String, String)>,
    /// Secrets and credentials that this stage gets, beside those of its job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Branches on which it runs, as in [`Pipeline::branches`]; empty means all.
    pub branches: Vec<String>,
    /// Longest run, in milliseconds; the job's limit holds too.
    pub timeout_ms: Option<u64>,
    /// Which failures do not count.
    pub allow_failure: AllowFailure,
    /// Runs even after a failure or cancel (at most 5 minutes then).
    pub always: bool,
    /// Its `triggers` and `when`. Not stored: what they come to stands in `decided`.
    #[serde(skip)]
    pub condition: Condition,
    /// What the conditions came to when the build was made; `None` when it just runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Decided>,
}

impl Stage {
    /// Why it does not run, when that was decided.
    pub fn skipped(&self) -> Option<&str> {
        match &self.decided {
            Some(Decided::Skip(why)) => Some(why),
            Some(Decided::Run(_)) | None => None,
        }
    }
}

/// What the conditions of a stage came to, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decided {
    /// It does not run.
    Skip(String),
    /// It runs although its conditions could not be told.
    Run(String),
}

/// What a stage runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Run {
    /// Lines in one shell.
    Script {
        /// The shell and its arguments; the script file's path is appended. Default `/bin/sh -e`.
        shell: Vec<String>,
        /// A list gives one entry per item (each shown before it runs); a block of text gives one.
        lines: Vec<String>,
        /// True when the script was a block of text: its lines are shown by the shell as it reads them.
        block: bool,
    },
    /// A program and its arguments, no shell.
    Command(Vec<String>),
}

/// Which failures of a stage do not count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowFailure {
    /// All count.
    #[default]
    No,
    /// None counts.
    Yes,
    /// These exit codes do not count.
    Codes(Vec<i32>),
}

impl AllowFailure {
    /// True when a stage that ended with `code` counts as passed for the job.
    pub fn forgives(&self, code: i32) -> bool {
        match self {
            AllowFailure::No => false,
            AllowFailure::Yes => true,
            AllowFailure::Codes(codes) => codes.contains(&code),
        }
    }

    /// True when a stage that ended so did not pass, and yet counts as passed for its job.
    pub fn allows(&self, status: Status, code: Option<i32>) -> bool {
        match status {
            Status::Failed => code.is_some_and(|code| self.forgives(code)),
            Status::TimedOut => *self == AllowFailure::Yes,
            Status::Blocked
            | Status::Queued
            | Status::Running
            | Status::Passed
            | Status::Error
            | Status::Cancelled
            | Status::Skipped => false,
        }
    }
}
