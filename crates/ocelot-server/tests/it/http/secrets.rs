//! Secrets and credentials over HTTP: what is taken, who may, and that no value comes out.

use ocelot_model::access::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::room::{Room, SMALL, answer};

const CANARY: &str = "canary-value";

async fn as_role(room: &Room, token: &str, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
    answer(room.plain(method, path).bearer_auth(token).json(body)).await
}

#[tokio::test]
async fn what_is_kept_is_shown_without_its_value() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    let body = json!({"name": "TOKEN", "scope": "git/example", "value": CANARY, "branches": ["main"], "events": ["push"]});
    let (status, made) = room.post("/api/v1/secrets", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert_eq!((&made["kind"], &made["created_by"]), (&json!("env"), &json!("root")));
    let (status, again) = room.post("/api/v1/secrets", &body).await;
    assert_eq!((status, &again["id"]), (StatusCode::OK, &made["id"]));
    let docker = json!({"name": "REGISTRY", "kind": "docker", "value": CANARY,
        "fields": {"url": "r.example", "username": "ci"}});
    let (status, said) = room.post("/api/v1/credentials", &docker).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
    for (path, count) in [
        ("/api/v1/secrets", 1),
        ("/api/v1/credentials", 2),
        ("/api/v1/credentials?kind=docker", 1),
        ("/api/v1/creds/repo", 1),
        ("/api/v1/creds/env", 1),
    ] {
        let (status, list) = room.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path} {list}");
        assert_eq!(list["items"].as_array().unwrap().len(), count, "{path} {list}");
        assert!(!list.to_string().contains(CANARY), "{list}");
    }
    let path = format!("/api/v1/secrets/{}", made["id"]);
    let (status, _) = answer(room.request(Method::DELETE, &path)).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, _) = answer(room.request(Method::DELETE, &path)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_cannot_be_kept_is_said_and_changes_nothing() {
    let room = Room::new().await;
    let long = "x".repeat(256);
    let too_long = "x".repeat((64 << 10) + 1);
    let check = async |body: Value, want: &str| {
        let (status, said) = room.post("/api/v1/credentials", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body} {said}");
        let detail = said["detail"].as_str().unwrap();
        assert!(detail.contains(want) && !detail.contains(CANARY), "{body} {detail}");
    };
    for name in ["", "../x", "A B", "1A", "TΟKEN", "A-B", "GIT_HASH", "LD_PRELOAD", &long] {
        check(json!({"name": name, "value": CANARY}), "name").await;
    }
    for (value, want) in
        [("abc", "fewer than 4"), ("a\n\n\n\n", "fewer than 4"), ("a\0bcde", "text"), (&*too_long, "64 KiB")]
    {
        check(json!({"name": "A", "value": value}), want).await;
    }
    check(json!({"name": "A"}), "either `value` or `value_base64`").await;
    check(json!({"name": "A", "value_base64": "canary-value!"}), "no base64").await;
    check(json!({"name": "A", "value": CANARY, "scope": "github/../"}), "scope").await;
    check(json!({"name": "A", "value": CANARY, "branches": ["("]}), "branches").await;
    check(json!({"name": "A", "value": CANARY, "fields": {"url": "x"}}), "no field `url`").await;
    check(json!({"name": "A", "value": CANARY, "kind": "docker"}), "needs `url`").await;
    check(json!({"name": "A", "value": CANARY, "kind": "file", "fields": {"path": "../x"}}), "path").await;
    let (status, _) =
        room.post("/api/v1/secrets", &json!({"name": "A", "value": CANARY, "kind": "ssh"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let nowhere = json!({"name": "A", "value": CANARY, "scope": "git/none"});
    let (status, _) = room.post("/api/v1/secrets", &nowhere).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, list) = room.get("/api/v1/credentials").await;
    assert_eq!(list["items"], json!([]));
}

#[tokio::test]
async fn an_admin_of_some_repositories_keeps_theirs() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    for scope in ["", "git/", "git/example"] {
        let (status, said) =
            room.post("/api/v1/secrets", &json!({"name": "A", "scope": scope, "value": CANARY})).await;
        assert_eq!(status, StatusCode::CREATED, "{said}");
    }
    let check = async |role: Role, of: &[&str], may: &[&str]| {
        let token = room.token(role, of).await;
        for scope in ["", "git/", "git/example"] {
            let body = json!({"name": "A", "scope": scope, "value": CANARY});
            let (status, said) = as_role(&room, &token, Method::POST, "/api/v1/secrets", &body).await;
            let want = if may.contains(&scope) { StatusCode::OK } else { StatusCode::FORBIDDEN };
            assert_eq!(status, want, "{role} {of:?} {scope:?} {said}");
        }
        let (_, list) = as_role(&room, &token, Method::GET, "/api/v1/secrets", &Value::Null).await;
        let mut seen: Vec<&str> =
            list["items"].as_array().unwrap().iter().map(|row| row["scope"].as_str().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, may);
    };
    check(Role::Admin, &[], &["", "git/", "git/example"]).await;
    check(Role::Admin, &["git/"], &["git/", "git/example"]).await;
    check(Role::Admin, &["git/example"], &["git/example"]).await;
    check(Role::Write, &[], &[]).await;
    // What is not one's own looks as if it were not there.
    let (_, list) = room.get("/api/v1/secrets").await;
    let whole = list["items"].as_array().unwrap().iter().find(|row| row["scope"] == "").unwrap();
    let token = room.token(Role::Admin, &["git/other"]).await;
    let path = format!("/api/v1/secrets/{}", whole["id"]);
    let (status, _) = answer(room.plain(Method::DELETE, &path).bearer_auth(&token)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_forms_of_the_original() {
    let room = Room::new().await;
    let check = async |kind: &str, body: Value, want: Value| {
        let (status, said) = room.post(&format!("/api/v1/creds/{kind}"), &body).await;
        assert_eq!(status, StatusCode::CREATED, "{said}");
        let got = json!([said["name"], said["kind"], said["scope"], said["fields"]]);
        assert_eq!(got, want);
        assert!(!said.to_string().contains(CANARY), "{said}");
    };
    check(
        "vcs",
        json!({"clientId": "id", "clientSecret": CANARY, "tokenURL": "https://bitbucket.org/site/oauth2/access_token",
            "acctName": "acme", "type": "bitbucket"}),
        json!(["BITBUCKET_acme", "vcs", "bitbucket/acme/",
            {"type": "bitbucket", "username": "id", "token_url": "https://bitbucket.org/site/oauth2/access_token"}]),
    )
    .await;
    check(
        "vcs",
        json!({"configId": "ours", "clientId": "dummy", "clientSecret": CANARY, "tokenURL": "", "acctName": "acme", "type": "GITHUB"}),
        json!(["ours", "vcs", "github/acme/", {"type": "github"}]),
    )
    .await;
    let remove =
        async |path: &str| answer(room.request(Method::DELETE, &format!("/api/v1/creds/{path}"))).await.0;
    assert_eq!(remove("vcs/acme/nothing").await, StatusCode::NOT_FOUND);
    assert_eq!(remove("ssh/acme/ours").await, StatusCode::NOT_FOUND);
    assert_eq!(remove("vcs/other/ours").await, StatusCode::NOT_FOUND);
    assert_eq!(remove("vcs/acme/ours").await, StatusCode::NO_CONTENT);
    assert_eq!(remove("vcs/acme/ours").await, StatusCode::NOT_FOUND);
    let same = json!({"name": "BITBUCKET_acme", "scope": "other/acme/", "kind": "vcs", "value": CANARY,
        "fields": {"type": "bitbucket"}});
    let (status, said) = room.post("/api/v1/credentials", &same).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
    assert_eq!(remove("vcs/acme/BITBUCKET_acme").await, StatusCode::CONFLICT);
    let (status, said) =
        room.post("/api/v1/creds/vcs", &json!({"clientSecret": CANARY, "acctName": "acme"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
    let (status, said) = room.post("/api/v1/creds/apple", &json!({"acctName": "acme"})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{said}");
    assert_eq!(
        said["detail"],
        "`apple` is no kind of credential; one of vcs, repo, k8s, ssh, notify, env, generic"
    );
}
