//! Commits that are not the repository's own: what waits for a person is never handed out.

use std::time::Duration;

use ocelot_model::build::Happening;
use ocelot_model::concurrency::Concurrency;
use ocelot_model::{Approvals, BuildNumber, Origin, Status, Trust};
use ocelot_store::{BuildDetail, BuildFilter, NewBuild, Plan, Repo, RepoChange, StoreError};

use crate::bed::{Bed, cancel, finished, new_build};

both!(
    a_blocked_build_waits_until_somebody_approves,
    a_blocked_build_can_be_cancelled,
    only_containers_take_what_is_not_our_own,
    forks_have_concurrency_groups_of_their_own,
    a_ready_row_alone_hands_nothing_out,
    settings_are_kept,
    a_job_waits_for_a_person_when_its_file_says_so,
    a_job_of_a_fork_waits_for_both,
    a_fork_does_not_choose_its_priority,
);

fn fork() -> Trust {
    Trust::new(Origin::Fork, Some("mallory (666)".into()), Approvals::Forks)
}

fn of_fork(repo: &Repo, jobs: &str) -> NewBuild {
    NewBuild { trust: fork(), ..new_build(repo, jobs) }
}

async fn conflict(bed: &Bed, number: BuildNumber) -> String {
    match bed.store.approve(number, None, "ann").await {
        Err(StoreError::Conflict(words)) => words,
        other => panic!("{other:?}"),
    }
}

async fn a_blocked_build_waits_until_somebody_approves(bed: Bed) {
    let worker = bed.worker("w", "executor=docker").await;
    let repo = bed.repo("git/app").await;
    let BuildDetail { build, jobs } = bed.store.create_build(&of_fork(&repo, "a b<a")).await.unwrap();
    let reason = "needs approval of a commit from a fork by mallory (666)";
    assert_eq!((build.status, build.reason.as_deref()), (Status::Blocked, Some(reason)));
    assert_eq!(jobs[0].reason.as_deref(), Some(reason));
    assert_eq!((&build.trust, build.approved_at), (&fork(), None));
    assert!(bed.claim(worker).await.is_none());
    let waiting = bed.waiting().await;
    assert_eq!(waiting.iter().map(|job| (job.ready, &job.trust)).collect::<Vec<_>>(), [(false, &fork()); 2]);
    // It is whole, and it does not wait too long.
    assert_eq!(bed.store.orphans(10).await.unwrap(), []);
    assert_eq!(bed.store.overdue_jobs(Duration::ZERO, 10).await.unwrap(), []);
    assert!(bed.store.mend(build.number).await.unwrap().what.is_empty());
    let waits = async |longest| bed.store.unapproved_builds(longest, 10).await.unwrap();
    assert_eq!(waits(Duration::ZERO).await, [build.number]);
    assert_eq!(waits(Duration::from_hours(1)).await, []);

    assert!(!bed.store.approve(build.number, None, "ann").await.unwrap().is_empty());
    assert_eq!(waits(Duration::ZERO).await, []);
    assert_eq!(bed.picture(build.number).await, "queued: a queued, b queued");
    let first = bed.store.find_build(build.number).await.unwrap().unwrap();
    assert_eq!((first.trust.approved_by.as_deref(), &first.reason), (Some("ann"), &None));
    assert!(first.approved_at.is_some());
    assert_eq!(bed.store.approve(build.number, None, "bob").await.unwrap(), []);
    assert_eq!(bed.store.find_build(build.number).await.unwrap().unwrap(), first);

    for name in ["a", "b"] {
        let claimed = bed.claim(worker).await.unwrap();
        assert_eq!(claimed.spec.name, name);
        assert!(claimed.build.trust.may_start() && !claimed.build.trust.may_have_secrets());
        bed.store.advance(build.number, finished(&claimed, Status::Passed)).await.unwrap();
    }
    assert_eq!(bed.picture(build.number).await, "passed: a passed, b passed");
    let of = |trusted| BuildFilter { trusted: Some(trusted), ..BuildFilter::default() };
    assert_eq!(bed.store.list_builds(&of(true), 10).await.unwrap().len(), 0);
    assert_eq!(bed.store.list_builds(&of(false), 10).await.unwrap().len(), 1);
}

