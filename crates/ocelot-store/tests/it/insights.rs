//! What earlier builds say about one.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};

use ocelot_model::novel::{Novel, NovelLine};
use ocelot_model::{Approvals, BuildNumber, EventKind, Origin, StageId, Status, Trust};
use ocelot_store::{BuildRef, Claimed, NewBuild, StageUpdate};

use crate::bed::{Bed, finished, jobs, new_build};

both!(
    the_newest_runs_of_a_stage_are_known,
    what_comes_from_elsewhere_teaches_nothing,
    what_is_new_is_kept_once,
    times_are_those_of_passed_builds,
    a_branch_is_broken_since_the_first_failure,
    what_is_no_part_of_a_branch_has_a_history_of_its_own
);

async fn set(bed: &Bed, claimed: &Claimed, id: StageId, status: Status) {
    let update = StageUpdate { id, status, exit_code: None, duration_ms: Some(1), reason: None };
    bed.store.set_stage(&claimed.lease, &update).await.unwrap();
}

/// A build of these jobs, all of which end like this; the first job's stages.
async fn run(bed: &Bed, text: &str, change: impl Fn(&mut NewBuild), status: Status) -> Vec<StageId> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let worker = bed.worker(&format!("w{}", NEXT.fetch_add(1, Ordering::Relaxed)), "executor=docker").await;
    let name = "git/app".parse().unwrap();
    let repo = match bed.store.find_repo(&name).await.unwrap() {
        Some(repo) => repo,
        None => bed.repo("git/app").await,
    };
    let mut new = new_build(&repo, text);
    change(&mut new);
    bed.store.create_build(&new).await.unwrap();
    let mut ids = Vec::new();
    while let Some(claimed) = bed.claim(worker).await {
        bed.store.accept(&claimed.lease).await.unwrap();
        let stages: Vec<StageId> = claimed.stages.iter().map(|stage| stage.0).collect();
        for stage in &stages {
            set(bed, &claimed, *stage, Status::Running).await;
            set(bed, &claimed, *stage, status).await;
        }
        bed.store.advance(claimed.build.number, finished(&claimed, status)).await.unwrap();
        if ids.is_empty() {
            ids = stages;
        }
    }
    ids
}

async fn the_newest_runs_of_a_stage_are_known(bed: Bed) {
    for build in 0..25 {
        let stages = run(&bed, "a", |_| (), Status::Passed).await;
        bed.store.learn_shapes(stages[1], &[build, 1000]).await.unwrap();
        // Of another stage, and a second time.
        bed.store.learn_shapes(stages[2], &[5000]).await.unwrap();
        bed.store.learn_shapes(stages[1], &[7777]).await.unwrap();
    }
    let failed = run(&bed, "a", |_| (), Status::Failed).await;
    // What failed teaches nothing.
    bed.store.learn_shapes(failed[1], &[9999]).await.unwrap();
    let later = run(&bed, "a", |_| (), Status::Passed).await;
    bed.store.learn_shapes(later[1], &[8888]).await.unwrap();
    let (known, runs) = bed.store.known_shapes(failed[1]).await.unwrap();
    // 20 are kept, one of which is newer than the failed build.
    let want: HashSet<u64> = (6..25).chain([1000]).collect();
    assert_eq!((known, runs), (want, 19));
    let other = run(&bed, "b", |_| (), Status::Failed).await;
    assert_eq!(bed.store.known_shapes(other[1]).await.unwrap(), (HashSet::new(), 0));
    let repo = bed.store.find_repo(&"git/app".parse().unwrap()).await.unwrap().unwrap();
    bed.store.remove_repo(repo.id, "tests").await.unwrap();
}

/// Else a fork could make faults look usual, or everything look new.
async fn what_comes_from_elsewhere_teaches_nothing(bed: Bed) {
    let own = run(&bed, "a", |_| (), Status::Passed).await;
    bed.store.learn_shapes(own[1], &[1]).await.unwrap();
    let of_fork = |new: &mut NewBuild| {
        new.event = EventKind::PullRequest;
        new.pull_request = Some(7);
        new.trust = Trust::new(Origin::Fork, Some("mallory (666)".into()), Approvals::Forks);
        new.trust.approved_by = Some("ann".into());
    };
    for shape in 100..121 {
        let stages = run(&bed, "a forged", of_fork, Status::Passed).await;
        bed.store.learn_shapes(stages[1], &[shape]).await.unwrap();
    }
    let failed = run(&bed, "a", |_| (), Status::Failed).await;
    assert_eq!(bed.store.known_shapes(failed[1]).await.unwrap(), (HashSet::from([1]), 1));
    let repo = bed.store.find_repo(&"git/app".parse().unwrap()).await.unwrap().unwrap();
    for branch in [Some("main"), None] {
        let times = bed.store.usual_times(repo.id, branch).await.unwrap();
        let runs: Vec<_> = times.iter().map(|(name, ms)| (name.as_str(), ms.len())).collect();
        assert_eq!(runs, [("a", 1)], "{branch:?}");
    }
}

async fn what_is_new_is_kept_once(bed: Bed) {
    let stages = run(&bed, "a", |_| (), Status::Failed).await;
    assert_eq!(bed.store.find_novel(stages[1]).await.unwrap(), None);
    let novel = Novel { lines: vec![NovelLine { number: 3, offset: 17, count: 2 }], all: 9 };
    bed.store.keep_novel(stages[1], &novel, 4).await.unwrap();
    bed.store.keep_novel(stages[1], &Novel::default(), 5).await.unwrap();
    let kept = bed.store.find_novel(stages[1]).await.unwrap().unwrap();
    assert_eq!((kept.novel, kept.with), (novel, 4));
    bed.store.keep_novel(StageId(4711), &Novel::default(), 5).await.unwrap();
    assert_eq!(bed.store.find_novel(StageId(4711)).await.unwrap(), None);
}

