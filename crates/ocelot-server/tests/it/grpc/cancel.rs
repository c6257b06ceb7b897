//! Cancels reach the worker, wherever it is by then.

use ocelot_api::proto::from_server::Message as Down;
use ocelot_api::proto::{Cancel, Hello};
use ocelot_model::access::{Actor, Role};
use ocelot_model::{AttemptId, BuildNumber, Status};
use ocelot_server::builds::advance::lost;
use ocelot_server::builds::cancel::cancel;
use ocelot_store::Lease;

use super::world::{Worker, World, hello};

async fn ask(world: &World, build: BuildNumber) -> Status {
    let actor = Actor::Token { name: "ann".into(), role: Role::Write, scope: Vec::new() };
    cancel(world.app(), build, &actor).await.unwrap().build.status
}

async fn told(worker: &mut Worker) -> Cancel {
    match worker.hear().await {
        Some(Down::Cancel(cancel)) => cancel,
        other => panic!("no cancel but {other:?}"),
    }
}

#[tokio::test]
async fn what_waits_ends_at_once() {
    let world = World::new().await;
    let build = world.build().await;
    assert_eq!(ask(&world, build).await, Status::Cancelled);
    assert_eq!(ask(&world, build).await, Status::Cancelled);
}

#[tokio::test]
async fn what_runs_is_stopped_and_the_second_time_by_force() {
    let world = World::new().await;
    let (mut worker, offer, build) = world.working("w1").await;
    let attempt_id = offer.lease.as_ref().unwrap().attempt_id;
    assert_eq!(ask(&world, build).await, Status::Running);
    assert_eq!(told(&mut worker).await, Cancel { attempt_id, force: false });
    assert_eq!(ask(&world, build).await, Status::Running);
    assert_eq!(told(&mut worker).await, Cancel { attempt_id, force: true });
    worker.finish(&offer, "cancelled").await.unwrap();
    world.until(build, |it| it.build.status == Status::Cancelled).await;
}

#[tokio::test]
async fn a_worker_that_was_away_hears_of_it_when_it_is_back() {
    let world = World::new().await;
    let (worker, offer, build) = world.working("w1").await;
    drop(worker);
    assert_eq!(ask(&world, build).await, Status::Running);
    let holding = vec![offer.lease.clone().unwrap()];
    let mut back = world.greet(Hello { holding, ..hello("w1", 1) }).await.unwrap();
    let attempt_id = offer.lease.as_ref().unwrap().attempt_id;
    assert_eq!(told(&mut back).await.attempt_id, attempt_id);
}

#[tokio::test]
async fn an_offer_that_nobody_took_ends_with_its_build() {
    let world = World::new().await;
    let mut worker = world.worker("w1", 1).await;
    let build = world.build().await;
    worker.offer().await;
    ask(&world, build).await;
    drop(worker);
    world.until(build, |it| it.build.status == Status::Cancelled).await;
}

#[tokio::test]
async fn an_offer_taken_after_the_cancel_is_stopped() {
    let world = World::new().await;
    let mut worker = world.worker("w1", 1).await;
    let build = world.build().await;
    let offer = worker.offer().await;
    assert_eq!(ask(&world, build).await, Status::Running);
    let attempt_id = offer.lease.as_ref().unwrap().attempt_id;
    assert_eq!(told(&mut worker).await, Cancel { attempt_id, force: false });
    worker.take(&offer).await;
    worker.finish(&offer, "cancelled").await.unwrap();
    world.until(build, |it| it.build.status == Status::Cancelled).await;
}

#[tokio::test]
async fn a_stage_that_runs_is_stopped_and_the_rest_is_cancelled() {
    let world = World::new().await;
    let (mut worker, offer, build) = world.working("w1").await;
    worker.report(&offer, 0, "passed", Some(0)).await.unwrap();
    worker.report(&offer, 1, "running", None).await.unwrap();
    ask(&world, build).await;
    assert!(!told(&mut worker).await.force);
    worker.finish(&offer, "cancelled").await.unwrap();
    let detail = world.until(build, |it| it.build.status == Status::Cancelled).await;
    let stages: Vec<Status> = detail.jobs[0].attempts[0].stages.iter().map(|stage| stage.status).collect();
    assert_eq!(stages, [Status::Passed, Status::Cancelled]);
}

#[tokio::test]
async fn what_waits_for_its_next_attempt_ends_at_once() {
    let world = World::new().await;
    let (_worker, offer, build) = world.working("w1").await;
    let lease = offer.lease.as_ref().unwrap();
    let lease = Lease {
        attempt_id: AttemptId(lease.attempt_id),
        attempt: lease.attempt,
        token: lease.token.to_vec(),
    };
    let held = world.app().store.check_lease(&lease).await.unwrap();
    lost(world.app(), &held, "w1 is gone".to_owned()).await.unwrap();
    assert_eq!(world.detail(build).await.jobs[0].attempts.len(), 2);
    assert_eq!(ask(&world, build).await, Status::Cancelled);
    assert!(world.app().store.list_queue().await.unwrap().is_empty());
}
