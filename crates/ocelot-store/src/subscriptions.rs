//! Builds that follow builds of other repositories, as the store gives and takes them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ocelot_model::notify::Rule;
use ocelot_model::subscription::Refused;
use ocelot_model::{BuildNumber, RepoId, Status, pipeline};

use crate::Repo;

/// How often what stands beside the builds in a repository's file was looked at, and whether anything stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Builds of the default branch so far.
    pub builds: i64,
    /// How often the file was taken so far.
    pub changes: i64,
    /// The repository has no schedules and no subscriptions from its file.
    pub nothing: bool,
}

/// What the newest file of the default branch says beside its builds. It is written with the build;
/// [`crate::StoreError::Overtaken`], and no build, when another build came in between: then it must be looked again which
/// commit is the newest.
#[derive(Debug, Clone)]
pub struct Beside {
    /// As it was before it was looked which commit is the newest.
    pub seen: Seen,
    /// What takes the place of what there is; `None`: there was nothing, and the file says nothing.
    pub file: Option<FromFile>,
}

/// What a file says beside the build.
#[derive(Debug, Clone, Default)]
pub struct FromFile {
    /// When branches are built.
    pub schedules: Vec<pipeline::Schedule>,
    /// After whom branches are built.
    pub subscriptions: Vec<pipeline::Subscription>,
    /// Who is told of builds that have no file of their own that counts.
    pub notify: Vec<Rule>,
}

/// A repository that is built after another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Id.
    pub id: i64,
    /// Who is built.
    pub repo: Repo,
    /// What it is called there.
    pub alias: String,
    /// Handle of the one after whom; it need not be here.
    pub upstream: String,
    /// Branch there to branch here.
    pub branches: BTreeMap<String, String>,
    /// Why it is not in force.
    pub refused: Option<Refused>,
    /// The build whose file says so.
    pub stored_by: BuildNumber,
    /// When it last came to something.
    pub last_at: Option<Timestamp>,
    /// What that was, in words.
    pub outcome: Option<String>,
}

/// A build passed, and another one is to follow it.
#[derive(Debug, Clone)]
pub struct Pass {
    /// Who is built.
    pub repo: Repo,
    /// Alias of the subscription.
    pub alias: String,
    /// Which branch is built.
    pub branch: String,
    /// The build that passed; by the time that one follows it may be a newer one.
    pub upstream: BuildNumber,
    /// How often it was tried.
    pub tries: u32,
}

/// A pass that this server works on; another one may, when nothing is heard of it for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassTurn {
    /// Id of the pass.
    pub(crate) id: i64,
    /// How often it was taken: what makes it this server's.
    pub(crate) tries: i64,
}

/// What a pass comes to when builds that follow an earlier one have not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// This one, of the same commit, follows the newer one now, or one of any commit follows something newer already: no
    /// further build is needed.
    Taken(BuildNumber),
    /// These are of other commits, and not needed once there is a new one.
    Outdated(Vec<BuildNumber>),
}

/// The build that a build follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its number.
    pub build: BuildNumber,
    /// It is not here any more, as old builds are not.
    pub removed: bool,
    /// Its repository. It may be gone.
    pub repo: RepoId,
    /// Alias of the subscription.
    pub alias: String,
    /// Its branch.
    pub branch: String,
    /// Its commit.
    pub commit: String,
}

/// A build that follows a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downstream {
    /// Its number.
    pub build: BuildNumber,
    /// Its repository.
    pub repo: Repo,
    /// Its branch.
    pub branch: String,
    /// How it stands.
    pub status: Status,
}
