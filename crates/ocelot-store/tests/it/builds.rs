//! Builds from beginning to end.

use std::time::Duration;

use ocelot_model::Status;
use ocelot_model::build::Happening;
use ocelot_model::pipeline::Decided;
use ocelot_store::{ConfigProblem, EventBody, Plan, StageUpdate, Store, StoreError};

use crate::bed::{Bed, cancel, finished, jobs, new_build};

both!(
    the_longest_wait_is_that_of_a_job_that_could_be_claimed,
    a_build_runs_to_its_end,
    needs_wait_and_failures_skip,
    a_broken_plan_is_an_error_at_once,
    what_passed_before_is_carried_over,
    what_was_decided_holds_for_every_attempt,
    nothing_to_run_is_the_end_of_it,
    cancel_of_what_waits_and_of_what_runs,
    a_lost_worker_gives_a_new_attempt,
    numbers_only_rise,
    an_open_repository_stays,
    a_removed_repository_is_gone,
    opening_twice_changes_nothing,
);

fn update(stage: ocelot_model::StageId, status: Status) -> StageUpdate {
    StageUpdate { id: stage, status, exit_code: Some(0), duration_ms: Some(12), reason: None }
}

async fn a_build_runs_to_its_end(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let made = bed.build("a").await;
    let number = made.build.number;
    assert_eq!(made.build.status, Status::Queued);
    let names: Vec<&str> = made.jobs[0].attempts[0].stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["setup", "compile", "test"]);
    assert!(made.jobs[0].attempts[0].stages.iter().all(|stage| stage.status == Status::Queued));

    let claimed = bed.claim(worker).await.unwrap();
    assert_eq!((claimed.build.number, claimed.build.status), (number, Status::Running));
    assert_eq!(claimed.spec, made.jobs[0].spec);
    assert!(claimed.build.started_at.is_some());
    assert!(bed.claim(worker).await.is_none());
    assert_eq!(bed.picture(number).await, "running: a running");
    bed.store.accept(&claimed.lease).await.unwrap();

    let (setup, compile) = (claimed.stages[0].0, claimed.stages[1].0);
    assert_eq!(bed.store.set_stage(&claimed.lease, &update(setup, Status::Running)).await.unwrap(), None);
    assert_eq!(bed.store.set_stage(&claimed.lease, &update(setup, Status::Passed)).await.unwrap(), Some(12));
    let before = bed.store.last_event().await.unwrap();
    // The same word twice, and an old one that comes late.
    for again in [Status::Passed, Status::Running] {
        assert_eq!(bed.store.set_stage(&claimed.lease, &update(setup, again)).await.unwrap(), None);
    }
    assert_eq!(bed.store.last_event().await.unwrap(), before);
    bed.store.set_stage(&claimed.lease, &update(compile, Status::Running)).await.unwrap();
    bed.store.advance(number, finished(&claimed, Status::Failed)).await.unwrap();

    let detail = bed.store.find_build_detail(number).await.unwrap().unwrap();
    let stages = &detail.jobs[0].attempts[0].stages;
    let statuses: Vec<Status> = stages.iter().map(|stage| stage.status).collect();
    assert_eq!(statuses, [Status::Passed, Status::Failed, Status::Skipped]);
    assert!(stages[0].started_at.is_some() && stages[2].started_at.is_none());
    assert_eq!((stages[0].exit_code, stages[0].duration_ms), (Some(0), Some(12)));
    assert_eq!(detail.jobs[0].attempts[0].worker.as_deref(), Some("w"));
    assert_eq!(detail.build.status, Status::Failed);
    assert!(detail.build.finished_at >= detail.build.started_at);
    let (build, stage) = bed.store.find_stage(compile).await.unwrap().unwrap();
    assert_eq!((build.number, stage.status), (number, Status::Failed));
    check_events(&bed.store).await;
}

/// The whole story, in order.
async fn check_events(store: &Store) {
    let told: Vec<String> = store
        .events_after(0, None, 100)
        .await
        .unwrap()
        .into_iter()
        .map(|event| match event.what {
            EventBody::Build { status, .. } => format!("build {status}"),
            EventBody::Job { name, status, .. } => format!("{name} {status}"),
            EventBody::Stage { name, status, .. } => format!("{name} {status}"),
        })
        .collect();
    let want = [
        "build queued",
        "build running",
        "a running",
        "setup running",
        "setup passed",
        "compile running",
        "compile failed",
        "test skipped",
        "a failed",
        "build failed",
    ];
    assert_eq!(told, want);
}

