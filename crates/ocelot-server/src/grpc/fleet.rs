//! The workers that are connected to this server: how many jobs each may still get, and how to reach it.
//!
//! All of it is memory; what must survive stands in the store. No lock is held across an await.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ocelot_api::proto::from_server::Message;
use ocelot_api::proto::{Cancel, Drop, FromServer, GoingAway};
use ocelot_model::{AttemptId, WorkerId};
use ocelot_store::{Free, Lease};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::stock::{Need, Stock};

/// What a session's stream sends. Boxed: a channel keeps room for 32 messages, of which an idle worker gets none.
pub(super) type Outbox = mpsc::Sender<Box<Result<FromServer, Status>>>;

/// Workers come back at a time of their own within this many milliseconds after the server went away.
const COME_BACK_MS: std::ops::Range<u32> = 200..2_000;

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There may be work to hand out.
    work: Notify,
}

#[derive(Debug, Default)]
struct State {
    seats: HashMap<WorkerId, Seat>,
    sessions: u64,
    turns: u64,
    /// Those whose sign of life is not written down yet.
    beaten: HashSet<WorkerId>,
}

/// One connected worker.
#[derive(Debug)]
struct Seat {
    /// Which session; a reconnect takes the seat over.
    session: u64,
    labels: Labels,
    /// Attempts that it may still be offered, never more than it has slots.
    credit: u32,
    slots: u32,
    /// When it was last offered something: who waits longest is next.
    turn: u64,
    outbox: Outbox,
    offered: HashMap<AttemptId, (Lease, Need)>,
    /// Attempts of it that are over while their slots are still being cleaned.
    leaving: u32,
    /// False while it says that its machine is unwell.
    well: bool,
    stock: Stock,
    /// It gets no more jobs.
    closed: bool,
    cancelled: HashSet<AttemptId>,
    /// Makes its session look how the worker stands.
    look: Arc<Notify>,
    /// Ends the session.
    over: CancellationToken,
}

impl Seat {
    fn is_idle(&self) -> bool {
        self.credit > 0 && !self.closed
    }

    fn unanswered(self) -> Vec<Lease> {
        self.offered.into_values().map(|(lease, _)| lease).collect()
    }
}

/// Who should get a job.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Best {
    /// The one at this place, now.
    Idle(usize),
    /// One that is not free yet.
    Soon,
}

/// A worker's labels, shared with those who look at them.
pub(super) type Labels = Arc<BTreeMap<String, String>>;

/// A session that just began.
pub(super) struct Seated {
    /// Its number.
    pub(super) session: u64,
    /// Cancelled when another session of the same worker takes its place.
    pub(super) over: CancellationToken,
    /// Something about the worker has changed.
    pub(super) look: Arc<Notify>,
    /// It was connected here already.
    pub(super) again: bool,
    /// Offers that the session before it left unanswered.
    pub(super) unanswered: Vec<Lease>,
}

impl Fleet {
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that there may be work to hand out.
    pub fn wake(&self) {
        self.shared.work.notify_one();
    }

    /// Waits for [`Fleet::wake`].
    pub(super) async fn woken(&self) {
        self.shared.work.notified().await;
    }

    /// Seats a worker; an older session of it is over.
    pub(super) fn sit(
        &self,
        worker: WorkerId,
        labels: Labels,
        slots: u32,
        stock: Stock,
        outbox: Outbox,
    ) -> Seated {
        let mut state = self.state();
        state.sessions += 1;
        let (session, turn) = (state.sessions, state.turns);
        let over = CancellationToken::new();
        let look = Arc::<Notify>::default();
        let seat = Seat {
            session,
            labels,
            credit: 0,
            slots,
            turn,
            outbox,
            offered: HashMap::new(),
            leaving: 0,
            well: true,
            stock,
            closed: false,
            cancelled: HashSet::new(),
            look: Arc::clone(&look),
            over: over.clone(),
        };
        let before = state.seats.insert(worker, seat);
        if let Some(before) = &before {
            before.over.cancel();
        }
        let again = before.is_some();
        let unanswered = before.map(Seat::unanswered).unwrap_or_default();
        Seated { session, over, look, again, unanswered }
    }

    /// Ends a session. Answers the offers that nobody took, or `None` when another session has the seat.
    pub(super) fn leave(&self, worker: WorkerId, session: u64) -> Option<Vec<Lease>> {
        let mut state = self.state();
        if state.seats.get(&worker)?.session != session {
            return None;
        }
        state.seats.remove(&worker).map(Seat::unanswered)
    }

