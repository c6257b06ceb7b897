//! In which order waiting jobs start: repositories take turns, each with its most urgent job.
//!
//! The store's claim follows the same rule one job at a time, with indexes; a test holds the two together.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::{BuildNumber, JobId, RepoId};

/// What decides when a waiting job starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Whose job it is.
    pub repo: RepoId,
    /// When this repository last got a worker for such a job: a number that rises with every claim, 0 for never.
    pub turn: i64,
    /// Counts among the jobs of one repository only: nobody can push others back with it.
    pub priority: i32,
    /// Its build.
    pub build: BuildNumber,
    /// The job.
    pub job: JobId,
}

/// The places of these jobs, from 0, if workers that suit all of them took one after the other. In each round every
/// repository gets one job; who waits longest for its turn begins.
pub fn places(tickets: &[Ticket]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..tickets.len()).collect();
    order.sort_unstable_by_key(|at| {
        let Ticket { priority, build, job, .. } = tickets[*at];
        (Reverse(priority), build, job)
    });
    let mut turns: HashMap<RepoId, i64> = HashMap::new();
    for ticket in tickets {
        let turn = turns.entry(ticket.repo).or_insert(ticket.turn);
        *turn = ticket.turn.min(*turn);
    }
    let mut taken: HashMap<RepoId, usize> = HashMap::new();
    let mut keyed: Vec<_> = order
        .into_iter()
        .map(|at| {
            let repo = tickets[at].repo;
            let round = taken.entry(repo).or_default();
            *round += 1;
            ((*round, turns[&repo], repo), at)
        })
        .collect();
    keyed.sort_unstable_by_key(|(key, _)| *key);
    let mut places = vec![0; tickets.len()];
    for (place, (_, at)) in keyed.into_iter().enumerate() {
        places[at] = place;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Jobs such as `a:5` (repository a, whose turn was 5) or `a:5^2` (priority 2), and the order in which they start.
    fn check(jobs: &str, want: &str) {
        let words: Vec<&str> = jobs.split(' ').collect();
        let tickets: Vec<Ticket> = words
            .iter()
            .zip(1..)
            .map(|(word, id)| {
                let (word, priority) = word.split_once('^').unwrap_or((word, "0"));
                let (repo, turn) = word.split_once(':').unwrap();
                Ticket {
                    repo: RepoId(i64::from(repo.as_bytes()[0])),
                    turn: turn.parse().unwrap(),
                    priority: priority.parse().unwrap(),
                    build: BuildNumber(id),
                    job: JobId(id),
                }
            })
            .collect();
        let mut order = vec![""; words.len()];
        for (word, place) in words.iter().zip(places(&tickets)) {
            order[place] = word;
        }
        assert_eq!(order.join(" "), want);
    }

    #[test]
    fn repositories_take_turns() {
        check("a:1 a:1 a:1 b:2", "a:1 b:2 a:1 a:1");
        check("a:3 a:3 a:3 b:2 b:2 c:0", "c:0 b:2 a:3 b:2 a:3 a:3");
    }

    #[test]
    fn priority_counts_within_a_repository() {
        check("a:1 a:1^5 b:2 b:2^-1", "a:1^5 b:2 a:1 b:2^-1");
        check("a:2^9 a:2^9 b:1", "b:1 a:2^9 a:2^9");
    }

    #[test]
    fn labels_may_have_turns_of_their_own() {
        check("a:7 a:2 b:5", "a:7 b:5 a:2");
    }
}