async fn needs_wait_and_failures_skip(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let number = bed.build("a b<a c<b d").await.build.number;
    let ready: Vec<(String, bool)> =
        bed.waiting().await.into_iter().map(|waiting| (waiting.job, waiting.ready)).collect();
    let want = [("a", true), ("b", false), ("c", false), ("d", true)];
    assert_eq!(ready, want.map(|(name, ready)| (name.to_owned(), ready)));
    let a = bed.claim(worker).await.unwrap();
    let d = bed.claim(worker).await.unwrap();
    assert_eq!((a.spec.name.as_str(), d.spec.name.as_str()), ("a", "d"));
    bed.store.advance(number, finished(&a, Status::Passed)).await.unwrap();
    let b = bed.claim(worker).await.unwrap();
    assert_eq!(b.spec.name, "b");
    bed.store.advance(number, finished(&b, Status::Failed)).await.unwrap();
    assert_eq!(bed.picture(number).await, "running: a passed, b failed, c skipped, d running");
    assert!(bed.store.list_queue().await.unwrap().is_empty());
    bed.store.advance(number, finished(&d, Status::Passed)).await.unwrap();
    assert_eq!(bed.picture(number).await, "failed: a passed, b failed, c skipped, d passed");
}

async fn a_broken_plan_is_an_error_at_once(bed: Bed) {
    let repo = bed.repo("git/app").await;
    let problem = ConfigProblem {
        code: "unknown_key".into(),
        message: "unknown key `stage`".into(),
        line: 3,
        column: 1,
        hint: Some("write `stages`".into()),
    };
    let mut new = new_build(&repo, "");
    // A message may hold what PostgreSQL cannot store.
    new.message = "nothing\0here".into();
    let reason = "ocelot.yml:3:1: unknown key".to_owned();
    new.plan = Plan::Broken { reason: reason.clone(), problems: vec![problem.clone()] };
    let made = bed.store.create_build(&new).await.unwrap();
    assert_eq!((made.build.status, made.jobs.len()), (Status::Error, 0));
    assert_eq!(made.build.finished_at, Some(made.build.queued_at));
    assert_eq!((made.build.reason, made.build.problems), (Some(reason), vec![problem]));
    assert_eq!(made.build.message, "nothing\u{fffd}here");
}

async fn what_passed_before_is_carried_over(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let first = bed.build("a b<a").await;
    let mut new = new_build(&first.build.repo, "");
    let mut plan = jobs("a b<a");
    plan[0].1 = Status::Passed;
    new.plan = Plan::Jobs(plan);
    new.retry_of = Some(first.build.number);
    bed.store.advance(first.build.number, cancel()).await.unwrap();
    let made = bed.store.create_build(&new).await.unwrap();
    assert_eq!(made.build.retry_of, Some(first.build.number));
    let carried = &made.jobs[0].attempts[0];
    assert_eq!((carried.status, carried.worker.as_deref()), (Status::Passed, None));
    assert!(carried.stages.iter().all(|stage| stage.status == Status::Passed));
    assert_eq!(bed.claim(worker).await.unwrap().spec.name, "b");
    assert!(bed.claim(worker).await.is_none());
}

async fn what_was_decided_holds_for_every_attempt(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let repo = bed.build("x").await.build.repo;
    let mut new = new_build(&repo, "");
    let mut plan = jobs("a^9");
    plan[0].0.stages[0].decided = Some(Decided::Run("nobody knows".into()));
    plan[0].0.stages[1].decided = Some(Decided::Skip("not today".into()));
    new.plan = Plan::Jobs(plan);
    let number = bed.store.create_build(&new).await.unwrap().build.number;
    let want = [("setup", None), ("compile", Some("nobody knows")), ("test", Some("not today"))];
    for attempt in 1..=2 {
        let job = bed.store.find_build_detail(number).await.unwrap().unwrap().jobs.remove(0);
        let stages = &job.attempts.last().unwrap().stages;
        let found: Vec<_> =
            stages.iter().map(|stage| (stage.name.as_str(), stage.reason.as_deref())).collect();
        assert_eq!(found, want, "attempt {attempt}");
        let statuses: Vec<Status> = stages.iter().map(|stage| stage.status).collect();
        assert_eq!(statuses, [Status::Queued, Status::Queued, Status::Skipped], "attempt {attempt}");
        let claimed = bed.claim(worker).await.unwrap();
        bed.store.accept(&claimed.lease).await.unwrap();
        // What a worker says of the one that is skipped comes too late, and the note of the other one stays.
        let (compile, test) = (claimed.stages[1].0, claimed.stages[2].0);
        for (stage, status) in
            [(test, Status::Running), (compile, Status::Running), (compile, Status::Passed)]
        {
            bed.store.set_stage(&claimed.lease, &update(stage, status)).await.unwrap();
        }
        let lost = Happening::Lost { job: claimed.job_id, attempt, reason: "gone".into() };
        bed.store.advance(number, lost).await.unwrap();
        let job = bed.store.find_build_detail(number).await.unwrap().unwrap().jobs.remove(0);
        let stages = &job.attempts[attempt as usize - 1].stages;
        let found: Vec<_> = stages.iter().map(|stage| (stage.status, stage.reason.as_deref())).collect();
        let want = [(Status::Skipped, None), (Status::Passed, want[1].1), (Status::Skipped, want[2].1)];
        assert_eq!(found, want, "attempt {attempt}");
    }
}

