//! Notices that a worker only breaks jobs: when the last few of them failed in their setup for the machine's or the
//! network's fault, within seconds, it takes no more for a while, then tries one. Pure.
//!
//! It must not be a job's own fault that a worker stands still: an image that does not exist counts for nothing, and neither
//! does one repository alone whose host or registry cannot be reached.

use std::time::Duration;

use tokio::time::Instant;

/// So many jobs must fail one after the other.
const JOBS: usize = 3;
/// Slower failures do no harm: they use up few jobs.
const QUICK: Duration = Duration::from_mins(1);
/// From the last failure to the next try; twice as long after each one that fails.
const PAUSE: Duration = Duration::from_mins(5);
const LONGEST: Duration = Duration::from_mins(40);

/// Whose fault it was that a setup failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The job's own: another worker could not do it either.
    Job,
    /// This machine or its engine, in its own words.
    Machine(String),
    /// Something could not be fetched. That may be the far side's fault too.
    Far,
}

/// How a setup ended.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) job: i64,
    pub(crate) repo: &'a str,
    pub(crate) took: Duration,
    /// `None` when it passed.
    pub(crate) fault: Option<Fault>,
}

/// What it makes of all that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Well,
    /// For this reason.
    Unwell(String),
    /// One job may be taken, to see. The number tells one try from the next.
    Try(u64),
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// The last failures, one for each job.
    failed: Vec<Failed>,
    /// The first repository that was seen, and whether there were others.
    repos: Option<(String, bool)>,
    state: State,
    tries: u64,
}

#[derive(Debug)]
struct Failed {
    job: i64,
    repo: String,
    fault: Fault,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
        pause: Duration,
        why: String,
    },
    Trying {
        pause: Duration,
    },
}

impl Breaker {
    /// A setup has ended by itself, not by a cancel.
    pub(crate) fn ended(&mut self, now: Instant, setup: Setup<'_>) {
        match &mut self.repos {
            None => self.repos = Some((setup.repo.to_owned(), false)),
            Some((first, several)) => *several |= first != setup.repo,
        }
        let fault = match setup.fault {
            None => {
                self.failed.clear();
                self.state = State::Closed;
                return;
            }
            Some(Fault::Job) => return,
            Some(_) if setup.took > QUICK => return,
            Some(fault) => fault,
        };
        self.failed.retain(|failed| failed.job != setup.job);
        if self.failed.len() == JOBS {
            self.failed.remove(0);
        }
        self.failed.push(Failed { job: setup.job, repo: setup.repo.to_owned(), fault });
        match &self.state {
            State::Closed if self.is_a_pattern() => self.open(now, PAUSE),
            State::Trying { pause } => self.open(now, (*pause * 2).min(LONGEST)),
            State::Closed | State::Open { .. } => {}
        }
    }

    /// An attempt is over. A try that came to no end of its setup is followed by another one.
    pub(crate) fn left(&mut self) {
        if let State::Trying { .. } = self.state {
            self.tries += 1;
        }
    }

    /// Whether jobs may be taken now.
    pub(crate) fn verdict(&mut self, now: Instant) -> Verdict {
        if let State::Open { until, pause, .. } = &self.state
            && now >= *until
        {
            self.state = State::Trying { pause: *pause };
            self.tries += 1;
        }
        match &self.state {
            State::Closed => Verdict::Well,
            State::Open { why, .. } => Verdict::Unwell(why.clone()),
            State::Trying { .. } => Verdict::Try(self.tries),
        }
    }

    /// Whether the failures say something of this worker rather than of one repository.
    fn is_a_pattern(&self) -> bool {
        let [first, rest @ ..] = &self.failed[..] else { return false };
        if self.failed.len() < JOBS {
            return false;
        }
        let several = rest.iter().any(|failed| failed.repo != first.repo);
        let only_one_known = self.repos.as_ref().is_some_and(|(_, several)| !several);
        let machine = self.failed.iter().all(|failed| failed.fault != Fault::Far);
        several || machine && only_one_known
    }

