//! Many at once: nothing is given twice, nothing is forgotten.

use std::collections::HashSet;

use ocelot_model::Status;
use ocelot_store::{BuildFilter, Plan, Store};

use crate::bed::{Bed, cancel, finished, jobs, new_build};

both!(no_job_is_claimed_twice, finish_and_cancel_meet);

async fn no_job_is_claimed_twice(bed: Bed) {
    let repo = bed.repo("git/app").await;
    for _ in 0..8 {
        let mut new = new_build(&repo, "");
        let names: Vec<String> = (0..50).map(|at| format!("j{at}@n={}", at % 3)).collect();
        new.plan = Plan::Jobs(jobs(&names.join(" ")));
        bed.store.create_build(&new).await.unwrap();
    }
    let mut claimers = Vec::new();
    for at in 0..8 {
        let labels = format!("n={}", at % 3);
        let worker = bed.worker(&format!("w{at}"), &labels).await;
        // Two servers share one PostgreSQL.
        let store = if bed.is_shared() && at % 2 == 0 { bed.second().await } else { bed.store.clone() };
        claimers.push(tokio::spawn(claim_all(store, worker)));
    }
    let mut seen = HashSet::new();
    for claimer in claimers {
        for job in claimer.await.unwrap() {
            assert!(seen.insert(job), "job {job} was given twice");
        }
    }
    assert_eq!(seen.len(), 400);
    assert!(bed.store.list_queue().await.unwrap().is_empty());
    let left: Vec<_> = bed.store.list_builds(&BuildFilter::default(), 100).await.unwrap();
    assert!(left.iter().all(|build| build.status == Status::Passed), "{:?}", left[0].status);
}

async fn claim_all(store: Store, worker: ocelot_model::WorkerId) -> Vec<ocelot_model::JobId> {
    let mut taken = Vec::new();
    // A claim may find nothing while another one has its hand on the last rows: only an empty queue is the end.
    loop {
        match store.claim(worker).await.unwrap() {
            Some(claimed) => {
                store.accept(&claimed.lease).await.unwrap();
                store.advance(claimed.build.number, finished(&claimed, Status::Passed)).await.unwrap();
                taken.push(claimed.job_id);
            }
            None if store.list_queue().await.unwrap().is_empty() => return taken,
            None => tokio::task::yield_now().await,
        }
    }
}

async fn finish_and_cancel_meet(bed: Bed) {
    let worker = bed.worker("w", "").await;
    for _ in 0..15 {
        let number = bed.build("a b c<a").await.build.number;
        let a = bed.claim(worker).await.unwrap();
        let (ended, cancelled, claimed) = tokio::join!(
            bed.store.advance(number, finished(&a, Status::Passed)),
            bed.store.advance(number, cancel()),
            bed.store.claim(worker),
        );
        ended.unwrap();
        cancelled.unwrap();
        if let Some(claimed) = claimed.unwrap() {
            bed.store.advance(number, finished(&claimed, Status::Cancelled)).await.unwrap();
        }
        let build = bed.store.find_build(number).await.unwrap().unwrap();
        assert!(build.status.is_terminal(), "{}", bed.picture(number).await);
        assert!(bed.store.list_queue().await.unwrap().is_empty());
    }
}
