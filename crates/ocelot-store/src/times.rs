//! What comes round: polls and schedules, as the store gives and takes them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ocelot_model::RepoId;

use crate::Repo;

/// Branch to commit.
pub type Heads = BTreeMap<String, String>;

/// A repository that is looked at from time to time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// Id.
    pub id: i64,
    /// Which repository.
    pub repo: Repo,
    /// Expression of cron.
    pub cron: String,
    /// Name of a time zone.
    pub time_zone: String,
    /// Branches, as in `branches` of `ocelot.yml`; empty for all.
    pub branches: Vec<String>,
    /// How the branches were at the last look; `None` before the first one.
    pub heads: Option<Heads>,
    /// When it comes round.
    pub next_at: Timestamp,
    /// The last look.
    pub last_at: Option<Timestamp>,
    /// What came of it, in words.
    pub outcome: Option<String>,
    /// Who wants it.
    pub created_by: String,
}

/// A time at which a branch is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Id.
    pub id: i64,
    /// Which repository.
    pub repo: Repo,
    /// It stands in the file of the default branch.
    pub from_file: bool,
    /// Expression of cron.
    pub cron: String,
    /// Name of a time zone.
    pub time_zone: String,
    /// Which branch; `None` for the default branch.
    pub branch: Option<String>,
    /// When it comes round.
    pub next_at: Timestamp,
    /// When it came last.
    pub last_at: Option<Timestamp>,
    /// What came of it, in words.
    pub outcome: Option<String>,
    /// Who wants it.
    pub created_by: String,
}

/// A poll or schedule to add.
#[derive(Debug, Clone)]
pub struct NewTimes<'a> {
    /// Which repository.
    pub repo: RepoId,
    /// When.
    pub cron: &'a ocelot_model::cron::Cron,
    /// Who wants it.
    pub by: &'a str,
}

/// A poll or schedule that has come round, and that this server has for itself for a while. When nothing is heard of it
/// until then, it comes round again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Id of the poll or schedule.
    pub id: i64,
    /// Until when, as stored: what makes it this server's.
    pub(crate) until: i64,
}

/// What a build came of, to be settled in its own transaction: so there is one build for it, and no more.
#[derive(Debug, Clone)]
pub enum Due {
    /// A schedule came round.
    Schedule(Turn),
    /// A poll found a branch elsewhere than before.
    Poll {
        /// Whose turn it is.
        turn: Turn,
        /// Where the branch was; `None` when it is new.
        before: Option<String>,
    },
    /// A build of another repository passed.
    Pass(crate::PassTurn),
}

/// What is known to be at a forge; `None` before the first look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Branches.
    pub heads: Option<Heads>,
    /// Open pull requests, by number. A closed one is not there.
    pub pulls: Option<BTreeMap<u64, Pull>>,
    /// When the last look began that saw all of them.
    pub pulls_at: Option<Timestamp>,
    /// From when on what was told of a pull request is about what becomes of it now. Of one that is open as it is here: when
    /// that was told. Of one that was closed: the last look that saw it open. Of any other, all is.
    pub pulls_since: BTreeMap<u64, Timestamp>,
}

/// How an open pull request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Its newest commit; of some forges only the beginning.
    pub commit: String,
    /// The branch that it goes to; `None` when a version that did not ask for it looked last.
    pub target: Option<String>,
}

/// What came of the last look whether a forge told of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciled {
    /// When that was.
    pub last_at: Option<Timestamp>,
    /// In words.
    pub outcome: Option<String>,
}

/// What a commit is the newest one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A branch of the repository itself.
    Branch(&'a str),
    /// A pull request.
    PullRequest {
        /// Its number.
        number: u64,
        /// The branch that it goes to.
        target: &'a str,
        /// What was told before is of no interest.
        since: Option<Timestamp>,
    },
}
