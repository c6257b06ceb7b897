//! A token with role admin that is limited to some repositories: on every route it reaches these, and nothing else.

use ocelot_model::access::{Action, Role};
use ocelot_model::delivery::{Part, PartKind};
use ocelot_server::http::Right;
use ocelot_server::http::router::{Route, table};
use ocelot_store::NewDelivery;
use reqwest::Method;
use serde_json::{Value, json};

use crate::room::{Room, SMALL, answer};

/// Where the route leads when it is about the other repository, of which there is one of each thing.
fn path_of(route: &Route) -> String {
    [
        ("{number}", "1"),
        ("{id}", "1"),
        ("{*handle}", "git/example"),
        ("{name}", "github"),
        ("{kind}", "vcs"),
        ("{account}", "acme"),
        ("{identifier}", "x"),
    ]
    .iter()
    .fold(route.path.to_owned(), |path, (name, value)| path.replace(name, value))
}

/// What asks for something of the other repository, or of the whole server.
fn body_of(route: &Route) -> Value {
    let about = json!({"repo": "git/example", "cron": "@daily"});
    match route.path {
        "/api/v1/builds" | "/api/v1/notifications/test" => json!({"repo": "git/example"}),
        "/api/v1/polls" | "/api/v1/schedules" => about,
        "/api/v1/repos" => json!({"clone_url": "https://git.example.org/a.git", "name": "other"}),
        "/api/v1/secrets" => json!({"name": "B", "scope": "git/example", "value": "some-value"}),
        "/api/v1/credentials" => json!({"name": "B", "kind": "ssh", "value": "some-value"}),
        "/api/v1/creds/{kind}" => {
            json!({"acctName": "acme", "clientId": "a", "clientSecret": "some-value", "type": "GITHUB"})
        }
        _ => json!({}),
    }
}

/// The other repository with one of each thing that a repository can have.
async fn fill(room: &Room) {
    room.known("example", SMALL).await;
    room.build("example").await;
    for (path, body) in [
        ("polls", json!({"repo": "git/example", "cron": "@daily"})),
        ("schedules", json!({"repo": "git/example", "cron": "@daily"})),
        ("secrets", json!({"name": "A", "scope": "git/example", "value": "some-value"})),
    ] {
        let (status, said) = room.post(&format!("/api/v1/{path}"), &body).await;
        assert!(status.is_success(), "{path}: {said}");
    }
    let repo = room.app.store.find_repo(&"git/example".parse().unwrap()).await.unwrap().unwrap();
    let part = Part {
        kind: PartKind::Push,
        subject: "refs/heads/main".to_owned(),
        before: None,
        after: Some("a".repeat(40)),
        target: None,
        also: String::new(),
    };
    let new = NewDelivery {
        forge: repo.forge_id,
        repo: Some(repo.id),
        hook: Some("some"),
        remote_id: "one",
        event: "push",
        body: b"{}",
        told: &Ok(vec![part]),
    };
    room.app.store.take_in(&new).await.unwrap();
}

#[tokio::test]
async fn it_reaches_nothing_of_another_repository_nor_of_the_whole_server() {
    let room = Room::new().await;
    fill(&room).await;
    room.known("mine", SMALL).await;
    let token = room.token(Role::Admin, &["git/mine"]).await;
    for route in table() {
        // This one does not end; what it tells is filtered as the stream of one build is.
        let endless = route.path == "/api/v1/events";
        let open = matches!(route.right, Right::Public | Right::SignIn | Right::Signature);
        if endless || open {
            continue;
        }
        let (method, path) = (route.method.clone(), path_of(&route));
        let request = room.plain(method.clone(), &path).bearer_auth(&token);
        let request = if method == Method::GET { request } else { request.json(&body_of(&route)) };
        let (status, said) = answer(request).await;
        let what = format!("{method} {} {status} {said}", route.path);
        let is_list = method == Method::GET && !route.path.contains('{');
        match route.right {
            Right::Whole(Action::Administer) => assert_eq!(status.as_u16(), 403, "{what}"),
            Right::Repo | Right::Page | Right::SignedIn | Right::Whole(_) if is_list => {
                assert_eq!(status.as_u16(), 200, "{what}");
                assert!(!said.to_string().contains("git/example"), "{what}");
            }
            // The one list that has a parameter.
            Right::SignedIn if method == Method::GET => {
                assert_eq!((status.as_u16(), &said["items"]), (200, &json!([])), "{what}");
            }
            Right::Repo | Right::Page | Right::SignedIn | Right::Whole(_) => {
                assert!([403, 404].contains(&status.as_u16()), "{what}");
            }
            Right::Public | Right::SignIn | Right::Signature => {}
        }
    }
    // It is still what it was.
    let (_, build) = room.get("/api/v1/builds/1").await;
    assert_eq!((&build["repo"], &build["status"]), (&json!("git/example"), &json!("queued")));
}

#[tokio::test]
async fn what_it_is_limited_to_is_said() {
    let room = Room::new().await;
    let token = room.token(Role::Admin, &["git/mine", "github/acme/"]).await;
    let page = room.plain(Method::GET, "/").bearer_auth(&token).send().await.unwrap().text().await.unwrap();
    assert!(page.contains(", limited to git/mine, github/acme/</span>"), "{page}");
    let (_, me) = answer(room.plain(Method::GET, "/api/v1/whoami").bearer_auth(&token)).await;
    assert_eq!(me["repos"], json!(["git/mine", "github/acme/"]));
    let (_, all) = room.get("/api/v1/tokens").await;
    let limits: Vec<&Value> = all["items"].as_array().unwrap().iter().map(|token| &token["repos"]).collect();
    assert!(limits.contains(&&json!(["git/mine", "github/acme/"])) && limits.contains(&&json!([])), "{all}");
}
