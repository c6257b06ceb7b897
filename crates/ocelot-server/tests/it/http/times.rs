//! What is built without anyone asking: polls and schedules.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ocelot_model::access::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::room::{Room, SMALL, answer, commit, git};

/// Runs the loop beside the room.
async fn room() -> Room {
    let room = Room::new().await;
    tokio::spawn(ocelot_server::loops::times(room.app.clone()));
    room
}

/// Everything of this table has come round.
fn hurry(room: &Room, table: &str) {
    let file = room.app.config.data.join("ocelot.db");
    let sql = format!("UPDATE {table} SET next_at = 1");
    let done = Command::new("sqlite3").args(["-cmd", ".timeout 10000"]).arg(file).arg(sql).status();
    assert!(done.expect("sqlite3 is missing: `apt-get install -y sqlite3`").success());
}

/// What came of the look after `last`.
async fn outcome(room: &Room, path: &str, repo: &str, last: &Value) -> Value {
    let waited = tokio::time::timeout(Duration::from_mins(1), async {
        loop {
            let (_, rows) = room.get(path).await;
            let row = rows["items"].as_array().unwrap().iter().find(|row| row["repo"] == repo).cloned();
            match row {
                Some(row) if !row["last_at"].is_null() && row["last_at"] != last["last_at"] => break row,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    waited.await.expect("nothing came of it")
}

/// `event branch commit` of all builds, oldest first.
async fn builds(room: &Room) -> Vec<String> {
    let (_, page) = room.get("/api/v1/builds").await;
    let word = |build: &Value, key: &str| build[key].as_str().unwrap()[..].to_owned();
    let line = |build: &Value| {
        format!("{} {} {}", word(build, "event"), word(build, "branch"), &word(build, "commit")[..8])
    };
    let mut lines: Vec<String> = page["items"].as_array().unwrap().iter().map(line).collect();
    lines.reverse();
    lines
}

fn head(path: &Path) -> String {
    git(path, &["rev-parse", "HEAD"]).trim()[..8].to_owned()
}

#[tokio::test]
async fn an_empty_time_zone_is_no_time_zone() {
    let room = room().await;
    room.known("app", SMALL).await;
    for path in ["/api/v1/polls", "/api/v1/schedules"] {
        let new = json!({"repo": "git/app", "cron": "@daily", "time_zone": ""});
        let (status, said) = room.post(path, &new).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
        assert!(said["detail"].as_str().unwrap().starts_with("time_zone: it is empty"), "{said}");
    }
}

#[tokio::test]
async fn what_is_no_time_is_said_to_be_none() {
    let room = room().await;
    room.known("app", SMALL).await;
    for (cron, zone, want) in [
        (
            "@never",
            "UTC",
            "cron: `@never` is no cron expression: the words are @hourly, @daily, @weekly, @monthly and @yearly",
        ),
        ("* * * *", "UTC", "cron: `* * * *` is no cron expression: it has five fields"),
        ("0 3 * * *", "Mars", "time_zone: `Mars` is no time zone; write one like Europe/Rome or UTC"),
    ] {
        let new = json!({"repo": "git/app", "cron": cron, "time_zone": zone});
        let (status, said) = room.post("/api/v1/schedules", &new).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
        assert!(said["detail"].as_str().unwrap().starts_with(want), "{said}");
    }
    for word in ["@hourly", "@daily", "@weekly", "@monthly", "@yearly"] {
        let (status, said) = room.post("/api/v1/schedules", &json!({"repo": "git/app", "cron": word})).await;
        assert_eq!(status, StatusCode::CREATED, "{said}");
    }
}

#[tokio::test]
async fn a_poll_builds_what_is_new() {
    let room = room().await;
    let path = room.known("app", SMALL).await;
    git(&path, &["branch", "old"]);
    let new = json!({"repo": "git/app", "cron": "@hourly", "branches": ["main", "dev-.*"]});
    assert_eq!(room.post("/api/v1/polls", &new).await.0, StatusCode::CREATED);
    let first = outcome(&room, "/api/v1/polls", "git/app", &Value::Null).await;
    let one = head(&path);
    assert_eq!(
        (builds(&room).await, &first["outcome"]),
        (vec![format!("poll main {one}")], &json!("build 1"))
    );

    // A new commit, a new branch that is wanted, and one that is not.
    commit(&path, &[("a", "1")]);
    let two = head(&path);
    git(&path, &["checkout", "-q", "-b", "dev-x"]);
    git(&path, &["branch", "other"]);
    hurry(&room, "polls");
    let second = outcome(&room, "/api/v1/polls", "git/app", &first).await;
    assert_eq!(second["outcome"], "builds 2, 3");
    assert_eq!(builds(&room).await[1..], [format!("poll dev-x {two}"), format!("poll main {two}")]);
    hurry(&room, "polls");
    let third = outcome(&room, "/api/v1/polls", "git/app", &second).await;
    assert_eq!(third["outcome"], "nothing new");

    // A push by force goes back; a commit without the file is said and not asked for again.
    git(&path, &["branch", "-f", "main", &one]);
    std::fs::remove_file(path.join("ocelot.yml")).unwrap();
    commit(&path, &[("b", "1")]);
    hurry(&room, "polls");
    let fourth = outcome(&room, "/api/v1/polls", "git/app", &third).await;
    let words = fourth["outcome"].as_str().unwrap();
    assert!(words.starts_with("build 4; dev-x: there is no ocelot.yml at "), "{words}");
    assert_eq!(builds(&room).await[3..], [format!("poll main {one}")]);
    hurry(&room, "polls");
    assert_eq!(outcome(&room, "/api/v1/polls", "git/app", &fourth).await["outcome"], "nothing new");
}

#[tokio::test]
async fn a_first_look_that_failed_is_still_the_first() {
    let room = room().await;
    let path = room.known("app", SMALL).await;
    for branch in ["one", "two"] {
        git(&path, &["branch", branch]);
    }
    let away = path.with_extension("away");
    std::fs::rename(&path, &away).unwrap();
    room.post("/api/v1/polls", &json!({"repo": "git/app", "cron": "@hourly"})).await;
    let failed = outcome(&room, "/api/v1/polls", "git/app", &Value::Null).await;
    assert!(failed["outcome"].as_str().unwrap().contains("repository not found"), "{failed}");
    std::fs::rename(&away, &path).unwrap();
    hurry(&room, "polls");
    assert_eq!(outcome(&room, "/api/v1/polls", "git/app", &failed).await["outcome"], "build 1");
    assert_eq!(builds(&room).await, [format!("poll main {}", head(&path))]);
}

#[tokio::test]
async fn one_bad_repository_stops_no_other() {
    let room = room().await;
    let bad = room.known("bad", SMALL).await;
    let good = room.known("good", SMALL).await;
    for repo in ["git/bad", "git/good"] {
        room.post("/api/v1/polls", &json!({"repo": repo, "cron": "@hourly"})).await;
    }
    let bad_before = outcome(&room, "/api/v1/polls", "git/bad", &Value::Null).await;
    let good_before = outcome(&room, "/api/v1/polls", "git/good", &Value::Null).await;
    let away = bad.with_extension("away");
    std::fs::rename(&bad, &away).unwrap();
    commit(&good, &[("a", "1")]);
    hurry(&room, "polls");
    let bad_now = outcome(&room, "/api/v1/polls", "git/bad", &bad_before).await;
    assert!(bad_now["outcome"].as_str().unwrap().contains("repository not found"), "{bad_now}");
    assert_eq!(outcome(&room, "/api/v1/polls", "git/good", &good_before).await["outcome"], "build 3");
    // What it missed is built when it is back.
    commit(&away, &[("a", "1")]);
    std::fs::rename(&away, &bad).unwrap();
    hurry(&room, "polls");
    assert_eq!(outcome(&room, "/api/v1/polls", "git/bad", &bad_now).await["outcome"], "build 4");
}

#[tokio::test]
async fn schedules_come_from_people_and_from_the_file() {
    let room = room().await;
    let scheduled =
        format!("schedule: [{{cron: '0 3 * * *', branch: dev, time_zone: Europe/Rome}}]\n{SMALL}");
    let path = room.known("app", &scheduled).await;
    git(&path, &["branch", "dev"]);
    room.build("app").await;
    let (_, rows) = room.get("/api/v1/schedules").await;
    let of_file = &rows["items"][0];
    assert_eq!(
        (&of_file["from_file"], &of_file["cron"], &of_file["branch"], &of_file["created_by"]),
        (&json!(true), &json!("0 3 * * *"), &json!("dev"), &json!("ocelot.yml"))
    );
    let id = of_file["id"].as_i64().unwrap();
    let (status, problem) = answer(room.request(Method::DELETE, &format!("/api/v1/schedules/{id}"))).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    hurry(&room, "schedules");
    assert_eq!(outcome(&room, "/api/v1/schedules", "git/app", &Value::Null).await["outcome"], "build 2");
    assert!(builds(&room).await[1].starts_with("schedule dev "));

    // Another branch's file changes nothing; the default branch's does.
    git(&path, &["checkout", "-q", "dev"]);
    commit(&path, &[("ocelot.yml", SMALL)]);
    room.post("/api/v1/builds", &json!({"repo": "git/app", "branch": "dev"})).await;
    assert_eq!(room.get("/api/v1/schedules").await.1["items"].as_array().unwrap().len(), 1);
    git(&path, &["checkout", "-q", "main"]);
    commit(&path, &[("ocelot.yml", SMALL)]);
    room.build("app").await;
    assert_eq!(room.get("/api/v1/schedules").await.1["items"], json!([]));

    let (status, made) =
        room.post("/api/v1/schedules", &json!({"repo": "git/app", "cron": "@daily", "branch": "gone"})).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    hurry(&room, "schedules");
    let words = outcome(&room, "/api/v1/schedules", "git/app", &Value::Null).await["outcome"].clone();
    assert!(words.as_str().unwrap().contains("gone"), "{words}");
    let path = format!("/api/v1/schedules/{}", made["id"]);
    assert_eq!(answer(room.request(Method::DELETE, &path)).await.0, StatusCode::NO_CONTENT);
    assert_eq!(answer(room.request(Method::DELETE, &path)).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn bad_ones_are_refused_and_change_nothing() {
    let room = Room::new().await;
    room.known("app", SMALL).await;
    let check = async |path: &str, body: Value, want: StatusCode, words: &str| {
        let (status, problem) = room.post(path, &body).await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(status == want && detail.contains(words), "{body}: {status} {problem}");
    };
    let bad = StatusCode::BAD_REQUEST;
    let reader = room.token(Role::Read, &["git/"]).await;
    for path in ["/api/v1/polls", "/api/v1/schedules"] {
        check(path, json!({"repo": "git/app", "cron": "61 * * * *"}), bad, "no cron expression").await;
        check(path, json!({"repo": "git/app", "cron": "* * * * * *"}), bad, "five fields").await;
        check(path, json!({"repo": "git/app", "cron": "@daily", "time_zone": "Mars"}), bad, "no time zone")
            .await;
        check(path, json!({"repo": "git/none", "cron": "@daily"}), StatusCode::NOT_FOUND, "").await;
        let body = json!({"repo": "git/app", "cron": "@daily"});
        let asked = answer(room.plain(Method::POST, path).bearer_auth(&reader).json(&body)).await;
        assert_eq!(asked.0, StatusCode::FORBIDDEN);
        assert_eq!(room.get(path).await.1["items"], json!([]));
    }
    check("/api/v1/polls", json!({"repo": "git/app", "cron": "@daily", "branches": ["("]}), bad, "branches:")
        .await;
    check("/api/v1/schedules", json!({"repo": "git/app", "cron": "@daily", "branch": ""}), bad, "branch:")
        .await;
}
