//! What is asked of the tallies, and what they say.

use ocelot_model::tally::Tally;
use ocelot_model::{Bucket, RepoId};

/// What is counted: builds, or, with a name, jobs or stages.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    /// Of these repositories; `None`: of all.
    pub repos: Option<Vec<RepoId>>,
    /// Of this branch.
    pub branch: Option<String>,
    /// The job of this name, and not whole builds.
    pub job: Option<String>,
    /// The stage of this name in that job.
    pub stage: Option<String>,
}

/// What tallies are kept apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apart {
    /// Repositories.
    Repo,
    /// Branches of a repository.
    Branch,
    /// Jobs.
    Job,
    /// Stages of all jobs, or of the one that is named.
    Stage,
}

/// A tally of one of several things.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Its repository.
    pub repo: RepoId,
    /// Its branch; empty: all.
    pub branch: String,
    /// Its job; empty: whole builds.
    pub job: String,
    /// Its stage; empty: whole jobs.
    pub stage: String,
    /// What was counted.
    pub tally: Tally,
}

/// What was told apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    /// Of each that ended in this time, its tally; those that ended last, when there are very many.
    pub parts: Vec<Part>,
    /// There are others.
    pub more: bool,
}

/// Periods of one length, from the first one to the one behind the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Periods {
    /// How long each is.
    pub bucket: Bucket,
    /// The first.
    pub from: i64,
    /// The one behind the last.
    pub to: i64,
}
