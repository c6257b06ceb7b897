//! Who may claim what, and for how long.

use std::time::Duration;

use ocelot_model::Status;
use ocelot_store::{Claimed, Condition, Hello, StoreError, Wake};

use crate::bed::{Bed, LONG, cancel, finished, hello};

both!(
    labels_must_all_match,
    priority_goes_first,
    an_offer_given_back_waits_as_the_same_attempt,
    leases_are_renewed_and_run_out,
    an_unanswered_offer_is_withdrawn,
    what_could_be_claimed_for_too_long_is_overdue,
    workers_are_listed_with_what_they_hold,
    wakes_follow_commits,
);

fn name(claimed: Option<Claimed>) -> String {
    claimed.map_or_else(|| "nothing".into(), |claimed| claimed.spec.name)
}

async fn labels_must_all_match(bed: Bed) {
    let plain = bed.worker("plain", "").await;
    let arm = bed.worker("arm", "os=linux arch=arm64").await;
    bed.build("arm@os=linux,arch=arm64 mac@os=mac linux@os=linux any").await;
    for want in ["any", "nothing"] {
        assert_eq!(name(bed.claim(plain).await), want);
    }
    for want in ["arm", "linux", "nothing"] {
        assert_eq!(name(bed.claim(arm).await), want);
    }
    // A new set of labels is seen although the others are kept in memory.
    bed.build("big@arch=arm64 other@arch=arm").await;
    for want in ["big", "nothing"] {
        assert_eq!(name(bed.claim(arm).await), want);
    }
}

async fn priority_goes_first(bed: Bed) {
    let worker = bed.worker("w", "os=linux").await;
    bed.build("low^-1 one^0@os=linux two").await;
    bed.build("high^5@os=linux three").await;
    let order = bed.order().await;
    assert_eq!(order, ["high", "one", "two", "three", "low"]);
    for want in order {
        assert_eq!(name(bed.claim(worker).await), want);
    }
}

async fn an_offer_given_back_waits_as_the_same_attempt(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let number = bed.build("a").await.build.number;
    let first = bed.claim(worker).await.unwrap();
    bed.store.give_back(&first.lease, Duration::ZERO).await.unwrap();
    assert_eq!(bed.picture(number).await, "queued: a queued");
    assert!(bed.store.find_build(number).await.unwrap().unwrap().started_at.is_none());
    assert!(matches!(bed.store.give_back(&first.lease, Duration::ZERO).await, Err(StoreError::Stale)));
    let second = bed.claim(worker).await.unwrap();
    assert_eq!(second.lease.attempt_id, first.lease.attempt_id);
    assert_eq!(second.lease.attempt, first.lease.attempt);
    assert_ne!(second.lease.token, first.lease.token);
    assert!(matches!(bed.store.accept(&first.lease).await, Err(StoreError::Stale)));
    bed.store.accept(&second.lease).await.unwrap();
    bed.store.give_back(&second.lease, LONG).await.unwrap();
    assert!(bed.claim(worker).await.is_none());
    assert!(bed.waiting().await[0].not_before.is_some());
    let place = &bed.store.list_queue().await.unwrap()[0];
    assert_eq!((place.ready, place.due), (true, false));
}

async fn leases_are_renewed_and_run_out(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let other = bed.worker("x", "").await;
    let number = bed.build("a b").await.build.number;
    let a = bed.claim(worker).await.unwrap();
    let b = bed.claim(worker).await.unwrap();
    bed.store.accept(&a.lease).await.unwrap();
    bed.store.accept(&b.lease).await.unwrap();
    let holding = [a.lease.clone(), b.lease.clone()];
    assert!(bed.store.renew(worker, &holding, LONG).await.unwrap().is_empty());
    assert_eq!(bed.store.renew(other, &holding, LONG).await.unwrap(), holding);
    assert!(bed.store.expired_leases().await.unwrap().is_empty());
    // No time at all: it runs out at once.
    assert!(bed.store.renew(worker, &holding[..1], Duration::ZERO).await.unwrap().is_empty());
    let expired = bed.store.expired_leases().await.unwrap();
    assert_eq!(expired.len(), 1);
    let held = &expired[0].held;
    assert_eq!((held.job_id, held.build, held.worker), (a.job_id, number, worker));
    assert!(expired[0].silent.is_some_and(|silent| silent < LONG), "{expired:?}");
    bed.store.extend_all_leases(LONG).await.unwrap();
    assert!(bed.store.expired_leases().await.unwrap().is_empty());
    bed.store.advance(number, finished(&b, Status::Passed)).await.unwrap();
    assert_eq!(bed.store.renew(worker, &holding, LONG).await.unwrap(), [b.lease]);
    assert_eq!(bed.store.check_lease(&a.lease).await.unwrap().job_id, a.job_id);
    let mut forged = a.lease.clone();
    forged.token[0] ^= 1;
    assert!(matches!(bed.store.check_lease(&forged).await, Err(StoreError::Stale)));
    assert_eq!(bed.store.renew(worker, &[forged.clone()], LONG).await.unwrap(), [forged]);
}

