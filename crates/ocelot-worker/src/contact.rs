//! When a worker must assume that the server has given its attempts to others. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Longest that attempts go on without any word from a server.
const LONGEST: Duration = Duration::from_mins(30);

/// What is known of the server, by this machine's monotonic clock.
#[derive(Debug)]
pub(crate) struct Contact {
    /// Its last message.
    heard: Instant,
    /// The last sign that no server runs there at all.
    down: Option<Instant>,
    /// It said that it goes.
    gone: bool,
    /// After so much silence of ours it gives our attempts to others.
    hard: Duration,
}

impl Contact {
    /// Before the first word; the server's own default limit is assumed.
    pub(crate) fn new(now: Instant) -> Contact {
        Contact { heard: now, down: None, gone: false, hard: Duration::from_mins(3) }
    }

    /// A message came.
    pub(crate) fn hear(&mut self, now: Instant) {
        self.heard = now;
        self.gone = false;
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
    pub(crate) fn refused(&mut self, now: Instant) {
        self.down = Some(now);
    }

    /// How long since the last message.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// True when everything that runs must be ended, before others begin with it.
    pub(crate) fn is_lost(&self, now: Instant) -> bool {
        let silence = self.silence(now);
        if silence >= LONGEST {
            return true;
        }
        let sign = self.down.map_or(self.heard, |down| down.max(self.heard));
        // A sixth of the limit is left for ending what runs.
        !self.gone && now.saturating_duration_since(sign) >= self.hard.mul_f64(5.0 / 6.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Step = fn(&mut Contact, Instant);

    /// The contact after `steps`, each at a second, and whether it is lost at the second `now`.
    fn check(steps: &[(u64, Step)], now: u64, want: bool) {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let mut contact = Contact::new(start);
        contact.limit(Duration::from_mins(1));
        for (second, step) in steps {
            step(&mut contact, at(*second));
        }
        assert_eq!(contact.is_lost(at(now)), want, "at {now}");
    }

    const HEAR: Step = Contact::hear;
    const REFUSED: Step = Contact::refused;
    const GOODBYE: Step = |contact, _| contact.goodbye();

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
}
