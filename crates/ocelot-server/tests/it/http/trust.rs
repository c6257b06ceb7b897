//! Commits that are not the repository's own: they wait for a person.

use ocelot_model::access::Role;
use ocelot_model::{BuildNumber, Status};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::room::{Room, SMALL, answer, commit, git};

/// A repository, and a commit of it that nothing reaches.
async fn loose(room: &Room, yml: &str) -> String {
    let path = room.known("example", yml).await;
    git(&path, &["checkout", "-q", "--detach"]);
    commit(&path, &[("a", "1")])
}

async fn ask(room: &Room, commit: &str) -> Value {
    let (status, build) =
        room.post("/api/v1/builds", &json!({"repo": "git/example", "commit": commit})).await;
    assert_eq!(status, StatusCode::CREATED, "{build}");
    build
}

/// As the token says; status and body.
async fn act(room: &Room, token: &str, build: &Value, verb: &str) -> (StatusCode, Value) {
    let path = format!("/api/v1/builds/{}/{verb}", build["number"]);
    answer(room.plain(Method::POST, &path).bearer_auth(token)).await
}

async fn approve(room: &Room, build: &Value) -> (StatusCode, Value) {
    act(room, &room.admin, build, "approve").await
}

async fn set(room: &Room, approvals: &str) -> (StatusCode, Value) {
    let request = room.request(Method::PATCH, "/api/v1/repos/git/example");
    answer(request.json(&json!({"approvals": approvals}))).await
}

/// Status, whether it waits, whether it is trusted and who approved.
fn look(build: &Value) -> String {
    let who = build["approved_by"].as_str().unwrap_or("nobody");
    let waits = if build["needs_approval"] == true { "waits" } else { "waits not" };
    let trusted = if build["trusted"] == true { "trusted" } else { "not trusted" };
    format!("{} {waits}, {trusted}, {who}", build["status"].as_str().unwrap())
}

#[tokio::test]
async fn what_nothing_reaches_waits_for_a_person() {
    let room = Room::new().await;
    let commit = loose(&room, SMALL).await;
    let worker = room.worker().await;
    let build = ask(&room, &commit).await;
    assert_eq!(look(&build), "blocked waits, not trusted, nobody");
    assert_eq!((&build["origin"], &build["branch"]), (&json!("unreached"), &json!("main")));
    assert_eq!(build["reason"], "needs approval of a commit that no branch or tag reaches");
    assert!(room.app.store.claim(worker).await.unwrap().is_none());
    let (_, queue) = room.get("/api/v1/queue").await;
    assert_eq!(
        queue["items"][0]["reason"],
        "blocked: needs approval of a commit that no branch or tag reaches"
    );

    let (status, approved) = approve(&room, &build).await;
    assert_eq!(status, StatusCode::OK, "{approved}");
    assert_eq!(look(&approved), "queued waits not, not trusted, root");
    assert!(approved["approved_at"].is_string() && approved["reason"].is_null(), "{approved}");
    let (_, page) = room.get("/api/v1/audit?action=build_approved").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1, "{page}");
    // Again, and by somebody else: the same.
    let other = room.token(Role::Write, &[]).await;
    let (status, again) = act(&room, &other, &build, "approve").await;
    assert_eq!((status, &again["approved_by"]), (StatusCode::OK, &json!("root")));
    assert_eq!(again["approved_at"], approved["approved_at"]);
    let job = room.claim(worker).await;
    assert!(!job.build.trust.may_have_secrets());
    room.finish(&job, Status::Passed).await;
    let (_, row) = room.get("/api/v1/export").await;
    assert_eq!(
        (&row["approved_by"], &row["approved_at"]),
        (&json!("root"), &approved["approved_at"]),
        "{row}"
    );
    let (status, over) = approve(&room, &build).await;
    assert_eq!((status, look(&over)), (StatusCode::OK, "passed waits not, not trusted, root".to_owned()));
}

