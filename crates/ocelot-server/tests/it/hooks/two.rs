//! Two servers on one PostgreSQL.

use std::time::Duration;

use futures_util::future::join_all;
use ocelot_model::ForgeKind;
use ocelot_server::Server;
use ocelot_testkit::forge::{Scene, Told, Webhook};
use reqwest::StatusCode;
use serde_json::Value;

use super::world::{Database, World, unique, words};
use crate::room::{SMALL, answer};

/// The same path at one of the two.
fn at(server: &Server, path: &str) -> String {
    format!("http://{}{path}", server.address)
}

async fn all_settled(world: &World) -> Vec<Value> {
    let mut rows = Vec::new();
    for row in world.deliveries().await {
        let path = format!("/api/v1/deliveries/{}", row["id"]);
        rows.push(world.until(&path, |row| row["state"] != "waiting").await);
    }
    rows
}

#[tokio::test]
async fn a_hundred_copies_to_both_make_one_build() {
    let world = World::new(Database::Postgres).await;
    let second = world.second().await;
    let scene = Scene { name: "main".into(), after: world.head(), ..Scene::default() };
    let one = world.webhook(Told::BranchPushed, &scene);
    let (path, secret) = (world.hook_path(), world.secret());
    let sent = (0..100).map(|n| {
        let server = if n % 2 == 0 { &world.server } else { &second };
        // Half of them under one name, the others each under its own.
        let delivery = if n % 4 < 2 { one.delivery.clone() } else { unique() };
        let webhook = Webhook { delivery, ..one.clone() };
        let mut request = world.client.post(at(server, &path)).body(webhook.body.clone());
        for (name, value) in webhook.headers(&secret) {
            request = request.header(name, value);
        }
        request.send()
    });
    for answer in join_all(sent).await {
        assert!(answer.unwrap().status().is_success());
    }
    let rows = all_settled(&world).await;
    let built = rows.iter().filter(|row| row["state"] == "built").count();
    let copies = rows.iter().filter(|row| row["state"] == "duplicate").count();
    assert_eq!((built, copies), (1, 50), "{rows:?}");
    assert_eq!(world.builds().await.len(), 1);
    second.stop().await;
}

#[tokio::test]
async fn what_is_replayed_at_both_makes_no_further_build() {
    let world = World::new(Database::Postgres).await;
    let second = world.second().await;
    for (name, message) in [("main", "a"), ("topic", "b"), ("topic", "c [skip ci]")] {
        let scene = Scene { name: name.into(), after: world.commit_on(name, message), ..Scene::default() };
        world.tell(Told::BranchPushed, &scene).await;
        world.tell(Told::PullRequestOpened, &scene).await;
    }
    let before = all_settled(&world).await;
    let builds = world.builds().await.len();
    let replays = before.iter().flat_map(|row| (0..10).map(move |n| (row["id"].clone(), n)));
    let replays = replays.map(|(id, n)| {
        let server = if n % 2 == 0 { &world.server } else { &second };
        let url = at(server, &format!("/api/v1/deliveries/{id}/replay"));
        answer(world.client.post(url).bearer_auth(&world.admin))
    });
    for (status, body) in join_all(replays).await {
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    }
    let after = all_settled(&world).await;
    assert_eq!(world.builds().await.len(), builds);
    let said = |rows: &[Value]| rows.iter().map(words).collect::<Vec<_>>();
    assert_eq!(said(&after), said(&before));
    second.stop().await;
}

#[tokio::test]
async fn what_was_never_told_is_built_once_though_both_look() {
    let often = |config: &mut ocelot_server::Config| config.reconcile_every = Duration::from_millis(20);
    let world = World::of(Database::Postgres, ForgeKind::Github, SMALL, often).await;
    let second = world.second().await;
    world.server.app().store.name_hook(&world.hook.id, "7", "tests").await.unwrap();
    let path = "/api/v1/repos/github/acme/app";
    world.until(path, |repo| repo["reconciled"]["at"].is_string()).await;
    for number in 1..=5 {
        let commit = world.commit_on("main", &format!("change {number}"));
        let build = format!("/api/v1/builds?commit={commit}");
        world.until(&build, |page| page["items"].as_array().is_some_and(|items| !items.is_empty())).await;
    }
    // Both look several times more.
    for _ in 0..4 {
        let last = world.get(path).await["reconciled"]["at"].clone();
        world.until(path, |repo| repo["reconciled"]["at"] != last).await;
    }
    assert_eq!(world.builds().await.len(), 5);
    let rows = all_settled(&world).await;
    let events: Vec<_> = rows.iter().map(|row| row["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["reconcile"; 5]);
    second.stop().await;
}