async fn an_unanswered_offer_is_withdrawn(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let number = bed.build("a").await.build.number;
    let offer = bed.claim(worker).await.unwrap();
    bed.store.renew(worker, std::slice::from_ref(&offer.lease), Duration::ZERO).await.unwrap();
    assert!(bed.store.expired_leases().await.unwrap().is_empty());
    assert_eq!(bed.picture(number).await, "queued: a queued");
    assert_eq!(bed.claim(worker).await.unwrap().lease.attempt, 1);
}

async fn what_could_be_claimed_for_too_long_is_overdue(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let number = bed.build("a b<a").await.build.number;
    let ready = bed.store.now().await.unwrap();
    let overdue = async |longest| {
        let jobs = bed.store.overdue_jobs(longest, 10).await.unwrap();
        jobs.iter().map(|job| (job.build, job.job_id, job.attempt)).collect::<Vec<_>>()
    };
    assert!(overdue(LONG).await.is_empty());
    let [(build, a, 1)] = overdue(Duration::ZERO).await[..] else {
        panic!("only the first one may be claimed")
    };
    assert_eq!(build, number);
    let claimed = bed.claim(worker).await.unwrap();
    assert_eq!(claimed.job_id, a);
    assert!(overdue(Duration::ZERO).await.is_empty());
    // A refusal does not begin the wait anew.
    bed.store.give_back(&claimed.lease, Duration::ZERO).await.unwrap();
    let waited = bed.store.now().await.unwrap().duration_since(ready);
    assert_eq!(overdue(waited.try_into().unwrap()).await, [(number, a, 1)]);
    let claimed = bed.claim(worker).await.unwrap();
    bed.store.give_back(&claimed.lease, LONG).await.unwrap();
    assert!(overdue(Duration::ZERO).await.is_empty());
}

async fn workers_are_listed_with_what_they_hold(bed: Bed) {
    let token = bed.token("fleet").await;
    let first = bed.store.worker_hello(&hello(token, "w", "os=linux")).await.unwrap();
    let same = bed.store.worker_hello(&hello(token, "w", "os=linux arch=arm64")).await.unwrap();
    assert_eq!(first, same);
    let made = bed.build("a").await;
    let claimed = bed.claim(first).await.unwrap();
    let workers = bed.store.list_workers().await.unwrap();
    assert_eq!(workers.len(), 1);
    let worker = &workers[0];
    assert_eq!((worker.labels.len(), worker.slots, worker.connected), (2, 2, true));
    let (held, repo, job) = &worker.holds[0];
    assert_eq!((held.job_id, repo, job.as_str()), (claimed.job_id, &made.build.repo, "a"));
    assert!(worker.silent_ms < 30_000);
    bed.store.worker_shares(first, "archive").await.unwrap();
    assert_eq!(bed.store.list_workers().await.unwrap()[0].sharing, "archive");
    let condition = || async { bed.store.list_workers().await.unwrap().remove(0).condition };
    assert_eq!(condition().await, Condition { disk: None, unwell: None });
    let full = Condition { disk: Some((1 << 30, 1 << 40)), unwell: Some("1 GiB free".into()) };
    bed.store.worker_condition(first, &full).await.unwrap();
    assert_eq!(condition().await, full);
    // A hello says it anew.
    let well = Condition { disk: Some((u64::MAX, u64::MAX)), unwell: None };
    let said = Hello { condition: Some(well), ..hello(token, "w", "os=linux") };
    bed.store.worker_hello(&said).await.unwrap();
    let most = i64::MAX as u64;
    assert_eq!(condition().await, Condition { disk: Some((most, most)), unwell: None });
    bed.store.worker_goodbye(first).await.unwrap();
    assert!(!bed.store.list_workers().await.unwrap()[0].connected);
    let nobody = ocelot_model::WorkerId(99);
    assert!(matches!(bed.store.claim(nobody).await, Err(StoreError::NotFound(_))));
    assert!(matches!(bed.store.renew(nobody, &[], LONG).await, Err(StoreError::NotFound(_))));
}

async fn wakes_follow_commits(bed: Bed) {
    let mut here = bed.store.wakes();
    let far = bed.second().await;
    let mut there = far.wakes();
    let made = bed.build("a").await;
    bed.store.advance(made.build.number, cancel()).await.unwrap();
    let last = bed.store.last_event().await.unwrap();
    let stage = made.jobs[0].attempts[0].stages[0].id;
    bed.store.append_log(stage, 0, b"x", &[]).await.unwrap();
    let want = [Wake::Queue, Wake::Cancel(made.build.number), Wake::Events(last), Wake::Log(stage)];
    wait_for(&mut here, &want).await;
    if bed.is_shared() {
        wait_for(&mut there, &want).await;
    }
}

async fn wait_for(wakes: &mut tokio::sync::broadcast::Receiver<Wake>, want: &[Wake]) {
    let mut left = want.to_vec();
    while !left.is_empty() {
        let wake = tokio::time::timeout(LONG, wakes.recv()).await.expect("the wake-up comes").unwrap();
        left.retain(|wanted| *wanted != wake);
    }
}
