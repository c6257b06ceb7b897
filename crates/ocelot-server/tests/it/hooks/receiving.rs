//! What is taken in, what is refused, and how often.

use std::time::Duration;

use ocelot_model::ForgeKind;
use ocelot_model::access::Role;
use ocelot_testkit::forge::{Scene, Told, Webhook, sign};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::world::{Database, FORGE_SECRET, World, add, repository, unique, words};
use crate::room::{SMALL, answer};

both!(
    who_may_read_and_replay_the_ledger,
    what_is_not_rightly_signed_is_refused_and_leaves_nothing,
    the_secret_of_one_repository_says_nothing_about_another,
    bad_bodies_are_refused_and_strange_ones_are_kept,
    the_same_name_with_another_body_builds_nothing,
    a_branch_with_a_wicked_name_is_a_name,
    whatever_is_replayed_ten_times_at_once_makes_no_further_build,
    one_that_failed_is_healed_by_a_replay,
    a_hundred_copies_at_once_make_one_build,
);

fn push(world: &World) -> Webhook {
    world.webhook(Told::BranchPushed, &Scene { name: "main".into(), after: world.head(), ..Scene::default() })
}

async fn what_is_not_rightly_signed_is_refused_and_leaves_nothing(database: Database) {
    let world = World::new(database).await;
    let webhook = push(&world);
    let path = world.hook_path();
    let plain =
        world.client.post(world.url(&path)).header("X-GitHub-Event", "push").body(webhook.body.clone());
    assert_eq!(answer(plain).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(answer(world.request(&path, &webhook, "wrong")).await.0, StatusCode::UNAUTHORIZED);
    // The forge's own secret is for its own address.
    assert_eq!(answer(world.request(&path, &webhook, FORGE_SECRET)).await.0, StatusCode::UNAUTHORIZED);
    let twice = world.request(&path, &webhook, &world.secret()).header("X-Hub-Signature-256", "sha256=00");
    assert_eq!(answer(twice).await.0, StatusCode::UNAUTHORIZED);
    let value: serde_json::Value = serde_json::from_slice(&webhook.body).unwrap();
    let other = Webhook { body: serde_json::to_vec_pretty(&value).unwrap(), ..webhook.clone() };
    let mut request = world.client.post(world.url(&path)).body(other.body).header("X-GitHub-Event", "push");
    for (name, value) in sign(ForgeKind::Github, &world.secret(), "x", &webhook.body) {
        request = request.header(name, value);
    }
    assert_eq!(answer(request).await.0, StatusCode::UNAUTHORIZED);
    let packed = world.request(&path, &webhook, &world.secret()).header("Content-Encoding", "gzip");
    assert_eq!(answer(packed).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let nowhere = world.request("/hooks/github/nobody", &webhook, "x");
    assert_eq!(answer(nowhere).await.0, StatusCode::NOT_FOUND);
    assert!(world.deliveries().await.is_empty());
    // A good one arrives however many bad ones came from the same address.
    let mut last = StatusCode::OK;
    for _ in 0..40 {
        last = answer(world.request(&path, &webhook, "wrong")).await.0;
        if last == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(world.send(&webhook).await.0, StatusCode::ACCEPTED);
}

async fn the_secret_of_one_repository_says_nothing_about_another(database: Database) {
    let world = World::new(database).await;
    let git = repository(world.folder.path(), "other", SMALL);
    add(&world.server, world.kind, ("acme", "other"), "12".into(), &git).await;
    let after = crate::room::git(&git, &["rev-parse", "HEAD"]);
    let scene = Scene { repo: 12, full_name: "acme/other".into(), after, ..Scene::default() };
    let webhook = world.webhook(Told::BranchPushed, &scene);
    assert_eq!(world.send(&webhook).await.0, StatusCode::UNAUTHORIZED);
    assert!(world.deliveries().await.is_empty());
    let refused = world.get("/api/v1/audit?action=webhook_refused").await;
    assert_eq!(refused["items"].as_array().unwrap().len(), 1, "{refused}");
    assert_eq!(refused["items"][0]["actor"], "forge github");
    // The forge's own is for all of them, and for those that are not here.
    let (status, body) = answer(world.request("/hooks/github", &webhook, FORGE_SECRET)).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(world.settled(&body).await["repo"], "github/acme/other");
    let nobody = world.webhook(Told::BranchPushed, &Scene { repo: 77, ..scene });
    let (status, body) = answer(world.request("/hooks/github", &nobody, FORGE_SECRET)).await;
    assert_eq!((status, &body["state"]), (StatusCode::OK, &"ignored".into()));
}

async fn bad_bodies_are_refused_and_strange_ones_are_kept(database: Database) {
    let world = World::new(database).await;
    let good = push(&world);
    let with = |body: String| Webhook { body: body.into_bytes(), delivery: unique(), ..good.clone() };
    let text = String::from_utf8(good.body.clone()).unwrap();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let twice = text.replacen('{', r#"{"repository":{"id":12,"full_name":"acme/other"},"#, 1);
    for body in [deep, twice, text.replace(&world.head(), "nonsense"), "not json".into()] {
        assert_eq!(world.send(&with(body)).await.0, StatusCode::BAD_REQUEST);
    }
    assert!(world.deliveries().await.is_empty());
    let (status, body) = world.send(&with(text.replace("\"ref\"", "\"name\""))).await;
    assert_eq!((status, &body["state"]), (StatusCode::OK, &"failed".into()));
    for told in [Told::Star, Told::Ping, Told::PullRequestLabeled, Told::PullRequestMerged] {
        let (status, body) = world.send(&world.webhook(told, &Scene::default())).await;
        assert_eq!((status, &body["state"]), (StatusCode::OK, &"ignored".into()), "{told:?}");
    }
}

async fn the_same_name_with_another_body_builds_nothing(database: Database) {
    let world = World::new(database).await;
    let first = push(&world);
    let (_, body) = world.send(&first).await;
    world.settled(&body).await;
    let (status, again) = world.send(&first).await;
    assert_eq!((status, &again["build"]), (StatusCode::OK, &1.into()));
    let scene = Scene { name: "main".into(), after: world.commit_on("main", "more"), ..Scene::default() };
    let other = Webhook { delivery: first.delivery.clone(), ..world.webhook(Told::BranchPushed, &scene) };
    let (status, conflict) = world.send(&other).await;
    assert_eq!((status, &conflict["state"]), (StatusCode::OK, &"conflict".into()));
    assert_eq!(world.builds().await.len(), 1);
}

async fn a_branch_with_a_wicked_name_is_a_name(database: Database) {
    let world = World::new(database).await;
    let name = "--upload-pack=touch${IFS}marker";
    let scene = Scene { name: name.into(), after: world.head(), ..Scene::default() };
    assert_eq!(words(&world.tell(Told::BranchCreated, &scene).await), "built: build 1");
    assert_eq!(world.get("/api/v1/builds/1").await["branch"], name);
    assert!(!world.git.join("marker").exists() && !std::path::Path::new("marker").exists());
}

async fn whatever_is_replayed_ten_times_at_once_makes_no_further_build(database: Database) {
    let world = World::new(database).await;
    for (name, message) in [("main", "a"), ("topic", "b"), ("topic", "c [skip ci]")] {
        let scene = Scene { name: name.into(), after: world.commit_on(name, message), ..Scene::default() };
        world.tell(Told::BranchPushed, &scene).await;
        world.tell(Told::PullRequestOpened, &scene).await;
    }
    let before = world.builds().await.len();
    let ids: Vec<String> = world.deliveries().await.iter().map(|row| row["id"].to_string()).collect();
    for id in &ids {
        let path = format!("/api/v1/deliveries/{id}/replay");
        let all = (0..10).map(|_| world.post(&path));
        for (status, body) in futures_util::future::join_all(all).await {
            assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        }
    }
    for id in &ids {
        world.until(&format!("/api/v1/deliveries/{id}"), |row| row["state"] != "waiting").await;
    }
    assert_eq!(world.builds().await.len(), before);
}

async fn one_that_failed_is_healed_by_a_replay(database: Database) {
    let world = World::new(database).await;
    let scene = Scene { name: "main".into(), after: world.head(), ..Scene::default() };
    let away = world.git.with_extension("away");
    std::fs::rename(&world.git, &away).unwrap();
    let (_, body) = world.send(&world.webhook(Told::BranchPushed, &scene)).await;
    let path = format!("/api/v1/deliveries/{}", body["delivery"]);
    world.until(&path, |row| row["outcome"].as_str().unwrap().starts_with("tried 1 times")).await;
    std::fs::rename(&away, &world.git).unwrap();
    world.post(&format!("{path}/replay")).await;
    assert_eq!(words(&world.settled(&body).await), "built: build 1");
}

async fn a_hundred_copies_at_once_make_one_build(database: Database) {
    let world = World::new(database).await;
    let one = push(&world);
    let sent = (0..100).map(|n| {
        let delivery = if n % 2 == 0 { one.delivery.clone() } else { unique() };
        let webhook = Webhook { delivery, ..one.clone() };
        world.request(&world.hook_path(), &webhook, &world.secret()).send()
    });
    for answer in futures_util::future::join_all(sent).await {
        assert!(answer.unwrap().status().is_success());
    }
    for row in world.deliveries().await {
        world.until(&format!("/api/v1/deliveries/{}", row["id"]), |row| row["state"] != "waiting").await;
    }
    assert_eq!(world.deliveries().await.len(), 51);
    assert_eq!(world.builds().await.len(), 1);
}

async fn who_may_read_and_replay_the_ledger(database: Database) {
    let world = World::new(database).await;
    let git = repository(world.folder.path(), "other", SMALL);
    add(&world.server, world.kind, ("acme", "other"), "12".into(), &git).await;
    let scene = Scene { name: "main".into(), after: world.head(), ..Scene::default() };
    let own = world.tell(Told::BranchPushed, &scene).await["id"].clone();
    // Of a repository that is not here, only who may administer hears.
    let nobody = world.webhook(Told::BranchPushed, &Scene { repo: 77, ..Scene::default() });
    let (_, body) = answer(world.request("/hooks/github", &nobody, FORGE_SECRET)).await;
    let strange = body["delivery"].clone();
    let token = async |name: &str, role: Role, repos: &[&str]| {
        let repos: Vec<String> = repos.iter().map(|repo| (*repo).to_owned()).collect();
        world.server.app().store.create_token(name, role, &repos, None, "tests").await.unwrap().1
    };
    let all = token("all", Role::Read, &[]).await;
    let other = token("other", Role::Write, &["github/acme/other"]).await;
    let write = token("write", Role::Write, &["github/acme/app"]).await;
    let ask = |method: Method, token: &str, path: &str| {
        answer(world.client.request(method, world.url(path)).bearer_auth(token))
    };
    let seen = async |token: &str| {
        let (status, page) = ask(Method::GET, token, "/api/v1/deliveries").await;
        assert_eq!(status, StatusCode::OK, "{page}");
        page["items"].as_array().unwrap().iter().map(|row| row["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(seen(&all).await, std::slice::from_ref(&own));
    assert_eq!(seen(&other).await, [Value::Null; 0]);
    assert_eq!(seen(&world.admin).await, [strange.clone(), own.clone()]);
    let one = format!("/api/v1/deliveries/{own}");
    let replay = format!("{one}/replay");
    for (method, token, path, want) in [
        (Method::GET, &all, &one, StatusCode::OK),
        (Method::GET, &other, &one, StatusCode::NOT_FOUND),
        (Method::GET, &all, &format!("/api/v1/deliveries/{strange}"), StatusCode::NOT_FOUND),
        (Method::POST, &all, &replay, StatusCode::FORBIDDEN),
        (Method::POST, &other, &replay, StatusCode::NOT_FOUND),
        (Method::POST, &write, &replay, StatusCode::ACCEPTED),
    ] {
        assert_eq!(ask(method.clone(), token, path).await.0, want, "{method} {path}");
    }
}

#[tokio::test]
async fn a_token_of_gitlab_that_is_empty_or_endless_is_refused() {
    let world = World::of(Database::Sqlite, ForgeKind::Gitlab, SMALL, |_| {}).await;
    let webhook = push(&world);
    let with = |token: &str| {
        let request = world.client.post(world.url(&world.hook_path())).body(webhook.body.clone());
        request.header("X-Gitlab-Event", "Push Hook").header("X-Gitlab-Token", token.to_owned())
    };
    assert_eq!(answer(with("")).await.0, StatusCode::UNAUTHORIZED);
    // Too much for a header, or only wrong: the rest of the request decides.
    let endless = with(&"x".repeat(64 << 10)).send().await.unwrap().status();
    let refused = [StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, StatusCode::UNAUTHORIZED];
    assert!(refused.contains(&endless), "{endless}");
    assert!(world.deliveries().await.is_empty());
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up() {
    let world = World::new(Database::Sqlite).await;
    let mut socket = tokio::net::TcpStream::connect(world.server.address).await.unwrap();
    let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{", world.hook_path());
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut said = [0; 12];
    tokio::time::timeout(Duration::from_mins(1), socket.read_exact(&mut said)).await.unwrap().unwrap();
    assert_eq!(&said, b"HTTP/1.1 408");
    assert!(world.deliveries().await.is_empty());
}

#[tokio::test]
async fn webhooks_are_counted() {
    let world = World::of(Database::Sqlite, ForgeKind::Gitea, SMALL, |_| {}).await;
    let webhook = push(&world);
    world.send(&webhook).await;
    answer(world.request(&world.hook_path(), &webhook, "wrong")).await;
    let text = world.get("/metrics").await;
    let text = text.as_str().unwrap();
    for line in [
        r#"ocelot_webhooks_total{forge="gitea",event="push",outcome="waiting"} "#,
        r#"ocelot_webhooks_total{forge="gitea",event="none",outcome="unauthorized"} "#,
        "ocelot_webhook_duration_seconds_count ",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}
