//! Badges: who sees them, and what they show.

use ocelot_model::access::Role;
use ocelot_model::{Approvals, EventKind, Origin, Status, Trust};
use ocelot_store::NewBuild;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::history::{ended, scene};
use crate::notify::broken;
use crate::room::{Room, SMALL, answer, commit, git};

struct Picture {
    status: u16,
    etag: String,
    cache: String,
    text: String,
}

async fn picture(room: &Room, path: &str) -> Picture {
    let answer = room.plain(Method::GET, path).send().await.unwrap();
    let header = |name: &str| {
        answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let (etag, cache) = (header("etag"), header("cache-control"));
    if answer.status() == StatusCode::OK {
        assert_eq!(header("content-type"), "image/svg+xml");
        assert_eq!(header("x-content-type-options"), "nosniff");
    }
    Picture { status: answer.status().as_u16(), etag, cache, text: answer.text().await.unwrap() }
}

#[tokio::test]
async fn a_public_badge_shows_the_newest_end() {
    let room = Room::new().await;
    let path = room.repository("free", &[("ocelot.yml", SMALL)]);
    let new = json!({"clone_url": path, "name": "free", "public": true});
    assert_eq!(room.post("/api/v1/repos", &new).await.0, StatusCode::CREATED);
    let worker = room.worker().await;
    let first = picture(&room, "/badges/git/free.svg").await;
    assert!(first.status == 200 && first.text.contains("<title>build: no build</title>"), "{}", first.text);
    ended(&room, "free", worker, Status::Passed).await;
    let passed = picture(&room, "/badges/git/free.svg").await;
    assert!(passed.text.contains("<title>build: passed</title>"), "{}", passed.text);
    assert!(passed.text.contains("aria-label=\"build: passed\"") && passed.etag != first.etag);
    assert_eq!(passed.cache, "public, max-age=30");
    let again = room.plain(Method::GET, "/badges/git/free.svg").header("if-none-match", &passed.etag).send();
    let again = again.await.unwrap();
    assert_eq!((again.status(), again.text().await.unwrap().len()), (StatusCode::NOT_MODIFIED, 0));
    // What runs, waits or was stopped says nothing yet.
    ended(&room, "free", worker, Status::Cancelled).await;
    room.build("free").await;
    assert_eq!(picture(&room, "/badges/git/free.svg").await.etag, passed.etag);
    // A tag may have the branch's name.
    let store = &room.app.store;
    let repo = store.find_repo(&"git/free".parse().unwrap()).await.unwrap().unwrap();
    let tag = NewBuild { event: EventKind::Tag, tag: Some("main".into()), ..broken(repo.id) };
    assert_eq!(store.create_build(&tag).await.unwrap().build.status, Status::Error);
    // And so may a fork's pull request.
    let fork = Trust::new(Origin::Fork, Some("mallory (666)".into()), Approvals::None);
    let request = NewBuild { event: EventKind::PullRequest, pull_request: Some(7), ..broken(repo.id) };
    store.create_build(&NewBuild { trust: fork, ..request }).await.unwrap();
    assert_eq!(picture(&room, "/badges/git/free.svg").await.etag, passed.etag);
    // What the branch holds stays so when a pull request of its commit is opened.
    store.create_build(&NewBuild { pull_request: Some(8), ..broken(repo.id) }).await.unwrap();
    let held = picture(&room, "/badges/git/free.svg").await;
    assert!(held.text.contains("<title>build: error</title>"), "{}", held.text);
    // Another branch is another picture, and one that is not there has none.
    git(&path, &["checkout", "-q", "-b", "a&b\"<c>"]);
    commit(&path, &[("a", "1")]);
    let (status, body) =
        room.post("/api/v1/builds", &json!({"repo": "git/free", "branch": "a&b\"<c>"})).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let waiting = room.claim(worker).await;
    room.finish(&waiting, Status::Passed).await;
    let job = room.claim(worker).await;
    room.finish(&job, Status::Failed).await;
    let other = picture(&room, "/badges/git/free.svg?branch=a%26b%22%3Cc%3E").await;
    assert!(other.text.contains("build: failed") && !other.text.contains("<c>"), "{}", other.text);
    assert!(picture(&room, "/badges/git/free.svg?branch=none").await.text.contains("no build"));
    assert_eq!(picture(&room, "/badges/git/free.svg?brunch=x").await.status, 400);
    let (_, badge) = room.get("/api/v1/badges/git/free").await;
    assert_eq!((&badge["visible"], &badge["key"]), (&json!(true), &Value::Null), "{badge}");
    let image = format!("{}/badges/git/free.svg", room.url);
    assert_eq!(badge["image"], image);
    assert_eq!(badge["markdown"], format!("[![build]({image})]({}/?repo=git%2Ffree)", room.url));
}

#[tokio::test]
async fn a_badge_that_is_not_public_needs_its_key() {
    let room = scene().await;
    let missing = picture(&room, "/badges/git/none.svg").await;
    assert_eq!((missing.status, missing.cache.as_str()), (404, "no-store"));
    let hidden = async |path: &str| {
        let seen = picture(&room, path).await;
        assert_eq!((seen.status, &seen.text, &seen.cache), (404, &missing.text, &missing.cache), "{path}");
    };
    for path in [
        "/badges/git/app.svg",
        "/badges/git/app.svg?key=",
        "/badges/git/app.svg?key=x",
        "/badges/git/app",
        "/badges/git.svg",
        "/badges/x",
    ] {
        hidden(path).await;
    }
    let (_, before) = room.get("/api/v1/badges/git/app").await;
    assert_eq!((&before["visible"], &before["key"]), (&json!(false), &Value::Null), "{before}");
    let (status, badge) = room.post("/api/v1/badges/git/app", &json!({"branch": "main"})).await;
    assert_eq!(status, StatusCode::OK, "{badge}");
    let path = badge["image"].as_str().unwrap().strip_prefix(&room.url).unwrap().to_owned();
    let seen = picture(&room, &path).await;
    assert!(seen.status == 200 && seen.text.contains("build: failed"), "{}", seen.text);
    assert_eq!(seen.cache, "private, max-age=30");
    // Asked again it is the same; it opens nothing else.
    assert_eq!(room.post("/api/v1/badges/git/app", &json!({})).await.1["key"], badge["key"]);
    let (_, audit) = room.get("/api/v1/audit").await;
    assert_eq!(audit.to_string().matches("its badge has a new key").count(), 1, "{audit}");
    hidden(&path.replace("/app", "/secret")).await;
    // Who may only read does not see it.
    for (role, want) in [(Role::Read, false), (Role::Write, true)] {
        let token = room.token(role, &["git/app"]).await;
        let ask = |method| answer(room.plain(method, "/api/v1/badges/git/app").bearer_auth(&token));
        assert_eq!(ask(Method::GET).await.1["key"].is_string(), want, "{role}");
        assert_eq!(ask(Method::POST).await.0 == StatusCode::OK, want, "{role}");
    }
    let (_, new) = room.post("/api/v1/badges/git/app", &json!({"renew": true})).await;
    assert_ne!(new["key"], badge["key"]);
    hidden(&path).await;
    let (status, _) = answer(room.request(Method::DELETE, "/api/v1/badges/git/app")).await;
    let (again, _) = answer(room.request(Method::DELETE, "/api/v1/badges/git/app")).await;
    let (_, audit) = room.get("/api/v1/audit?subject=git/app").await;
    let told = audit.to_string().matches("its badge has no key any more").count();
    assert_eq!((again, told), (status, 1), "{audit}");
    assert_eq!(status, StatusCode::NO_CONTENT);
    hidden(new["image"].as_str().unwrap().strip_prefix(&room.url).unwrap()).await;
}
