//! The one status of builds, jobs, attempts and stages.

use serde::{Deserialize, Serialize};

/// Where a build, job, attempt or stage stands. Written in `snake_case` everywhere
/// (SQL, JSON, pages, terminal).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for a person's approval.
    Blocked,
    /// Waits for a worker, or for the jobs that it needs.
    Queued,
    /// A worker has it.
    Running,
    /// Done, and the script said yes.
    Passed,
    /// Done, and the script said no.
    Failed,
    /// Infrastructure or configuration was at fault; there is a reason.
    Error,
    /// It took longer than allowed.
    TimedOut,
    /// Someone, or a newer push, stopped it.
    Cancelled,
    /// A rule said that it need not run.
    Skipped,
}

impl Status {
    /// All statuses, in the order of a life.
    pub const ALL: [Status; 9] = [
        Status::Blocked,
        Status::Queued,
        Status::Running,
        Status::Passed,
        Status::Failed,
        Status::Error,
        Status::TimedOut,
        Status::Cancelled,
        Status::Skipped,
    ];

    /// The word for it, as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Blocked => "blocked",
            Status::Queued => "queued",
            Status::Running => "running",
            Status::Passed => "passed",
            Status::Failed => "failed",
            Status::Error => "error",
            Status::TimedOut => "timed_out",
            Status::Cancelled => "cancelled",
            Status::Skipped => "skipped",
        }
    }

    /// True when nothing will change it any more.
    pub const fn is_terminal(self) -> bool {
        match self {
            Status::Blocked | Status::Queued | Status::Running => false,
            Status::Passed
            | Status::Failed
            | Status::Error
            | Status::TimedOut
            | Status::Cancelled
            | Status::Skipped => true,
        }
    }

    /// True for `passed` and `skipped`: what comes after may go on.
    pub const fn is_good(self) -> bool {
        matches!(self, Status::Passed | Status::Skipped)
    }

    /// True when `next` may follow `self`. A terminal status never changes; a running attempt's
    /// job may go back to `queued` for its next attempt, and a build of which nothing is left but what waits for a person is
    /// `blocked`.
    pub const fn may_become(self, next: Status) -> bool {
        match (self, next) {
            (Status::Blocked, Status::Queued | Status::Running)
            | (Status::Queued, Status::Running | Status::Blocked)
            | (Status::Running, Status::Queued | Status::Blocked) => true,
            (Status::Blocked | Status::Queued | Status::Running, next) => next.is_terminal(),
            _ => false,
        }
    }

    /// How bad a terminal status is for the whole: error > timed_out > failed > cancelled > passed.
    pub(crate) const fn severity(self) -> u8 {
        match self {
            Status::Error => 5,
            Status::TimedOut => 4,
            Status::Failed => 3,
            Status::Cancelled => 2,
            Status::Passed => 1,
            Status::Skipped | Status::Blocked | Status::Queued | Status::Running => 0,
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is no status.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is no status; one of blocked, queued, running, passed, failed, error, timed_out, cancelled, skipped"
)]
pub struct UnknownStatus(pub String);

impl std::str::FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Status::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| UnknownStatus(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
    }

    #[test]
    fn a_terminal_status_never_changes() {
        for from in Status::ALL.into_iter().filter(|s| s.is_terminal()) {
            for to in Status::ALL {
                assert!(!from.may_become(to), "{from} -> {to}");
            }
        }
    }
}
