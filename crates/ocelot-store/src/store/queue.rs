//! What waits for a worker, and who gets it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ocelot_model::build::Change;
use ocelot_model::{BuildNumber, JobId, WorkerId};

use super::{Kind, Store};
use crate::{
    Choose, Claimed, Free, GroupKey, Held, Lease, Lost, Overdue, Pause, Place, StoreError, Waiting, calls,
};

impl Store {
    /// Gives free workers, in this order, the first jobs that they may have, or as `choose` says: leases the newest attempt
    /// of each, takes its row out of the queue, marks job and build as running. All of it is one transaction, so it may be
    /// fewer than could be claimed; none when there is nothing for them.
    pub async fn claim_for(
        &self,
        free: &[Free],
        choose: Choose<'_>,
    ) -> Result<Vec<(WorkerId, Claimed)>, StoreError> {
        each_again!(self, core => core.claim_for(free, choose))
    }

    /// The same for one worker with one free slot.
    pub async fn claim(&self, worker: WorkerId) -> Result<Option<Claimed>, StoreError> {
        each_again!(self, core => core.claim(worker))
    }

    /// From now on no more jobs of one repository run at once than this; `None` for no limit.
    pub fn limit_jobs_per_repo(&self, most: Option<u32>) {
        of_each!(self, core => core.jobs_per_repo.store(most.unwrap_or(0), Ordering::Relaxed));
    }

    /// The worker took the offer.
    pub async fn accept(&self, lease: &Lease) -> Result<(), StoreError> {
        each_again!(self, core => core.accept(lease))
    }

    /// The worker did not take the offer (or did not answer): back to the queue as the same attempt, not before `delay`.
    pub async fn give_back(&self, lease: &Lease, delay: Duration) -> Result<(), StoreError> {
        each_again!(self, core => core.give_back(lease, delay))
    }

    /// Heartbeat: renews what the worker holds, marks it as seen; answers which of `holding` are no longer valid.
    pub async fn renew(
        &self,
        worker: WorkerId,
        holding: &[Lease],
        hard_limit: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        each_again!(self, core => core.renew(worker, holding, hard_limit))
    }

    /// Who holds this lease; [`StoreError::Stale`] when nobody.
    pub async fn check_lease(&self, lease: &Lease) -> Result<Held, StoreError> {
        each!(self, core => core.check_lease(lease).await)
    }

    /// Whether any attempt is with a worker.
    pub async fn any_leases(&self) -> Result<bool, StoreError> {
        each!(self, core => core.any_leases().await)
    }

    /// Leases that ran out.
    pub async fn expired_leases(&self) -> Result<Vec<Lost>, StoreError> {
        each_again!(self, core => core.expired_leases())
    }

    /// Sets all leases to run out no sooner than `grace` from now (after a start).
    pub async fn extend_all_leases(&self, grace: Duration) -> Result<(), StoreError> {
        each_again!(self, core => core.extend_all_leases(grace))
    }

    /// Attempts of this build that workers hold.
    pub async fn held_by_build(&self, number: BuildNumber) -> Result<Vec<Held>, StoreError> {
        each!(self, core => core.held_by_build(number).await)
    }

    /// Attempts that this worker holds, unanswered offers among them.
    pub async fn held_by_worker(&self, worker: WorkerId) -> Result<Vec<Held>, StoreError> {
        each!(self, core => core.held_by_worker(worker).await)
    }

    /// Puts an offer that nobody answered back into the queue. False when it was accepted, or is over.
    pub async fn withdraw_offer(&self, held: &Held) -> Result<bool, StoreError> {
        each_again!(self, core => core.withdraw_offer(held))
    }

    /// Everything that waits, the oldest build first.
    pub async fn list_queue(&self) -> Result<Vec<Place>, StoreError> {
        each!(self, core => core.list_queue().await)
    }

    /// Those of these jobs that wait, the oldest build first.
    pub async fn waiting(&self, jobs: &[JobId]) -> Result<Vec<Waiting>, StoreError> {
        each!(self, core => core.waiting(jobs).await)
    }

    /// How many jobs wait, for whatever reason.
    pub async fn queue_depth(&self) -> Result<u64, StoreError> {
        each!(self, core => core.queue_depth().await)
    }

    /// For how long a job could have been claimed that nobody has claimed yet, at most; zero when there is none.
    pub async fn longest_wait(&self) -> Result<Duration, StoreError> {
        each!(self, core => core.longest_wait().await)
    }

    /// Jobs that could be claimed for longer than this and were not, the longest first, at most `limit`.
    pub async fn overdue_jobs(&self, longest: Duration, limit: u32) -> Result<Vec<Overdue>, StoreError> {
        each!(self, core => core.overdue_jobs(longest, limit).await)
    }

    /// Builds that were queued so long ago, at most `limit`, and wait for nothing but a person's approval.
    pub async fn unapproved_builds(
        &self,
        longest: Duration,
        limit: u32,
    ) -> Result<Vec<BuildNumber>, StoreError> {
        each!(self, core => core.unapproved_builds(longest, limit).await)
    }

    /// Gives places in a group to builds that wait for one and cancels those that must make room, as
    /// `ocelot_model::concurrency` says; answers what changed.
    pub async fn settle_group(
        &self,
        group: &GroupKey,
    ) -> Result<Vec<(BuildNumber, Vec<Change>)>, StoreError> {
        each_again!(self, core => core.settle_group(group))
    }

    /// The groups in which a build waits for a place.
    pub async fn waiting_groups(&self) -> Result<Vec<GroupKey>, StoreError> {
        each!(self, core => core.waiting_groups().await)
    }

    /// No job can be claimed from now on, on any server. Running ones go on.
    pub async fn pause(&self, by: &str, reason: Option<&str>) -> Result<Pause, StoreError> {
        each_again!(self, core => core.pause(by, reason))
    }

    /// Jobs can be claimed again.
    pub async fn unpause(&self, by: &str) -> Result<(), StoreError> {
        each_again!(self, core => core.unpause(by))
    }

    /// Whether jobs can be claimed, and if not, who wants it so.
    pub async fn paused(&self) -> Result<Option<Pause>, StoreError> {
        each!(self, core => core.paused().await)
    }
}