async fn nothing_to_run_is_the_end_of_it(bed: Bed) {
    let repo = bed.build("x").await.build.repo;
    let mut new = new_build(&repo, "");
    let mut plan = jobs("a b<a");
    for (job, status) in &mut plan {
        job.stages.iter_mut().for_each(|stage| stage.decided = Some(Decided::Skip("not today".into())));
        *status = Status::Skipped;
    }
    new.plan = Plan::Jobs(plan);
    let made = bed.store.create_build(&new).await.unwrap();
    assert_eq!(bed.picture(made.build.number).await, "skipped: a skipped, b skipped");
    assert_eq!(made.build.reason.as_deref(), Some("job a: not today (and 1 more job)"));
    assert!(made.build.finished_at.is_some() && made.build.started_at.is_none());
    let why = |job: &ocelot_store::Job| (job.reason.clone(), job.attempts[0].reason.clone());
    assert!(made.jobs.iter().all(|job| why(job) == (Some("not today".into()), Some("not today".into()))));
    assert_eq!(bed.order().await, ["x"]);
}

async fn cancel_of_what_waits_and_of_what_runs(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let number = bed.build("a b").await.build.number;
    let a = bed.claim(worker).await.unwrap();
    bed.store.advance(number, cancel()).await.unwrap();
    assert_eq!(bed.picture(number).await, "running: a running, b cancelled");
    assert!(bed.store.find_build(number).await.unwrap().unwrap().cancel_requested_at.is_some());
    assert!(bed.claim(worker).await.is_none());
    assert_eq!(bed.store.held_by_build(number).await.unwrap().len(), 1);
    bed.store.advance(number, finished(&a, Status::Cancelled)).await.unwrap();
    assert_eq!(bed.picture(number).await, "cancelled: a cancelled, b cancelled");
    let detail = bed.store.find_build_detail(number).await.unwrap().unwrap();
    assert_eq!(detail.jobs[1].reason.as_deref(), Some("cancelled by ann"));
    assert!(bed.store.held_by_build(number).await.unwrap().is_empty());

    // An offer that comes back after the cancel does not wait again.
    let number = bed.build("a").await.build.number;
    let a = bed.claim(worker).await.unwrap();
    bed.store.advance(number, cancel()).await.unwrap();
    bed.store.give_back(&a.lease, std::time::Duration::ZERO).await.unwrap();
    assert_eq!(bed.picture(number).await, "cancelled: a cancelled");
}

async fn a_lost_worker_gives_a_new_attempt(bed: Bed) {
    let worker = bed.worker("w", "").await;
    let number = bed.build("a").await.build.number;
    let first = bed.claim(worker).await.unwrap();
    let lost = Happening::Lost { job: first.job_id, attempt: 1, reason: "w is gone".into() };
    bed.store.advance(number, lost.clone()).await.unwrap();
    assert_eq!(bed.picture(number).await, "running: a queued#2");
    assert!(matches!(bed.store.advance(number, lost).await, Err(StoreError::Stale)));
    let waiting = bed.waiting().await.remove(0);
    assert!(waiting.ready && waiting.not_before.is_none());
    let detail = bed.store.find_build_detail(number).await.unwrap().unwrap();
    let attempts = &detail.jobs[0].attempts;
    assert_eq!((attempts[0].status, attempts[1].status), (Status::Error, Status::Queued));
    assert_eq!(attempts[1].stages.len(), 3);
    // What the lost one says changes nothing.
    let events = bed.store.last_event().await.unwrap();
    let late = update(first.stages[0].0, Status::Passed);
    assert!(matches!(bed.store.set_stage(&first.lease, &late).await, Err(StoreError::Stale)));
    let late = finished(&first, Status::Passed);
    assert!(matches!(bed.store.advance(number, late).await, Err(StoreError::Stale)));
    assert!(matches!(bed.store.check_lease(&first.lease).await, Err(StoreError::Stale)));
    assert!(matches!(bed.store.accept(&first.lease).await, Err(StoreError::Stale)));
    assert_eq!(bed.store.last_event().await.unwrap(), events);
    assert_eq!(bed.picture(number).await, "running: a queued#2");
}

