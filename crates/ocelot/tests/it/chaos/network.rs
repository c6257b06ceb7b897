//! Networks that lose everything, or half of everything, or break off.

use std::time::Duration;

use ocelot_model::Status;
use ocelot_testkit::{Island, Way, Wire};

use super::world::{Plan, Seat, World};

const SHORT: Duration = Duration::from_secs(6);

/// A world with a worker on an island and a build that runs there, which its worker has renewed.
async fn on_an_island(limit: Duration, last: u32) -> (World, Island, Wire, i64) {
    let mut world = World::start(Plan { limit, ..Plan::default() }).await;
    let island = Island::new();
    let server = world.url.trim_start_matches("http://").parse().unwrap();
    let wire = Wire::between(island.mainland().into(), server);
    world.add_worker(Seat { server: Some(wire.url()), island: Some(&island), ..Seat::host("island") });
    let yml = world.counting(last);
    let build = world.build("island", &yml).await;
    world.renewed(build).await;
    (world, island, wire, build)
}

/// The first attempt had ended on its own machine before the second one began on another.
async fn fenced_in_time(world: &World, build: i64) {
    let ended = world.finished(build).await;
    assert_eq!(ended.status, Status::Passed, "{ended:#?}");
    let job = &ended.jobs.as_ref().unwrap()[0];
    let story: Vec<_> = job.attempts.iter().map(|a| (a.status, a.worker.as_deref().unwrap())).collect();
    assert_eq!(story, [(Status::Error, "island"), (Status::Passed, "mainland")]);
    let effects = world.effects();
    let second = effects.iter().find(|(line, _)| line.ends_with(" 2")).unwrap().1;
    let said = world.said(build, "count", 1);
    let lines = String::from_utf8_lossy(&said).lines().count();
    // One line each tenth of a second since its beginning; a busy machine makes it slower, never faster.
    let (begun, least) = (effects[0].1, (lines as f64 - 1.0) * 0.1);
    assert!(
        begun + least <= second,
        "attempt 1 wrote {lines} lines from {begun} on, attempt 2 began at {second}"
    );
}

#[tokio::test]
async fn a_network_that_is_gone_for_a_while_costs_nothing() {
    let (world, island, _wire, build) = on_an_island(Duration::from_secs(30), 60).await;
    for way in [Way::There, Way::Back] {
        island.lose(way);
    }
    // The stage goes on meanwhile.
    world.counted(build, "n45").await;
    island.heal();
    let ended = world.finished(build).await;
    assert_eq!((ended.status, ended.jobs.as_ref().unwrap()[0].attempt), (Status::Passed, 1), "{ended:#?}");
    world.oracle().await;
}

#[tokio::test]
async fn a_network_that_is_gone_too_long_costs_the_attempt() {
    let (mut world, island, _wire, build) = on_an_island(SHORT, 200).await;
    for way in [Way::There, Way::Back] {
        island.lose(way);
    }
    world.add_worker(Seat::host("mainland"));
    world.workers[0].says("the server was not heard for too long", 0).await;
    world.counted_by(build, 2, "n3").await;
    island.heal();
    fenced_in_time(&world, build).await;
    world.oracle().await;
}

/// The worker still hears the server, which does not hear it.
#[tokio::test]
async fn a_worker_that_is_not_heard_loses_its_attempt() {
    let (mut world, island, _wire, build) = on_an_island(SHORT, 200).await;
    island.lose(Way::There);
    world.add_worker(Seat::host("mainland"));
    world.counted_by(build, 2, "n3").await;
    island.heal();
    fenced_in_time(&world, build).await;
    world.oracle().await;
}

/// The server still hears the worker, which does not hear it.
#[tokio::test]
async fn a_worker_that_hears_nothing_ends_its_attempt() {
    let (mut world, island, _wire, build) = on_an_island(SHORT, 200).await;
    island.lose(Way::Back);
    world.add_worker(Seat::host("mainland"));
    world.workers[0].says("the server was not heard for too long", 0).await;
    world.counted_by(build, 2, "n3").await;
    island.heal();
    fenced_in_time(&world, build).await;
    world.oracle().await;
}

/// Almost 10 MB come through a connection that is reset every second, whole and in order.
#[tokio::test]
async fn a_connection_that_is_reset_again_and_again_loses_no_byte() {
    let mut world = World::start(Plan::default()).await;
    let wire = Wire::to(world.url.trim_start_matches("http://").parse().unwrap());
    wire.reset_every(Duration::from_secs(1));
    world.add_worker(Seat { server: Some(wire.url()), ..Seat::host("w") });
    // A megabyte each half second.
    let yml = world.host_yml("for i in $(seq 10); do seq -f '%.0f of a long log' 50000; sleep 0.5; done");
    let build = world.build("resets", &yml).await;
    let ended = world.finished(build).await;
    assert_eq!((ended.status, ended.jobs.as_ref().unwrap()[0].attempt), (Status::Passed, 1), "{ended:#?}");
    let bytes = world.said(build, "count", 1).len();
    assert!(bytes > 9_000_000 && wire.resets() >= 4, "{bytes} bytes, {} resets", wire.resets());
    world.oracle().await;
}
