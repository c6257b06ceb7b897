//! Which slot has which attempt, the word to stop it, and whether more are welcome. All of it is memory; the folders are
//! the truth.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ocelot_api::proto::{FromWorker, Heartbeat, Lease, Ready, from_worker::Message};
use tokio::sync::{mpsc, watch};

use crate::condition::Condition;

/// How much an attempt is to be stopped. A later one is stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// Not at all.
    No,
    /// Cancelled; `always` stages still run.
    Gently,
    /// Cancelled again; nothing runs any more.
    Force,
    /// The worker was told to end at once; nothing runs any more.
    Halt,
    /// Not ours any more: end everything, report nothing.
    Drop,
}

/// What the session tells the server.
pub(crate) type Out = mpsc::UnboundedSender<FromWorker>;

/// The slots of this worker.
#[derive(Debug)]
pub(crate) struct Board {
    inner: Mutex<Inner>,
    /// How many attempts are held.
    held: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Inner {
    slots: Vec<Option<Held>>,
    /// Configured; `slots` is longer while an earlier life's attempts end.
    wanted: usize,
    /// New attempts are welcome.
    open: bool,
    /// How the machine is; unwell, it takes no new attempts either.
    condition: Condition,
    /// What the server knows of it.
    told: Condition,
    /// They never will be again.
    ending: bool,
    /// Only one job is to be tried, and it has not been taken.
    untried: bool,
    out: Option<Out>,
}

#[derive(Debug)]
struct Held {
    lease: Lease,
    stop: watch::Sender<Stop>,
}

/// The answer to an offer.
#[derive(Debug)]
pub(crate) enum Taken {
    /// A slot is free and now taken.
    Slot(u32, watch::Receiver<Stop>),
    /// It is held already, by this very lease.
    Already,
    /// Not now, for this reason.
    No(String),
}

impl Board {
    /// All slots free, closed for new attempts until [`Board::open`].
    pub(crate) fn new(slots: u32) -> Board {
        let wanted = slots as usize;
        let slots = std::iter::repeat_with(|| None).take(wanted).collect();
        let inner = Inner { slots, wanted, ..Inner::default() };
        Board { inner: Mutex::new(inner), held: watch::Sender::new(0) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an attempt of an earlier life back into its slot.
    pub(crate) fn seat(&self, slot: u32, lease: Lease, level: Stop) -> watch::Receiver<Stop> {
        let mut inner = self.inner();
        let slot = slot as usize;
        while inner.slots.len() <= slot {
            inner.slots.push(None);
        }
        let (stop, stopped) = watch::channel(level);
        inner.slots[slot] = Some(Held { lease, stop });
        self.held.send_replace(inner.held());
        stopped
    }

    /// Takes a free slot for an offer.
    pub(crate) fn take(&self, lease: &Lease) -> Taken {
        let mut inner = self.inner();
        if let Some(held) = inner.find(lease.attempt_id) {
            return if held.lease == *lease {
                Taken::Already
            } else {
                Taken::No("an earlier lease of it is still held".to_owned())
            };
        }
        if let Some(why) = &inner.condition.unwell {
            return Taken::No(why.clone());
        }
        if !inner.open {
            return Taken::No("the worker takes no jobs now".to_owned());
        }
        if inner.condition.trial.is_some() && !inner.untried {
            return Taken::No("the worker tries one job first".to_owned());
        }
        let wanted = inner.wanted;
        let Some(slot) = inner.slots.iter().take(wanted).position(Option::is_none) else {
            return Taken::No("no slot is free".to_owned());
        };
        let (stop, stopped) = watch::channel(Stop::No);
        inner.slots[slot] = Some(Held { lease: lease.clone(), stop });
        inner.untried = false;
        self.held.send_replace(inner.held());
        Taken::Slot(slot as u32, stopped)
    }

    /// The slot is clean again; tells the server.
    pub(crate) fn release(&self, slot: u32) {
        let mut inner = self.inner();
        inner.slots[slot as usize] = None;
        let used = inner.slots.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        let keep = used.max(inner.wanted);
        inner.slots.truncate(keep);
        if (slot as usize) < inner.wanted {
            inner.ready(1);
        }
        self.held.send_replace(inner.held());
    }

    /// A session has begun, with a greeting that told of this condition: from now on the server is told about free slots
    /// and the machine through `out`.
    pub(crate) fn attach(&self, out: Out, told: &Condition) {
        let mut inner = self.inner();
        inner.out = Some(out);
        inner.told = told.clone();
        inner.tell();
        inner.ready(inner.free());
    }

    /// How the machine is.
    pub(crate) fn condition(&self) -> Condition {
        self.inner().condition.clone()
    }

    /// How the machine is from now on. When it is well again, the free slots are told anew: the server has forgotten them.
    pub(crate) fn set_condition(&self, condition: Condition) {
        let mut inner = self.inner();
        let was = std::mem::replace(&mut inner.condition, condition);
        inner.tell();
        let (now, tried) = (inner.condition.trial, was.trial);
        let heals = inner.condition.unwell.is_none() && (was.unwell.is_some() || now != tried);
        if heals {
            inner.untried = now.is_some();
            inner.ready(inner.free());
        }
    }

    /// The session is over.
    pub(crate) fn detach(&self) {
        self.inner().out = None;
    }

    /// New attempts are welcome from now on.
    pub(crate) fn open(&self) {
        let mut inner = self.inner();
        inner.open = true;
        inner.ready(inner.free());
    }

    /// No new attempts from now on. The server is told, so that it offers none.
    pub(crate) fn close(&self) {
        let mut inner = self.inner();
        (inner.open, inner.ending) = (false, true);
        if let Some(out) = &inner.out {
            let beat = inner.heartbeat();
            let _ = out.send(FromWorker { message: Some(Message::Heartbeat(beat)) });
        }
    }

    /// What is said of the worker at each beat.
    pub(crate) fn heartbeat(&self) -> Heartbeat {
        self.inner().heartbeat()
    }

    /// Stops one attempt. False when it is not here.
    pub(crate) fn stop(&self, attempt: i64, level: Stop) -> bool {
        let mut inner = self.inner();
        let held = inner.find(attempt);
        held.map(|held| held.stop(level)).is_some()
    }

    /// Stops all attempts. Answers how many there are.
    pub(crate) fn stop_all(&self, level: Stop) -> usize {
        let mut inner = self.inner();
        inner.slots.iter_mut().flatten().map(|held| held.stop(level)).count()
    }

    /// The leases of all attempts that are not given up.
    pub(crate) fn holding(&self) -> Vec<Lease> {
        self.inner().holding()
    }

    /// All attempts that still have something on this machine.
    pub(crate) fn attempts(&self) -> Vec<i64> {
        self.inner().slots.iter().flatten().map(|held| held.lease.attempt_id).collect()
    }

    /// Returns when no attempt is held.
    pub(crate) async fn idle(&self) {
        // The sender is in `self`, so this cannot fail.
        let _ = self.held.subscribe().wait_for(|held| *held == 0).await;
    }
}

impl Inner {
    fn holding(&self) -> Vec<Lease> {
        let held = |held: &Held| (*held.stop.borrow() != Stop::Drop).then(|| held.lease.clone());
        self.slots.iter().flatten().filter_map(held).collect()
    }

    fn heartbeat(&self) -> Heartbeat {
        Heartbeat { holding: self.holding(), ending: self.ending, ..Heartbeat::default() }
    }

    fn held(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// Tells the server how the machine is, when that is news to it. Under the board's lock, so that it never stands in
    /// the wrong order with what is said of free slots.
    fn tell(&mut self) {
        let Some(out) = self.out.as_ref().filter(|_| self.condition.is_news(&self.told)) else { return };
        let condition = Some(self.condition.to_proto());
        let beat = Heartbeat { condition, ..self.heartbeat() };
        // A session that has just ended is followed by another one, which is told anew.
        let _ = out.send(FromWorker { message: Some(Message::Heartbeat(beat)) });
        self.told = self.condition.clone();
    }

    fn free(&self) -> usize {
        self.slots.iter().take(self.wanted).filter(|slot| slot.is_none()).count()
    }

    fn find(&mut self, attempt: i64) -> Option<&mut Held> {
        self.slots.iter_mut().flatten().find(|held| held.lease.attempt_id == attempt)
    }

    fn takes_jobs(&self) -> bool {
        self.open && self.condition.unwell.is_none()
    }

    fn ready(&self, slots: usize) {
        let slots = if self.condition.trial.is_some() { slots.min(usize::from(self.untried)) } else { slots };
        if let Some(out) = self.out.as_ref().filter(|_| self.takes_jobs() && slots > 0) {
            // A session that has just ended is followed by another one, which is told anew.
            let _ = out.send(FromWorker { message: Some(Message::Ready(Ready { slots: slots as u32 })) });
        }
    }
}

impl Held {
    fn stop(&self, level: Stop) {
        self.stop.send_if_modified(|now| {
            let stronger = level > *now;
            *now = level.max(*now);
            stronger
        });
    }
}

/// Returns when the attempt is to be stopped at least so much.
pub(crate) async fn at_least(stop: &mut watch::Receiver<Stop>, level: Stop) {
    if stop.wait_for(|now| *now >= level).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(attempt_id: i64) -> Lease {
        Lease { attempt_id, attempt: 1, token: "t".into() }
    }

    fn readies(inbox: &mut mpsc::UnboundedReceiver<FromWorker>) -> Vec<u32> {
        std::iter::from_fn(|| inbox.try_recv().ok())
            .map(|message| match message.message {
                Some(Message::Ready(ready)) => ready.slots,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn every_slot_is_offered_once_per_session() {
        let board = Board::new(2);
        let (out, mut inbox) = mpsc::unbounded_channel();
        board.attach(out, &Condition::default());
        assert!(readies(&mut inbox).is_empty());
        board.open();
        assert_eq!(readies(&mut inbox), [2]);
        assert!(matches!(board.take(&lease(1)), Taken::Slot(0, _)));
        assert!(matches!(board.take(&lease(1)), Taken::Already));
        assert!(matches!(board.take(&Lease { token: "u".into(), ..lease(1) }), Taken::No(_)));
        assert!(matches!(board.take(&lease(2)), Taken::Slot(1, _)));
        assert!(matches!(board.take(&lease(3)), Taken::No(why) if why == "no slot is free"));
        board.release(0);
        assert_eq!(readies(&mut inbox), [1]);
        let (out, mut inbox) = mpsc::unbounded_channel();
        board.attach(out, &Condition::default());
        assert_eq!(readies(&mut inbox), [1]);
        board.close();
        match inbox.try_recv().unwrap().message {
            Some(Message::Heartbeat(beat)) => assert!(beat.ending && beat.holding.len() == 1, "{beat:?}"),
            other => panic!("{other:?}"),
        }
        board.release(1);
        assert!(readies(&mut inbox).is_empty());
    }

    #[test]
    fn a_machine_that_is_unwell_takes_nothing_until_it_is_well() {
        let board = Board::new(2);
        let (out, mut inbox) = mpsc::unbounded_channel();
        board.attach(out, &Condition::default());
        board.open();
        let Taken::Slot(slot, _) = board.take(&lease(1)) else { panic!("not taken") };
        assert_eq!(readies(&mut inbox), [2]);
        let unwell = Condition { unwell: Some("no room".into()), ..Condition::default() };
        let told = |inbox: &mut mpsc::UnboundedReceiver<FromWorker>| match inbox.try_recv().unwrap().message {
            Some(Message::Heartbeat(beat)) => (beat.holding.len(), beat.condition.unwrap().unwell),
            other => panic!("{other:?}"),
        };
        board.set_condition(unwell.clone());
        board.set_condition(unwell.clone());
        assert_eq!(told(&mut inbox), (1, "no room".into()));
        assert!(matches!(board.take(&lease(2)), Taken::No(why) if why == "no room"));
        board.release(slot);
        assert!(inbox.try_recv().is_err());
        // Another session, whose greeting came too early to know.
        let (out, mut inbox) = mpsc::unbounded_channel();
        board.attach(out, &Condition::default());
        assert_eq!(told(&mut inbox), (0, "no room".into()));
        board.set_condition(Condition::default());
        assert_eq!(told(&mut inbox), (0, String::new()));
        assert_eq!(readies(&mut inbox), [2]);
    }

    #[test]
    fn one_job_is_tried_before_others_are_taken() {
        let board = Board::new(2);
        let (out, mut inbox) = mpsc::unbounded_channel();
        board.attach(out, &Condition::default());
        board.open();
        board.set_condition(Condition { unwell: Some("bad".into()), ..Condition::default() });
        let try_one = |number| Condition { trial: Some(number), ..Condition::default() };
        let slots = |inbox: &mut mpsc::UnboundedReceiver<FromWorker>| -> Vec<u32> {
            let told = std::iter::from_fn(|| inbox.try_recv().ok()?.message);
            told.filter_map(|it| if let Message::Ready(ready) = it { Some(ready.slots) } else { None })
                .collect()
        };
        slots(&mut inbox);
        board.set_condition(try_one(1));
        board.set_condition(try_one(1));
        assert_eq!(slots(&mut inbox), [1]);
        let Taken::Slot(slot, _) = board.take(&lease(1)) else { panic!("not taken") };
        assert!(matches!(board.take(&lease(2)), Taken::No(_)));
        board.set_condition(try_one(1));
        board.release(slot);
        assert!(slots(&mut inbox).is_empty());
        board.set_condition(try_one(2));
        assert_eq!(slots(&mut inbox), [1]);
        board.set_condition(Condition::default());
        assert_eq!(slots(&mut inbox), [2]);
    }

    #[test]
    fn slots_of_an_earlier_life_are_kept_until_they_are_clean() {
        let board = Board::new(1);
        let (out, mut inbox) = mpsc::unbounded_channel();
        board.attach(out, &Condition::default());
        let _stop = board.seat(2, lease(1), Stop::No);
        board.open();
        assert_eq!((readies(&mut inbox), board.holding()), (vec![1], vec![lease(1)]));
        board.release(2);
        assert_eq!((readies(&mut inbox), board.holding()), (vec![], vec![]));
    }

    #[test]
    fn a_stop_only_gets_stronger() {
        let board = Board::new(1);
        let stop = board.seat(0, lease(1), Stop::No);
        for (told, want) in
            [(Stop::Force, Stop::Force), (Stop::Gently, Stop::Force), (Stop::Drop, Stop::Drop)]
        {
            assert!(board.stop(1, told));
            assert_eq!(*stop.borrow(), want);
        }
        assert!(!board.stop(2, Stop::Drop));
        assert_eq!((board.holding().len(), board.attempts()), (0, vec![1]));
        assert!(board.inner.lock().unwrap().find(1).is_some());
    }
}
