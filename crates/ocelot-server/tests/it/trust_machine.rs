//! Whatever happens in whatever order, nothing of a fork's commit starts before a person approved of that very build,
//! and nothing of it ever may have a secret. Random steps on a real server and its store; what is promised is kept beside
//! them in a few lines.

use std::collections::BTreeMap;

use ocelot_model::build::{Happening, Outcome};
use ocelot_model::event::{CommitId, PullRequest};
use ocelot_model::forge::{Account, RemoteName};
use ocelot_model::{Approvals, BuildNumber, EventKind, RemoteId, Status, Trust, WorkerId, pipeline};
use ocelot_store::{BuildDetail, Claimed, NewBuild, Plan, Repo};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::room::{Room, answer};

/// Two jobs, one after the other; the first may be tried again.
const YML: &str = "image: busybox\njobs:\n  a: {stages: [{name: s, script: [x]}]}\n  \
                   b: {needs: [a], always: true, stages: [{name: s, script: [x]}]}\n";
const SEQUENCES: u64 = 12;
const STEPS: usize = 120;

/// What must be true of a build, whatever the server says.
struct Promise {
    commit: String,
    /// Its commit is not the repository's own.
    foreign: bool,
    /// It must wait for a person.
    gated: bool,
    approved: bool,
}

/// What was done, and with which seed: told when it goes wrong.
struct Trace(u64, Vec<String>);

impl Trace {
    fn push(&mut self, line: String) {
        self.1.push(line);
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}:\n{}", self.0, self.1.join("\n"));
        }
    }
}

struct Machine {
    room: Room,
    repo: Repo,
    docker: WorkerId,
    host: WorkerId,
    builds: BTreeMap<i64, Promise>,
    held: Vec<Claimed>,
    random: u64,
    commits: u64,
    trace: Trace,
    /// So often a foreign commit was handed out after an approval, and one was seen to wait.
    seen: (u32, u32),
}

impl Machine {
    async fn new(seed: u64) -> Machine {
        let room = Room::new().await;
        room.known("example", YML).await;
        let repo = room.app.store.find_repo(&"git/example".parse().unwrap()).await.unwrap().unwrap();
        let docker = room.worker().await;
        let host = room.worker_with("w2", "host").await;
        let (builds, held, trace) = (BTreeMap::new(), Vec::new(), Trace(seed, Vec::new()));
        Machine { room, repo, docker, host, builds, held, random: seed, commits: 0, trace, seen: (0, 0) }
    }

