use super::*;

use ocelot_model::{Approvals, AttemptId, BuildNumber, ForgeId, Origin, Trust, WorkerId};
use ocelot_store::{Condition, Held, Repo};

fn labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn repo() -> Repo {
    Repo {
        id: RepoId(1),
        forge_id: ForgeId(1),
        remote_id: String::new(),
        name: "git/x".parse().expect("a name"),
        clone_url: String::new(),
        default_branch: "main".to_owned(),
        public: false,
        approvals: Approvals::default(),
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
        needs: Vec::new(),
        queued_at: Timestamp::UNIX_EPOCH,
        ready: true,
        not_before: None,
        group: None,
        trust: Trust::own(),
        approval: false,
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
        condition: Condition { disk: None, unwell: None },
        last_seen_at: Timestamp::UNIX_EPOCH,
        silent_ms: 10,
        connected: true,
        enrolled: true,
        token: None,
        drained_by: None,
        ending: false,
        twin_at: None,
        holds: (0..i64::from(busy)).map(|n| (held(n), repo(), "default".to_owned())).collect(),
    }
}

/// Where a job stands whose repository had this turn.
fn place(job: &Waiting, turn: i64) -> Place {
    let ticket = Ticket { repo: job.repo.id, turn, priority: 0, build: job.build, job: job.job_id };
    let due = job.ready && job.not_before.is_none();
    Place { ticket, labels: job.labels.clone().into(), ready: job.ready, due }
}

fn check(queue: &[Waiting], workers: &[Worker], want: &str) {
    let queue: Vec<(Waiting, i64)> = queue.iter().map(|job| (job.clone(), 1)).collect();
    check_turns(&queue, workers, want);
}

/// Why the last one of these jobs waits, each with the turn of its repository.
fn check_turns(queue: &[(Waiting, i64)], workers: &[Worker], want: &str) {
    let places = queue.iter().map(|(job, turn)| place(job, *turn)).collect();
    let mut picture = Picture::new(places, workers.to_vec(), Timestamp::UNIX_EPOCH);
    let (last, _) = &queue[queue.len() - 1];
    let at = picture.queue.iter().position(|place| place.ticket.job == last.job_id);
    assert_eq!(picture.reason(at.expect("it waits"), last), want);
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
    let drained = || Worker { drained_by: Some("ann".to_owned()), ..worker("os=linux", 1, 0) };
    check(&[job("os=linux")], &[drained()], "the only worker that may take it is draining: w");
    let ending = Worker { ending: true, ..worker("", 1, 1) };
    check(&[job("")], &[drained(), ending], "all workers that may take it are draining: w, w");
    check(&[job("")], &[drained(), worker("", 2, 2)], "2 of 2 slots busy, 1st in line");
    let away = || Worker { connected: false, ..worker("os=mac", 1, 0) };
    let words = "the workers that may take it are not connected: w, w";
    check(&[job("os=mac")], &[worker("", 1, 0), away(), away()], words);
    check(&[job("")], &[worker("", 2, 1)], "a worker is about to take it (1st in line)");
    check(&[job("")], &[worker("", 1, 1)], "1 of 1 slots busy, 1st in line");
    let last = Waiting { job_id: JobId(2), ..job("os=linux") };
    let queue = [job("os=mac"), job("os=linux"), last];
    let workers = [worker("os=linux", 1, 1), worker("os=linux", 2, 2)];
    check(&queue, &workers, "3 of 3 slots busy, 2nd in line");
    let unwell = |name: &str, why: &str| {
        let condition = Condition { disk: None, unwell: Some(why.to_owned()) };
        Worker { name: name.to_owned(), condition, ..worker("", 2, 0) }
    };
    let disk = "1.0 GiB free of 8.0 GiB, wants 5.0 GiB";
    check(&[job("")], &[unwell("w1", disk)], &format!("w1 takes no jobs: {disk}"));
    check(&[job("")], &[unwell("w1", disk), worker("", 2, 2)], "2 of 2 slots busy, 1st in line");
    let several: Vec<_> = ["a", "b", "c", "d"].map(|name| unwell(name, "x")).into();
    let words = "a takes no jobs: x; b takes no jobs: x; c takes no jobs: x; 1 more worker takes no jobs";
    check(&[job("")], &several, words);
    let needy = Waiting { ready: false, needs: vec!["a".to_owned(), "b".to_owned()], ..job("") };
    check(&[needy], &[], "needs jobs `a`, `b`");
    let held = |holders: &[i64]| {
        let holders = holders.iter().map(|number| BuildNumber(*number)).collect();
        let group = Some(Group { name: "deploy".to_owned(), holders });
        Waiting { ready: false, group, ..job("") }
    };
    check(&[held(&[41])], &[], "concurrency group deploy held by build 41");
    check(&[held(&[41, 42])], &[], "concurrency group deploy held by builds 41, 42");
    check(&[held(&[])], &[], "is about to get its place in concurrency group deploy");
    let later = Waiting { not_before: Some(Timestamp::from_second(3_605).expect("a time")), ..job("") };
    check(&[later], &[], "waits until 01:00:05 UTC for its next attempt");
    let by = Some("mallory (666)".to_owned());
    let fork = Trust::new(Origin::Fork, by, Approvals::Forks);
    let blocked = Waiting { trust: fork.clone(), ready: false, ..job("executor=docker") };
    check(&[blocked], &[], "blocked: needs approval of a commit from a fork by mallory (666)");
    let asks = Waiting { approval: true, ready: false, ..job("") };
    check(&[asks], &[], "blocked: its file wants a person to let it start: ocelot approve 1 default");
    let approved = Trust { approved_by: Some("ann".to_owned()), ..fork };
    let job = Waiting { trust: approved, ..job("executor=docker") };
    let words =
        "what is not the repository's own runs in containers only: no worker has label executor=docker";
    check(&[job], &[worker("executor=host", 1, 0)], words);
}

