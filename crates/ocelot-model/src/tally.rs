//! What many builds, jobs or stages have in common: how many ended how, how long they took and how long they waited.
//!
//! Times are counted in a [`Histogram`] whose steps grow with the time, so that tallies can be added to and taken from
//! each other, and a percentile is within [`ERROR`] of the exact one however many there are.

use crate::Status;

/// A percentile is off by at most this share of itself, and half a millisecond.
pub const ERROR: f64 = 0.02;
/// Each step of a histogram ends so many times later than the one before.
const GROWTH: f64 = (1.0 + ERROR) / (1.0 - ERROR);
/// No time is longer than what this step holds.
const STEPS: usize = 1100;
/// The form in which tallies are stored, for another one some day.
const FORM: u8 = 1;

/// The statuses that are counted: those at which something ends.
pub const ENDS: [Status; 6] =
    [Status::Passed, Status::Failed, Status::Error, Status::TimedOut, Status::Cancelled, Status::Skipped];

/// How many times of each length: the count of each step. The last one is not 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram(Vec<u64>);

impl Histogram {
    /// Counts a time in milliseconds; one below zero is none.
    pub fn add(&mut self, ms: i64) {
        self.count(step(ms) as usize, 1);
    }

    fn count(&mut self, step: usize, more: u64) {
        if self.0.len() <= step && more > 0 {
            self.0.resize(step + 1, 0);
        }
        if let Some(own) = self.0.get_mut(step) {
            *own = own.saturating_add(more);
        }
    }

    /// Steps that have a count.
    fn steps(&self) -> impl Iterator<Item = (usize, u64)> {
        self.0.iter().copied().enumerate().filter(|(_, count)| *count > 0)
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.0.iter().sum()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The time below or at which this share (0 to 1) of all lies, by nearest rank; `None` when there are none.
    pub fn percentile(&self, share: f64) -> Option<i64> {
        let all = self.len();
        let rank = ((all as f64 * share).ceil() as u64).clamp(1, all.max(1));
        let mut seen = 0;
        self.steps().find_map(|(step, count)| {
            seen += count;
            (seen >= rank).then(|| middle(step as u32))
        })
    }

    fn merge(&mut self, other: &Histogram) {
        other.steps().for_each(|(step, count)| self.count(step, count));
    }

    fn take(&mut self, other: &Histogram) {
        for (own, less) in self.0.iter_mut().zip(&other.0) {
            *own = own.saturating_sub(*less);
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

/// Step 0 holds what takes no time; step n up to `GROWTH` to the power of n - 1 milliseconds.
fn step(ms: i64) -> u32 {
    if ms < 1 { 0 } else { 1 + ((ms as f64).ln() / GROWTH.ln()).ceil() as u32 }
}

/// The time that is off by the same share from both ends of a step.
fn middle(step: u32) -> i64 {
    match step {
        0 => 0,
        n => (2.0 * GROWTH.powi(n as i32 - 1) / (1.0 + GROWTH)).round() as i64,
    }
}

/// Counts of ends and times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    ends: [u64; 6],
    /// How long those took that came to an end of their own: not what was cancelled or skipped.
    pub duration: Histogram,
    /// How long those waited that began.
    pub wait: Histogram,
}

impl Tally {
    /// Counts one thing that ended.
    pub fn add(&mut self, status: Status, duration_ms: Option<i64>, wait_ms: Option<i64>) {
        let Some(at) = ENDS.iter().position(|end| *end == status) else { return };
        self.ends[at] += 1;
        if let Some(ms) = duration_ms.filter(|_| !matches!(status, Status::Cancelled | Status::Skipped)) {
            self.duration.add(ms);
        }
        if let Some(ms) = wait_ms {
            self.wait.add(ms);
        }
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Tally) {
        for (own, more) in self.ends.iter_mut().zip(other.ends) {
            *own += more;
        }
        self.duration.merge(&other.duration);
        self.wait.merge(&other.wait);
    }

    /// Takes away what another one counted, which this one has counted, too.
    pub fn take(&mut self, other: &Tally) {
        for (own, less) in self.ends.iter_mut().zip(other.ends) {
            *own = own.saturating_sub(less);
        }
        self.duration.take(&other.duration);
        self.wait.take(&other.wait);
    }

    /// How many ended so.
    pub fn count(&self, status: Status) -> u64 {
        ENDS.iter().position(|end| *end == status).map_or(0, |at| self.ends[at])
    }

    /// How many ended.
    pub fn total(&self) -> u64 {
        self.ends.iter().sum()
    }

    /// The share that passed of those that came to an end of their own; `None` when there are none.
    pub fn pass_rate(&self) -> Option<f64> {
        let [passed, failed, error, timed_out, ..] = self.ends;
        let own = passed + failed + error + timed_out;
        (own > 0).then(|| passed as f64 / own as f64)
    }

    /// The bytes that are stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![FORM];
        for count in self.ends {
            put(&mut bytes, count);
        }
        for histogram in [&self.duration, &self.wait] {
            put(&mut bytes, histogram.steps().count() as u64);
            let mut last = 0;
            for (step, count) in histogram.steps() {
                put(&mut bytes, (step - last) as u64);
                put(&mut bytes, count);
                last = step;
            }
        }
        bytes
    }

    /// What was stored; `None` when it is not what [`Tally::to_bytes`] makes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Tally> {
        let mut tally = Tally::default();
        tally.merge_bytes(bytes).then_some(tally)
    }

    /// Adds what was stored, without making a tally of it first: a year has thousands. False, and nothing can be said of the sum any
    /// more, when it is not what [`Tally::to_bytes`] makes.
    #[must_use]
    pub fn merge_bytes(&mut self, bytes: &[u8]) -> bool {
        self.read(bytes).is_some()
    }

    fn read(&mut self, bytes: &[u8]) -> Option<()> {
        let (&FORM, mut rest) = bytes.split_first()? else { return None };
        for count in &mut self.ends {
            *count = count.saturating_add(next(&mut rest)?);
        }
        for histogram in [&mut self.duration, &mut self.wait] {
            let mut step = 0usize;
            for _ in 0..next(&mut rest)? {
                step =
                    step.checked_add(usize::try_from(next(&mut rest)?).ok()?).filter(|step| *step < STEPS)?;
                histogram.count(step, next(&mut rest)?);
            }
        }
        rest.is_empty().then_some(())
    }
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn next(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random and are the same each time.
    fn numbers(seed: u64) -> impl Iterator<Item = u64> {
        let mut state = seed;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        })
    }

