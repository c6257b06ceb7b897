//! Tokens, enrolments and workers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ocelot_model::access::Role;
use ocelot_model::{TokenId, WorkerId};

use super::{Held, Repo};

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
