//! What becomes of jobs that nobody takes.

use std::time::Duration;

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
async fn a_build_whose_server_died_before_its_group_was_looked_at_goes_on() {
    let world = World::new().await;
    let build = world.build_of(&format!("concurrency: {{group: a}}\n{}", crate::room::SMALL)).await;
    assert!(world.app().store.wanted_labels().await.unwrap().is_empty());
    let world = world.restart().await;
    let mut worker = world.worker("w1", 1).await;
    assert_eq!(worker.offer().await.build_number, build.0);
}
