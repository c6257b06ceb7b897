//! Servers that die at any moment, and are told to go.

use std::time::Duration;

use ocelot_api::body::{ForgeAccess, Hidden, NewBuild, NewForge, NewRepo};
use ocelot_api::client::BuildQuery;
use ocelot_model::{ForgeKind, Status};
use ocelot_testkit::forge::{Scene, TOKEN, Told, Webhook};
use ocelot_testkit::{FakeForge, GitRepo, Manners, Postgres, WebHost, wait_for};
use rustix::process::Signal;

use super::world::{Plan, Seat, World};

/// Five builds run; the server is gone until the worker has missed it, and comes back.
#[tokio::test]
async fn five_running_builds_do_not_notice_that_the_server_dies() {
    let mut world = World::start(Plan::default()).await;
    world.add_worker(Seat { slots: 5, ..Seat::host("w") });
    let yml = world.counting(40);
    let repo = world.add_repo("five", &yml).await;
    for _ in 0..5 {
        world.build_again(&repo).await;
    }
    for build in world.builds.clone() {
        world.counted(build, "n2").await;
    }
    world.servers[0].kill9();
    world.workers[0].says("no session with the server", 0).await;
    for build in world.builds.clone() {
        world.counted(build, "n20").await;
    }
    world.restart_server(0).await;
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

/// The server dies at this place, once, and comes back.
async fn dies_at(place: &str, postgres: Option<&Postgres>) {
    let env = vec![("OCELOT_CRASH_AT", place.to_owned())];
    let mut world = World::start(Plan { postgres, env, ..Plan::default() }).await;
    world.add_worker(Seat::host("w"));
    let yml = world.counting(3);
    let repo = world.add_repo("place", &yml).await;
    let new = NewBuild { repo: repo.clone(), ..NewBuild::default() };
    let asked = world.admin().start(&new).await;
    assert_eq!(world.servers[0].ended().await, None, "{place}");
    assert!(world.servers[0].said().contains(&format!("dying at {place}")));
    world.servers[0].env.retain(|(name, _)| name != "OCELOT_CRASH_AT");
    world.restart_server(0).await;
    let builds = world.admin().builds(&BuildQuery::default()).await.unwrap().items;
    let known: Vec<i64> = builds.iter().map(|build| build.number).collect();
    // Who got no answer does not know; who got one was told the truth.
    assert!(asked.is_err() || known.contains(&asked.unwrap().number), "{place}");
    world.builds = known;
    assert_eq!(world.builds.len(), 1, "{place}");
    let ended = world.finished(world.builds[0]).await;
    assert_eq!((ended.status, ended.jobs.as_ref().unwrap()[0].attempt), (Status::Passed, 1), "{ended:#?}");
    world.oracle().await;
}

#[tokio::test]
async fn the_server_dies_between_claim_and_offer() {
    dies_at("claimed", None).await;
}

#[tokio::test]
async fn the_server_dies_between_build_and_answer() {
    dies_at("build-created", None).await;
}

#[tokio::test]
async fn the_server_dies_between_log_and_acknowledgement() {
    dies_at("log-stored", None).await;
}

#[tokio::test]
async fn the_server_dies_between_end_and_answer() {
    dies_at("attempt-finished", None).await;
}

#[tokio::test]
async fn on_postgresql_the_server_dies_between_claim_and_offer() {
    dies_at("claimed", Some(Postgres::shared())).await;
}

/// A forge announces a push, and the server dies at this place over it, once. The forge sends it again, as those do that
/// got no answer; it is one build all the same.
async fn dies_over_a_webhook(place: &str, postgres: Option<&Postgres>) {
    let env = vec![("OCELOT_CRASH_AT", place.to_owned())];
    let mut world = World::start(Plan { postgres, env, ..Plan::default() }).await;
    world.add_worker(Seat::host("w"));
    let work = GitRepo::with(&world.counting(3));
    let commit = work.git(&["rev-parse", "HEAD"]).trim().to_owned();
    let served = tempfile::tempdir().unwrap();
    let bare = served.path().join("acme/app.git");
    work.git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]);
    let fake = FakeForge::start(ForgeKind::Gitea).await;
    let host = WebHost::start(served.path(), Manners::Open);
    fake.clones_from(&host.url(""));
    fake.add_repo(11, "acme/app");
    let forge = NewForge {
        name: "codes".into(),
        kind: "gitea".into(),
        base_url: Some(fake.url()),
        insecure_http: true,
        ca: None,
        access: ForgeAccess::Token(Hidden(TOKEN.to_owned())),
        hook_secret: None,
    };
    world.admin().add_forge(&forge).await.unwrap();
    let repo =
        NewRepo { forge: Some("codes".into()), full_name: Some("acme/app".into()), ..NewRepo::default() };
    let repo = world.admin().add_repo(&repo).await.unwrap().repo;
    world.admin().watch(&repo).await.unwrap();
    let scene = Scene { name: "main".into(), after: commit, ..Scene::default() };
    let push = Webhook::new(ForgeKind::Gitea, Told::BranchPushed, &scene).unwrap();
    // It may or may not have answered before.
    let _ = fake.try_to_tell("acme/app", &push).await;
    assert_eq!(world.servers[0].ended().await, None, "{place}");
    assert!(world.servers[0].said().contains(&format!("dying at {place}")));
    world.servers[0].env.retain(|(name, _)| name != "OCELOT_CRASH_AT");
    world.restart_server(0).await;
    let answers = fake.tell("acme/app", &push).await;
    assert!(answers.iter().all(|status| (200..300).contains(status)), "{answers:?}");
    let first = wait_for("the build", async || {
        let found = world.admin().builds(&BuildQuery::default()).await.ok()?.items;
        found.first().map(|build| build.number)
    })
    .await;
    world.builds = vec![first];
    assert_eq!(world.finished(first).await.status, Status::Passed, "{place}");
    let known = world.admin().builds(&BuildQuery::default()).await.unwrap().items;
    assert_eq!(known.len(), 1, "{place}: {known:#?}");
    world.oracle().await;
}