#[test]
fn states() {
    let away = |worker: Worker| Worker { connected: false, ..worker };
    let silent = |worker: Worker| Worker { silent_ms: 70_000, ..worker };
    let drained = |worker: Worker| Worker { drained_by: Some("ann".to_owned()), ..worker };
    let (idle, busy) = (|| worker("", 2, 0), || worker("", 2, 1));
    let all = [idle(), busy(), drained(busy()), silent(drained(busy())), away(silent(idle()))];
    assert_eq!(all.map(|worker| state(&worker)), STATES);
}

#[test]
fn a_repository_that_runs_all_it_may_waits_for_itself() {
    let most = |most| {
        let job = job("");
        let picture = Picture::new(vec![place(&job, 1)], vec![worker("", 3, 2)], Timestamp::UNIX_EPOCH);
        Picture { most: Some(most), ..picture }.reason(0, &job)
    };
    assert_eq!(most(2), "2 of at most 2 jobs of git/x at once are running");
    assert_eq!(most(3), "a worker is about to take it (1st in line)");
}

#[test]
fn places_follow_the_turns_of_the_repositories() {
    let of = |repo: i64, turn: i64, build: i64, labels: &str| {
        let mut job = job(labels);
        job.repo.id = RepoId(repo);
        (job.build, job.job_id) = (BuildNumber(build), JobId(build));
        (job, turn)
    };
    let workers = [worker("os=linux", 1, 1)];
    let flood = [of(1, 5, 1, ""), of(1, 5, 2, ""), of(1, 5, 3, "gpu=1"), of(1, 5, 4, ""), of(2, 4, 9, "")];
    check_turns(&flood, &workers, "1 of 1 slots busy, 1st in line");
    let first = [of(2, 4, 9, ""), of(1, 5, 1, "")];
    let words = "1 of 1 slots busy, 2nd in line: newer jobs of other repositories have their turn first";
    check_turns(&first, &workers, words);
    // In the second round the older repository has had its turn.
    let second = [of(2, 4, 1, ""), of(1, 5, 2, ""), of(1, 5, 3, ""), of(2, 4, 4, "os=linux")];
    check_turns(&second, &workers, "1 of 1 slots busy, 3rd in line");
}

#[test]
fn ordinals() {
    let words = [1, 2, 3, 4, 11, 12, 13, 21, 112].map(ordinal);
    assert_eq!(words.join(" "), "1st 2nd 3rd 4th 11th 12th 13th 21st 112th");
}
