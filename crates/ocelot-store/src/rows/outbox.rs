//! What others are told.

use jiff::Timestamp;
use ocelot_model::notify::Medium;
use ocelot_model::{BuildNumber, JobId, RepoId, StageId, Status, WorkerId};

use super::Repo;

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
