//! Reconnects, restarts, and workers that are lost.

use std::time::Duration;

use ocelot_api::proto::Hello;
use ocelot_api::proto::from_server::Message as Down;
use ocelot_model::Status;
use tonic::Code;

use super::world::{DEADLINE, Worker, World, hello, refused};

#[tokio::test]
async fn a_reconnect_keeps_what_is_held_and_drops_what_is_not() {
    let world = World::new().await;
    let (mut old, offer, build) = world.working("w1").await;
    let lease = offer.lease.clone().unwrap();
    let mut unknown = lease.clone();
    unknown.attempt_id += 1000;
    let holding = vec![lease, unknown.clone()];
    let mut back = world.greet(Hello { holding, ..hello("w1", 1) }).await.unwrap();
    match back.hear().await {
        Some(Down::Drop(drop)) => assert_eq!(drop.attempt_id, unknown.attempt_id),
        other => panic!("no drop but {other:?}"),
    }
    assert_eq!(old.hear().await, None, "the older session goes on");
    back.finish(&offer, "passed").await.unwrap();
    world.until(build, |it| it.build.status == Status::Passed).await;
}

#[tokio::test]
async fn a_restart_of_the_server_costs_no_attempt() {
    let world = World::new().await;
    let (mut worker, offer, build) = world.working("w1").await;
    let stopping = world.restart();
    let (world, told) = tokio::join!(stopping, worker.hear());
    assert!(matches!(told, Some(Down::GoingAway(_))), "{told:?}");
    assert_eq!(worker.hear().await, None);
    let holding = vec![offer.lease.clone().unwrap()];
    let mut back = world.greet(Hello { holding, ..hello("w1", 1) }).await.unwrap();
    back.finish(&offer, "passed").await.unwrap();
    let detail = world.until(build, |it| it.build.status == Status::Passed).await;
    assert_eq!(detail.jobs[0].attempts.len(), 1);
}

async fn beat_for_ever(worker: &Worker) {
    let mut beat = tokio::time::interval(Duration::from_millis(50));
    loop {
        beat.tick().await;
        worker.beat(&[]);
    }
}

#[tokio::test]
async fn a_lost_worker_gives_a_new_attempt() {
    let world = World::with(|config| {
        config.lease_hard_limit = Duration::from_millis(400);
        config.lease_grace = Duration::ZERO;
    })
    .await;
    let (mut worker, offer, build) = world.working("w1").await;
    // Renewed once for the hard limit, and then never again.
    worker.beat(&[offer.lease.clone().unwrap()]);
    let detail = tokio::select! {
        detail = world.until(build, |it| it.jobs[0].attempts.len() == 2) => detail,
        // It is there, but does not say that it still has it.
        () = beat_for_ever(&worker) => unreachable!(),
    };
    let attempts = &detail.jobs[0].attempts;
    assert_eq!((attempts[0].status, attempts[1].status), (Status::Error, Status::Queued));
    assert!(attempts[0].reason.as_deref().unwrap().contains("still has it"), "{attempts:?}");
    assert_eq!(attempts[0].stages[0].status, Status::Error);
    let told = worker.hear().await;
    assert!(matches!(told, Some(Down::Drop(_))), "{told:?}");
    refused(worker.finish(&offer, "passed").await, Code::FailedPrecondition, "stale_attempt");
}

#[tokio::test]
async fn servers_that_come_and_go_keep_no_lost_worker_alive() {
    let world = World::with(|config| {
        config.lease_hard_limit = Duration::from_secs(1);
        config.lease_grace = Duration::from_hours(1);
    })
    .await;
    let (worker, offer, build) = world.working("w1").await;
    worker.beat(&[offer.lease.clone().unwrap()]);
    let lost = async {
        // Any of the servers may be the one that sees it.
        while world.detail(build).await.jobs[0].attempts.len() == 1 {
            world.passing_server().await;
        }
    };
    tokio::time::timeout(DEADLINE, lost).await.expect("a new attempt");
    assert_eq!(world.detail(build).await.jobs[0].attempts[0].status, Status::Error);
}

#[tokio::test]
async fn a_heartbeat_with_a_lost_lease_is_answered() {
    let world = World::new().await;
    let (mut worker, offer, _) = world.working("w1").await;
    worker.finish(&offer, "passed").await.unwrap();
    worker.beat(&[offer.lease.clone().unwrap()]);
    let told = worker.hear().await;
    assert!(matches!(told, Some(Down::Drop(_))), "{told:?}");
}

#[tokio::test]
async fn a_silent_worker_is_cut_off() {
    let world = World::with(|config| config.patience.silence = Duration::from_millis(300)).await;
    let mut worker = world.worker("w1", 1).await;
    assert_eq!(worker.hear().await, None);
    // Not gone: it may come back.
    assert!(world.app().store.list_workers().await.unwrap()[0].connected);
}
