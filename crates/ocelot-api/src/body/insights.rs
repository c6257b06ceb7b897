//! What earlier builds say about one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What earlier builds say about this one.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Insights {
    /// Its number.
    pub number: i64,
    /// How long it takes as a rule, from its first job's start to its last job's end: the middle of the last 20 passed builds of
    /// the branch, along the longest way through its jobs. Null when it is over, or a job never passed.
    pub expected_ms: Option<i64>,
    /// When it may be over; null also when it waits for something that no clock knows.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expected_at: Option<Timestamp>,
    /// Between which builds its branch broke; null when it is not broken.
    pub broken_since: Option<BrokenSince>,
    /// What is new in the logs of its failed stages, at most 10 of them.
    pub stages: Vec<NewLines>,
}

/// Between which builds of a branch something broke.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BrokenSince {
    /// The newest one before that passed; null when none of the last 200 did.
    pub last_good: Option<BuildRef>,
    /// The first one after it that did not: the fault came with its commit, or one between the two.
    pub first_bad: BuildRef,
    /// How many did not, from that one up to this one.
    pub builds: u32,
}

/// A build and its commit.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BuildRef {
    /// Number.
    pub number: i64,
    /// Whole commit id.
    pub commit: String,
}

/// The lines of a failed stage's log whose shape no passed run of the stage had.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NewLines {
    /// Name of its job.
    pub job: String,
    /// Its name.
    pub stage: String,
    /// Its id.
    pub id: i64,
    /// Passed runs that it was compared with, at most 20. With none, only lines that tell of a fault are listed.
    pub compared_with: u32,
    /// New shapes in all.
    pub total: u64,
    /// At most 20 of them, those that say most about the fault first.
    pub lines: Vec<NewLine>,
}

/// One of them.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NewLine {
    /// Number of the line in the log, from 1.
    pub line: u64,
    /// Bytes before it.
    pub offset: u64,
    /// Lines of the log that have its shape.
    pub count: u64,
    /// Its first 500 characters, without colours.
    pub text: String,
}
