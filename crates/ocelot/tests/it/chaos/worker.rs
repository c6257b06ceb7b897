//! Workers that die, stand still, and are told to go.

use std::time::Duration;

use ocelot_model::Status;
use ocelot_testkit::{Stages as _, wait_for};
use rustix::process::Signal;

use super::world::{Plan, Seat, World};

/// A worker is lost after so long.
const SHORT: Duration = Duration::from_secs(6);

fn short() -> Plan<'static> {
    Plan { limit: SHORT, ..Plan::default() }
}

#[tokio::test]
async fn a_worker_that_dies_in_a_stage_is_replaced() {
    let mut world = World::start(short()).await;
    let first = world.add_worker(Seat::host("first"));
    let yml = world.counting(40);
    let build = world.build("dies", &yml).await;
    world.renewed(build).await;
    world.workers[first].kill9();
    world.add_worker(Seat::host("second"));
    let ended = world.finished(build).await;
    assert_eq!(ended.status, Status::Passed, "{ended:#?}");
    let job = &ended.jobs.as_ref().unwrap()[0];
    let story: Vec<_> = job.attempts.iter().map(|a| (a.status, a.worker.as_deref().unwrap())).collect();
    assert_eq!(story, [(Status::Error, "first"), (Status::Passed, "second")]);
    // What the dead one left is gone when it comes back, and nothing of it counts.
    world.workers[first].start();
    world.oracle().await;
}

/// In containers: they go on without their worker, and it finds them.
#[tokio::test]
async fn containers_go_on_without_their_worker() {
    let mut world = World::start(Plan::default()).await;
    world.add_worker(Seat::docker("w"));
    let yml = "image: ocelot-test/busybox\nstages:\n  - name: a\n    script: ['echo begun; for i in $(seq 50); do echo n$i; sleep 0.1; done']\n  \
               - {name: b, script: ['echo then']}\n";
    let build = world.build("containers", yml).await;
    let client = world.admin();
    for line in ["n5\n", "n20\n"] {
        wait_for(line, async || client.log(build).await.ok().filter(|log| log.contains(line))).await;
        world.workers[0].kill9();
        world.workers[0].start();
    }
    let ended = world.finished(build).await;
    assert_eq!((ended.status, ended.jobs.as_ref().unwrap()[0].attempt), (Status::Passed, 1), "{ended:#?}");
    let log = world.log(build, ended.stage("a")).await;
    let log = String::from_utf8(log).unwrap();
    let want: Vec<String> = (1..=50).map(|i| format!("n{i}")).collect();
    let (_, counted) = log.split_once("\u{1b}[0m\nbegun\n").unwrap();
    assert_eq!(counted.lines().collect::<Vec<_>>(), want);
    world.oracle().await;
}

#[tokio::test]
async fn a_worker_that_is_started_again_takes_up_its_stage() {
    let mut world = World::start(Plan::default()).await;
    world.add_worker(Seat::host("w"));
    let yml = world.counting(40);
    let build = world.build("again", &yml).await;
    for line in ["n5", "n15", "n25"] {
        world.counted(build, line).await;
        world.workers[0].kill9();
        world.workers[0].start();
    }
    let ended = world.finished(build).await;
    assert_eq!(ended.status, Status::Passed, "{ended:#?}");
    assert_eq!(world.effects().len(), 1, "{:?}", world.effects());
    world.oracle().await;
}

/// Killed in the middle of whatever it does with two builds at a time, from the checkout to the clean-up.
#[tokio::test]
async fn a_worker_that_dies_again_and_again_costs_no_attempt() {
    const KILLS: usize = if cfg!(feature = "chaos-all") { 100 } else { 10 };
    let mut world = World::start(Plan::default()).await;
    world.add_worker(Seat::host("w"));
    let yml = world.counting(2);
    let repo = world.add_repo("again", &yml).await;
    for kill in 0..KILLS {
        world.build_again(&repo).await;
        world.build_again(&repo).await;
        // Each of the files in which a stage says something is a step of some attempt.
        let steps = || std::fs::read_dir(world.folder.path().join("said")).map_or(0, Iterator::count);
        let want = kill + 1;
        wait_for("a step", async || (steps() >= want).then_some(())).await;
        world.workers[0].kill9();
        world.workers[0].start();
    }
    for build in world.builds.clone() {
        let ended = world.finished(build).await;
        assert_eq!(
            (ended.status, ended.jobs.as_ref().unwrap()[0].attempt),
            (Status::Passed, 1),
            "{ended:#?}"
        );
    }
    world.oracle().await;
}

/// It stands still until others have its job; then it goes on, and finds that it is nobody.
#[tokio::test]
async fn a_worker_that_stood_still_too_long_changes_nothing() {
    let mut world = World::start(short()).await;
    world.add_worker(Seat::host("still"));
    // Long enough that the first attempt still runs when its worker comes to.
    let yml = world.counting(200);
    let build = world.build("still", &yml).await;
    world.renewed(build).await;
    world.workers[0].signal(Signal::STOP);
    world.add_worker(Seat::host("other"));
    world.counted_by(build, 2, "n5").await;
    world.workers[0].signal(Signal::CONT);
    world.workers[0].says("is not ours any more", 0).await;
    let ended = world.finished(build).await;
    assert_eq!(ended.status, Status::Passed, "{ended:#?}");
    let job = &ended.jobs.as_ref().unwrap()[0];
    let story: Vec<_> = job.attempts.iter().map(|a| (a.status, a.worker.as_deref().unwrap())).collect();
    assert_eq!(story, [(Status::Error, "still"), (Status::Passed, "other")]);
    assert!(!String::from_utf8_lossy(&world.said(build, "count", 1)).contains("n200\n"));
    world.oracle().await;
}

#[tokio::test]
async fn a_drained_worker_finishes_what_it_has_and_takes_nothing() {
    let mut world = World::start(Plan::default()).await;
    world.add_worker(Seat { slots: 1, ..Seat::host("old") });
    let yml = world.counting(20);
    let build = world.build("drain", &yml).await;
    world.counted(build, "n5").await;
    let waiting = world.build("waits", &yml).await;
    world.workers[0].signal(Signal::TERM);
    assert_eq!(world.workers[0].ended().await, Some(0));
    assert_eq!(world.finished(build).await.status, Status::Passed);
    assert_eq!(world.admin().build(waiting).await.unwrap().status, Status::Queued);
    world.add_worker(Seat::host("new"));
    let ended = world.finished(waiting).await;
    assert_eq!(ended.status, Status::Passed);
    assert_eq!(ended.jobs.as_ref().unwrap()[0].attempt, 1);
    world.oracle().await;
}
