//! Two servers on one PostgreSQL.

use std::time::Duration;

use futures_util::future::join_all;
use ocelot_model::access::Role;
use ocelot_model::build::{Happening, Outcome};
use ocelot_model::{ForgeKind, Status};
use ocelot_server::Server;
use ocelot_store::{Hello, Identity};
use ocelot_testkit::forge::{Scene, Told, Webhook};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::world::{Database, World, add, remote_id, repository, unique, words};
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

/// A build of the branch of this repository passes.
async fn passes(world: &World, repo: &str) -> i64 {
    let store = &world.server.app().store;
    let name = format!("worker {}", unique());
    let token = store.create_token(&name, Role::Worker, &[], None, "tests").await.unwrap().0.id;
    let hello = Hello {
        identity: Identity::Token(token),
        name,
        labels: [("executor".to_owned(), "docker".to_owned())].into(),
        slots: 1,
        version: "0".to_owned(),
        sharing: "same-paths".to_owned(),
        condition: None,
        process: String::new(),
    };
    let worker = store.worker_hello(&hello).await.unwrap();
    world.must("/api/v1/builds", &json!({"repo": repo})).await;
    let claimed = store.claim(worker).await.unwrap().expect("it waits");
    store.accept(&claimed.lease).await.unwrap();
    let outcome = Outcome { status: Status::Passed, reason: None, infrastructure: false };
    let what = Happening::Finished { job: claimed.job_id, attempt: claimed.lease.attempt, outcome };
    store.advance(claimed.build.number, what).await.unwrap();
    claimed.build.number.0
}

#[tokio::test]
async fn a_pass_makes_one_build_though_both_look() {
    const FOLLOWERS: u64 = 12;
    let block = "subscriptions: [{acctRepo: acme/pogo, alias: pogo, branches: [main:main]}]\n";
    let world = World::new(Database::Postgres).await;
    // Nobody runs them, so that the next pass finds them waiting.
    let follower =
        repository(world.folder.path(), "follower", &format!("{block}labels: {{tag: nobody}}\n{SMALL}"));
    let pogo = repository(world.folder.path(), "pogo", SMALL);
    let kind = world.kind;
    add(&world.server, kind, ("acme", "pogo"), remote_id(kind, 12), &pogo).await;
    for n in 0..FOLLOWERS {
        let name = format!("follower{n}");
        add(&world.server, kind, ("acme", &name), remote_id(kind, 20 + n), &follower).await;
        world.must("/api/v1/builds", &json!({"repo": format!("github/acme/{name}")})).await;
    }
    let second = world.second().await;
    let owed = |rows: &Value, words: &str| {
        let rows = rows["items"].as_array().unwrap();
        let said = |row: &&Value| row["outcome"].as_str().is_some_and(|said| said.contains(words));
        rows.len() - rows.iter().filter(said).count()
    };
    let mut passed = 0;
    for words in ["build ", "which had not begun yet"] {
        passed = passes(&world, "github/acme/pogo").await;
        world.until("/api/v1/subscriptions", |rows| owed(rows, words) == 0).await;
    }
    // What the second one was at is over.
    second.stop().await;
    let builds = world.builds().await;
    let made: Vec<_> = builds.iter().filter(|build| build["event"] == "subscription").collect();
    let repos: std::collections::BTreeSet<_> =
        made.iter().map(|build| build["repo"].as_str().unwrap()).collect();
    assert_eq!((made.len() as u64, repos.len() as u64), (FOLLOWERS, FOLLOWERS), "{made:?}");
    assert!(made.iter().all(|build| build["upstream"] == passed), "{made:?}");
}
