//! What asks for builds: webhooks, looks at forges, polls and schedules.

use std::time::Duration;

use jiff::Timestamp;
use ocelot_model::event::RefName;
use ocelot_model::{BuildNumber, DeliveryId, DeliveryState, RepoId};

use super::{Kind, Store};
use crate::{
    Arrived, Cause, Delivery, DeliveryFilter, Heads, Known, NewBuild, NewDelivery, NewTimes, PartId, Poll,
    Reconciled, Repo, Schedule, StoreError, Subject, TakenDelivery, Told, Turn, calls,
};

impl Store {
    /// Stores a webhook, unless its forge sent it before. The delivery as it is stored, and whether it is new.
    pub async fn take_in(&self, new: &NewDelivery<'_>) -> Result<(Delivery, bool), StoreError> {
        each_again!(self, core => core.take_in(new))
    }

    /// The same of what a look found; [`StoreError::Stale`] when its turn is over, or nobody watches the repository any more.
    pub async fn take_in_found(&self, new: &NewDelivery<'_>, turn: Turn) -> Result<Delivery, StoreError> {
        each_again!(self, core => core.take_in_found(new, turn))
    }

    /// Takes the next delivery that waits, for this long; of a repository only one at a time.
    pub async fn take_delivery(&self, lease: Duration) -> Result<Option<TakenDelivery>, StoreError> {
        each_again!(self, core => core.take_delivery(lease))
    }

    /// Still at it, for this long from now.
    pub async fn keep_delivery(&self, id: DeliveryId, lease: Duration) -> Result<(), StoreError> {
        each!(self, core => core.keep_delivery(id, lease).await)
    }

    /// It is tried again after a while.
    pub async fn put_off_delivery(
        &self,
        id: DeliveryId,
        delay: Duration,
        why: &str,
    ) -> Result<(), StoreError> {
        each!(self, core => core.put_off_delivery(id, delay, why).await)
    }

    /// What a delivery tells of which nothing was understood before; of others nothing changes.
    pub async fn tell(&self, id: DeliveryId, repo: Option<RepoId>, told: &Told) -> Result<(), StoreError> {
        each_again!(self, core => core.tell(id, repo, told))
    }

    /// Says what became of a part for which no build is made. One that is settled stays as it is.
    pub async fn settle_part(
        &self,
        part: PartId,
        state: DeliveryState,
        outcome: &str,
    ) -> Result<(), StoreError> {
        each_again!(self, core => core.settle_part(part, state, outcome))
    }

    /// Makes the build that a part of a delivery asks for, and writes down that it did, in one transaction; unless there is
    /// no need of one.
    pub async fn arrive(&self, build: &NewBuild, cause: &Cause) -> Result<Arrived, StoreError> {
        each_again!(self, core => core.arrive(build, cause))
    }

    /// Builds of this branch or tag that webhooks made, of which nothing has begun, and that nobody has cancelled yet.
    pub async fn waiting_builds(&self, repo: RepoId, of: &RefName) -> Result<Vec<BuildNumber>, StoreError> {
        each!(self, core => core.waiting_builds(repo, of).await)
    }

    /// Newest first, at most `limit`.
    pub async fn list_deliveries(
        &self,
        filter: &DeliveryFilter,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        each!(self, core => core.list_deliveries(filter, limit).await)
    }