    fn open(&mut self, now: Instant, pause: Duration) {
        let last = self.failed.last().map_or(&Fault::Far, |failed| &failed.fault);
        let what = match last {
            Fault::Machine(words) => words,
            // Whose repository it was is not for everyone.
            Fault::Far | Fault::Job => "repositories or images could not be fetched",
        };
        let why = format!("its last {JOBS} jobs failed in setup: {what}");
        self.state = State::Open { until: now + pause, pause, why };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHY: &str = "its last 3 jobs failed in setup: no room";

    /// What follows from these ends: `job repo how`, each a second after the one before, with `left` for an attempt's end
    /// and a number of seconds for a time in which nothing happens.
    fn after(story: &str) -> Verdict {
        let mut breaker = Breaker::default();
        let mut now = Instant::now();
        let mut verdict = Verdict::Well;
        for word in story.split(", ") {
            let words: Vec<&str> = word.split(' ').collect();
            match words[..] {
                [job, repo, how] => {
                    let fault = match how {
                        "passed" => None,
                        "job" => Some(Fault::Job),
                        "far" => Some(Fault::Far),
                        _ => Some(Fault::Machine("no room".into())),
                    };
                    let took = Duration::from_secs(if how == "slow" { 61 } else { 3 });
                    breaker.ended(now, Setup { job: job.parse().unwrap(), repo, took, fault });
                }
                ["left"] => breaker.left(),
                [seconds] => now += Duration::from_secs(seconds.parse().unwrap()),
                _ => panic!("{word}"),
            }
            now += Duration::from_secs(1);
            verdict = breaker.verdict(now);
        }
        verdict
    }

    fn check(story: &str, want: &Verdict) {
        assert_eq!(&after(story), want, "{story}");
    }

    fn unwell() -> Verdict {
        Verdict::Unwell(WHY.into())
    }

    #[test]
    fn three_different_jobs_in_a_row() {
        check("1 a bad, 2 b bad", &Verdict::Well);
        check("1 a bad, 2 b bad, 3 a bad", &unwell());
        check("1 a bad, 2 b bad, 2 b bad, 2 b bad", &Verdict::Well);
        check("1 a bad, 2 b bad, 4 a passed, 3 a bad", &Verdict::Well);
        check("1 a bad, 2 b bad, 4 a job, 3 a bad", &unwell());
        check("1 a slow, 2 b slow, 3 a slow", &Verdict::Well);
    }

    #[test]
    fn one_repository_alone_does_not_stop_a_worker_that_others_use() {
        // Nobody else is there to tell.
        check("1 a bad, 2 a bad, 3 a bad", &unwell());
        check("9 b passed, 1 a bad, 2 a bad, 3 a bad", &Verdict::Well);
        check("9 b passed, 1 a bad, 2 a bad, 3 a bad, 4 b bad", &unwell());
        check("1 a job, 2 b job, 3 c job", &Verdict::Well);
    }

    #[test]
    fn a_host_that_is_away_stops_a_worker_only_when_several_repositories_miss_it() {
        check("1 a far, 2 a far, 3 a far", &Verdict::Well);
        let why = "its last 3 jobs failed in setup: repositories or images could not be fetched";
        check("1 a far, 2 b far, 3 a far", &Verdict::Unwell(why.into()));
    }

    #[test]
    fn it_tries_one_job_after_a_while_and_heals() {
        let open = "1 a bad, 2 b bad, 3 a bad";
        check(&format!("{open}, 297"), &unwell());
        check(&format!("{open}, 300"), &Verdict::Try(1));
        check(&format!("{open}, 300, 4 a passed"), &Verdict::Well);
        check(&format!("{open}, 300, 4 a job"), &Verdict::Try(1));
        check(&format!("{open}, 300, 4 a job, left"), &Verdict::Try(2));
        // Each pause is longer than the one before.
        check(&format!("{open}, 300, 4 a bad, 400"), &unwell());
        check(&format!("{open}, 300, 4 a bad, 600"), &Verdict::Try(2));
        check(&format!("{open}, 300, 4 a bad, 600, 5 a passed, 6 a bad, 7 b bad"), &Verdict::Well);
        // What had begun before may still prove that all is well.
        check(&format!("{open}, 5 b passed"), &Verdict::Well);
    }
}
