//! Repositories take turns, whatever else goes on.

use std::collections::HashMap;
use std::time::Duration;

use ocelot_model::turns::{Ticket, places};
use ocelot_model::{BuildNumber, JobId, RepoId, Status, WorkerId};
use ocelot_store::{Claimed, Free, Next, Plan, Repo};

use crate::bed::{Bed, cancel, finished, jobs, new_build, pairs};

both!(
    a_flood_delays_others_by_one_job,
    a_repository_without_jobs_saves_up_no_turns,
    many_sets_of_labels_give_no_more_turns,
    another_pool_costs_no_turn,
    jobs_that_wait_for_their_next_attempt_stand_in_nobodys_way,
    any_queue_is_served_fairly,
    no_more_jobs_of_a_repository_run_than_it_may,
    claims_at_the_same_time_keep_to_the_limit,
    claims_in_one_transaction_are_as_fair,
    a_free_worker_may_stand_back_for_another,
    a_worker_that_takes_no_more_stands_in_nobodys_way,
);

async fn names(bed: &Bed, worker: WorkerId, count: usize) -> String {
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(bed.claim(worker).await.map_or("nothing".to_owned(), |claimed| claimed.spec.name));
    }
    names.join(" ")
}

async fn a_flood_delays_others_by_one_job(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let (flood, other) = (bed.repo("git/flood").await, bed.repo("git/other").await);
    let many: Vec<String> = (0..500).map(|at| format!("f{at}^9")).collect();
    let mut build = new_build(&flood, "");
    build.plan = Plan::Jobs(jobs(&many.join(" ")));
    bed.store.create_build(&build).await.unwrap();
    assert_eq!(names(&bed, worker, 2).await, "f0 f1");
    bed.store.create_build(&new_build(&other, "a^-9 b")).await.unwrap();
    assert_eq!(bed.order().await[..4], ["b", "f2", "a", "f3"]);
    assert_eq!(names(&bed, worker, 4).await, "b f2 a f3");
}

async fn a_repository_without_jobs_saves_up_no_turns(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let (one, two) = (bed.repo("git/one").await, bed.repo("git/two").await);
    bed.store.create_build(&new_build(&one, "a b c d e")).await.unwrap();
    assert_eq!(names(&bed, worker, 3).await, "a b c");
    bed.store.create_build(&new_build(&two, "x y z")).await.unwrap();
    assert_eq!(names(&bed, worker, 5).await, "x d y e z");
}

async fn many_sets_of_labels_give_no_more_turns(bed: Bed) {
    let worker = bed.worker("w", "os=linux arch=amd64").await;
    let (many, few) = (bed.repo("git/many").await, bed.repo("git/few").await);
    let text = "a b@os=linux c@arch=amd64 d@os=linux,arch=amd64 e@os=linux";
    bed.store.create_build(&new_build(&many, text)).await.unwrap();
    assert_eq!(names(&bed, worker, 1).await, "a");
    bed.store.create_build(&new_build(&few, "x y@os=linux")).await.unwrap();
    assert_eq!(names(&bed, worker, 6).await, "x b y c d e");
}

async fn another_pool_costs_no_turn(bed: Bed) {
    let (linux, mac) = (bed.worker("l", "os=linux").await, bed.worker("m", "os=mac").await);
    let (both, one) = (bed.repo("git/both").await, bed.repo("git/one").await);
    bed.store.create_build(&new_build(&one, "x@os=linux y@os=linux z@os=linux")).await.unwrap();
    assert_eq!(names(&bed, linux, 1).await, "x");
    bed.store.create_build(&new_build(&both, "a@os=mac b@os=mac c@os=linux")).await.unwrap();
    assert_eq!(names(&bed, mac, 2).await, "a b");
    assert_eq!(names(&bed, linux, 3).await, "c y z");
}

async fn jobs_that_wait_for_their_next_attempt_stand_in_nobodys_way(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let (one, two) = (bed.repo("git/one").await, bed.repo("git/two").await);
    bed.store.create_build(&new_build(&one, "a b")).await.unwrap();
    bed.store.create_build(&new_build(&two, "x")).await.unwrap();
    for _ in 0..2 {
        let claimed = bed.claim(worker).await.unwrap();
        bed.store.give_back(&claimed.lease, Duration::from_hours(1)).await.unwrap();
    }
    assert_eq!(names(&bed, worker, 2).await, "b nothing");
}

/// Random builds, claims, ends, cancels and refusals, held against the rule and against what it is for.
async fn any_queue_is_served_fairly(bed: Bed) {
    for seed in 1..=2 {
        Play::new(&bed, seed).await.play(100).await;
    }
}

struct Play<'a> {
    bed: &'a Bed,
    random: u64,
    repos: Vec<Repo>,
    workers: Vec<(WorkerId, &'static str)>,
    running: Vec<Claimed>,
    builds: Vec<BuildNumber>,
    /// How often a worker served the second repository while the first had a job for it and got no worker at all.
    passed: HashMap<(WorkerId, RepoId, RepoId), u32>,
    seed: u64,
}

