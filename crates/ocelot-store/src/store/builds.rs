//! Builds, their stages, and who approves of them.

use ocelot_model::build::{Change, Happening};
use ocelot_model::{BuildNumber, RepoId, StageId};
use secrecy::SecretString;

use super::{Kind, Store};
use crate::{
    Build, BuildDetail, BuildFilter, BuildPage, Exported, Lease, Looked, NewBuild, PastJob, PastStage, Stage,
    StageUpdate, StoreError, calls,
};

impl Store {
    /// Makes a build with its jobs, first attempts, stages and queue rows in one transaction.
    pub async fn create_build(&self, build: &NewBuild) -> Result<BuildDetail, StoreError> {
        each_again!(self, core => core.create_build(build))
    }

    /// Without its jobs.
    pub async fn find_build(&self, number: BuildNumber) -> Result<Option<Build>, StoreError> {
        each!(self, core => core.find_build(number).await)
    }

    /// With its jobs, attempts and stages.
    pub async fn find_build_detail(&self, number: BuildNumber) -> Result<Option<BuildDetail>, StoreError> {
        each!(self, core => core.find_build_detail(number).await)
    }

    /// A word for what stands in the database (logs left out on `SQLite`): as long as it is the same, every read answers the same.
    /// `None` while that cannot be said.
    pub async fn state(&self) -> Result<Option<String>, StoreError> {
        each!(self, core => core.state().await)
    }

    /// Newest first, at most `limit`; looks at no more builds than can be looked at quickly.
    pub async fn page_builds(&self, filter: &BuildFilter, limit: u32) -> Result<BuildPage, StoreError> {
        each!(self, core => core.page_builds(filter, limit).await)
    }

    /// Newest first, all or `limit`, however many have to be looked at.
    pub async fn list_builds(&self, filter: &BuildFilter, limit: u32) -> Result<Vec<Build>, StoreError> {
        each!(self, core => core.list_builds(filter, limit).await)
    }

    /// Build and repository of a stage.
    pub async fn find_stage(&self, id: StageId) -> Result<Option<(Build, Stage)>, StoreError> {
        each!(self, core => core.find_stage(id).await)
    }

    /// The one way a build changes: loads its picture, applies `what` with `ocelot_model::build::advance`, writes the
    /// changes, events and queue rows, all in one transaction. `CancelRequested` also sets `cancel_requested_at`.
    /// [`StoreError::Stale`] when the attempt is over.
    pub async fn advance(&self, number: BuildNumber, what: Happening) -> Result<Vec<Change>, StoreError> {
        each_again!(self, core => core.advance(number, what.clone()))
    }

    /// Lets a build start whose commit waits for a person; or one of its jobs that does by its name; or, when its commit
    /// needs no approval, all such jobs. Of what somebody approved of before nothing changes; [`StoreError::Conflict`] when
    /// it waits for no approval, or is over.
    pub async fn approve(
        &self,
        number: BuildNumber,
        job: Option<&str>,
        by: &str,
    ) -> Result<Vec<Change>, StoreError> {
        each_again!(self, core => core.approve(number, job, by))
    }

    /// A worker's word on a stage; the same twice is fine, a terminal stage never changes. Answers for how many
    /// milliseconds the stage ran when it is this word that ended it.
    pub async fn set_stage(&self, lease: &Lease, update: &StageUpdate) -> Result<Option<i64>, StoreError> {
        each_again!(self, core => core.set_stage(lease, update))
    }

    /// The key with which everyone sees the badge of a repository; made when there is none, and another one with `renew`.
    pub async fn make_badge_key(
        &self,
        repo: RepoId,
        renew: bool,
        by: &str,
    ) -> Result<SecretString, StoreError> {
        each_again!(self, core => core.make_badge_key(repo, renew, by))
    }

    /// That key, if there is one.
    pub async fn find_badge_key(&self, repo: RepoId) -> Result<Option<SecretString>, StoreError> {
        each!(self, core => core.find_badge_key(repo).await)
    }

    /// Nobody sees the badge with it any more. Twice is fine.
    pub async fn remove_badge_key(&self, repo: RepoId, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.remove_badge_key(repo, by).await)
    }

    /// Writes down what up to `most` blocks of builds have in common, which helps to find builds by time and text; answers of
    /// how many it did.
    pub async fn seal_blocks(&self, most: u32) -> Result<usize, StoreError> {
        each_again!(self, core => core.seal_blocks(most))
    }

    /// Builds that ended, in the order in which they did, behind this one; at most `limit`.
    pub async fn ended_builds(
        &self,
        what: &Exported,
        after: Option<Looked>,
        limit: u32,
    ) -> Result<Vec<Build>, StoreError> {
        each!(self, core => core.ended_builds(what, after, limit).await)
    }

    /// All attempts of these builds, by build, job and number.
    pub async fn past_jobs(&self, builds: &[BuildNumber]) -> Result<Vec<PastJob>, StoreError> {
        each!(self, core => core.past_jobs(builds).await)
    }

    /// The stages of all attempts of these builds, in the same order.
    pub async fn past_stages(&self, builds: &[BuildNumber]) -> Result<Vec<PastStage>, StoreError> {
        each!(self, core => core.past_stages(builds).await)
    }
}
