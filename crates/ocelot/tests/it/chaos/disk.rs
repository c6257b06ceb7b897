//! Disks that are full.

use ocelot_api::body::{NewBuild, NewToken};
use ocelot_model::Status;
use ocelot_model::access::Role;
use ocelot_testkit::{SmallDisk, wait_for};

use super::world::{Plan, Seat, World};

/// What a build says that found no room.
const FULL: &str = "the worker's disk is full";

/// Nothing can be written any more while a build runs; what runs goes on, what is new is refused, and when there is room
/// again nobody has to do anything.
#[tokio::test]
async fn a_full_disk_under_the_database_is_got_over() {
    let disk = SmallDisk::new(64);
    let mut world = World::start(Plan { data: Some(disk.path().join("data")), ..Plan::default() }).await;
    world.add_worker(Seat::host("w"));
    let yml = world.counting(60);
    let repo = world.add_repo("full", &yml).await;
    let build = world.build_again(&repo).await;
    world.counted(build, "n5").await;
    disk.fill();
    let client = world.admin();
    let mut tokens = 0;
    // What fits into the pages that are there already is still taken.
    let refused = wait_for("a refusal", async || {
        tokens += 1;
        let (name, role) = (format!("t{tokens}"), Role::Read);
        client.create_token(&NewToken { name, role, repos: Vec::new(), expires_days: None }).await.err()
    })
    .await;
    assert_eq!(refused.status(), Some(503), "{refused}");
    world.counted(build, "n40").await;
    disk.free();
    let new = NewBuild { repo, ..NewBuild::default() };
    let next = wait_for("a new build", async || client.start(&new).await.ok()).await;
    world.builds.push(next.number);
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

/// A stage writes until nothing more fits, at each attempt; then the build ends and says why, what it wrote is gone, and the next one
/// has room without anybody doing anything.
async fn a_stage_fills_its_workers_disk(seat: Seat<'_>, yml: &str) {
    let disk = SmallDisk::new(64);
    let mut world = World::start(Plan::default()).await;
    world.add_worker(Seat { data: Some(disk.path().join("data")), ..seat });
    let fills = "head -c 200000000 /dev/zero > fill; echo not reached";
    let build = world.build("fills", &yml.replace("SCRIPT", fills)).await;
    let ended = world.finished(build).await;
    assert_eq!(ended.status, Status::Error, "{ended:#?}");
    let job = &ended.jobs.as_ref().unwrap()[0];
    let told = |reason: &Option<String>| reason.as_deref().is_some_and(|words| words.contains(FULL));
    assert!(told(&ended.reason), "{ended:#?}");
    assert_eq!(job.attempts.len(), 2, "{ended:#?}");
    assert!(job.attempts.iter().all(|it| it.status == Status::Error && told(&it.reason)), "{ended:#?}");
    let log = world.admin().log(build).await.unwrap();
    assert!(!log.contains("\nnot reached"), "{log}");
    let next = world.build("small", &yml.replace("SCRIPT", "echo fits")).await;
    let ended = world.finished(next).await;
    assert_eq!(ended.status, Status::Passed, "{ended:#?}");
    world.oracle().await;
}

#[tokio::test]
async fn a_stage_on_the_host_fills_its_workers_disk() {
    let yml = "machineTag: here\nretry: {infrastructure: 1}\nstages: [{name: a, script: ['SCRIPT']}]\n";
    a_stage_fills_its_workers_disk(Seat::host("w"), yml).await;
}

#[tokio::test]
async fn a_stage_in_a_container_fills_its_workers_disk() {
    let yml =
        "image: ocelot-test/busybox\nretry: {infrastructure: 1}\nstages: [{name: a, script: ['SCRIPT']}]\n";
    a_stage_fills_its_workers_disk(Seat::docker("w"), yml).await;
}

/// Something else fills the disk below a stage that needs none of it: the stage goes on, its log says where it is cut, and its
/// worker works on when there is room again.
#[tokio::test]
async fn a_disk_that_fills_up_under_a_stage_does_not_stop_it() {
    let disk = SmallDisk::new(64);
    let mut world = World::start(Plan::default()).await;
    world.add_worker(Seat { data: Some(disk.path().join("data")), ..Seat::host("w") });
    let go = world.folder.path().join("go");
    let script =
        format!("echo begun; until [ -e {} ]; do sleep 0.1; done; seq 100000; exit $CODE", go.display());
    let yml = |code| {
        format!(
            "machineTag: here\nenv: {{CODE: '{code}'}}\nretry: {{infrastructure: 0}}\nstages: [{{name: a, script: ['{script}']}}]\n"
        )
    };
    let (good, bad) = (world.build("good", &yml(0)).await, world.build("bad", &yml(3)).await);
    let client = world.admin();
    for build in [good, bad] {
        wait_for("its begin", async || client.log(build).await.ok().filter(|log| log.contains("\nbegun\n")))
            .await;
    }
    disk.fill();
    std::fs::write(&go, "").unwrap();
    for (build, status) in [(good, Status::Passed), (bad, Status::Error)] {
        let ended = world.finished(build).await;
        assert_eq!(ended.status, status, "{ended:#?}");
        let log = client.log(build).await.unwrap();
        assert!(log.contains("[log cut: "), "{log}");
    }
    disk.free();
    let next = world.build("next", &yml(0)).await;
    assert_eq!(world.finished(next).await.status, Status::Passed);
    world.oracle().await;
}
