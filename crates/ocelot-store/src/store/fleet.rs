//! Workers and their enrolment.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use ocelot_model::{TokenId, WorkerId};

use super::{Kind, Store};
use crate::{Condition, Enrolment, Hello, Identity, Lease, Standing, StoreError, Worker, calls, raw};

impl Store {
    /// Makes an enrolment token; `None` for any number of uses, and for no end. Its secret is stored as SHA-256.
    pub async fn create_enrolment(
        &self,
        labels: &BTreeMap<String, String>,
        uses: Option<u32>,
        expires: Option<Duration>,
        by: &str,
    ) -> Result<(Enrolment, String), StoreError> {
        each!(self, core => core.create_enrolment(labels, uses, expires, by).await)
    }

    /// All, those that are used up or have ended too, in the order in which they were made.
    pub async fn list_enrolments(&self) -> Result<Vec<Enrolment>, StoreError> {
        each!(self, core => core.list_enrolments().await)
    }

    /// Nobody enrols with it any more. Who has enrolled stays.
    pub async fn revoke_enrolment(&self, id: i64, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.revoke_enrolment(id, by).await)
    }

    /// True when one more worker may come with this secret.
    pub async fn may_enrol(&self, secret: &str) -> Result<bool, StoreError> {
        each!(self, core => core.may_enrol(secret).await)
    }

    /// A worker comes with an enrolment token and the secret that it made itself; answers its name. Asked again with the
    /// same secret, the answer is the same and nothing is used up. A removed worker is a [`StoreError::Conflict`].
    pub async fn enrol(&self, token: &str, own: &str, name: &str) -> Result<String, StoreError> {
        each_again!(self, core => core.enrol(token, own, name))
    }

    /// Forgets workers that were not seen since `before` and hold nothing, and enrolment tokens that ended before.
    pub async fn expire_workers(&self, before: Timestamp) -> Result<u64, StoreError> {
        each!(self, core => core.expire_workers(before).await)
    }

    /// The worker with this secret of its own.
    pub async fn find_worker(&self, secret: &str) -> Result<Option<WorkerId>, StoreError> {
        each!(self, core => core.find_worker(secret).await)
    }

    /// Whether a connected worker may go on.
    pub async fn worker_standing(&self, id: WorkerId, identity: Identity) -> Result<Standing, StoreError> {
        each!(self, core => core.worker_standing(id, identity).await)
    }

    /// True when this lease is good, but another worker's than the caller's.
    pub async fn is_anothers(&self, lease: &Lease, caller: Identity) -> Result<bool, StoreError> {
        each!(self, core => core.is_anothers(lease, caller).await)
    }

    /// It takes no more jobs, by its own word.
    pub async fn worker_ends(&self, id: WorkerId) -> Result<(), StoreError> {
        each!(self, core => core.worker_ends(id).await)
    }

    /// It gets no more jobs, as `by` wants; not `drained` undoes it.
    pub async fn drain_worker(&self, id: WorkerId, drained: bool, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.drain_worker(id, drained, by).await)
    }

    /// Ends its identity for good and gives it no more jobs. What it holds is the caller's to take back, and then to
    /// delete the worker.
    pub async fn bar_worker(&self, id: WorkerId, by: &str) -> Result<(), StoreError> {
        each!(self, core => core.bar_worker(id, by).await)
    }

    /// Forgets the worker. That it is gone already is no error.
    pub async fn delete_worker(&self, id: WorkerId) -> Result<(), StoreError> {
        each!(self, core => core.delete_worker(id).await)
    }

    /// The workers that come with this token.
    pub async fn workers_of_token(&self, token: TokenId) -> Result<Vec<WorkerId>, StoreError> {
        each!(self, core => core.workers_of_token(token).await)
    }

    /// Makes or finds the worker, marks it as connected.
    pub async fn worker_hello(&self, hello: &Hello) -> Result<WorkerId, StoreError> {
        each!(self, core => core.worker_hello(hello).await)
    }

    /// It has found out how folders reach its engine.
    pub async fn worker_shares(&self, id: WorkerId, sharing: &str) -> Result<(), StoreError> {
        each!(self, core => core.worker_shares(id, sharing).await)
    }

    /// Lets the sessions of this worker, on all servers, look how it stands.
    pub async fn look_at_worker(&self, worker: WorkerId) -> Result<(), StoreError> {
        each!(self, core => core.look_at_worker(worker).await)
    }

    /// These workers, which hold nothing, were just heard. Answers whether each is drained; `None` for those whose token
    /// or identity is not good any more.
    pub async fn workers_beat(
        &self,
        workers: &[WorkerId],
    ) -> Result<Vec<(WorkerId, Option<bool>)>, StoreError> {
        each_again!(self, core => core.workers_beat(workers))
    }

    /// It says how its machine is.
    pub async fn worker_condition(&self, id: WorkerId, condition: &Condition) -> Result<(), StoreError> {
        each!(self, core => core.worker_condition(id, condition).await)
    }

    /// Its session ended.
    pub async fn worker_goodbye(&self, id: WorkerId) -> Result<(), StoreError> {
        each!(self, core => core.worker_goodbye(id).await)
    }

    /// All, by name.
    pub async fn list_workers(&self) -> Result<Vec<Worker>, StoreError> {
        each!(self, core => core.list_workers().await)
    }

    /// The database's clock.
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        raw::time(each!(self, core => core.now().await)?)
    }
}
