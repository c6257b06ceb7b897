//! What the audit holds: changes of settings, approvals, the use of secrets, tokens.

use serde::{Deserialize, Serialize};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditAction {
    /// A token was made.
    TokenCreated,
    /// A token was ended.
    TokenRevoked,
    /// A token for workers was made.
    WorkerTokenCreated,
    /// A token for workers was ended.
    WorkerTokenRevoked,
    /// A worker gets no more jobs.
    WorkerDrained,
    /// It gets jobs again.
    WorkerResumed,
    /// A worker was removed.
    WorkerRemoved,
    /// A forge was added.
    ForgeAdded,
    /// A forge got other credentials.
    ForgeChanged,
    /// A forge was removed.
    ForgeRemoved,
    /// A repository was added.
    RepoAdded,
    /// A setting of a repository was changed.
    RepoChanged,
    /// A repository was removed.
    RepoRemoved,
    /// Its forge sends webhooks.
    RepoWatched,
    /// Its forge sends none any more.
    RepoUnwatched,
    /// A poll was added.
    PollAdded,
    /// A poll was ended.
    PollRemoved,
    /// A schedule was added.
    ScheduleAdded,
    /// A schedule was ended.
    ScheduleRemoved,
    /// No more jobs are handed out.
    Paused,
    /// Jobs are handed out again.
    Unpaused,
    /// A commit, or a job, was let start.
    BuildApproved,
    /// A log was deleted.
    LogDeleted,
    /// A secret or credential was added or changed.
    SecretKept,
    /// One was removed.
    SecretRemoved,
    /// A job got secrets.
    SecretsUsed,
    /// All secrets were sealed with a new key.
    KeyRotated,
    /// All secrets were forgotten, because their key was lost.
    KeyReset,
    /// A test was sent to those who are told of builds.
    NotifyTested,
    /// A webhook with a right secret was refused.
    WebhookRefused,
}

impl AuditAction {
    /// All there are.
    pub const ALL: [AuditAction; 30] = [
        AuditAction::TokenCreated,
        AuditAction::TokenRevoked,
        AuditAction::WorkerTokenCreated,
        AuditAction::WorkerTokenRevoked,
        AuditAction::WorkerDrained,
        AuditAction::WorkerResumed,
        AuditAction::WorkerRemoved,
        AuditAction::ForgeAdded,
        AuditAction::ForgeChanged,
        AuditAction::ForgeRemoved,
        AuditAction::RepoAdded,
        AuditAction::RepoChanged,
        AuditAction::RepoRemoved,
        AuditAction::RepoWatched,
        AuditAction::RepoUnwatched,
        AuditAction::PollAdded,
        AuditAction::PollRemoved,
        AuditAction::ScheduleAdded,
        AuditAction::ScheduleRemoved,
        AuditAction::Paused,
        AuditAction::Unpaused,
        AuditAction::BuildApproved,
        AuditAction::LogDeleted,
        AuditAction::SecretKept,
        AuditAction::SecretRemoved,
        AuditAction::SecretsUsed,
        AuditAction::KeyRotated,
        AuditAction::KeyReset,
        AuditAction::NotifyTested,
        AuditAction::WebhookRefused,
    ];

    /// The word for it, as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            AuditAction::TokenCreated => "token_created",
            AuditAction::TokenRevoked => "token_revoked",
            AuditAction::WorkerTokenCreated => "worker_token_created",
            AuditAction::WorkerTokenRevoked => "worker_token_revoked",
            AuditAction::WorkerDrained => "worker_drained",
            AuditAction::WorkerResumed => "worker_resumed",
            AuditAction::WorkerRemoved => "worker_removed",
            AuditAction::ForgeAdded => "forge_added",
            AuditAction::ForgeChanged => "forge_changed",
            AuditAction::ForgeRemoved => "forge_removed",
            AuditAction::RepoAdded => "repo_added",
            AuditAction::RepoChanged => "repo_changed",
            AuditAction::RepoRemoved => "repo_removed",
            AuditAction::RepoWatched => "repo_watched",
            AuditAction::RepoUnwatched => "repo_unwatched",
            AuditAction::PollAdded => "poll_added",
            AuditAction::PollRemoved => "poll_removed",
            AuditAction::ScheduleAdded => "schedule_added",
            AuditAction::ScheduleRemoved => "schedule_removed",
            AuditAction::Paused => "paused",
            AuditAction::Unpaused => "unpaused",
            AuditAction::BuildApproved => "build_approved",
            AuditAction::LogDeleted => "log_deleted",
            AuditAction::SecretKept => "secret_kept",
            AuditAction::SecretRemoved => "secret_removed",
            AuditAction::SecretsUsed => "secrets_used",
            AuditAction::KeyRotated => "key_rotated",
            AuditAction::KeyReset => "key_reset",
            AuditAction::NotifyTested => "notify_tested",
            AuditAction::WebhookRefused => "webhook_refused",
        }
    }
}

impl std::fmt::Display for AuditAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no action of the audit; one of {words}", words = AuditAction::ALL.map(AuditAction::as_str).join(", "))]
pub struct UnknownAuditAction(pub String);

impl std::str::FromStr for AuditAction {
    type Err = UnknownAuditAction;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = AuditAction::ALL.into_iter().find(|action| action.as_str() == text);
        found.ok_or_else(|| UnknownAuditAction(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for action in AuditAction::ALL {
            assert_eq!(action.as_str().parse(), Ok(action));
        }
        let error = "x".parse::<AuditAction>().unwrap_err().to_string();
        assert!(error.starts_with("`x` is no action of the audit; one of token_created, "), "{error}");
    }
}