    /// One delivery.
    pub async fn find_delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        each!(self, core => core.find_delivery(id).await)
    }

    /// Its raw bytes.
    pub async fn load_delivery_body(&self, id: DeliveryId) -> Result<Vec<u8>, StoreError> {
        each!(self, core => core.load_delivery_body(id).await)
    }

    /// Works on it again; what has a build keeps it.
    pub async fn replay_delivery(&self, id: DeliveryId) -> Result<(), StoreError> {
        each_again!(self, core => core.replay_delivery(id))
    }

    /// Forgets up to `limit` deliveries that came before this time; answers how many.
    pub async fn expire_deliveries(&self, before: Timestamp, limit: u32) -> Result<usize, StoreError> {
        each!(self, core => core.expire_deliveries(before, limit).await)
    }

    /// Takes a repository of which it is to be seen whether its forge told of everything, for so long.
    pub async fn take_look(&self, time: Duration) -> Result<Option<(Repo, Known, Turn)>, StoreError> {
        each_again!(self, core => core.take_look(time))
    }

    /// Says what is known to be there now (`None`: as it was), what came of the look, and when the next one is due;
    /// [`StoreError::Stale`] when the turn is over.
    pub async fn finish_look(
        &self,
        turn: Turn,
        known: &Known,
        outcome: &str,
        every: Duration,
    ) -> Result<(), StoreError> {
        each_again!(self, core => core.finish_look(turn, known, outcome, every))
    }

    /// All repositories are looked at as soon as can be.
    pub async fn look_at_all(&self) -> Result<(), StoreError> {
        each!(self, core => core.look_at_all().await)
    }

    /// What came of the last look at a repository; `None` when its forge does not tell of it.
    pub async fn find_reconciled(&self, repo: RepoId) -> Result<Option<Reconciled>, StoreError> {
        each!(self, core => core.find_reconciled(repo).await)
    }

    /// When this commit, or one that begins so, first got a build there or was told of, if ever; of a pull request, as one that
    /// goes to this branch.
    pub async fn told_at(
        &self,
        repo: RepoId,
        of: Subject<'_>,
        commit: &str,
    ) -> Result<Option<Timestamp>, StoreError> {
        each!(self, core => core.told_at(repo, of, commit).await)
    }

    /// Adds a poll; [`StoreError::Conflict`] when the repository has one.
    pub async fn add_poll(&self, new: &NewTimes<'_>, branches: &[String]) -> Result<Poll, StoreError> {
        each!(self, core => core.add_poll(new, branches).await)
    }

    /// All, in the order in which they were made.
    pub async fn list_polls(&self) -> Result<Vec<Poll>, StoreError> {
        each!(self, core => core.list_polls().await)
    }

    /// Removes the poll of a repository.
    pub async fn remove_poll(&self, repo: RepoId, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.remove_poll(repo, by).await)
    }

    /// Takes one that has come round, for so long.
    pub async fn take_poll(&self, time: Duration) -> Result<Option<(Poll, Turn)>, StoreError> {
        each_again!(self, core => core.take_poll(time))
    }

    /// Says how the branches are known to be now (`None`: as they were) and what came of it; [`StoreError::Stale`] when the
    /// turn is over.
    pub async fn finish_poll(
        &self,
        turn: Turn,
        heads: Option<&Heads>,
        outcome: &str,
    ) -> Result<(), StoreError> {
        each_again!(self, core => core.finish_poll(turn, heads, outcome))
    }

    /// Adds a schedule that a person wants; without a branch, of the default branch.
    pub async fn add_schedule(
        &self,
        new: &NewTimes<'_>,
        branch: Option<&str>,
    ) -> Result<Schedule, StoreError> {
        each!(self, core => core.add_schedule(new, branch).await)
    }

    /// All, in the order in which they were made.
    pub async fn list_schedules(&self) -> Result<Vec<Schedule>, StoreError> {
        each!(self, core => core.list_schedules().await)
    }

    /// By id.
    pub async fn load_schedule(&self, id: i64) -> Result<Schedule, StoreError> {
        each!(self, core => core.load_schedule(id).await)
    }

    /// Removes one that a person wanted; [`StoreError::Conflict`] when it stands in a file.
    pub async fn remove_schedule(&self, id: i64, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.remove_schedule(id, by).await)
    }

    /// Takes one that has come round, for so long or until it comes round again.
    pub async fn take_schedule(&self, time: Duration) -> Result<Option<(Schedule, Turn)>, StoreError> {
        each_again!(self, core => core.take_schedule(time))
    }

    /// Says what came of one without a build; not `over`: it is tried again when the turn ends.
    pub async fn settle_schedule(&self, turn: Turn, outcome: &str, over: bool) -> Result<(), StoreError> {
        each_again!(self, core => core.settle_schedule(turn, outcome, over))
    }
}