#[tokio::test]
async fn the_server_dies_between_a_webhook_and_its_answer() {
    dies_over_a_webhook("delivery-stored", None).await;
}

#[tokio::test]
async fn on_postgresql_the_server_dies_between_a_webhook_and_its_build() {
    dies_over_a_webhook("delivery-taken", Some(Postgres::shared())).await;
}

#[tokio::test]
async fn the_server_dies_between_the_build_of_a_webhook_and_what_follows() {
    dies_over_a_webhook("delivery-built", None).await;
}

/// The server dies again and again, before and after commits that a rule without a pattern picks, while builds are run.
async fn dies(times: u32, postgres: Option<&Postgres>) {
    let mut world = World::start(Plan { postgres, ..Plan::default() }).await;
    world.add_worker(Seat { slots: 3, ..Seat::host("w") });
    let yml = world.counting(3);
    let repo = world.add_repo("dies", &yml).await;
    for round in 0..times {
        let commit = round.wrapping_mul(2_654_435_761) % 23 + 4;
        let place = if round % 2 == 0 { "before-commit" } else { "after-commit" };
        world.servers[0].env.retain(|(name, _)| name != "OCELOT_CRASH_AT");
        world.servers[0].env.push(("OCELOT_CRASH_AT".into(), format!("{place}:{commit}")));
        let from = world.servers[0].said().len();
        world.servers[0].kill9();
        world.servers[0].start();
        // It may die at any moment; what it has answered counts.
        while !world.servers[0].said().get(from..).unwrap_or_default().contains("dying at") {
            let new = NewBuild { repo: repo.clone(), ..NewBuild::default() };
            if let Ok(build) = world.admin().start(&new).await {
                world.builds.push(build.number);
                let client = world.admin();
                let said = || world.servers[0].said().get(from..).unwrap_or_default().contains("dying at");
                wait_for("the build's end, or the server's", async || {
                    let over = client.build(build.number).await.is_ok_and(|b| b.status.is_terminal());
                    (over || said()).then_some(())
                })
                .await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(world.servers[0].ended().await, None);
    }
    world.servers[0].env.retain(|(name, _)| name != "OCELOT_CRASH_AT");
    world.restart_server(0).await;
    let told = std::mem::take(&mut world.builds);
    let known = world.sql("SELECT number FROM builds ORDER BY number");
    world.builds = known.lines().map(|number| number.parse().unwrap()).collect();
    assert!(told.iter().all(|number| world.builds.contains(number)), "{told:?} in {known}");
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

#[tokio::test]
async fn sqlite_survives_a_server_that_dies_again_and_again() {
    dies(if cfg!(feature = "chaos-all") { 300 } else { 20 }, None).await;
}

#[cfg(feature = "chaos-all")]
#[tokio::test]
async fn postgresql_survives_a_server_that_dies_again_and_again() {
    dies(100, Some(Postgres::shared())).await;
}

#[tokio::test]
async fn a_server_that_is_told_to_go_is_waited_for() {
    let mut world = World::start(Plan::default()).await;
    world.add_worker(Seat::host("w"));
    let yml = world.counting(30);
    let build = world.build("goes", &yml).await;
    world.counted(build, "n3").await;
    world.servers[0].signal(Signal::TERM);
    assert_eq!(world.servers[0].ended().await, Some(0));
    world.counted(build, "n15").await;
    world.restart_server(0).await;
    let ended = world.finished(build).await;
    assert_eq!((ended.status, ended.jobs.as_ref().unwrap()[0].attempt), (Status::Passed, 1), "{ended:#?}");
    world.oracle().await;
}