    /// More attempts may be offered to this worker.
    pub(super) fn add_credit(&self, worker: WorkerId, session: u64, slots: u32) {
        if let Some(seat) = self.state().seats.get_mut(&worker).filter(|seat| seat.session == session) {
            seat.credit = seat.credit.saturating_add(slots).min(seat.slots);
            seat.leaving = seat.leaving.saturating_sub(slots);
        }
        self.wake();
    }

    /// Workers that may get jobs now; who got none for the longest time comes first.
    pub(super) fn free(&self) -> Vec<Free> {
        let state = self.state();
        let mut idle: Vec<_> = state.seats.iter().filter(|(_, seat)| seat.is_idle()).collect();
        idle.sort_unstable_by_key(|(id, seat)| (seat.turn, **id));
        let free = |(id, seat): (&WorkerId, &Seat)| Free {
            worker: *id,
            labels: Arc::clone(&seat.labels),
            slots: seat.credit,
        };
        idle.into_iter().map(free).collect()
    }

    /// Says whether this worker gets no more jobs.
    pub(super) fn close(&self, worker: WorkerId, session: u64, closed: bool) {
        if let Some(seat) = self.state().seats.get_mut(&worker).filter(|seat| seat.session == session) {
            seat.closed = closed;
        }
        self.wake();
    }

    /// Makes the session of this worker, or with `None` all of them, look how it stands.
    pub(super) fn look(&self, worker: Option<WorkerId>) {
        let state = self.state();
        let looks = state.seats.iter().filter(|(id, _)| worker.is_none_or(|worker| worker == **id));
        looks.for_each(|(_, seat)| seat.look.notify_one());
    }

    /// A worker that holds nothing has given a sign of life.
    pub(super) fn beat(&self, worker: WorkerId) {
        self.state().beaten.insert(worker);
    }

    /// Those that have since the last call, and are still connected.
    pub(super) fn beaten(&self) -> Vec<WorkerId> {
        let mut state = self.state();
        let beaten = std::mem::take(&mut state.beaten);
        beaten.into_iter().filter(|worker| state.seats.contains_key(worker)).collect()
    }

    /// Makes sessions look whose worker is not as the store says (`None`: it may not go on); answers those that have
    /// left in the meantime.
    pub(super) fn compare(&self, stored: &[(WorkerId, Option<bool>)]) -> Vec<WorkerId> {
        let state = self.state();
        let mut gone = Vec::new();
        for (worker, drained) in stored {
            match state.seats.get(worker) {
                Some(seat) if *drained != Some(seat.closed) => seat.look.notify_one(),
                Some(_) => {}
                None => gone.push(*worker),
            }
        }
        gone
    }

    /// Takes one credit and notes the offer; the way to the worker, or `None` when it is gone.
    pub(super) fn offer(&self, worker: WorkerId, lease: &Lease, need: Need) -> Option<Outbox> {
        let mut state = self.state();
        state.turns += 1;
        let turn = state.turns;
        let seat = state.seats.get_mut(&worker).filter(|seat| seat.is_idle())?;
        seat.credit -= 1;
        seat.turn = turn;
        seat.offered.insert(lease.attempt_id, (lease.clone(), need));
        Some(seat.outbox.clone())
    }

    /// The offer was refused, or its time is over. True when it was still open.
    pub(super) fn settle_offer(&self, worker: WorkerId, lease: &Lease) -> bool {
        let mut state = self.state();
        let open = state.seats.get_mut(&worker).and_then(|seat| seat.offered.remove(&lease.attempt_id));
        open.is_some_and(|(it, _)| it == *lease)
    }

    /// The worker took the offer. True when it was still open.
    pub(super) fn take_offer(&self, worker: WorkerId, lease: &Lease) -> bool {
        let mut state = self.state();
        let Some(seat) = state.seats.get_mut(&worker) else { return false };
        let open = seat.offered.remove(&lease.attempt_id).filter(|(it, _)| it == lease);
        open.is_some_and(|(_, need)| {
            seat.stock.learn(&need);
            true
        })
    }