    fn close(got: i64, want: i64) -> bool {
        (got - want).abs() as f64 <= want as f64 * ERROR + 0.51
    }

    #[test]
    fn a_percentile_is_as_exact_as_promised() {
        for (seed, count) in [(1, 1), (2, 2), (3, 7), (4, 1000), (5, 20_000)] {
            let mut times: Vec<i64> =
                numbers(seed).take(count).map(|n| (1i64 << (n % 38)) + (n % 977) as i64 - 1).collect();
            let mut histogram = Histogram::default();
            times.iter().for_each(|ms| histogram.add(*ms));
            times.sort_unstable();
            for share in [0.01, 0.5, 0.95, 1.0] {
                let rank = ((count as f64 * share).ceil() as usize).max(1);
                let (got, want) = (histogram.percentile(share).expect("some"), times[rank - 1]);
                assert!(close(got, want), "{share} of {count}: {got} is not {want}");
            }
        }
        for ms in 0..5_000 {
            assert!(close(middle(step(ms)), ms), "{ms} ms becomes {}", middle(step(ms)));
        }
        assert_eq!((Histogram::default().percentile(0.5), step(-5)), (None, 0));
    }

    #[test]
    fn what_is_added_can_be_taken_away() {
        let some = |seed| {
            let mut tally = Tally::default();
            for n in numbers(seed).take(300) {
                let (ms, status) = ((n % 100_000) as i64, ENDS[n as usize % 6]);
                tally.add(status, Some(ms), (n % 3 == 0).then_some(ms / 7));
            }
            tally
        };
        let (one, two) = (some(1), some(2));
        let mut both = one.clone();
        both.merge(&two);
        assert_eq!(both.total(), 600);
        both.take(&two);
        assert_eq!(both, one);
        both.take(&one);
        assert_eq!(both, Tally::default());
    }

    #[test]
    fn what_is_stored_comes_back() {
        let mut tally = Tally::default();
        for (status, ms) in ENDS.into_iter().zip([0, 1, 900, 70_000, 9_000_000, i64::MAX]) {
            tally.add(status, Some(ms), Some(ms));
        }
        let bytes = tally.to_bytes();
        assert_eq!(Tally::from_bytes(&bytes), Some(tally));
        for end in 0..bytes.len() {
            assert_eq!(Tally::from_bytes(&bytes[..end]), None, "{end} bytes");
        }
        assert_eq!(Tally::from_bytes(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(Tally::from_bytes(&[2, 0, 0]), None);
    }

    #[test]
    fn the_rate_counts_what_came_to_an_end_of_its_own() {
        let mut tally = Tally::default();
        assert_eq!(tally.pass_rate(), None);
        tally.add(Status::Cancelled, Some(5), None);
        tally.add(Status::Skipped, Some(5), None);
        // What is not over is not counted.
        tally.add(Status::Running, Some(5), Some(5));
        assert_eq!((tally.pass_rate(), tally.total(), tally.duration.len()), (None, 2, 0));
        for status in [Status::Passed, Status::Passed, Status::Passed, Status::Error] {
            tally.add(status, Some(5), Some(1));
        }
        assert_eq!((tally.pass_rate(), tally.count(Status::Passed)), (Some(0.75), 3));
    }
}
