//! Disks that are full.

use ocelot_api::body::{NewBuild, NewToken};
use ocelot_model::Status;
use ocelot_model::access::Role;
use ocelot_testkit::{SmallDisk, wait_for};

use super::world::{Plan, Seat, World};

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