    /// The worker's own word on its machine. One that is unwell says again how many slots it has when it is well.
    pub(super) fn set_well(&self, worker: WorkerId, session: u64, well: bool) {
        if let Some(seat) = self.state().seats.get_mut(&worker).filter(|seat| seat.session == session) {
            seat.well = well;
            if !well {
                (seat.credit, seat.leaving) = (0, 0);
            }
        }
    }

    /// The worker's own word on its mirrors.
    pub(super) fn set_mirrors(&self, worker: WorkerId, session: u64, names: Vec<String>) {
        if let Some(seat) = self.state().seats.get_mut(&worker).filter(|seat| seat.session == session) {
            seat.stock.set_mirrors(names);
        }
    }

    /// Who of the free workers should get a job: the one with most of what the job needs at hand, the first of them when
    /// nothing is between them, or nobody yet when one that has its mirror will be free in a moment, or has become free
    /// since `all` that were free were looked at.
    pub(super) fn best(
        &self,
        all: &[Free],
        free: &[Free],
        labels: &BTreeMap<String, String>,
        need: &Need,
    ) -> Best {
        let state = self.state();
        let suits =
            |has: &BTreeMap<String, String>| labels.iter().all(|(key, value)| has.get(key) == Some(value));
        let stocks = free.iter().enumerate().filter(|(_, it)| suits(&it.labels)).filter_map(|(at, it)| {
            let seat = state.seats.get(&it.worker).filter(|seat| !seat.closed)?;
            Some((at, &seat.stock))
        });
        let best = stocks.max_by_key(|(at, stock)| (stock.score(need), Reverse(*at)));
        let Some((at, stock)) = best else { return Best::Idle(0) };
        let soon = || {
            let mut has = state.seats.iter().filter(|(_, seat)| seat.stock.has_mirror(need));
            let new = |id: &WorkerId| all.iter().all(|it| it.worker != *id);
            has.any(|(id, seat)| {
                !seat.closed && suits(&seat.labels) && (seat.leaving > 0 || (seat.credit > 0 && new(id)))
            })
        };
        if !stock.has_mirror(need) && soon() { Best::Soon } else { Best::Idle(at) }
    }

    /// Someone asked to cancel: tells the worker to stop an attempt, and when asked again not to clean up either.
    /// False when the worker is not connected here.
    pub(super) fn cancel(&self, worker: WorkerId, attempt: AttemptId) -> bool {
        let mut state = self.state();
        let Some(seat) = state.seats.get_mut(&worker) else { return false };
        let force = !seat.cancelled.insert(attempt);
        send(&seat.outbox, Message::Cancel(Cancel { attempt_id: attempt.0, force }))
    }

    /// Makes sure that the worker knows of a cancel; tells it nothing twice.
    pub(super) fn remind_of_cancel(&self, worker: WorkerId, attempt: AttemptId) {
        let mut state = self.state();
        if let Some(seat) = state.seats.get_mut(&worker)
            && seat.cancelled.insert(attempt)
        {
            send(&seat.outbox, Message::Cancel(Cancel { attempt_id: attempt.0, force: false }));
        }
    }

    /// Tells a worker that a lease of it is over. False when the worker is not connected here.
    pub fn drop_attempt(&self, worker: WorkerId, attempt: AttemptId) -> bool {
        let mut state = self.state();
        state.seats.get_mut(&worker).is_some_and(|seat| {
            seat.cancelled.remove(&attempt);
            send(&seat.outbox, Message::Drop(Drop { attempt_id: attempt.0 }))
        })
    }

    /// An attempt is over: nothing needs to be known of it any more.
    pub fn forget(&self, worker: WorkerId, attempt: AttemptId) {
        if let Some(seat) = self.state().seats.get_mut(&worker) {
            seat.cancelled.remove(&attempt);
            // Nobody waits for one that takes nothing afterwards.
            if seat.well {
                seat.leaving = (seat.leaving + 1).min(seat.slots);
            }
        }
    }

    /// Tells all workers that the server stops.
    pub fn going_away(&self) {
        let state = self.state();
        for seat in state.seats.values() {
            let retry_after_ms = rand::random_range(COME_BACK_MS);
            send(&seat.outbox, Message::GoingAway(GoingAway { retry_after_ms }));
        }
    }
}

