//! What made a build.

use serde::{Deserialize, Serialize};

/// Why a build exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Commits arrived on a branch.
    Push,
    /// A pull request was opened or changed.
    PullRequest,
    /// A tag was made.
    Tag,
    /// A poll found a new commit.
    Poll,
    /// A schedule came due.
    Schedule,
    /// A person asked for it.
    Manual,
    /// A build of another repository passed.
    Subscription,
    /// An earlier build is done again.
    Retry,
}

impl EventKind {
    /// All there are.
    pub const ALL: [EventKind; 8] = [
        EventKind::Push,
        EventKind::PullRequest,
        EventKind::Tag,
        EventKind::Poll,
        EventKind::Schedule,
        EventKind::Manual,
        EventKind::Subscription,
        EventKind::Retry,
    ];

    /// The word for it, as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventKind::Push => "push",
            EventKind::PullRequest => "pull_request",
            EventKind::Tag => "tag",
            EventKind::Poll => "poll",
            EventKind::Schedule => "schedule",
            EventKind::Manual => "manual",
            EventKind::Subscription => "subscription",
            EventKind::Retry => "retry",
        }
    }
}

impl std::fmt::Display for EventKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is no event.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no event; one of push, pull_request, tag, poll, schedule, manual, subscription, retry")]
pub struct UnknownEvent(pub String);

impl std::str::FromStr for EventKind {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        EventKind::ALL.into_iter().find(|e| e.as_str() == text).ok_or_else(|| UnknownEvent(text.to_owned()))
    }
}