    fn below(&mut self, end: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) as usize % end
    }

    fn any_build(&mut self) -> Option<i64> {
        // Often the newest one.
        let back = if self.below(2) == 0 { 0 } else { self.below(self.builds.len().max(1)) };
        self.builds.keys().rev().nth(back).copied()
    }

    async fn step(&mut self) {
        match self.below(16) {
            0..=2 => self.pull_request().await,
            3 => self.push().await,
            4 | 5 => self.act("approve").await,
            6 => self.act("cancel").await,
            7 => self.act("retry").await,
            8 => self.set().await,
            9..=11 => self.claim(self.docker).await,
            12 => self.claim(self.host).await,
            13 | 14 => self.end_one().await,
            _ => self.mend().await,
        }
    }

    /// A pull request is opened, updated or force-pushed: to a new commit, or back to one that was there before.
    async fn pull_request(&mut self) {
        // 0: nobody knows; 1: the repository itself.
        let source = self.below(4) as u64;
        if self.below(4) > 0 {
            self.commits += 1;
        }
        let name = |id| RemoteName { id, full_name: "acme/app".to_owned() };
        let pull = PullRequest {
            number: 1,
            title: String::new(),
            draft: false,
            author: Some(Account { id: RemoteId::from(666), name: "mallory".to_owned() }),
            source: Some(name((source > 0).then(|| RemoteId::from(source)))),
            source_branch: "main".to_owned(),
            commit: CommitId::Whole(format!("{:040x}", self.commits)),
            target: name(Some(RemoteId::from(1))),
            target_branch: "main".to_owned(),
            updated: String::new(),
        };
        let repo = self.room.app.store.load_repo(self.repo.id).await.unwrap();
        let trust = Trust::of(&pull, repo.approvals);
        let foreign = source != 1;
        let gated = match repo.approvals {
            Approvals::Forks => foreign,
            Approvals::All => true,
            Approvals::None => false,
        };
        self.make(EventKind::PullRequest, trust, foreign, gated).await;
    }

    async fn push(&mut self) {
        self.commits += 1;
        self.make(EventKind::Push, Trust::own(), false, false).await;
    }

    async fn make(&mut self, event: EventKind, trust: Trust, foreign: bool, gated: bool) {
        let pipeline = pipeline::parse(YML.as_bytes()).unwrap();
        let commit = format!("{:040x}", self.commits);
        let new = NewBuild {
            repo: self.repo.id,
            event,
            branch: "main".to_owned(),
            commit: commit.clone(),
            message: String::new(),
            author: String::new(),
            triggered_by: None,
            retry_of: None,
            concurrency: None,
            trust,
            due: None,
            beside: None,
            notify: None,
            pull_request: None,
            tag: None,
            plan: Plan::Jobs(pipeline.jobs.into_iter().map(|job| (job, Status::Queued)).collect()),
        };
        let build = self.room.app.store.create_build(&new).await.unwrap().build;
        self.trace.push(format!("{event} of {commit}, foreign {foreign}, gated {gated}: {}", build.number));
        self.builds.insert(build.number.0, Promise { commit, foreign, gated, approved: false });
    }

    /// A person presses a button, of a new build or of an old one.
    async fn act(&mut self, verb: &str) {
        let Some(number) = self.any_build() else { return };
        let path = format!("/api/v1/builds/{number}/{verb}");
        let (status, body) = self.room.post(&path, &json!({})).await;
        self.trace.push(format!("{verb} {number}: {status}"));
        assert!(status.is_success() || status == StatusCode::CONFLICT, "{body}");
        let Some(old) = self.builds.get_mut(&number) else { return };
        if verb == "approve" && status.is_success() {
            assert!(old.gated);
            old.approved = true;
        }
        if verb == "retry" && status.is_success() {
            let (commit, foreign, approved) = (old.commit.clone(), old.foreign, old.approved);
            let was_pull = body["origin"] != "repository";
            let repo = self.room.app.store.load_repo(self.repo.id).await.unwrap();
            let gated = match repo.approvals {
                Approvals::Forks => foreign,
                Approvals::All => was_pull,
                Approvals::None => false,
            };
            let promise = Promise { commit, foreign, gated, approved };
            self.builds.insert(body["number"].as_i64().unwrap(), promise);
        }
    }

    async fn set(&mut self) {
        let approvals = Approvals::ALL[self.below(3)];
        self.trace.push(format!("approvals {approvals}"));
        let request = self.room.request(Method::PATCH, "/api/v1/repos/git/example");
        let (status, body) = answer(request.json(&json!({"approvals": approvals}))).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }

    /// Where the promise is checked.
    async fn claim(&mut self, worker: WorkerId) {
        let Some(claimed) = self.room.app.store.claim(worker).await.unwrap() else { return };
        let number = claimed.build.number;
        self.trace.push(format!("worker {worker} gets {} of {number}", claimed.spec.name));
        let promise = &self.builds[&number.0];
        assert_eq!(claimed.build.commit, promise.commit);
        assert!(!promise.gated || promise.approved, "nobody approved of build {number}");
        assert_eq!(claimed.build.trust.may_have_secrets(), !promise.foreign, "build {number}");
        assert!(!promise.foreign || worker == self.docker, "build {number} has no containers");
        self.seen.0 += u32::from(promise.foreign && promise.approved);
        self.held.push(claimed);
    }

    /// An attempt ends, its worker is lost, or the offer is not answered.
    async fn end_one(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let at = self.below(self.held.len());
        let Claimed { lease, build, job_id: job, .. } = self.held.swap_remove(at);
        let attempt = lease.attempt;
        let how = self.below(5);
        self.trace.push(format!("end {how} of {job} in {}", build.number));
        let finish = |status, infrastructure| Happening::Finished {
            job,
            attempt,
            outcome: Outcome { status, reason: None, infrastructure },
        };
        let what = match how {
            0 => finish(Status::Passed, false),
            1 => finish(Status::Failed, false),
            2 => finish(Status::Error, true),
            3 => Happening::Lost { job, attempt, reason: "gone".to_owned() },
            _ => {
                self.room.app.store.give_back(&lease, std::time::Duration::ZERO).await.unwrap();
                return;
            }
        };
        self.room.app.store.advance(build.number, what).await.unwrap();
    }

    /// The janitor looks at a build.
    async fn mend(&mut self) {
        let Some(number) = self.any_build() else { return };
        let mended = self.room.app.store.mend(BuildNumber(number)).await.unwrap();
        assert!(mended.what.is_empty(), "{:?}", mended.what);
    }

    /// What the server shows agrees with what is promised.
    async fn look(&mut self) {
        for (number, promise) in &self.builds {
            let detail = self.room.app.store.find_build_detail(BuildNumber(*number)).await.unwrap().unwrap();
            let BuildDetail { build, jobs } = detail;
            let waits = promise.gated && !promise.approved;
            assert_eq!(build.trust.may_start(), !waits, "build {number}");
            if waits {
                let attempts: Vec<_> = jobs.iter().flat_map(|job| &job.attempts).collect();
                assert!(attempts.iter().all(|attempt| attempt.worker.is_none()), "build {number}");
                assert!(matches!(build.status, Status::Blocked | Status::Cancelled), "build {number}");
                self.seen.1 += 1;
            } else {
                assert_ne!(build.status, Status::Blocked, "build {number}");
            }
        }
    }
}

#[tokio::test]
async fn nothing_of_a_fork_starts_that_nobody_approved_of() {
    let mut seen = (0, 0);
    for seed in 1..=SEQUENCES {
        let mut machine = Machine::new(seed).await;
        for _ in 0..STEPS {
            machine.step().await;
        }
        machine.look().await;
        seen = (seen.0 + machine.seen.0, seen.1 + machine.seen.1);
    }
    // It is worth nothing when nothing of the kind came about.
    assert!(seen.0 >= 20 && seen.1 >= 20, "{seen:?}");
}