async fn numbers_only_rise(bed: Bed) {
    let first = bed.build("a").await;
    let mut bad = new_build(&first.build.repo, "a");
    bad.repo = ocelot_model::RepoId(99);
    assert!(matches!(bed.store.create_build(&bad).await, Err(StoreError::NotFound(_))));
    let second = bed.build("a").await;
    assert!(second.build.number > first.build.number);
    for number in [first.build.number, second.build.number] {
        bed.store.advance(number, cancel()).await.unwrap();
    }
    bed.store.remove_repo(first.build.repo.id, "tests").await.unwrap();
    assert!(bed.build("a").await.build.number > second.build.number);
}

async fn an_open_repository_stays(bed: Bed) {
    let made = bed.build("a").await;
    assert!(matches!(bed.store.remove_repo(made.build.repo.id, "tests").await, Err(StoreError::Conflict(_))));
    assert_eq!(bed.picture(made.build.number).await, "queued: a queued");
    let again = bed.store.add_repo(&crate::bed::new_repo("git/app"), "tests").await;
    assert!(matches!(again, Err(StoreError::Conflict(_))));
    let other = bed.store.add_repo(&crate::bed::new_repo("nowhere/app"), "tests").await;
    assert!(matches!(other, Err(StoreError::NotFound(_))));
}

async fn a_removed_repository_is_gone(bed: Bed) {
    let mut stages = Vec::new();
    for _ in 0..45 {
        let made = bed.build("a").await;
        let stage = made.jobs[0].attempts[0].stages[0].id;
        bed.store.append_log(stage, 0, b"bytes", &[]).await.unwrap();
        bed.store.advance(made.build.number, cancel()).await.unwrap();
        stages.push((made.build.number, stage));
    }
    let repo = bed.store.find_repo(&"git/app".parse().unwrap()).await.unwrap().unwrap();
    bed.store.remove_repo(repo.id, "tests").await.unwrap();
    assert!(bed.store.list_repos().await.unwrap().is_empty());
    assert!(matches!(bed.store.load_repo(repo.id).await, Err(StoreError::NotFound(_))));
    for (number, stage) in stages {
        assert!(bed.store.find_build(number).await.unwrap().is_none());
        assert!(bed.store.read_log(stage, 0, 10).await.unwrap().data.is_empty());
    }
    assert!(bed.store.events_after(0, None, 10).await.unwrap().is_empty());
}

async fn opening_twice_changes_nothing(bed: Bed) {
    let number = bed.build("a").await.build.number;
    let again = bed.second().await;
    assert_eq!(again.instance(), bed.store.instance());
    assert_eq!(again.instance().len(), 12);
    assert_eq!(
        again.find_build_detail(number).await.unwrap(),
        bed.store.find_build_detail(number).await.unwrap()
    );
    assert_eq!(again.list_forges().await.unwrap()[0].name, "git");
    again.check_ready().await.unwrap();
    again.close().await;
    assert!(matches!(again.queue_depth().await, Err(StoreError::Unavailable(_))));
}

async fn the_longest_wait_is_that_of_a_job_that_could_be_claimed(bed: Bed) {
    let wait = async || bed.store.longest_wait().await.unwrap();
    assert!(wait().await.is_zero());
    // `b` waits for `a`.
    bed.build("a b<a").await;
    bed.execute("UPDATE queue SET queued_at = queued_at - 3600000000, ready_at = NULL").await;
    assert!(wait().await >= Duration::from_hours(1));
    let worker = bed.worker("w", "").await;
    let job = bed.claim(worker).await.unwrap();
    assert!(wait().await.is_zero(), "the other one is not ready");
    bed.store.give_back(&job.lease, Duration::from_hours(1)).await.unwrap();
    assert!(wait().await.is_zero(), "not before an hour is over");
}