/// Never waits: a worker that does not read is cut off by its full outbox and comes back.
pub(super) fn send(outbox: &Outbox, message: Message) -> bool {
    outbox.try_send(Box::new(Ok(FromServer { message: Some(message) }))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(id: i64) -> Lease {
        Lease { attempt_id: AttemptId(id), attempt: 1, token: vec![] }
    }

    fn sit(fleet: &Fleet, id: i64, slots: u32, labels: &[(&str, &str)]) -> u64 {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let seat = fleet.sit(WorkerId(id), Arc::new(labels), slots, Stock::default(), mpsc::channel(8).0);
        fleet.add_credit(WorkerId(id), seat.session, slots);
        seat.session
    }

    /// The worker that gets a job with these labels when `asked` is asked first; 0 for nobody yet.
    fn best(fleet: &Fleet, asked: i64, labels: &[(&str, &str)], need: &Need) -> i64 {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut free = fleet.free();
        free.sort_by_key(|it| it.worker.0 != asked);
        match fleet.best(&free, &free, &labels, need) {
            Best::Idle(at) => free[at].worker.0,
            Best::Soon => 0,
        }
    }

    #[test]
    fn who_has_what_a_job_needs_is_preferred() {
        let fleet = Fleet::default();
        let need = Need::new("https://example.com/example.git", Some("rust"));
        let [two, three] = [WorkerId(2), WorkerId(3)];
        sit(&fleet, 1, 1, &[]);
        sit(&fleet, 2, 1, &[]);
        let third = sit(&fleet, 3, 1, &[("os", "linux")]);
        // Nobody has anything.
        assert_eq!(best(&fleet, 1, &[], &need), 1);
        // The third one says that it has the mirror; then the second one has done such a job.
        fleet.set_mirrors(three, third, vec![need.mirror.clone()]);
        assert_eq!(best(&fleet, 1, &[], &need), 3);
        assert_eq!(best(&fleet, 1, &[("os", "mac")], &need), 1);
        fleet.offer(two, &lease(1), need.clone());
        assert!(fleet.take_offer(two, &lease(1)) && !fleet.take_offer(two, &lease(1)));
        // While it works, it is nobody's choice; while it cleans up, only when nobody else has the mirror.
        assert_eq!(best(&fleet, 1, &[], &need), 3);
        fleet.forget(two, AttemptId(1));
        assert_eq!(best(&fleet, 1, &[], &need), 3);
        fleet.set_mirrors(three, third, vec![]);
        assert_eq!(best(&fleet, 1, &[], &need), 0);
        assert_eq!(best(&fleet, 1, &[], &Need::new("https://example.com/other.git", None)), 1);
        // It becomes free while the others are asked; one that just got a job is not waited for.
        let before = fleet.free();
        let second = fleet.sit(two, Arc::default(), 1, Stock::default(), mpsc::channel(8).0).session;
        fleet.set_mirrors(two, second, vec![need.mirror.clone()]);
        fleet.add_credit(two, second, 1);
        assert_eq!(fleet.best(&before, &before, &BTreeMap::new(), &need), Best::Soon);
        let all = fleet.free();
        let left: Vec<Free> = all.iter().filter(|it| it.worker != two).cloned().collect();
        assert_eq!(fleet.best(&all, &left, &BTreeMap::new(), &need), Best::Idle(0));
    }

    #[test]
    fn an_offer_that_was_refused_teaches_nothing() {
        let fleet = Fleet::default();
        let need = Need::new("https://example.com/example.git", None);
        let session = sit(&fleet, 1, 2, &[]);
        sit(&fleet, 2, 1, &[]);
        fleet.offer(WorkerId(1), &lease(1), need.clone());
        assert!(fleet.settle_offer(WorkerId(1), &lease(1)));
        fleet.add_credit(WorkerId(1), session, 1);
        assert_eq!(best(&fleet, 2, &[], &need), 2);
    }

    #[test]
    fn who_waited_longest_is_first_and_closed_ones_are_not_there() {
        let fleet = Fleet::default();
        let first = sit(&fleet, 1, 2, &[]);
        sit(&fleet, 2, 1, &[]);
        let free =
            |fleet: &Fleet| -> Vec<_> { fleet.free().iter().map(|it| (it.worker.0, it.slots)).collect() };
        assert_eq!(free(&fleet), [(1, 2), (2, 1)]);
        fleet.offer(WorkerId(1), &lease(1), Need::new("https://example.com/example.git", None));
        assert_eq!(free(&fleet), [(2, 1), (1, 1)]);
        fleet.close(WorkerId(1), first, true);
        assert_eq!(free(&fleet), [(2, 1)]);
    }
}
