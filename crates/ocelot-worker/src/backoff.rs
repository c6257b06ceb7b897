//! Waiting between tries: doubled each time, with jitter, so that many workers do not come back at once.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// How long to wait before the next try.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Backoff {
        Backoff { next: FIRST }
    }

    /// Something worked: begin at the shortest wait again.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// Between half of the wait and all of it.
    pub(crate) async fn wait(&mut self) {
        let (delay, next) = step(self.next, fraction());
        self.next = next;
        tokio::time::sleep(delay).await;
    }
}

fn step(wait: Duration, fraction: f64) -> (Duration, Duration) {
    (wait.mul_f64(0.5 + fraction / 2.0), (wait * 2).min(LONGEST))
}

/// From 0 to 1, different each time.
fn fraction() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds() {
        let mut wait = FIRST;
        for _ in 0..20 {
            let (shortest, next) = step(wait, 0.0);
            let (longest, _) = step(wait, 1.0);
            assert_eq!((shortest, longest), (wait / 2, wait));
            wait = next;
        }
        assert_eq!(wait, LONGEST);
    }

    #[test]
    fn fractions_are_fractions() {
        assert!((0..1000).map(|_| fraction()).all(|f| (0.0..1.0).contains(&f)));
    }
}
