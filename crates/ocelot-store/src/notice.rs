//! Notifications, as callers of the store see them.

use jiff::Timestamp;
use ocelot_model::notify::Rule;
use ocelot_model::{BuildNumber, RepoName, Status};
use serde::{Deserialize, Serialize};

use crate::PostKind;

/// Who is told of a build, and what about it is news.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Where it goes.
    pub rule: Rule,
    /// How the build before it ended.
    pub before: Option<Status>,
    /// Of a mail that not all could be given: the addresses that have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
}

/// A notification that could not be sent so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingNotice {
    /// The build that it is about.
    pub build: BuildNumber,
    /// Its repository.
    pub repo: RepoName,
    /// What is told of the build.
    pub status: Status,
    /// How it is told.
    pub kind: PostKind,
    /// Where: credential and channel, address or people.
    pub place: String,
    /// Why it failed.
    pub error: String,
    /// How often.
    pub tries: u32,
    /// Since when; `None` when it was taken up again a moment ago.
    pub since: Option<Timestamp>,
    /// When it is tried again; `None` when it was given up.
    pub again_at: Option<Timestamp>,
}