async fn times_are_those_of_passed_builds(bed: Bed) {
    run(&bed, "a b", |_| (), Status::Passed).await;
    run(&bed, "a", |_| (), Status::Failed).await;
    run(&bed, "c", |new| new.branch = "side".into(), Status::Passed).await;
    // One attempt of ten seconds.
    bed.execute("UPDATE attempts SET finished_at = 60000000").await;
    bed.execute("UPDATE stages SET started_at = 50000000 + place * 1000000").await;
    let repo = bed.store.find_repo(&"git/app".parse().unwrap()).await.unwrap().unwrap();
    for (branch, want) in [
        (Some("main"), "a 10000, b 10000"),
        (Some("side"), "c 10000"),
        (Some("none"), ""),
        (None, "a 10000, b 10000, c 10000"),
    ] {
        let times = bed.store.usual_times(repo.id, branch).await.unwrap();
        let words = times.iter().map(|(name, ms)| format!("{name} {}", ms[0]));
        assert_eq!(words.collect::<Vec<_>>().join(", "), want, "{branch:?}");
        assert!(times.values().all(|ms| ms.len() == 1));
    }
}

async fn a_branch_is_broken_since_the_first_failure(bed: Bed) {
    let one = |commit: char, status: Status| {
        let bed = &bed;
        async move {
            let set = move |new: &mut NewBuild| {
                new.commit = commit.to_string().repeat(40);
                // Of which a pull request was opened: they are what the branch held all the same.
                new.pull_request = matches!(commit, 'b' | 'c').then_some(7);
            };
            run(bed, "a", set, status).await;
            bed.store.list_builds(&ocelot_store::BuildFilter::default(), 1).await.unwrap()[0].number
        }
    };
    let number = one('a', Status::Failed).await;
    let broken = bed.store.broken_since(number).await.unwrap().unwrap();
    assert_eq!((broken.last_good, broken.first_bad.number, broken.builds), (None, number, 1));
    let good = one('b', Status::Passed).await;
    assert_eq!(bed.store.broken_since(good).await.unwrap(), None);
    let first = one('c', Status::Failed).await;
    // These say nothing about the branch.
    let request = |new: &mut NewBuild| {
        new.event = EventKind::PullRequest;
        new.pull_request = Some(7);
    };
    run(&bed, "a", request, Status::Failed).await;
    run(&bed, "a", |new| new.event = EventKind::Retry, Status::Passed).await;
    run(&bed, "a", |new| new.branch = "side".into(), Status::Passed).await;
    let skipped = |new: &mut NewBuild| {
        let mut all = jobs("a");
        all.iter_mut().for_each(|job| job.1 = Status::Skipped);
        new.plan = ocelot_store::Plan::Jobs(all);
    };
    run(&bed, "a", skipped, Status::Passed).await;
    let last = one('d', Status::TimedOut).await;
    let broken = bed.store.broken_since(last).await.unwrap().unwrap();
    let reference = |number, commit: char| BuildRef { number, commit: commit.to_string().repeat(40) };
    assert_eq!(broken.last_good, Some(reference(good, 'b')));
    assert_eq!((broken.first_bad, broken.builds), (reference(first, 'c'), 2));
}

async fn what_is_no_part_of_a_branch_has_a_history_of_its_own(bed: Bed) {
    let of_fork = |new: &mut NewBuild, request: u64| {
        new.event = EventKind::PullRequest;
        new.pull_request = Some(request);
        new.trust = Trust::new(Origin::Fork, Some("mallory (666)".into()), Approvals::None);
    };
    let newest = async || {
        let newest = bed.store.list_builds(&ocelot_store::BuildFilter::default(), 1).await.unwrap();
        newest[0].number
    };
    let since = async |number: BuildNumber| {
        let broken = bed.store.broken_since(number).await.unwrap()?;
        Some((broken.last_good.map(|good| good.number.0), broken.first_bad.number.0, broken.builds))
    };
    let again = |of: i64| {
        move |new: &mut NewBuild| {
            new.event = EventKind::Retry;
            new.retry_of = Some(BuildNumber(of));
        }
    };
    // All of them are called `main`.
    let tag = |new: &mut NewBuild| {
        new.event = EventKind::Tag;
        new.tag = Some("main".into());
    };
    run(&bed, "a", |_| (), Status::Failed).await;
    run(&bed, "a", |_| (), Status::Passed).await;
    run(&bed, "a", |new| of_fork(new, 7), Status::Passed).await;
    run(&bed, "a", |new| of_fork(new, 8), Status::Failed).await;
    assert_eq!(
        since(newest().await).await,
        Some((None, 4, 1)),
        "the branch passed, and another pull request"
    );
    run(&bed, "a", |new| of_fork(new, 7), Status::Failed).await;
    assert_eq!(since(newest().await).await, Some((Some(3), 5, 1)));
    run(&bed, "a", tag, Status::Failed).await;
    assert_eq!(since(newest().await).await, Some((None, 6, 1)));
    run(&bed, "a", |_| (), Status::Failed).await;
    assert_eq!(since(newest().await).await, Some((Some(2), 7, 1)), "not since the tag failed");
    // What is done again is as old as it was.
    run(&bed, "a", again(1), Status::Failed).await;
    assert_eq!(since(newest().await).await, Some((None, 1, 1)));
    run(&bed, "a", again(8), Status::Failed).await;
    assert_eq!(since(newest().await).await, Some((None, 1, 1)));
    run(&bed, "a", again(2), Status::Failed).await;
    assert_eq!(since(newest().await).await, None, "its commit was fine");
}
