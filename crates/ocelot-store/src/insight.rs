//! What earlier builds say about one, as the store gives it.

use ocelot_model::BuildNumber;
use ocelot_model::novel::Novel;

/// What is new in a failed log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Where the new lines stand.
    pub novel: Novel,
    /// Passed runs that it was compared with.
    pub with: u32,
}

/// A build and its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRef {
    /// Number.
    pub number: BuildNumber,
    /// Whole commit id.
    pub commit: String,
}

/// Between which builds of a branch something broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenSince {
    /// The newest build before that passed; `None` when none did, as far back as one looks (200 builds).
    pub last_good: Option<BuildRef>,
    /// The first one after it that did not.
    pub first_bad: BuildRef,
    /// How many did not, from that one up to the one that was asked about.
    pub builds: u32,
}