const LABELS: [&str; 4] = ["", "@os=linux", "@gpu=1", "@os=linux,gpu=1"];

impl<'a> Play<'a> {
    async fn new(bed: &'a Bed, seed: u64) -> Play<'a> {
        let mut repos = Vec::new();
        for at in 0..4 {
            repos.push(bed.repo(&format!("git/s{seed}r{at}")).await);
        }
        let mut workers = Vec::new();
        for labels in ["", "os=linux", "os=linux gpu=1"] {
            workers.push((bed.worker(&format!("s{seed} {labels}"), labels).await, labels));
        }
        let (running, builds, passed) = (Vec::new(), Vec::new(), HashMap::new());
        Play { bed, random: seed, repos, workers, running, builds, passed, seed }
    }

    fn below(&mut self, end: usize) -> usize {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % end
    }

    async fn play(mut self, steps: usize) {
        for step in 0..steps {
            match self.below(10) {
                0..3 => self.create(step).await,
                3..7 => {
                    let at = self.below(self.workers.len());
                    self.claim(at).await;
                }
                7 | 8 => self.end().await,
                _ => self.cancel().await,
            }
        }
        // Nobody starves: as long as the workers come back, everything gets its turn.
        while !self.bed.store.list_queue().await.unwrap().is_empty() || !self.running.is_empty() {
            self.claim(2).await;
            self.end().await;
        }
    }

    async fn create(&mut self, step: usize) {
        let at = self.below(self.repos.len());
        let jobs: Vec<String> = (0..=self.below(4))
            .map(|job| {
                let (priority, labels) = (self.below(3), LABELS[self.below(LABELS.len())]);
                format!("s{step}j{job}^{priority}{labels}")
            })
            .collect();
        let new = new_build(&self.repos[at], &jobs.join(" "));
        self.builds.push(self.bed.store.create_build(&new).await.unwrap().build.number);
    }

    /// One to four free slots, served in one transaction.
    async fn claim(&mut self, at: usize) {
        let (worker, labels) = self.workers[at];
        let labels = pairs(labels);
        let queue = self.bed.store.list_queue().await.unwrap();
        let suits = queue.iter().filter(|job| job.labels.iter().all(|(k, v)| labels.get(k) == Some(v)));
        let mut tickets: Vec<Ticket> = suits.filter(|job| job.ready).map(|job| job.ticket).collect();
        let mut order: Vec<(usize, JobId)> =
            places(&tickets).into_iter().zip(tickets.iter().map(|ticket| ticket.job)).collect();
        order.sort_unstable();
        let slots = 1 + self.below(4);
        let free = [Free { worker, labels: labels.into(), slots: slots as u32 }];
        let claimed = self.bed.store.claim_for(&free, &|_, _| Some(0)).await.unwrap();
        let got: Vec<JobId> = claimed.iter().map(|(_, claimed)| claimed.job_id).collect();
        let want: Vec<JobId> = order.into_iter().take(slots).map(|(_, job)| job).collect();
        assert_eq!(got, want, "seed {}", self.seed);
        for (_, claimed) in claimed {
            self.served(worker, &tickets, &claimed);
            tickets.retain(|ticket| ticket.job != claimed.job_id);
            self.running.push(claimed);
        }
    }

    /// A worker got a job while all of these waited for him.
    fn served(&mut self, worker: WorkerId, tickets: &[Ticket], claimed: &Claimed) {
        let repo = claimed.build.repo.id;
        self.passed.retain(|(_, waiting, _), _| *waiting != repo);
        for other in self.repos.iter().map(|other| other.id) {
            let key = (worker, other, repo);
            if other == repo || !tickets.iter().any(|ticket| ticket.repo == other) {
                self.passed.remove(&key);
                continue;
            }
            let times = self.passed.entry(key).or_default();
            *times += 1;
            assert!(*times < 2, "seed {}: repository {repo} came twice before {other}", self.seed);
        }
        let mine = tickets.iter().filter(|ticket| ticket.repo == repo).map(|ticket| ticket.priority).max();
        assert_eq!(Some(claimed.spec.priority), mine, "seed {}: not its most urgent job", self.seed);
    }

    async fn end(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let at = self.below(self.running.len());
        let claimed = self.running.swap_remove(at);
        if self.below(4) == 0 {
            self.bed.store.give_back(&claimed.lease, Duration::ZERO).await.unwrap();
        } else {
            let what = finished(&claimed, Status::Passed);
            self.bed.store.advance(claimed.build.number, what).await.unwrap();
        }
    }

    async fn cancel(&mut self) {
        if !self.builds.is_empty() {
            let at = self.below(self.builds.len());
            self.bed.store.advance(self.builds[at], cancel()).await.unwrap();
        }
    }
}

async fn no_more_jobs_of_a_repository_run_than_it_may(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let number = bed.build("a b c d").await.build.number;
    let other = bed.repo("git/other").await;
    bed.store.create_build(&new_build(&other, "x y")).await.unwrap();
    bed.store.limit_jobs_per_repo(Some(2));
    let first = bed.claim(worker).await.unwrap();
    assert_eq!(first.spec.name, "a");
    assert_eq!(names(&bed, worker, 4).await, "x b y nothing");
    // What ends makes room, and says so to those who hand out jobs.
    let mut wakes = bed.store.wakes();
    bed.store.advance(number, finished(&first, Status::Passed)).await.unwrap();
    assert_eq!(wakes.recv().await.unwrap(), ocelot_store::Wake::Queue);
    assert_eq!(names(&bed, worker, 2).await, "c nothing");
}

async fn claims_at_the_same_time_keep_to_the_limit(bed: Bed) {
    bed.build("a b c d e f g h").await;
    let bed = &bed;
    let claims = (0..8).map(|n| async move {
        let (store, worker) = (bed.second().await, bed.worker(&format!("w{n}"), "").await);
        store.limit_jobs_per_repo(Some(3));
        store.claim(worker).await.unwrap().is_some()
    });
    let taken = futures_util::future::join_all(claims).await;
    assert_eq!(taken.into_iter().filter(|taken| *taken).count(), 3);
}

/// Workers with so many free slots and these labels.
async fn free(bed: &Bed, workers: &[(&str, &str, u32)]) -> Vec<Free> {
    let mut free = Vec::new();
    for (name, labels, slots) in workers {
        let worker = bed.worker(name, labels).await;
        free.push(Free { worker, labels: pairs(labels).into(), slots: *slots });
    }
    free
}

/// Who got which job, in one transaction.
async fn round(
    bed: &Bed,
    free: &[Free],
    choose: &(dyn Fn(&Next<'_>, &[Free]) -> Option<usize> + Sync),
) -> String {
    let claimed = bed.store.claim_for(free, choose).await.unwrap();
    let place = |worker| free.iter().position(|it| it.worker == worker).unwrap();
    let words = claimed.iter().map(|(worker, claimed)| format!("{}{}", claimed.spec.name, place(*worker)));
    words.collect::<Vec<_>>().join(" ")
}

async fn claims_in_one_transaction_are_as_fair(bed: Bed) {
    let (flood, other) = (bed.repo("git/flood").await, bed.repo("git/other").await);
    let many: Vec<String> = (0..50).map(|at| format!("f{at}_")).collect();
    bed.store.create_build(&new_build(&flood, &many.join(" "))).await.unwrap();
    bed.store.create_build(&new_build(&other, "a_ b_ c_@os=mac")).await.unwrap();
    let free = free(&bed, &[("w0", "", 3), ("w1", "", 1), ("w2", "os=mac", 1), ("w3", "gpu=1", 30)]).await;
    // Repositories in turn, workers in turn, and no more than so many at once.
    let got = round(&bed, &free, &|_, _| Some(0)).await;
    assert!(got.starts_with("f0_0 a_1 b_2 f1_3 f2_0 f3_3 f4_0 f5_3 f6_3"), "{got}");
    assert_eq!(got.split(' ').count(), 16);
    bed.store.limit_jobs_per_repo(Some(15));
    assert_eq!(round(&bed, &free, &|_, _| Some(0)).await, "f14_0");
    assert_eq!(round(&bed, &free, &|_, _| Some(0)).await, "c_2");
    bed.store.limit_jobs_per_repo(None);
    bed.store.pause("ann", None).await.unwrap();
    assert_eq!(round(&bed, &free, &|_, _| Some(0)).await, "");
}

async fn a_free_worker_may_stand_back_for_another(bed: Bed) {
    let (one, two) = (bed.repo("git/one").await, bed.repo("git/two").await);
    bed.store.create_build(&new_build(&one, "a_ b_")).await.unwrap();
    bed.store.create_build(&new_build(&two, "x_ y_")).await.unwrap();
    let free = free(&bed, &[("w0", "", 2), ("w1", "os=mac", 2)]).await;
    // The first repository's jobs wait for somebody, those of the second one are for the last worker.
    let first = one.clone_url.clone();
    let choose = move |next: &Next<'_>, free: &[Free]| (next.clone_url != first).then_some(free.len() - 1);
    let got = round(&bed, &free, &choose).await;
    assert_eq!(got, "x_1 y_1");
    assert_eq!(round(&bed, &free, &|_, _| Some(0)).await, "a_0 b_1");
}

async fn a_worker_that_takes_no_more_stands_in_nobodys_way(bed: Bed) {
    bed.build("a_ b_ c_ d_").await;
    let free = free(&bed, &[("w0", "", 1), ("w1", "", 2), ("w2", "", 1), ("w3", "", 1)]).await;
    // What the server has not heard yet.
    bed.store.drain_worker(free[1].worker, true, "ann").await.unwrap();
    bed.store.worker_ends(free[2].worker).await.unwrap();
    assert_eq!(round(&bed, &free, &|_, _| Some(0)).await, "a_0 b_3");
    assert_eq!(round(&bed, &free[1..3], &|_, _| Some(0)).await, "");
}
