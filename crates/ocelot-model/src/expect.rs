//! When a build may be over, from how long its jobs take as a rule. Pure.

use std::collections::{BTreeMap, HashMap};

/// A job of a build that is not over, as far as time goes.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// Name.
    pub name: &'a str,
    /// Jobs that it waits for.
    pub needs: &'a [String],
    /// Where it stands.
    pub state: State,
}

/// Where a job stands in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It takes no more time.
    Over,
    /// It runs for so many milliseconds.
    Runs(i64),
    /// Once what it needs is over, it waits so many milliseconds for a worker.
    Waits(i64),
}

/// The middle one of these times in milliseconds.
#[must_use]
pub fn median(times: &[i64]) -> Option<i64> {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

/// Milliseconds until all of these jobs are over; `None` when one of them has never passed, so that nobody knows how long it
/// takes. Jobs run beside each other unless one needs another. One that runs longer than usual may end at any moment.
#[must_use]
pub fn remaining(jobs: &[Job<'_>], usual: &BTreeMap<String, i64>) -> Option<i64> {
    let mut ends: HashMap<&str, i64> = HashMap::new();
    let mut left: Vec<&Job<'_>> = jobs.iter().collect();
    while !left.is_empty() {
        let before = left.len();
        let mut waiting = Vec::new();
        for job in left {
            let known = |name: &String| match jobs.iter().any(|other| other.name == name) {
                true => ends.get(name.as_str()).copied(),
                false => Some(0),
            };
            let Some(needs) = job.needs.iter().map(known).collect::<Option<Vec<i64>>>() else {
                waiting.push(job);
                continue;
            };
            let begin = needs.into_iter().max().unwrap_or(0);
            let end = match job.state {
                State::Over => 0,
                State::Runs(ms) => usual.get(job.name)?.saturating_sub(ms).max(0),
                State::Waits(ms) => begin.saturating_add(ms).saturating_add(*usual.get(job.name)?),
            };
            ends.insert(job.name, end);
        }
        if waiting.len() == before {
            return None;
        }
        left = waiting;
    }
    ends.into_values().max()
}

/// Milliseconds until a job that waits behind so many others gets a worker: what runs ends after a usual time, and then those
/// before it take their turns. `busy` says for how long each job runs that holds one of the slots.
#[must_use]
pub fn wait(slots: u32, busy: &[i64], before: usize, usual: i64) -> Option<i64> {
    if slots == 0 {
        return None;
    }
    let mut free: std::collections::BinaryHeap<std::cmp::Reverse<i64>> =
        busy.iter().take(slots as usize).map(|ms| std::cmp::Reverse((usual - ms).max(0))).collect();
    free.extend((busy.len()..slots as usize).map(|_| std::cmp::Reverse(0)));
    for _ in 0..before {
        let std::cmp::Reverse(at) = free.pop()?;
        free.push(std::cmp::Reverse(at + usual));
    }
    free.pop().map(|std::cmp::Reverse(at)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> BTreeMap<String, i64> {
        [("a", 100), ("b", 30), ("c", 50)].map(|(name, ms)| (name.to_owned(), ms)).into()
    }

    fn check(jobs: &[(&str, &[&str], State)], want: Option<i64>) {
        let needs: Vec<Vec<String>> =
            jobs.iter().map(|(_, needs, _)| needs.iter().map(|name| (*name).to_owned()).collect()).collect();
        let jobs: Vec<Job<'_>> = jobs
            .iter()
            .zip(&needs)
            .map(|((name, _, state), needs)| Job { name, needs, state: *state })
            .collect();
        assert_eq!(remaining(&jobs, &usual()), want, "{jobs:?}");
    }

    #[test]
    fn builds_take_as_long_as_their_longest_way() {
        check(&[], None);
        check(&[("a", &[], State::Waits(0))], Some(100));
        check(&[("a", &[], State::Waits(0)), ("b", &[], State::Waits(0))], Some(100));
        check(&[("b", &["a"], State::Waits(5)), ("a", &[], State::Waits(0))], Some(135));
        check(
            &[("a", &[], State::Runs(90)), ("b", &["a"], State::Waits(0)), ("c", &[], State::Runs(0))],
            Some(50),
        );
        check(&[("a", &[], State::Over), ("b", &["a"], State::Waits(0))], Some(30));
        check(&[("a", &[], State::Runs(400))], Some(0));
        check(&[("new", &[], State::Waits(0))], None);
        check(&[("new", &[], State::Over), ("b", &["new"], State::Waits(0))], Some(30));
        check(&[("b", &["elsewhere"], State::Waits(0))], Some(30));
        check(&[("a", &["b"], State::Waits(0)), ("b", &["a"], State::Waits(0))], None);
    }

    #[test]
    fn those_before_one_take_their_turns() {
        for (slots, busy, before, want) in [
            (0, &[][..], 0, None),
            (1, &[], 0, Some(0)),
            (1, &[40], 0, Some(60)),
            (1, &[400], 0, Some(0)),
            (1, &[40], 2, Some(260)),
            (2, &[40, 90], 0, Some(10)),
            (2, &[40, 90], 1, Some(60)),
            (2, &[40], 1, Some(60)),
        ] {
            assert_eq!(wait(slots, busy, before, 100), want, "{slots} {busy:?} {before}");
        }
    }

    #[test]
    fn the_middle_is_one_of_them() {
        assert_eq!([median(&[]), median(&[7]), median(&[9, 1, 5])], [None, Some(7), Some(5)]);
    }
}
