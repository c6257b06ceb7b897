//! The audit: what was done, by whom, and who may see it.

use ocelot_model::access::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::room::{Room, SMALL, answer};

/// `actor action subject` of each row, oldest first.
async fn rows(room: &Room, query: &str) -> Vec<String> {
    let (status, page) = room.get(&format!("/api/v1/audit?{query}")).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    let word = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let rows = page["items"].as_array().unwrap().iter().rev();
    rows.map(|row| format!("{} {} {}", word(row, "actor"), word(row, "action"), word(row, "subject")))
        .collect()
}

#[tokio::test]
async fn what_is_changed_is_written_down() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    let secret = json!({"name": "KEY", "scope": "git/example", "value": "a-canary-value"});
    let (_, secret) = room.post("/api/v1/secrets", &secret).await;
    answer(room.request(Method::DELETE, &format!("/api/v1/secrets/{}", secret["id"]))).await;
    let (_, token) = room.post("/api/v1/tokens", &json!({"name": "laptop", "role": "read"})).await;
    let laptop = token["secret"].as_str().unwrap();
    answer(room.request(Method::DELETE, &format!("/api/v1/tokens/{}", token["id"]))).await;
    let change = json!({"approvals": "all"});
    for _ in 0..2 {
        answer(room.request(Method::PATCH, "/api/v1/repos/git/example").json(&change)).await;
    }
    room.post("/api/v1/polls", &json!({"repo": "git/example", "cron": "@daily"})).await;
    room.post("/api/v1/pause", &json!({"reason": "an upgrade"})).await;
    // What is refused is not done.
    let (status, _) = room.post("/api/v1/tokens", &json!({"name": "7", "role": "read"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let want = [
        "root repo_added git/example".to_owned(),
        "root secret_kept KEY".to_owned(),
        "root secret_removed KEY".to_owned(),
        "root token_created laptop".to_owned(),
        "root token_revoked laptop".to_owned(),
        "root repo_changed git/example".to_owned(),
        "root poll_added git/example".to_owned(),
        "root paused all".to_owned(),
    ];
    assert_eq!(rows(&room, "actor=root").await, want);
    assert_eq!(rows(&room, "action=secret_kept").await, want[1..2]);
    assert_eq!(rows(&room, "subject=git/example&action=repo_changed&actor=root").await, want[5..6]);
    assert_eq!(rows(&room, "actor=nobody").await, [""; 0]);
    assert_eq!(rows(&room, "until=2020-01-01T00:00:00Z").await, [""; 0]);
    assert_eq!(rows(&room, "actor=root&since=2020-01-01T00:00:00Z").await.len(), want.len());
    let (_, page) = room.get("/api/v1/audit?limit=500").await;
    let text = page.to_string();
    assert!(!text.contains("canary") && !text.contains(laptop), "{text}");
    assert!(text.contains("an upgrade") && text.contains("approvals all"), "{text}");
    let (_, removed) = room.get("/api/v1/audit?action=secret_removed").await;
    assert_eq!(removed["items"][0]["detail"], "env, for git/example");
}

#[tokio::test]
async fn pages_follow_each_other_and_only_admins_see_them() {
    let room = Room::new().await;
    for _ in 0..5 {
        room.post("/api/v1/pause", &json!({})).await;
    }
    let (mut seen, mut path) = (Vec::new(), "/api/v1/audit?limit=2&actor=root".to_owned());
    loop {
        let (_, page) = room.get(&path).await;
        seen.extend(page["items"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/audit?limit=2&actor=root&cursor={next}");
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
    for query in ["cursor=b1", "cursor=a0", "action=nothing", "since=today", "colour=red"] {
        assert_eq!(room.get(&format!("/api/v1/audit?{query}")).await.0, StatusCode::BAD_REQUEST, "{query}");
    }
    for (role, repos) in [(Role::Read, &[][..]), (Role::Write, &[]), (Role::Admin, &["git/"])] {
        let token = room.token(role, repos).await;
        let (status, _) = answer(room.plain(Method::GET, "/api/v1/audit").bearer_auth(&token)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{role}");
    }
}