async fn a_blocked_build_can_be_cancelled(bed: Bed) {
    let repo = bed.repo("git/app").await;
    let number = bed.store.create_build(&of_fork(&repo, "a b<a")).await.unwrap().build.number;
    bed.store.advance(number, cancel()).await.unwrap();
    assert_eq!(bed.picture(number).await, "cancelled: a cancelled, b cancelled");
    assert!(conflict(&bed, number).await.contains("any more: it is cancelled"));
    assert_eq!(bed.store.list_queue().await.unwrap().len(), 0);
    let own = bed.build("a").await.build.number;
    assert!(conflict(&bed, own).await.contains("waits for no approval"));
    let missing = bed.store.approve(BuildNumber(4711), None, "ann").await;
    assert!(matches!(missing, Err(StoreError::NotFound(_))));
}

async fn only_containers_take_what_is_not_our_own(bed: Bed) {
    let host = bed.worker("host", "executor=host").await;
    let docker = bed.worker("docker", "executor=docker").await;
    let repo = bed.repo("git/app").await;
    let mut new = of_fork(&repo, "a b@executor=host");
    new.trust.approved_by = Some("ann".into());
    let build = bed.store.create_build(&new).await.unwrap();
    assert_eq!(bed.picture(build.build.number).await, "running: a queued, b error");
    let why = build.jobs[1].reason.as_deref().unwrap();
    assert!(why.contains("runs in containers only"), "{why}");
    assert!(bed.claim(host).await.is_none());
    let claimed = bed.claim(docker).await.unwrap();
    // A further attempt as well.
    let (job, attempt) = (claimed.job_id, claimed.lease.attempt);
    let lost = Happening::Lost { job, attempt, reason: "gone".into() };
    bed.store.advance(build.build.number, lost).await.unwrap();
    assert!(bed.claim(host).await.is_none());
    assert_eq!(bed.claim(docker).await.unwrap().lease.attempt, 2);
    bed.build("c").await;
    assert_eq!(bed.claim(host).await.unwrap().spec.name, "c");
}

async fn forks_have_concurrency_groups_of_their_own(bed: Bed) {
    let repo = bed.repo("git/app").await;
    let concurrency = Some(Concurrency { group: "deploy".into(), limit: 1, cancel_running: true });
    let make = async |trust: Trust| {
        let new = NewBuild { trust, concurrency: concurrency.clone(), ..new_build(&repo, "a") };
        let build = bed.store.create_build(&new).await.unwrap().build;
        bed.store.settle_group(&build.group().unwrap()).await.unwrap();
        build
    };
    let own = make(Trust::own()).await;
    let fork = make(fork()).await;
    bed.store.approve(fork.number, None, "ann").await.unwrap();
    bed.store.settle_group(&fork.group().unwrap()).await.unwrap();
    // Both have their place, and nobody was cancelled.
    let ready = async || bed.store.list_queue().await.unwrap().iter().filter(|job| job.ready).count();
    assert_eq!(ready().await, 2);
    let next = make(Trust::own()).await;
    let status = async |number| bed.store.find_build(number).await.unwrap().unwrap().status;
    assert_eq!(status(own.number).await, Status::Cancelled);
    assert_eq!((status(fork.number).await, status(next.number).await), (Status::Queued, Status::Queued));
}

/// Whatever made the row ready.
async fn a_ready_row_alone_hands_nothing_out(bed: Bed) {
    let worker = bed.worker("w", "executor=docker").await;
    let repo = bed.repo("git/app").await;
    bed.store.create_build(&of_fork(&repo, "a")).await.unwrap();
    bed.spoil("UPDATE queue SET ready = true").await;
    bed.spoil("UPDATE jobs SET status = 'queued', ready = true").await;
    bed.spoil("UPDATE builds SET status = 'queued'").await;
    assert!(bed.claim(worker).await.is_none());
    bed.spoil("UPDATE builds SET approved_by = 'ann'").await;
    assert!(bed.claim(worker).await.is_some());
}

async fn settings_are_kept(bed: Bed) {
    let repo = bed.repo("git/app").await;
    assert_eq!(repo.approvals, Approvals::Forks);
    for approvals in Approvals::ALL {
        let change = RepoChange { approvals: Some(approvals), ..Default::default() };
        bed.store.change_repo(repo.id, change, "tests").await.unwrap();
        assert_eq!(bed.store.load_repo(repo.id).await.unwrap().approvals, approvals);
    }
    bed.store.remove_repo(repo.id, "tests").await.unwrap();
    let gone = bed.store.change_repo(repo.id, RepoChange::default(), "tests").await;
    assert!(matches!(gone, Err(StoreError::NotFound(_))));
}

