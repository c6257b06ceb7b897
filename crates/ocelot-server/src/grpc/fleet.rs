//! The workers that are connected to this server: how many jobs each may still get, and how to reach it.
//!
//! All of it is memory; what must survive stands in the store. No lock is held across an await.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ocelot_api::proto::from_server::Message;
use ocelot_api::proto::{Cancel, Drop, FromServer, GoingAway};
use ocelot_model::{AttemptId, WorkerId};
use ocelot_store::Lease;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// What a session's stream sends.
pub(super) type Outbox = mpsc::Sender<Result<FromServer, Status>>;

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
    offered: HashMap<AttemptId, Lease>,
    cancelled: HashSet<AttemptId>,
    /// Ends the session.
    over: CancellationToken,
}

/// A worker's labels, shared with those who look at them.
pub(super) type Labels = Arc<BTreeMap<String, String>>;

/// A session that just began.
pub(super) struct Seated {
    /// Its number.
    pub(super) session: u64,
    /// Cancelled when another session of the same worker takes its place.
    pub(super) over: CancellationToken,
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
    pub(super) fn sit(&self, worker: WorkerId, labels: Labels, slots: u32, outbox: Outbox) -> Seated {
        let mut state = self.state();
        state.sessions += 1;
        let (session, turn) = (state.sessions, state.turns);
        let over = CancellationToken::new();
        let seat = Seat {
            session,
            labels,
            credit: 0,
            slots,
            turn,
            outbox,
            offered: HashMap::new(),
            cancelled: HashSet::new(),
            over: over.clone(),
        };
        let before = state.seats.insert(worker, seat);
        if let Some(before) = &before {
            before.over.cancel();
        }
        let unanswered = before.map(|seat| seat.offered.into_values().collect()).unwrap_or_default();
        Seated { session, over, unanswered }
    }

    /// Ends a session. Answers the offers that nobody took, or `None` when another session has the seat.
    pub(super) fn leave(&self, worker: WorkerId, session: u64) -> Option<Vec<Lease>> {
        let mut state = self.state();
        if state.seats.get(&worker)?.session != session {
            return None;
        }
        Some(state.seats.remove(&worker)?.offered.into_values().collect())
    }

    /// More attempts may be offered to this worker.
    pub(super) fn add_credit(&self, worker: WorkerId, session: u64, slots: u32) {
        if let Some(seat) = self.state().seats.get_mut(&worker).filter(|seat| seat.session == session) {
            seat.credit = seat.credit.saturating_add(slots).min(seat.slots);
        }
        self.wake();
    }

    /// Workers that may get a job now, with their labels; who got none for the longest time comes first.
    pub(super) fn idle(&self) -> Vec<(WorkerId, Labels)> {
        let state = self.state();
        let mut idle: Vec<_> = state.seats.iter().filter(|(_, seat)| seat.credit > 0).collect();
        idle.sort_unstable_by_key(|(id, seat)| (seat.turn, **id));
        idle.into_iter().map(|(id, seat)| (*id, Arc::clone(&seat.labels))).collect()
    }

    /// True when this worker may get a job now.
    pub(super) fn is_idle(&self, worker: WorkerId) -> bool {
        self.state().seats.get(&worker).is_some_and(|seat| seat.credit > 0)
    }

    /// Takes one credit and notes the offer; the way to the worker, or `None` when it is gone.
    pub(super) fn offer(&self, worker: WorkerId, lease: &Lease) -> Option<Outbox> {
        let mut state = self.state();
        state.turns += 1;
        let turn = state.turns;
        let seat = state.seats.get_mut(&worker).filter(|seat| seat.credit > 0)?;
        seat.credit -= 1;
        seat.turn = turn;
        seat.offered.insert(lease.attempt_id, lease.clone());
        Some(seat.outbox.clone())
    }

    /// The offer was answered, or its time is over. True when it was still open.
    pub(super) fn settle_offer(&self, worker: WorkerId, lease: &Lease) -> bool {
        let mut state = self.state();
        let open = state.seats.get_mut(&worker).and_then(|seat| seat.offered.remove(&lease.attempt_id));
        open.is_some_and(|it| it == *lease)
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
    outbox.try_send(Ok(FromServer { message: Some(message) })).is_ok()
}
