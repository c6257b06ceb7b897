//! What forges tell, and what made a build.

use serde::{Deserialize, Serialize};

use crate::forge::{Account, RemoteName};

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

/// What a forge told, the same for all of them. `message`, `title` and names hold no control characters and are
/// cut; names of branches and tags are what the forge sent: data, never part of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Branches or tags were made, moved or deleted.
    Push(Push),
    /// Something happened to a pull request.
    PullRequest(Box<PullRequestEvent>),
    /// The merge queue wants to know about a commit, or no longer does.
    MergeGroup(MergeGroup),
    /// The forge tries the webhook; of an organisation's webhook it names no repository.
    Ping(Option<RemoteName>),
    /// Nothing that builds anything, and why.
    Ignored(String),
}

impl Event {
    /// The repository that it is about.
    pub fn repo(&self) -> Option<&RemoteName> {
        match self {
            Event::Push(push) => Some(&push.repo),
            Event::PullRequest(event) => Some(&event.pull_request.target),
            Event::MergeGroup(group) => Some(&group.repo),
            Event::Ping(repo) => repo.as_ref(),
            Event::Ignored(_) => None,
        }
    }
}

/// One push; it may move several branches and tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// Where it went.
    pub repo: RemoteName,
    /// Who pushed; `None` when the forge did not say with an id.
    pub sender: Option<Account>,
    /// In the forge's order; never empty.
    pub changes: Vec<RefChange>,
}

/// What happened to one branch or tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefChange {
    /// Which one.
    pub name: RefName,
    /// What happened.
    pub change: Change,
    /// Message of the newest commit; `None` when it is gone or the forge did not say.
    pub message: Option<String>,
    /// Who wrote the newest commit, as git says: to be shown and no more.
    pub author: Option<String>,
}

/// A branch or a tag, without `refs/heads/` or `refs/tags/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefName {
    /// A branch.
    Branch(String),
    /// A tag.
    Tag(String),
}

/// From where to where. For a tag `after` is the commit that it marks, where the forge says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was not there before.
    Created {
        /// Where it is now.
        after: CommitId,
    },
    /// It was moved, forwards or by force.
    Moved {
        /// Where it was.
        before: CommitId,
        /// Where it is now.
        after: CommitId,
    },
    /// It is gone.
    Deleted {
        /// Where it was; Gitea does not say it of branches.
        before: Option<CommitId>,
    },
}

/// What happened to a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequestEvent {
    /// What happened.
    pub action: PullRequestAction,
    /// Who did it; `None` when the forge did not say with an id.
    pub sender: Option<Account>,
    /// The newest commit before the update, where the forge says so.
    pub before: Option<CommitId>,
    /// How the pull request is now.
    pub pull_request: PullRequest,
}

/// See [`PullRequestEvent`]. Bitbucket says [`Updated`](PullRequestAction::Updated) for new commits, another target and
/// another title alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullRequestAction {
    /// It is new.
    Opened,
    /// It has other commits.
    Updated,
    /// It is open again.
    Reopened,
    /// It is to be merged into another branch.
    Retargeted,
    /// It has another title.
    TitleEdited,
    /// It was merged.
    Merged,
    /// It was closed without a merge.
    Closed,
}

/// A pull request (a merge request on GitLab).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// Its number in the target repository.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Nobody is asked to merge it yet.
    pub draft: bool,
    /// Who opened it; `None` when the forge did not say with an id.
    pub author: Option<Account>,
    /// Where its commits come from; `None` when that repository is gone or not told.
    pub source: Option<RemoteName>,
    /// The branch there.
    pub source_branch: String,
    /// Its newest commit.
    pub commit: CommitId,
    /// Where it is to be merged.
    pub target: RemoteName,
    /// The branch there.
    pub target_branch: String,
    /// When it was changed last, in the forge's words; empty when the forge did not say. Only to tell two events apart.
    pub updated: String,
}

impl PullRequest {
    /// True unless the forge's ids say that its commits come from the target repository itself.
    pub fn is_from_fork(&self) -> bool {
        match (self.source.as_ref().and_then(|source| source.id.as_ref()), &self.target.id) {
            (Some(source), Some(target)) => source != target,
            (None, _) | (_, None) => true,
        }
    }
}

/// A merge queue's question (GitHub).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeGroup {
    /// Where it is to be merged.
    pub repo: RemoteName,
    /// Who put it into the queue; `None` when the forge did not say with an id.
    pub sender: Option<Account>,
    /// The question stands; `false`: it was answered or taken back.
    pub wanted: bool,
    /// The queue's own branch.
    pub branch: String,
    /// The commit that would be merged.
    pub commit: CommitId,
    /// The branch that it would be merged into.
    pub target_branch: String,
    /// Message of the commit.
    pub message: Option<String>,
}

/// The id of a commit, in small hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommitId {
    /// 40 or 64 digits.
    Whole(String),
    /// The first 7 to 39 digits: the forge must be asked for the rest (Bitbucket's pull requests).
    Short(String),
}

impl CommitId {
    /// `None` when the text is no id and no beginning of one.
    pub fn new(text: &str) -> Option<CommitId> {
        if is_commit(text) {
            return Some(CommitId::Whole(text.to_owned()));
        }
        ((7..40).contains(&text.len()) && is_hex(text)).then(|| CommitId::Short(text.to_owned()))
    }

    /// What is known of it.
    pub fn as_str(&self) -> &str {
        match self {
            CommitId::Whole(text) | CommitId::Short(text) => text,
        }
    }
}

/// True for a whole commit id: 40 or 64 hexadecimal digits, small letters.
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forge::RemoteId;

    fn repo(id: Option<u64>) -> RemoteName {
        RemoteName { id: id.map(RemoteId::from), full_name: "acme/app".into() }
    }

    fn check(source: Option<RemoteName>, target: Option<u64>, is_fork: bool) {
        let pull_request = PullRequest {
            number: 1,
            title: String::new(),
            draft: false,
            author: None,
            source,
            source_branch: "topic".into(),
            commit: CommitId::Whole("a".repeat(40)),
            target: repo(target),
            target_branch: "main".into(),
            updated: String::new(),
        };
        assert_eq!(pull_request.is_from_fork(), is_fork, "{pull_request:?}");
    }

    #[test]
    fn what_is_not_known_to_be_our_own_is_a_fork() {
        check(Some(repo(Some(1))), Some(1), false);
        check(Some(repo(Some(2))), Some(1), true);
        check(Some(repo(None)), Some(1), true);
        check(None, Some(1), true);
        check(Some(repo(Some(1))), None, true);
        // Equal names are no reason.
        check(Some(repo(None)), None, true);
    }

    #[test]
    fn ids_of_commits() {
        let id = |text: &str| CommitId::new(text);
        assert_eq!(id(&"a".repeat(40)), Some(CommitId::Whole("a".repeat(40))));
        assert_eq!(id(&"0".repeat(64)), Some(CommitId::Whole("0".repeat(64))));
        assert_eq!(id("906a8969084b"), Some(CommitId::Short("906a8969084b".into())));
        for text in ["", "abc123", &"A".repeat(40), &"g".repeat(12), &"a".repeat(41), "main", "--upload"] {
            assert_eq!(id(text), None, "{text:?}");
        }
    }
}
