//! What counts as waiting for a worker.

use ocelot_model::concurrency::Concurrency;
use ocelot_model::{Approvals, Bucket, Origin, Status, Trust};
use ocelot_store::{Counted, NewBuild, Plan};

use super::{HOUR, count_all};
use crate::bed::{Bed, finished, new_build};

both!(
    waiting_for_a_person_or_a_place_is_not_waiting_for_a_worker,
    a_later_job_does_not_shorten_the_wait_of_an_older_version_s_build,
);

/// A build that could not be claimed for an hour, and then was: by what it waited for.
async fn waiting_for_a_person_or_a_place_is_not_waiting_for_a_worker(bed: Bed) {
    let worker = bed.worker("w", "executor=docker").await;
    let repo = bed.repo("git/app").await;
    let fork = Trust::new(Origin::Fork, Some("mallory (666)".into()), Approvals::Forks);
    let group = Some(Concurrency { group: "deploy".into(), limit: 1, cancel_running: false });
    let mut of_job = new_build(&repo, "a");
    let Plan::Jobs(jobs) = &mut of_job.plan else { panic!("{of_job:?}") };
    jobs[0].0.approval = true;
    let of_commit = NewBuild { trust: fork, ..new_build(&repo, "a") };
    let of_place = NewBuild { concurrency: group, ..new_build(&repo, "a") };
    // The last one waits for nothing but its worker.
    for (new, want) in [(of_job, false), (of_commit, false), (of_place, false), (new_build(&repo, "a"), true)]
    {
        let build = bed.store.create_build(&new).await.unwrap().build;
        let number = build.number;
        bed.run(format!(
            "UPDATE builds SET queued_at = queued_at - {HOUR}, free_at = free_at - {HOUR} WHERE number = {number};
             UPDATE queue SET queued_at = queued_at - {HOUR}; UPDATE jobs SET ready_at = ready_at - {HOUR};"
        ))
        .await;
        if build.status == Status::Blocked {
            bed.store.approve(number, None, "ann").await.unwrap();
        } else if let Some(group) = build.group() {
            bed.store.settle_group(&group).await.unwrap();
        }
        let job = bed.claim(worker).await.unwrap();
        // What the claim tells is what is read afterwards.
        let found = bed.store.find_build(number).await.unwrap().unwrap();
        assert_eq!((job.build.free_at, job.build.started_at), (found.free_at, found.started_at));
        bed.store.advance(number, finished(&job, Status::Passed)).await.unwrap();
        let long = |ms: Option<i64>| ms.unwrap() > 30 * 60_000;
        assert_eq!(long(found.waited_ms()), want, "{found:?}");
        let past = bed.store.past_jobs(&[number]).await.unwrap();
        assert_eq!(long(past[0].queue_ms), want, "{past:?}");
        bed.run("DELETE FROM tallies".to_owned()).await;
        assert_eq!(count_all(&bed.store, 10).await, 1);
        for job in [None, Some("a".to_owned())] {
            let what = Counted { repos: Some(vec![repo.id]), job, ..Counted::default() };
            let tallies = bed.tally(&what, Bucket::Day).await;
            assert_eq!(
                long(tallies.values().next().unwrap().wait.percentile(0.5)),
                want,
                "{what:?} {found:?}"
            );
        }
    }
}

/// An older version did not note since when it could be claimed.
async fn a_later_job_does_not_shorten_the_wait_of_an_older_version_s_build(bed: Bed) {
    let worker = bed.worker("w", "executor=docker").await;
    let number = bed.build("a b<a").await.build.number;
    bed.run(format!(
        "UPDATE builds SET queued_at = queued_at - {HOUR}, free_at = NULL WHERE number = {number};"
    ))
    .await;
    let first = bed.claim(worker).await.unwrap();
    bed.store.advance(number, finished(&first, Status::Passed)).await.unwrap();
    let waited = bed.store.find_build(number).await.unwrap().unwrap().waited_ms();
    assert!(waited > Some(30 * 60_000), "{waited:?}");
}
