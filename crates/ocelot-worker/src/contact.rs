//! When a worker must assume that the server has given its attempts to others. Pure.
//!
//! A lease runs from the moment in which the server takes a heartbeat in. Counted here from when that heartbeat was sent,
//! by a clock that nobody sets and that goes on while the machine sleeps: so this side is always the first to give up, also
//! when only one direction of the network works, or when what is heard has lain in a buffer while the process was stopped.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::folder::boot_ms;

/// Longest that attempts go on without any word from a server.
const LONGEST: Duration = Duration::from_mins(30);
/// Least time for ending what runs, but never more than a third of the limit: two heartbeats may be lost.
const TO_END: Duration = Duration::from_secs(10);

/// A moment: time since the machine was started.
type Moment = Duration;

/// The contact, as session and attempts share it.
#[derive(Debug, Clone)]
pub(crate) struct Shared(Arc<Mutex<Contact>>);

impl Shared {
    /// Begins now.
    pub(crate) fn new() -> Shared {
        Shared(Arc::new(Mutex::new(Contact::new(now()))))
    }

    /// Reads or changes it.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Contact, Moment) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), now())
    }

    /// See [`Contact::is_lost`].
    pub(crate) fn is_lost(&self) -> bool {
        self.with(|contact, now| contact.is_lost(now))
    }
}

fn now() -> Moment {
    Duration::from_millis(boot_ms())
}

/// What is known of the server.
#[derive(Debug)]
pub(crate) struct Contact {
    /// Its last message, whatever it was.
    message: Moment,
    /// From when the leases surely run at least their limit.
    heard: Moment,
    /// Heartbeats of this stream that the server has not confirmed, with the greeting as number 0.
    sent: Vec<(u64, Moment)>,
    beats: u64,
    /// The server says which heartbeats it has taken in; one of an older version does not.
    confirms: bool,
    /// The last sign that no server runs there at all.
    down: Option<Moment>,
    /// It said that it goes.
    gone: bool,
    /// After so much silence of ours it gives our attempts to others.
    hard: Duration,
}

impl Contact {
    /// Before the first word; the server's own default limit is assumed.
    fn new(now: Moment) -> Contact {
        Contact {
            message: now,
            heard: now,
            sent: Vec::new(),
            beats: 0,
            confirms: false,
            down: None,
            gone: false,
            hard: Duration::from_mins(3),
        }
    }

    /// A greeting is sent, on a new stream.
    pub(crate) fn greet(&mut self, now: Moment) {
        self.sent = vec![(0, now)];
        (self.beats, self.confirms) = (0, false);
        self.message = now;
    }

    /// A heartbeat is sent; its number.
    pub(crate) fn beat(&mut self, now: Moment) -> u64 {
        self.beats += 1;
        self.sent.push((self.beats, now));
        self.beats
    }

    /// Any message came.
    pub(crate) fn hear(&mut self, now: Moment) {
        self.message = now;
        self.gone = false;
        if !self.confirms {
            self.heard = now;
        }
    }

    /// The server has taken in what was sent up to this number.
    pub(crate) fn confirm(&mut self, number: u64) {
        let Some(at) = self.sent.iter().rposition(|(sent, _)| *sent <= number) else { return };
        self.heard = self.sent[at].1;
        self.sent.drain(..=at);
        self.confirms = number > 0;
    }

    /// The server told its limit.
    pub(crate) fn limit(&mut self, hard: Duration) {
        self.hard = hard.max(Duration::from_secs(1));
    }

    /// The server said that it stops.
    pub(crate) fn goodbye(&mut self) {
        self.gone = true;
    }

    /// A connection was refused or reset. Leases do not run out while no server is there.
    pub(crate) fn refused(&mut self, now: Moment) {
        self.down = Some(now);
    }

    /// How long since the last message.
    pub(crate) fn silence(&self, now: Moment) -> Duration {
        now.saturating_sub(self.message)
    }

    /// True when everything that runs must be ended, before others begin with it.
    fn is_lost(&self, now: Moment) -> bool {
        if now.saturating_sub(self.heard) >= LONGEST {
            return true;
        }
        let sign = self.down.map_or(self.heard, |down| down.max(self.heard));
        // A sixth of the limit is left for ending what runs, a third of a short one.
        let to_end = (self.hard / 6).max(TO_END.min(self.hard / 3));
        !self.gone && now.saturating_sub(sign) >= self.hard.saturating_sub(to_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Step = fn(&mut Contact, Moment);

    /// The contact after `steps`, each at a second, and whether it is lost at the second `now`.
    fn check(steps: &[(u64, Step)], now: u64, want: bool) {
        let at = |second: u64| Duration::from_secs(1000 + second);
        let mut contact = Contact::new(at(0));
        contact.limit(Duration::from_mins(1));
        for (second, step) in steps {
            step(&mut contact, at(*second));
        }
        assert_eq!(contact.is_lost(at(now)), want, "at {now}");
    }

    const HEAR: Step = Contact::hear;
    const REFUSED: Step = Contact::refused;
    const GOODBYE: Step = |contact, _| contact.goodbye();
    const GREET: Step = Contact::greet;
    const BEAT: Step = |contact, now| {
        contact.beat(now);
    };
    const CONFIRM: Step = |contact, now| {
        contact.hear(now);
        contact.confirm(contact.beats);
    };

    #[test]
    fn silence_ends_what_runs_before_the_limit() {
        check(&[], 49, false);
        check(&[], 50, true);
        check(&[(40, HEAR)], 89, false);
        check(&[(40, HEAR)], 90, true);
    }

    #[test]
    fn a_server_that_is_down_is_waited_for() {
        check(&[(10, HEAR), (50, REFUSED), (99, REFUSED)], 148, false);
        check(&[(10, HEAR), (50, REFUSED), (99, REFUSED)], 149, true);
        check(&[(10, GOODBYE)], 1799, false);
        check(&[(10, GOODBYE)], 1800, true);
        check(&[(1790, REFUSED)], 1800, true);
    }

    #[test]
    fn after_it_has_come_back_silence_counts_again() {
        check(&[(10, GOODBYE), (20, HEAR)], 70, true);
    }

    #[test]
    fn a_lease_runs_from_the_heartbeat_that_the_server_took_in() {
        check(&[(0, GREET), (10, BEAT), (15, CONFIRM)], 59, false);
        check(&[(0, GREET), (10, BEAT), (15, CONFIRM)], 60, true);
        // It is heard, but does not hear.
        check(&[(0, GREET), (10, BEAT), (10, CONFIRM), (20, BEAT), (50, HEAR)], 60, true);
        // Stopped at second 11, what came in the meantime is read at second 200.
        check(&[(0, GREET), (10, BEAT), (200, CONFIRM)], 200, true);
        check(&[(0, GREET), (10, BEAT), (200, CONFIRM), (200, BEAT), (201, CONFIRM)], 202, false);
        // An older server confirms nothing.
        check(&[(0, GREET), (10, BEAT), (20, HEAR)], 69, false);
        check(&[(0, GREET), (10, BEAT), (10, CONFIRM), (20, GREET), (40, HEAR)], 89, false);
    }

    #[test]
    fn there_is_time_to_end_what_runs() {
        let lost_after = |hard: u64| {
            let mut contact = Contact::new(Duration::ZERO);
            contact.limit(Duration::from_secs(hard));
            (0..1000).find(|second| contact.is_lost(Duration::from_secs(*second))).unwrap()
        };
        assert_eq!([180, 60, 30, 9].map(lost_after), [150, 50, 20, 6]);
    }
}
