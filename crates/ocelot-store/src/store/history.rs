//! What is kept of builds that are over, and for how long.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use ocelot_model::novel::Novel;
use ocelot_model::tally::Tally;
use ocelot_model::{BuildNumber, RepoId, StageId};

use super::{Kind, Store};
use crate::{Apart, BrokenSince, Compared, Counted, Looked, Mended, Parts, Periods, StoreError, calls};

impl Store {
    /// Hours are told apart for so long; days and weeks for as long as the repository is there.
    pub const HOURS_KEPT: Duration = Duration::from_hours(35 * 24);

    /// Whether builds ended that are not counted yet.
    pub async fn has_uncounted(&self) -> Result<bool, StoreError> {
        each!(self, core => core.has_uncounted().await)
    }

    /// Counts up to `limit` builds that ended, fewer when they are large; answers how many.
    pub async fn count_builds(&self, limit: u32) -> Result<usize, StoreError> {
        each_again!(self, core => core.count_builds(limit))
    }

    /// Forgets up to `limit` hours that are older than [`Store::HOURS_KEPT`]; answers how many.
    pub async fn drop_hours(&self, limit: u32) -> Result<usize, StoreError> {
        each_again!(self, core => core.drop_hours(limit))
    }

    /// How those of each period ended; a period without any is not there. Builds are counted some seconds after their end.
    pub async fn count_by_period(
        &self,
        what: &Counted,
        periods: Periods,
    ) -> Result<BTreeMap<i64, Tally>, StoreError> {
        each!(self, core => core.count_by_period(what, periods).await)
    }

    /// How those of whole days ended, one by one; at most about a thousand.
    pub async fn count_apart(
        &self,
        what: &Counted,
        apart: Apart,
        from_day: i64,
        to_day: i64,
    ) -> Result<Parts, StoreError> {
        each!(self, core => core.count_apart(what, apart, from_day, to_day).await)
    }

    /// Learns the shapes of a passed stage's log; the 20 newest runs of each stage are kept. What comes from elsewhere teaches
    /// nothing, also when somebody approved of it.
    pub async fn learn_shapes(&self, stage: StageId, shapes: &[u64]) -> Result<(), StoreError> {
        each_again!(self, core => core.learn_shapes(stage, shapes))
    }

    /// The shapes of the last 20 passed runs of this stage before its build, and how many runs that were.
    pub async fn known_shapes(&self, stage: StageId) -> Result<(HashSet<u64>, u32), StoreError> {
        each!(self, core => core.known_shapes(stage).await)
    }

    /// Keeps what is new in a failed stage's log; the first word stays.
    pub async fn keep_novel(&self, stage: StageId, novel: &Novel, compared: u32) -> Result<(), StoreError> {
        each_again!(self, core => core.keep_novel(stage, novel, compared))
    }

    /// What was kept.
    pub async fn find_novel(&self, stage: StageId) -> Result<Option<Compared>, StoreError> {
        each!(self, core => core.find_novel(stage).await)
    }

    /// How long the jobs of the newest passed builds of the repository's own commits took (at most 20 builds), by name, newest
    /// first, in milliseconds; of one branch or of all.
    pub async fn usual_times(
        &self,
        repo: RepoId,
        branch: Option<&str>,
    ) -> Result<BTreeMap<String, Vec<i64>>, StoreError> {
        each!(self, core => core.usual_times(repo, branch).await)
    }

    /// Since which build this one's branch, tag or pull request is broken; `None` when it is not. A retry is what it does again.
    pub async fn broken_since(&self, number: BuildNumber) -> Result<Option<BrokenSince>, StoreError> {
        each!(self, core => core.broken_since(number).await)
    }

    /// Takes the turn at work that is done every so often, by whichever server comes first. `None` when it is not due
    /// yet; else how long ago some server last did it.
    pub async fn take_turn(&self, work: &str, every: Duration) -> Result<Option<Duration>, StoreError> {
        each_again!(self, core => core.take_turn(work, every))
    }

    /// Takes up work that only one server does at a time; false while another one is at it. It is free again after `at_most`,
    /// or with [`Store::end_alone`].
    pub async fn begin_alone(&self, what: &str, at_most: Duration) -> Result<bool, StoreError> {
        each_again!(self, core => core.begin_alone(what, at_most))
    }

    /// The work is done.
    pub async fn end_alone(&self, what: &str) -> Result<(), StoreError> {
        each!(self, core => core.end_alone(what).await)
    }

    /// Leaves `note` in the place of the logs of up to `limit` builds that ended before this time; answers of how many.
    pub async fn expire_logs(&self, before: Timestamp, note: &str, limit: u32) -> Result<usize, StoreError> {
        each_again!(self, calls::LONG, core => core.expire_logs(before, note, limit))
    }

    /// Looks at up to `limit` builds that ended before this time, those that ended first first, and removes each one that is
    /// not among the last `keep_last` of its branch. Answers where to go on; `None` at the end.
    pub async fn expire_builds(
        &self,
        before: Timestamp,
        keep_last: u32,
        after: Option<Looked>,
        limit: u32,
    ) -> Result<Option<Looked>, StoreError> {
        each_again!(self, calls::LONG, core => core.expire_builds(before, keep_last, after, limit))
    }

    /// Builds that nothing would ever end, the oldest first, at most `limit`.
    pub async fn orphans(&self, limit: u32) -> Result<Vec<BuildNumber>, StoreError> {
        each!(self, core => core.orphans(limit).await)
    }

    /// Brings the rows of a build together again: what nobody holds is lost, what waits nowhere waits again, and what
    /// follows is done. Of a build that is whole it changes nothing.
    pub async fn mend(&self, number: BuildNumber) -> Result<Mended, StoreError> {
        each_again!(self, core => core.mend(number))
    }
}