/// A build of `a` and, after it, `b`, which waits for a person.
fn with_gate(repo: &Repo, trust: Trust) -> NewBuild {
    let mut new = NewBuild { trust, ..new_build(repo, "a b<a") };
    let Plan::Jobs(jobs) = &mut new.plan else { panic!("{new:?}") };
    jobs[1].0.approval = true;
    new
}

async fn a_job_waits_for_a_person_when_its_file_says_so(bed: Bed) {
    let worker = bed.worker("w", "executor=docker").await;
    let repo = bed.repo("git/app").await;
    let number = bed.store.create_build(&with_gate(&repo, Trust::own())).await.unwrap().build.number;
    assert_eq!(bed.picture(number).await, "queued: a queued, b blocked");
    let a = bed.claim(worker).await.unwrap();
    bed.store.advance(number, finished(&a, Status::Passed)).await.unwrap();
    assert_eq!(bed.picture(number).await, "blocked: a passed, b blocked");
    assert!(bed.claim(worker).await.is_none());
    assert!(bed.waiting().await[0].approval);
    assert_eq!(bed.store.orphans(10).await.unwrap(), []);
    for (job, words) in [("a", "job `a` of build"), ("c", "job `c` of build")] {
        let refused = bed.store.approve(number, Some(job), "ann").await;
        assert!(matches!(&refused, Err(StoreError::Conflict(why)) if why.starts_with(words)), "{refused:?}");
    }
    bed.store.approve(number, Some("b"), "ann").await.unwrap();
    assert_eq!(bed.picture(number).await, "running: a passed, b queued");
    for job in [Some("b"), None] {
        assert_eq!(bed.store.approve(number, job, "bob").await.unwrap(), []);
    }
    let detail = bed.store.find_build_detail(number).await.unwrap().unwrap();
    assert_eq!(detail.jobs[1].approved_by.as_deref(), Some("ann"));
    let b = bed.claim(worker).await.unwrap();
    bed.store.advance(number, finished(&b, Status::Passed)).await.unwrap();
    assert_eq!(bed.picture(number).await, "passed: a passed, b passed");
}

async fn a_job_of_a_fork_waits_for_both(bed: Bed) {
    let worker = bed.worker("w", "executor=docker").await;
    let repo = bed.repo("git/app").await;
    let number = bed.store.create_build(&with_gate(&repo, fork())).await.unwrap().build.number;
    assert_eq!(bed.picture(number).await, "blocked: a blocked, b blocked");
    let refused = bed.store.approve(number, Some("b"), "ann").await;
    assert!(matches!(&refused, Err(StoreError::Conflict(why)) if why.contains("first")), "{refused:?}");
    // The commit alone, however often.
    for _ in 0..2 {
        bed.store.approve(number, None, "ann").await.unwrap();
        assert_eq!(bed.picture(number).await, "queued: a queued, b blocked");
    }
    bed.store.approve(number, Some("b"), "ann").await.unwrap();
    assert_eq!(bed.picture(number).await, "queued: a queued, b queued");
    let a = bed.claim(worker).await.unwrap();
    bed.store.advance(number, finished(&a, Status::Failed)).await.unwrap();
    assert_eq!(bed.picture(number).await, "failed: a failed, b skipped");
    let late = bed.store.create_build(&with_gate(&repo, Trust::own())).await.unwrap().build.number;
    bed.store.advance(late, cancel()).await.unwrap();
    let refused = bed.store.approve(late, Some("b"), "ann").await;
    assert!(
        matches!(&refused, Err(StoreError::Conflict(why)) if why.contains("it is cancelled")),
        "{refused:?}"
    );
}

async fn a_fork_does_not_choose_its_priority(bed: Bed) {
    let repo = bed.repo("git/app").await;
    bed.store.create_build(&new_build(&repo, "first")).await.unwrap();
    let number = bed.store.create_build(&of_fork(&repo, "pushy^9 shy^-9")).await.unwrap().build.number;
    bed.store.approve(number, None, "ann").await.unwrap();
    bed.store.create_build(&new_build(&repo, "urgent^9 last^-9")).await.unwrap();
    assert_eq!(bed.order().await, ["urgent", "first", "pushy", "shy", "last"]);
}
