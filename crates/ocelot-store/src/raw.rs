//! Rows as the database gives them, the same for both databases, and their way into the row types of this crate.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;
use ocelot_model::concurrency::Concurrency;
use ocelot_model::{
    AttemptId, BuildNumber, EventKind, ForgeId, JobId, RepoId, RepoName, StageId, Status, TokenId, Trust,
    WorkerId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Attempt, Build, Enrolment, Held, Job, Repo, Stage, StoreError, Token};

/// A word of a closed set, as stored.
pub(crate) fn read<T: FromStr>(text: &str) -> Result<T, StoreError>
where
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| StoreError::Corrupt(error.to_string()))
}

/// JSON text, as stored.
pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// JSON text, to store.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// A stored time.
pub(crate) fn time(us: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(us).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// A stored time that may be absent.
pub(crate) fn maybe_time(us: Option<i64>) -> Result<Option<Timestamp>, StoreError> {
    us.map(time).transpose()
}

/// Text from outside, without the one character that PostgreSQL cannot store.
pub(crate) fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A length as stored.
pub(crate) fn us(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

#[derive(sqlx::FromRow)]
pub(crate) struct RepoRow {
    pub(crate) repo_id: i64,
    forge_id: i64,
    forge: String,
    remote_id: String,
    owner: String,
    repo_name: String,
    clone_url: String,
    default_branch: String,
    public: bool,
    approvals: String,
    repo_created_at: i64,
}

impl RepoRow {
    pub(crate) fn into_repo(self) -> Result<Repo, StoreError> {
        Ok(Repo {
            id: RepoId(self.repo_id),
            forge_id: ForgeId(self.forge_id),
            name: RepoName { forge: self.forge, owner: self.owner, name: self.repo_name },
            remote_id: self.remote_id,
            clone_url: self.clone_url,
            default_branch: self.default_branch,
            public: self.public,
            approvals: read(&self.approvals)?,
            created_at: time(self.repo_created_at)?,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct BuildRow {
    number: i64,
    status: String,
    event: String,
    branch: String,
    commit_id: String,
    message: String,
    author: String,
    triggered_by: Option<String>,
    queued_at: i64,
    free_at: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
    reason: Option<String>,
    problems: String,
    retry_of: Option<i64>,
    cancel_requested_at: Option<i64>,
    concurrency_group: Option<String>,
    concurrency_limit: i64,
    cancel_running: bool,
    approved_at: Option<i64>,
    #[sqlx(flatten)]
    trust: TrustRow,
    pull_request: Option<i64>,
    tag: Option<String>,
    #[sqlx(flatten)]
    repo: RepoRow,
}

#[derive(sqlx::FromRow)]
pub(crate) struct TrustRow {
    origin: String,
    origin_account: Option<String>,
    needs_approval: bool,
    approved_by: Option<String>,
}

impl TrustRow {
    pub(crate) fn into_trust(self) -> Result<Trust, StoreError> {
        Ok(Trust {
            origin: read(&self.origin)?,
            account: self.origin_account,
            needs_approval: self.needs_approval,
            approved_by: self.approved_by,
        })
    }
}

impl BuildRow {
    pub(crate) fn repo_id(&self) -> i64 {
        self.repo.repo_id
    }

    pub(crate) fn into_build(self) -> Result<Build, StoreError> {
        Ok(Build {
            number: BuildNumber(self.number),
            repo: self.repo.into_repo()?,
            status: read::<Status>(&self.status)?,
            event: read::<EventKind>(&self.event)?,
            branch: self.branch,
            commit: self.commit_id,
            message: self.message,
            author: self.author,
            triggered_by: self.triggered_by,
            queued_at: time(self.queued_at)?,
            free_at: time(self.free_at)?,
            started_at: maybe_time(self.started_at)?,
            finished_at: maybe_time(self.finished_at)?,
            reason: self.reason,
            problems: from_json(&self.problems)?,
            retry_of: self.retry_of.map(BuildNumber),
            cancel_requested_at: maybe_time(self.cancel_requested_at)?,
            concurrency: self.concurrency_group.map(|group| Concurrency {
                group,
                limit: self.concurrency_limit as u32,
                cancel_running: self.cancel_running,
            }),
            trust: self.trust.into_trust()?,
            approved_at: maybe_time(self.approved_at)?,
            pull_request: self.pull_request.map(|number| number as u64),
            tag: self.tag,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct JobRow {
    pub(crate) id: i64,
    status: String,
    reason: Option<String>,
    spec: String,
    approved_by: Option<String>,
}

impl JobRow {
    pub(crate) fn into_job(self, attempts: Vec<Attempt>) -> Result<Job, StoreError> {
        Ok(Job {
            id: JobId(self.id),
            status: read(&self.status)?,
            reason: self.reason,
            spec: from_json(&self.spec)?,
            approved_by: self.approved_by,
            attempts,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct AttemptRow {
    pub(crate) id: i64,
    pub(crate) job_id: i64,
    number: i64,
    status: String,
    reason: Option<String>,
    worker: Option<String>,
}

impl AttemptRow {
    pub(crate) fn into_attempt(self, stages: Vec<Stage>) -> Result<Attempt, StoreError> {
        Ok(Attempt {
            id: AttemptId(self.id),
            number: self.number as u32,
            status: read(&self.status)?,
            worker: self.worker,
            reason: self.reason,
            stages,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct StageRow {
    pub(crate) id: i64,
    pub(crate) attempt_id: i64,
    name: String,
    status: String,
    exit_code: Option<i64>,
    started_at: Option<i64>,
    duration_ms: Option<i64>,
    reason: Option<String>,
}

impl StageRow {
    pub(crate) fn into_stage(self, log_bytes: i64) -> Result<Stage, StoreError> {
        Ok(Stage {
            id: StageId(self.id),
            name: self.name,
            status: read(&self.status)?,
            exit_code: self.exit_code.map(|code| code as i32),
            started_at: maybe_time(self.started_at)?,
            duration_ms: self.duration_ms,
            log_bytes,
            reason: self.reason,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct HeldRow {
    attempt_id: i64,
    attempt: i64,
    build: i64,
    job_id: i64,
    worker_id: i64,
}

impl HeldRow {
    pub(crate) fn into_held(self) -> Held {
        Held {
            attempt_id: AttemptId(self.attempt_id),
            attempt: self.attempt as u32,
            build: BuildNumber(self.build),
            job_id: JobId(self.job_id),
            worker: WorkerId(self.worker_id),
        }
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct TokenRow {
    id: i64,
    name: String,
    role: String,
    repos: String,
    created_at: i64,
    expires_at: Option<i64>,
    pub(crate) last_used_at: Option<i64>,
}

impl TokenRow {
    pub(crate) fn into_token(self) -> Result<Token, StoreError> {
        Ok(Token {
            id: TokenId(self.id),
            name: self.name,
            role: read(&self.role)?,
            repos: from_json(&self.repos)?,
            created_at: time(self.created_at)?,
            expires_at: maybe_time(self.expires_at)?,
            last_used_at: maybe_time(self.last_used_at)?,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct EnrolmentRow {
    id: i64,
    labels: String,
    uses: Option<i64>,
    used: i64,
    created_by: String,
    created_at: i64,
    expires_at: Option<i64>,
}

impl EnrolmentRow {
    pub(crate) fn into_enrolment(self) -> Result<Enrolment, StoreError> {
        Ok(Enrolment {
            id: self.id,
            labels: labels(&self.labels)?,
            uses: self.uses.map(|uses| uses as u32),
            used: self.used as u32,
            created_by: self.created_by,
            created_at: time(self.created_at)?,
            expires_at: maybe_time(self.expires_at)?,
        })
    }
}

/// Labels as stored: a map with rising keys, so that equal sets have equal texts.
pub(crate) fn labels(text: &str) -> Result<BTreeMap<String, String>, StoreError> {
    from_json(text)
}
