//! Where the commit of a build comes from, and what that allows: whether a person must look at it before anything of it
//! runs, and whether it may ever see a secret.
//!
//! Who may push to a repository is trusted with its secrets; anyone in the world may open a pull request. Nothing here is
//! told by names, only by what the forge's numbers and the repository itself say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::PullRequest;
use crate::pipeline::Job;

/// Where the commit of a build comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A branch or tag of the repository reaches it.
    Repository,
    /// A pull request whose commits come from a branch of the repository itself.
    PullRequest,
    /// A pull request from another repository, or from one that is not known.
    Fork,
    /// No branch and no tag of the repository reaches it: it may be anyone's, whoever asks for it.
    Unreached,
}

impl Origin {
    /// All there are.
    pub const ALL: [Origin; 4] = [Origin::Repository, Origin::PullRequest, Origin::Fork, Origin::Unreached];

    /// Where the commits of this pull request come from.
    pub fn of(pull_request: &PullRequest) -> Origin {
        if pull_request.is_from_fork() { Origin::Fork } else { Origin::PullRequest }
    }

    /// The word for it, as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Origin::Repository => "repository",
            Origin::PullRequest => "pull_request",
            Origin::Fork => "fork",
            Origin::Unreached => "unreached",
        }
    }

    /// True for what only someone who may push to the repository can have made. An approval does not make a commit so.
    pub const fn is_trusted(self) -> bool {
        match self {
            Origin::Repository | Origin::PullRequest => true,
            Origin::Fork | Origin::Unreached => false,
        }
    }

    /// The labels that a worker must have for such a job of a commit from there. What is not the repository's own runs in
    /// containers only; every worker, of the oldest version too, says by itself whether it has them.
    pub fn labels(self, job: &Job) -> BTreeMap<String, String> {
        let mut labels = job.labels.clone();
        if !self.is_trusted() {
            labels.insert("executor".to_owned(), "docker".to_owned());
        }
        labels
    }

    /// What goes first among the jobs of its repository is for those to say who may push to it.
    pub const fn priority(self, job: &Job) -> i32 {
        if self.is_trusted() { job.priority } else { 0 }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is no origin.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no origin; one of repository, pull_request, fork, unreached")]
pub struct UnknownOrigin(pub String);

impl std::str::FromStr for Origin {
    type Err = UnknownOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Origin::ALL.into_iter().find(|o| o.as_str() == text).ok_or_else(|| UnknownOrigin(text.to_owned()))
    }
}

/// Which builds of a repository wait for a person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Approvals {
    /// Those of commits that are not the repository's own.
    #[default]
    Forks,
    /// Those of every pull request, too.
    All,
    /// None. What is not the repository's own gets no secrets all the same.
    None,
}

impl Approvals {
    /// All there are.
    pub const ALL: [Approvals; 3] = [Approvals::Forks, Approvals::All, Approvals::None];

    /// The word for it, as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Approvals::Forks => "forks",
            Approvals::All => "all",
            Approvals::None => "none",
        }
    }

    /// True when a build of a commit from there must not start before a person approved of it.
    pub const fn hold(self, origin: Origin) -> bool {
        match (self, origin) {
            (Approvals::None, _) | (_, Origin::Repository) | (Approvals::Forks, Origin::PullRequest) => false,
            (Approvals::Forks | Approvals::All, Origin::Fork | Origin::Unreached)
            | (Approvals::All, Origin::PullRequest) => true,
        }
    }
}

