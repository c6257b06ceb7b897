//! What workers say about stages and attempts.

use metrics_exporter_prometheus::PrometheusBuilder;
use ocelot_api::proto::Offer;
use ocelot_model::Status;
use tonic::Code;

use super::world::{World, refused};

#[tokio::test]
async fn a_job_from_offer_to_end() {
    let world = World::new().await;
    let (mut worker, offer, build) = world.working("w1").await;
    worker.report(&offer, 0, "passed", None).await.unwrap();
    worker.report(&offer, 1, "running", None).await.unwrap();
    worker.report(&offer, 1, "failed", Some(3)).await.unwrap();
    // Once more, since the answer may have been lost.
    worker.report(&offer, 1, "failed", Some(3)).await.unwrap();
    let stages = &world.detail(build).await.jobs[0].attempts[0].stages;
    assert_eq!((stages[1].status, stages[1].exit_code), (Status::Failed, Some(3)));
    worker.finish(&offer, "failed").await.unwrap();
    let detail = world.until(build, |it| it.build.status == Status::Failed).await;
    assert_eq!(detail.jobs[0].attempts[0].worker.as_deref(), Some("w1"));
}

#[tokio::test]
async fn a_stage_that_ran_is_measured_once() {
    // How the stages of one attempt are reported, and how it ends.
    for (reports, want) in [
        (&[(0, "passed"), (0, "passed"), (1, "running")][..], 2),
        (&[(0, "passed"), (1, "skipped"), (1, "skipped")], 1),
        // Word of the stages comes with the end only.
        (&[], 2),
        (&[(0, "cancelled"), (1, "cancelled")], 1),
    ] {
        let recorder = PrometheusBuilder::new().build_recorder();
        let numbers = recorder.handle();
        // All of this server is in this thread.
        let _guard = metrics::set_default_local_recorder(&recorder);
        let world = World::new().await;
        let (mut worker, offer, _) = world.working("w1").await;
        for (stage, status) in reports {
            worker.report(&offer, *stage, status, None).await.unwrap();
        }
        worker.finish(&offer, "passed").await.unwrap();
        // Once more; whatever the answer, nothing ends a second time.
        let _ = worker.finish(&offer, "passed").await;
        let text = numbers.render();
        let count = text.lines().find_map(|line| line.strip_prefix("ocelot_stage_duration_seconds_count "));
        assert_eq!(count, Some(want.to_string().as_str()), "{reports:?}");
    }
}

#[tokio::test]
async fn bad_words_are_refused() {
    let world = World::new().await;
    let (mut worker, offer, _) = world.working("w1").await;
    refused(worker.report(&offer, 1, "won", None).await, Code::InvalidArgument, "no status");
    refused(worker.report(&offer, 1, "queued", None).await, Code::InvalidArgument, "queued");
    refused(worker.report(&offer, 1, "failed", Some(-1)).await, Code::InvalidArgument, "exit code");
    refused(worker.report(&offer, 1, "failed", Some(i32::MAX)).await, Code::InvalidArgument, "exit code");
    refused(worker.finish(&offer, "running").await, Code::InvalidArgument, "cannot end as running");
    let bare = Offer { lease: None, ..offer.clone() };
    refused(worker.report(&bare, 1, "running", None).await, Code::InvalidArgument, "no lease");
}

#[tokio::test]
async fn a_stage_does_not_go_back() {
    let world = World::new().await;
    let (mut worker, offer, build) = world.working("w1").await;
    worker.report(&offer, 0, "passed", None).await.unwrap();
    refused(worker.report(&offer, 0, "running", None).await, Code::FailedPrecondition, "stage is passed");
    refused(worker.report(&offer, 0, "failed", Some(1)).await, Code::FailedPrecondition, "stage is passed");
    assert_eq!(world.detail(build).await.jobs[0].attempts[0].stages[0].status, Status::Passed);
}

#[tokio::test]
async fn a_stale_attempt_changes_nothing() {
    let world = World::new().await;
    let (mut worker, offer, build) = world.working("w1").await;
    let before = world.detail(build).await;
    let with = |change: fn(&mut ocelot_api::proto::Lease)| {
        let mut stale = offer.clone();
        change(stale.lease.as_mut().unwrap());
        stale
    };
    for stale in [
        with(|lease| lease.attempt += 1),
        with(|lease| lease.token = vec![0; 16].into()),
        with(|lease| lease.attempt_id += 1),
    ] {
        refused(worker.report(&stale, 0, "passed", None).await, Code::FailedPrecondition, "stale_attempt");
        refused(worker.finish(&stale, "passed").await, Code::FailedPrecondition, "stale_attempt");
    }
    assert_eq!(world.detail(build).await, before);
}

#[tokio::test]
async fn the_end_may_be_told_twice_but_not_in_two_ways() {
    let world = World::new().await;
    let (mut worker, offer, build) = world.working("w1").await;
    worker.finish(&offer, "passed").await.unwrap();
    worker.finish(&offer, "passed").await.unwrap();
    refused(worker.finish(&offer, "failed").await, Code::FailedPrecondition, "stale_attempt");
    assert_eq!(world.detail(build).await.build.status, Status::Passed);
    // Also when another server took it.
    let world = world.restart().await;
    let mut worker = world.worker("w1", 1).await;
    worker.finish(&offer, "passed").await.unwrap();
}

#[tokio::test]
async fn a_stage_of_another_attempt_is_not_touched() {
    let world = World::new().await;
    let (mut one, first, _) = world.working("one").await;
    let (_two, second, build) = world.working("two").await;
    let foreign = Offer { stages: second.stages.clone(), ..first.clone() };
    refused(one.report(&foreign, 0, "passed", None).await, Code::NotFound, "stage");
    assert_eq!(world.detail(build).await.jobs[0].attempts[0].stages[0].status, Status::Running);
}
