//! Why a job still waits, in words. Pure: a picture of the queue and the fleet goes in, sentences come out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ocelot_store::{Waiting, Worker};

/// A worker that is silent for longer is not counted on.
const SILENT_MS: i64 = 60_000;

/// `connected`, `unreachable` or `gone`.
pub(crate) fn state(worker: &Worker) -> &'static str {
    match (worker.connected, worker.silent_ms > SILENT_MS) {
        (true, false) => "connected",
        (true, true) => "unreachable",
        (false, _) => "gone",
    }
}

/// Why `queue[at]` waits.
pub(super) fn reason(queue: &[Waiting], at: usize, workers: &[Worker], now: Timestamp) -> String {
    let job = &queue[at];
    if !job.ready {
        let names: Vec<String> = job.needs.iter().map(|name| format!("`{name}`")).collect();
        let noun = if names.len() == 1 { "job" } else { "jobs" };
        return format!("needs {noun} {}", names.join(", "));
    }
    if let Some(time) = job.not_before.filter(|time| *time > now) {
        let clock = time.to_zoned(TimeZone::UTC).strftime("%H:%M:%S").to_string();
        return format!("waits until {clock} UTC for its next attempt");
    }
    let here: Vec<&Worker> = workers.iter().filter(|worker| state(worker) == "connected").collect();
    if here.is_empty() {
        return "no worker is connected".to_owned();
    }
    let matching: Vec<&&Worker> = here.iter().filter(|worker| has(worker, &job.labels)).collect();
    if matching.is_empty() {
        return nobody_has(&here, &job.labels);
    }
    let slots: u32 = matching.iter().map(|worker| worker.slots).sum();
    let free = matching.iter().any(|worker| (worker.holds.len() as u32) < worker.slots);
    let rivals = queue[..at].iter().filter(|other| {
        other.ready
            && other.not_before.is_none_or(|time| time <= now)
            && matching.iter().any(|w| has(w, &other.labels))
    });
    let place = rivals.count() + 1;
    match (free, slots) {
        (true, _) => format!("a worker is about to take it ({} in line)", ordinal(place)),
        (false, 0) => "the matching workers take no jobs (0 slots)".to_owned(),
        (false, 1) => format!("the only slot of the matching workers is busy, {} in line", ordinal(place)),
        (false, n) => format!("all {n} slots of the matching workers are busy, {} in line", ordinal(place)),
    }
}

fn has(worker: &Worker, labels: &BTreeMap<String, String>) -> bool {
    labels.iter().all(|(key, value)| worker.labels.get(key) == Some(value))
}

fn nobody_has(workers: &[&Worker], labels: &BTreeMap<String, String>) -> String {
    let lacking =
        labels.iter().find(|(key, value)| !workers.iter().any(|w| w.labels.get(*key) == Some(value)));
    if let Some((key, value)) = lacking {
        return format!("no worker has label {key}={value}");
    }
    let all: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("no worker has all the labels {}", all.join(", "))
}

fn ordinal(n: usize) -> String {
    let end = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocelot_model::turns::Ticket;
    use ocelot_model::{AttemptId, BuildNumber, ForgeId, JobId, RepoId, WorkerId};
    use ocelot_store::{Held, Repo};

    fn labels(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn repo() -> Repo {
        Repo {
            id: RepoId(1),
            forge_id: ForgeId(1),
            name: "git/x".parse().expect("a name"),
            clone_url: String::new(),
            default_branch: "main".to_owned(),
            public: false,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn job(wanted: &str) -> Waiting {
        Waiting {
            build: BuildNumber(1),
            repo: repo(),
            job_id: JobId(1),
            job: "default".to_owned(),
            labels: labels(wanted),
            ticket: Ticket { repo: RepoId(1), turn: 0, priority: 0, build: BuildNumber(1), job: JobId(1) },
            needs: Vec::new(),
            queued_at: Timestamp::UNIX_EPOCH,
            ready: true,
            not_before: None,
        }
    }

    fn worker(own: &str, slots: u32, busy: u32) -> Worker {
        let held = |n| Held {
            attempt_id: AttemptId(n),
            attempt: 1,
            build: BuildNumber(1),
            job_id: JobId(n),
            worker: WorkerId(1),
        };
        Worker {
            id: WorkerId(1),
            name: "w".to_owned(),
            labels: labels(own),
            slots,
            version: String::new(),
            sharing: String::new(),
            last_seen_at: Timestamp::UNIX_EPOCH,
            silent_ms: 10,
            connected: true,
            holds: (0..i64::from(busy)).map(|n| (held(n), repo(), "default".to_owned())).collect(),
        }
    }

    fn check(queue: &[Waiting], workers: &[Worker], want: &str) {
        assert_eq!(reason(queue, queue.len() - 1, workers, Timestamp::UNIX_EPOCH), want);
    }

    #[test]
    fn reasons() {
        check(&[job("")], &[], "no worker is connected");
        check(&[job("")], &[Worker { silent_ms: 70_000, ..worker("", 1, 0) }], "no worker is connected");
        check(&[job("gpu=a100")], &[worker("gpu=t4", 1, 0)], "no worker has label gpu=a100");
        check(
            &[job("a=1,b=2")],
            &[worker("a=1", 1, 0), worker("b=2", 1, 0)],
            "no worker has all the labels a=1, b=2",
        );
        check(&[job("")], &[worker("", 2, 1)], "a worker is about to take it (1st in line)");
        check(&[job("")], &[worker("", 1, 1)], "the only slot of the matching workers is busy, 1st in line");
        let queue = [job("os=mac"), job("os=linux"), job("os=linux")];
        let workers = [worker("os=linux", 1, 1), worker("os=linux", 2, 2)];
        check(&queue, &workers, "all 3 slots of the matching workers are busy, 2nd in line");
        let needy = Waiting { ready: false, needs: vec!["a".to_owned(), "b".to_owned()], ..job("") };
        check(&[needy], &[], "needs jobs `a`, `b`");
        let later = Waiting { not_before: Some(Timestamp::from_second(3_605).expect("a time")), ..job("") };
        check(&[later], &[], "waits until 01:00:05 UTC for its next attempt");
    }

    #[test]
    fn ordinals() {
        let words = [1, 2, 3, 4, 11, 12, 13, 21, 112].map(ordinal);
        assert_eq!(words.join(" "), "1st 2nd 3rd 4th 11th 12th 13th 21st 112th");
    }
}