impl std::fmt::Display for Approvals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is no setting.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` says not who waits for approval; one of forks, all, none")]
pub struct UnknownApprovals(pub String);

impl std::str::FromStr for Approvals {
    type Err = UnknownApprovals;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Approvals::ALL.into_iter();
        all.find(|one| one.as_str() == text).ok_or_else(|| UnknownApprovals(text.to_owned()))
    }
}

/// What is known of a build's commit. A build is of one commit for ever, and so is its approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// Where the commit comes from.
    pub origin: Origin,
    /// Who brought it, as the forge names them, with their number at the forge; for people.
    pub account: Option<String>,
    /// It must not start before a person approved of it. Decided when the build was made: a later change of the
    /// repository's setting changes no build.
    pub needs_approval: bool,
    /// Who approved of it.
    pub approved_by: Option<String>,
}

impl Trust {
    /// A commit of the repository itself.
    pub const fn own() -> Trust {
        Trust { origin: Origin::Repository, account: None, needs_approval: false, approved_by: None }
    }

    /// A commit from there, in a repository with this setting. Nobody has approved of it yet.
    pub fn new(origin: Origin, account: Option<String>, approvals: Approvals) -> Trust {
        Trust { origin, account, needs_approval: approvals.hold(origin), approved_by: None }
    }

    /// The newest commit of this pull request.
    pub fn of(pull_request: &PullRequest, approvals: Approvals) -> Trust {
        let account = pull_request.author.as_ref().map(|author| format!("{} ({})", author.name, author.id));
        Trust::new(Origin::of(pull_request), account, approvals)
    }

    /// Whether anything of the build may run. What hands jobs out asks this and nothing else.
    pub const fn may_start(&self) -> bool {
        !self.needs_approval || self.approved_by.is_some()
    }

    /// Whether its stages may be given secrets and credentials. An approval says that somebody looked at the commit, not that
    /// its author is one of us: what is not the repository's own never gets any. (With what it is cloned, the worker keeps.)
    pub const fn may_have_secrets(&self) -> bool {
        self.origin.is_trusted() && self.may_start()
    }

    /// What it waits for, while it does.
    pub fn waits_for(&self) -> Option<String> {
        (!self.may_start()).then(|| format!("needs approval of {}", self.words()))
    }

    /// The commit in words: `a commit from a fork by mallory`.
    pub fn words(&self) -> String {
        let what = match self.origin {
            Origin::Repository => "a commit of the repository",
            Origin::PullRequest => "a pull request",
            Origin::Fork => "a commit from a fork",
            Origin::Unreached => "a commit that no branch or tag reaches",
        };
        match &self.account {
            Some(account) => format!("{what} by {account}"),
            None => what.to_owned(),
        }
    }

    /// Why a job of the build can never run: a worker without containers gives a job its whole machine.
    pub fn refuses(&self, job: &Job) -> Option<String> {
        let on_host = job.image.is_none() || job.labels.get("executor").is_some_and(|it| it == "host");
        (!self.origin.is_trusted() && on_host).then(|| {
            format!("{} runs in containers only, and this job wants a worker without them", self.words())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which origins wait, in the order of [`Origin::ALL`].
    fn check(setting: Approvals, want: [bool; 4]) {
        assert_eq!(Origin::ALL.map(|origin| setting.hold(origin)), want, "{setting}");
    }

    #[test]
    fn who_waits() {
        check(Approvals::Forks, [false, false, true, true]);
        check(Approvals::All, [false, true, true, true]);
        check(Approvals::None, [false; 4]);
        assert_eq!(Approvals::default(), Approvals::Forks);
    }

    #[test]
    fn secrets_are_for_the_repositorys_own_commits_whatever_is_set_and_approved() {
        for setting in Approvals::ALL {
            for origin in Origin::ALL {
                for approved_by in [None, Some("ann".to_owned())] {
                    let approved = approved_by.is_some();
                    let trust = Trust { approved_by, ..Trust::new(origin, None, setting) };
                    let waits = setting.hold(origin) && !approved;
                    assert_eq!(trust.may_start(), !waits, "{trust:?}");
                    assert_eq!(trust.waits_for().is_some(), waits, "{trust:?}");
                    let own = matches!(origin, Origin::Repository | Origin::PullRequest);
                    assert_eq!(trust.may_have_secrets(), own && !waits, "{trust:?}");
                }
            }
        }
    }

    #[test]
    fn it_says_what_it_waits_for() {
        let waits = |origin, account: Option<&str>| {
            Trust::new(origin, account.map(str::to_owned), Approvals::All).waits_for()
        };
        let by = Some("mallory (666)");
        let want = "needs approval of a commit from a fork by mallory (666)";
        assert_eq!(waits(Origin::Fork, by).as_deref(), Some(want));
        assert_eq!(waits(Origin::Fork, None).as_deref(), Some("needs approval of a commit from a fork"));
        let want = "needs approval of a commit that no branch or tag reaches";
        assert_eq!(waits(Origin::Unreached, None).as_deref(), Some(want));
        assert_eq!(waits(Origin::Repository, by), None);
    }

    #[test]
    fn words_round_trip() {
        for origin in Origin::ALL {
            assert_eq!(origin.as_str().parse(), Ok(origin));
        }
        for setting in Approvals::ALL {
            assert_eq!(setting.as_str().parse(), Ok(setting));
        }
        assert!("".parse::<Approvals>().is_err() && "Fork".parse::<Origin>().is_err());
    }
}
