//! Servers that die between a build that passed and the one that follows it.

use ocelot_api::client::BuildQuery;
use ocelot_model::{EventKind, Status};
use ocelot_testkit::{Postgres, wait_for};

use super::world::{Plan, Seat, World};

/// A build passes, and the server dies at this place over the one that follows, once. It comes back, or another server on
/// the same database goes on for it.
async fn dies_over_a_pass(place: &str, postgres: Option<&Postgres>, another: bool) {
    let mut world = World::start(Plan { postgres, ..Plan::default() }).await;
    world.add_worker(Seat::host("w"));
    let block = "subscriptions: [{acctRepo: pogo, alias: pogo, branches: [main:main]}]\n";
    let app = format!("{block}{}", world.counting(2));
    let pogo = world.counting(2);
    let app = world.add_repo("app", &app).await;
    let pogo = world.add_repo("pogo", &pogo).await;
    let first = world.build_again(&app).await;
    world.finished(first).await;
    world.servers[0].kill9();
    world.servers[0].env.push(("OCELOT_CRASH_AT".into(), place.to_owned()));
    world.restart_server(0).await;
    let passed = world.build_again(&pogo).await;
    assert_eq!(world.servers[0].ended().await, None, "{place}");
    assert!(world.servers[0].said().contains(&format!("dying at {place}")));
    if another {
        let data = world.folder.path().join("data-2");
        world.url = world.add_server(&data, Vec::new()).await;
        world.add_worker(Seat::host("w2"));
    } else {
        world.servers[0].env.retain(|(name, _)| name != "OCELOT_CRASH_AT");
        world.restart_server(0).await;
    }
    assert_eq!(world.finished(passed).await.status, Status::Passed, "{place}");
    let owed = "SELECT count(*) FROM subscription_passes";
    wait_for("the build that follows", async || (world.sql(owed).trim() == "0").then_some(())).await;
    let following = following(&world).await;
    let [(number, Some(upstream))] = following[..] else { panic!("{place}: not one build: {following:?}") };
    assert_eq!(upstream, passed, "{place}");
    world.builds.push(number);
    assert_eq!(world.finished(number).await.status, Status::Passed, "{place}");
    world.oracle().await;
}

/// Builds that follow others, and which ones.
async fn following(world: &World) -> Vec<(i64, Option<i64>)> {
    let query = BuildQuery { limit: Some(500), ..BuildQuery::default() };
    let all = world.admin().builds(&query).await.unwrap().items;
    let of = all.into_iter().filter(|build| build.event == EventKind::Subscription);
    of.map(|build| (build.number, build.upstream)).collect()
}

#[tokio::test]
async fn the_server_dies_before_the_build_that_follows() {
    dies_over_a_pass("pass-taken", None, false).await;
}

#[tokio::test]
async fn the_server_dies_after_the_build_that_follows() {
    dies_over_a_pass("pass-built", None, false).await;
}

#[tokio::test]
async fn on_postgresql_another_server_makes_the_build_that_follows() {
    dies_over_a_pass("pass-taken", Some(Postgres::shared()), true).await;
}
