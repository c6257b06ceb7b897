//! Who is preferred, and what becomes of jobs that nobody takes.

use std::time::Duration;

use ocelot_api::proto::Ready;
use ocelot_api::proto::from_worker::Message as Up;
use ocelot_model::Status;

use super::world::World;

#[tokio::test]
async fn a_job_that_nobody_takes_ends_with_the_reason() {
    let world = World::with(|config| config.queue_timeout = Duration::from_millis(1)).await;
    let _worker = world.worker("w1", 1).await;
    let build = world.build_of(&format!("labels: {{gpu: a100}}\n{}", crate::room::SMALL)).await;
    let detail = world.until(build, |it| it.build.status.is_terminal()).await;
    assert_eq!(detail.build.status, Status::Error);
    let reason = "waited 1 ms: no worker has label gpu=a100";
    assert_eq!(
        (detail.build.reason.as_deref(), detail.jobs[0].reason.as_deref()),
        (Some(reason), Some(reason))
    );
    let stages = &detail.jobs[0].attempts[0].stages;
    assert!(stages.iter().all(|stage| stage.status == Status::Skipped), "{stages:?}");
    assert!(world.app().store.list_queue().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_nobody_approves_of_is_cancelled() {
    let world = World::with(|config| config.approval_timeout = Duration::from_millis(1)).await;
    let job = "image: busybox, stages: [{name: test, script: [echo hello]}]";
    let build = world.build_of(&format!("jobs: {{release: {{approval: true, {job}}}}}\n")).await;
    let detail = world.until(build, |it| it.build.status.is_terminal()).await;
    assert_eq!(detail.build.status, Status::Cancelled);
    assert_eq!(detail.jobs[0].reason.as_deref(), Some("nobody approved of it within 1 ms"));
}

#[tokio::test]
async fn a_build_whose_server_died_before_its_group_was_looked_at_goes_on() {
    let world = World::new().await;
    let build = world.build_of(&format!("concurrency: {{group: a}}\n{}", crate::room::SMALL)).await;
    assert!(world.app().store.list_queue().await.unwrap().iter().all(|job| !job.ready));
    let world = world.restart().await;
    let mut worker = world.worker("w1", 1).await;
    assert_eq!(worker.offer().await.build_number, build.0);
}

#[tokio::test]
async fn a_job_waits_a_moment_for_the_worker_that_did_the_one_before() {
    let world = World::with(|config| config.patience.prefer = Duration::from_hours(1)).await;
    let (mut before, offer, _) = world.working("before").await;
    let mut other = world.worker("other", 1).await;
    before.finish(&offer, "passed").await.unwrap();
    let build = world.build().await;
    before.say(Up::Ready(Ready { slots: 1 }));
    let offer = before.offer().await;
    assert_eq!(offer.build_number, build.0);
    before.take(&offer).await;
    // While it works, nobody waits for it.
    let next = world.build().await;
    assert_eq!(other.offer().await.build_number, next.0);
}

#[tokio::test]
async fn nobody_waits_long_for_a_worker_that_does_not_come_back() {
    let world = World::with(|config| config.patience.prefer = Duration::from_millis(300)).await;
    let (mut before, offer, _) = world.working("before").await;
    let mut other = world.worker("other", 1).await;
    before.finish(&offer, "passed").await.unwrap();
    let build = world.build().await;
    assert_eq!(other.offer().await.build_number, build.0);
    let queued = world.detail(build).await.build.queued_at;
    let waited = world.app().store.now().await.unwrap().duration_since(queued);
    assert!(waited.as_millis() >= 300, "it was not kept for the other one: {waited:?}");
}