#[tokio::test]
async fn approving_what_does_not_wait_is_said() {
    let room = Room::new().await;
    let commit = loose(&room, SMALL).await;
    let own = BuildNumber(room.build("example").await.0);
    let (status, body) = approve(&room, &json!({"number": own.0})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(body["detail"], format!("build {own} waits for no approval"));
    let build = ask(&room, &commit).await;
    act(&room, &room.admin, &build, "cancel").await;
    let (status, body) = approve(&room, &build).await;
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    assert!(body["detail"].as_str().unwrap().contains("any more: it is cancelled"), "{body}");
}

#[tokio::test]
async fn who_may_not_start_builds_may_not_approve() {
    let room = Room::new().await;
    let commit = loose(&room, SMALL).await;
    let build = ask(&room, &commit).await;
    let reader = room.token(Role::Read, &[]).await;
    let stranger = room.token(Role::Write, &["git/other"]).await;
    assert_eq!(act(&room, &reader, &build, "approve").await.0, StatusCode::FORBIDDEN);
    assert_eq!(act(&room, &stranger, &build, "approve").await.0, StatusCode::NOT_FOUND);
    let page = format!("/builds/{}", build["number"]);
    let html = room.get(&page).await.1.to_string();
    assert!(html.contains("/approve") && html.contains("a commit that no branch or tag reaches"));
    let seen = answer(room.plain(Method::GET, &page).bearer_auth(&reader)).await.1.to_string();
    assert!(!seen.contains("/approve"));
    let press = || answer(room.request(Method::POST, &format!("{page}/approve")));
    assert_eq!(press().await.0, StatusCode::SEE_OTHER);
    assert!(!room.get(&page).await.1.to_string().contains("/approve"));
}

#[tokio::test]
async fn a_retry_waits_again_unless_somebody_had_approved() {
    let room = Room::new().await;
    let commit = loose(&room, SMALL).await;
    let never = ask(&room, &commit).await;
    act(&room, &room.admin, &never, "cancel").await;
    let (_, again) = act(&room, &room.admin, &never, "retry").await;
    assert_eq!(look(&again), "blocked waits, not trusted, nobody");
    approve(&room, &again).await;
    act(&room, &room.admin, &again, "cancel").await;
    let writer = room.token(Role::Write, &[]).await;
    let (_, third) = act(&room, &writer, &again, "retry").await;
    assert_eq!(look(&third), "queued waits not, not trusted, write");
    // Another build of the same commit is another one to be looked at.
    assert_eq!(look(&ask(&room, &commit).await), "blocked waits, not trusted, nobody");
}

#[tokio::test]
async fn the_setting_holds_for_what_is_made_afterwards() {
    let room = Room::new().await;
    let commit = loose(&room, SMALL).await;
    let before = ask(&room, &commit).await;
    let (status, repo) = set(&room, "none").await;
    assert_eq!((status, &repo["approvals"]), (StatusCode::OK, &json!("none")));
    let free = ask(&room, &commit).await;
    assert_eq!(look(&free), "queued waits not, not trusted, nobody");
    let (_, before) = room.get(&format!("/api/v1/builds/{}", before["number"])).await;
    assert_eq!(look(&before), "blocked waits, not trusted, nobody");
    assert_eq!(set(&room, "some").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let (_, repo) = answer(room.request(Method::PATCH, "/api/v1/repos/git/example").json(&json!({}))).await;
    assert_eq!(repo["approvals"], "none");
    let writer = room.token(Role::Write, &[]).await;
    let change = room.plain(Method::PATCH, "/api/v1/repos/git/example").bearer_auth(&writer);
    let (status, _) = answer(change.json(&json!({"approvals": "all"}))).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_job_that_a_person_must_let_start() {
    let room = Room::new().await;
    let yml = "image: busybox\njobs:\n  test: {stages: [{name: t, script: [a]}]}\n  \
               deploy: {approval: true, stages: [{name: t, script: [a]}]}\n";
    room.known("example", yml).await;
    let build = json!({"number": room.build("example").await.0});
    let path = format!("/api/v1/builds/{}/approve", build["number"]);
    let (_, queue) = room.get("/api/v1/queue").await;
    let words = "blocked: its file wants a person to let it start: ocelot approve 1 deploy";
    assert_eq!(queue["items"][1]["reason"], words);
    let (status, body) = room.post(&path, &json!({"job": "test"})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    assert_eq!(room.post(&path, &json!({"jobs": "x"})).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let page = format!("/builds/{}", build["number"]);
    let html = room.get(&page).await.1.to_string();
    assert!(html.contains("/approve?job=deploy"), "{html}");
    let (status, body) = room.post(&path, &json!({"job": "deploy"})).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let job = &body["jobs"][1];
    assert_eq!(
        (&job["status"], &job["approved_by"], &job["needs_approval"]),
        (&json!("queued"), &json!("root"), &json!(false))
    );
    assert!(!room.get(&page).await.1.to_string().contains("/approve"));
    // Done again, it waits again.
    act(&room, &room.admin, &build, "cancel").await;
    let (_, rows) = room.get("/api/v1/export?what=jobs").await;
    let rows = rows.as_str().unwrap().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let rows: Vec<Value> = rows.map(|row| row["approved_by"].clone()).collect();
    assert_eq!(rows, [Value::Null, json!("root")]);
    let (_, again) = act(&room, &room.admin, &build, "retry").await;
    assert_eq!(again["jobs"][1]["status"], "blocked", "{again}");
    // Without a name, all of them.
    let (_, approved) = approve(&room, &again).await;
    assert_eq!(approved["jobs"][1]["status"], "queued", "{approved}");
}

#[tokio::test]
async fn a_job_without_a_container_is_not_for_commits_of_others() {
    let room = Room::new().await;
    let yml = "jobs:\n  here: {machineTag: mac, stages: [{name: t, script: [a]}]}\n  \
               there: {image: busybox, stages: [{name: t, script: [a]}]}\n";
    let commit = loose(&room, yml).await;
    let build = ask(&room, &commit).await;
    assert_eq!(look(&build), "blocked waits, not trusted, nobody");
    let here = &build["jobs"][0];
    assert_eq!(here["status"], "error");
    assert!(here["reason"].as_str().unwrap().contains("runs in containers only"), "{here}");
    let stages: Vec<&Value> = here["stages"].as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!(stages, ["skipped", "skipped"], "they never ran");
    let (_, approved) = approve(&room, &build).await;
    assert_eq!(approved["jobs"][1]["status"], "queued", "{approved}");
}
