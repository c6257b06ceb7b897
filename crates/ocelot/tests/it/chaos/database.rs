//! Databases that die, stand still, and are shared by servers that die.

use std::time::Duration;

use ocelot_api::body::NewPause;
use ocelot_model::Status;
use ocelot_testkit::{Postgres, Wire, wait_for};

use super::world::{Plan, Seat, World};

/// The database is away while the stage counts this far: ten times a second, unless the machine is busy.
const AWAY: u32 = if cfg!(feature = "chaos-all") { 150 } else { 20 };
const FROZEN: u32 = if cfg!(feature = "chaos-all") { 600 } else { 40 };

/// A worker is lost when nothing is heard of it for so long; the database is away for longer in the long tests.
const LIMIT: Duration = Duration::from_secs(20);

async fn counts(postgres: &Postgres, last: u32) -> (World, i64) {
    let plan = Plan { postgres: Some(postgres), limit: LIMIT, grace: LIMIT, ..Plan::default() };
    let mut world = World::start(plan).await;
    world.add_worker(Seat::host("w"));
    let yml = world.counting(last);
    let build = world.build("counts", &yml).await;
    world.counted(build, "n10").await;
    (world, build)
}

async fn passes_at_once(world: &World, build: i64) {
    let ended = world.finished(build).await;
    assert_eq!((ended.status, ended.jobs.as_ref().unwrap()[0].attempt), (Status::Passed, 1), "{ended:#?}");
    world.oracle().await;
}

#[tokio::test]
async fn postgresql_dies_and_comes_back() {
    let postgres = Postgres::own();
    let (world, build) = counts(&postgres, AWAY + 40).await;
    postgres.kill9();
    let client = world.admin();
    let refused = wait_for("a refusal", async || client.build(build).await.err()).await;
    assert_eq!(refused.status(), Some(503), "{refused}");
    world.counted(build, &format!("n{}", AWAY + 10)).await;
    postgres.restart();
    passes_at_once(&world, build).await;
}

#[tokio::test]
async fn postgresql_stands_still_and_goes_on() {
    let postgres = Postgres::own();
    let (world, build) = counts(&postgres, FROZEN + 40).await;
    postgres.freeze();
    world.counted(build, &format!("n{}", FROZEN + 10)).await;
    postgres.thaw();
    passes_at_once(&world, build).await;
}

/// Builds are asked for at both servers, run by workers of both, and one server dies.
#[tokio::test]
async fn of_two_servers_one_dies() {
    const BUILDS: usize = if cfg!(feature = "chaos-all") { 100 } else { 16 };
    let mut world = World::start(Plan { postgres: Some(Postgres::shared()), ..Plan::default() }).await;
    let data = world.folder.path().join("data-of-second");
    let env = world.servers[0].env.clone();
    let second = world.add_server(&data, env).await;
    let at = |url: &str| url.trim_start_matches("http://").parse().unwrap();
    // What a proxy in front of both does for the workers of the one that dies.
    let wire = Wire::to(at(&second));
    let first = world.add_worker(Seat::host("first"));
    world.add_worker(Seat { server: Some(wire.url()), ..Seat::host("second") });
    let yml = world.counting(5);
    let repo = world.add_repo("two", &yml).await;
    // All wait, so that both workers are busy for a while from one moment on.
    world.admin().pause(&NewPause::default()).await.unwrap();
    for number in 0..BUILDS {
        world.build_at(if number % 2 == 0 { None } else { Some(&second) }, &repo).await;
    }
    world.admin().unpause().await.unwrap();
    let second_runs = async || {
        let workers = world.admin().workers().await.ok()?;
        workers.iter().any(|worker| worker.name == "second" && worker.busy > 0).then_some(())
    };
    wait_for("a job at the second server's worker", second_runs).await;
    world.servers[1].kill9();
    wire.lead_to(at(&world.url));
    for build in world.builds.clone() {
        let ended = world.finished(build).await;
        assert_eq!(
            (ended.status, ended.jobs.as_ref().unwrap()[0].attempt),
            (Status::Passed, 1),
            "{ended:#?}"
        );
    }
    assert!(!world.workers[first].said().is_empty());
    world.oracle().await;
}
