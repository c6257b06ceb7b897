//! Starting, looking, cancelling, doing again.

use ocelot_model::Status;
use ocelot_testkit::SmallDisk;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::room::{Room, SMALL, answer, commit, git};

const TWO: &str = "image: busybox\njobs:\n  a: {stages: [{name: one, script: [a]}]}\n  b: {stages: [{name: one, script: [b]}]}\n";

/// Nothing is made of a build whose commit cannot be fetched for want of room, and it can be asked for again.
#[tokio::test]
async fn a_full_disk_refuses_a_build_in_words() {
    let disk = SmallDisk::new(4);
    let room = Room::fetching_into(disk.path(), tempfile::tempdir().unwrap()).await;
    room.known("app", SMALL).await;
    disk.fill();
    let ask = room.request(Method::POST, "/api/v1/builds").json(&json!({"repo": "git/app"}));
    let told = ask.send().await.unwrap();
    assert_eq!((told.status().as_u16(), told.headers()["retry-after"].to_str().unwrap()), (503, "5"));
    let told: Value = told.json().await.unwrap();
    let words = "The server's disk is full, so it cannot fetch the repository. Try again when there is room.";
    assert_eq!((&told["code"], &told["detail"]), (&json!("unavailable"), &json!(words)));
    assert_eq!(room.get("/api/v1/builds").await.1["items"], json!([]));
    disk.free();
    assert_eq!(room.build("app").await.0, 1);
}

#[tokio::test]
async fn a_build_of_a_branch() {
    let room = Room::new().await;
    let path = room.known("example", SMALL).await;
    let head = git(&path, &["rev-parse", "HEAD"]);
    let (status, build) = room.post("/api/v1/builds", &json!({"repo": "git/example"})).await;
    assert_eq!(status, StatusCode::CREATED, "{build}");
    assert_eq!(build["commit"], head);
    for (key, want) in [
        ("repo", "git/example"),
        ("status", "queued"),
        ("event", "manual"),
        ("branch", "main"),
        ("message", "a change"),
        ("author", "Ann"),
        ("triggered_by", "root"),
    ] {
        assert_eq!(build[key], want, "{key}");
    }
    let stages: Vec<&Value> =
        build["jobs"][0]["stages"].as_array().unwrap().iter().map(|stage| &stage["name"]).collect();
    assert_eq!(stages, ["setup", "test"]);
    let (_, again) = room.get(&format!("/api/v1/builds/{}", build["number"])).await;
    assert_eq!(again, build);
}

#[tokio::test]
async fn what_cannot_be_built_is_said() {
    let room = Room::new().await;
    let path = room.known("example", &format!("branches: [main]\n{SMALL}")).await;
    git(&path, &["checkout", "-q", "-b", "side", "main"]);
    let side = commit(&path, &[("a", "2")]);
    git(&path, &["rm", "-q", "ocelot.yml"]);
    git(&path, &["checkout", "-q", "-b", "empty"]);
    commit(&path, &[]);
    let ask = |more: Value| {
        let mut body = json!({"repo": "git/example"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let room = &room;
        async move { room.post("/api/v1/builds", &body).await }
    };
    for (more, want, words) in [
        (json!({"branch": "none"}), 422, "no branch `none`"),
        (json!({"branch": "side"}), 409, "leaves `side` out"),
        (json!({"branch": "empty"}), 422, "no ocelot.yml"),
        (json!({"commit": "abc1234"}), 400, "no whole commit id"),
        (json!({"commit": "0".repeat(40)}), 422, "no commit"),
        (json!({"commit": side, "branch": "main"}), 400, "is not on `main`"),
        (json!({"params": {"a": "b"}}), 422, "not supported yet"),
    ] {
        let (status, body) = ask(more).await;
        assert_eq!(status.as_u16(), want, "{body}");
        assert!(body["detail"].as_str().unwrap().contains(words), "{body}");
    }
    let (status, body) = ask(json!({"branch": "side", "force": true})).await;
    assert_eq!((status, &body["commit"]), (StatusCode::CREATED, &json!(side)), "{body}");
    let (status, body) = ask(json!({"commit": side, "force": true})).await;
    assert_eq!((status, &body["branch"]), (StatusCode::CREATED, &json!("side")), "{body}");
    let (_, list) = room.get("/api/v1/builds").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_broken_file_makes_a_build_in_error() {
    let room = Room::new().await;
    room.known("example", "image: busybox\nstages:\n  - name: test\n    scirpt: [a]\n    script: [a]\n")
        .await;
    let (status, build) = room.post("/api/v1/builds", &json!({"repo": "git/example"})).await;
    assert_eq!((status, &build["status"]), (StatusCode::CREATED, &json!("error")), "{build}");
    let reason = build["reason"].as_str().unwrap();
    assert!(reason.starts_with("ocelot.yml:4:5: ") && reason.contains("script"), "{reason}");
    assert_eq!(
        (&build["problems"][0]["line"], &build["problems"][0]["file"]),
        (&json!(4), &json!("ocelot.yml"))
    );
}

#[tokio::test]
async fn repositories() {
    let room = Room::new().await;
    let path = room.known("example", SMALL).await;
    let (_, repo) = room.get("/api/v1/repos/git/example").await;
    let want = json!({"repo": "git/example", "forge": "git", "owner": "", "name": "example", "clone_url": path,
        "default_branch": "main", "public": false, "approvals": "forks", "watched": false});
    assert_eq!(repo, want);
    for (body, want) in [
        (json!({"clone_url": path, "name": "example"}), 409),
        (json!({"clone_url": "/nowhere", "name": "x"}), 422),
        (json!({"clone_url": "ext::id", "name": "x"}), 400),
        (json!({"clone_url": path, "name": "../x"}), 400),
        (json!({"clone_url": path, "forge": "github"}), 422),
    ] {
        let (status, answer) = room.post("/api/v1/repos", &body).await;
        assert_eq!(status.as_u16(), want, "{body}: {answer}");
    }
    let number = room.build("example").await;
    let remove = || answer(room.request(Method::DELETE, "/api/v1/repos/git/example"));
    assert_eq!(remove().await.0, StatusCode::CONFLICT);
    room.post(&format!("/api/v1/builds/{number}/cancel"), &json!({})).await;
    assert_eq!(remove().await.0, StatusCode::NO_CONTENT);
    assert_eq!(remove().await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn cancelled_twice_is_cancelled() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    let number = room.build("example").await;
    let cancel = || answer(room.request(Method::POST, &format!("/api/v1/builds/{number}/cancel")));
    let (status, first) = cancel().await;
    assert_eq!((status, &first["status"]), (StatusCode::OK, &json!("cancelled")), "{first}");
    assert_eq!(cancel().await, (StatusCode::OK, first));
}

#[tokio::test]
async fn pages_of_builds() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    for _ in 0..5 {
        room.build("example").await;
    }
    let mut seen = Vec::new();
    let mut path = "/api/v1/builds?limit=2".to_owned();
    loop {
        let (_, page) = room.get(&path).await;
        seen.extend(page["items"].as_array().unwrap().iter().map(|build| build["number"].as_i64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/builds?limit=2&cursor={next}");
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
    for (query, want) in [
        ("status=queued", 5),
        ("status=passed", 0),
        ("repo=git/example", 5),
        ("repo=git/none", 0),
        ("event=manual", 5),
    ] {
        let (_, page) = room.get(&format!("/api/v1/builds?{query}")).await;
        assert_eq!(page["items"].as_array().unwrap().len(), want, "{query}");
    }
}

#[tokio::test]
async fn done_again() {
    let room = Room::new().await;
    room.known("example", TWO).await;
    let number = room.build("example").await;
    let retry = |body: Value| {
        let room = &room;
        async move { room.post(&format!("/api/v1/builds/{number}/retry"), &body).await }
    };
    assert_eq!(retry(json!({})).await.0, StatusCode::CONFLICT);
    let worker = room.worker().await;
    for status in [Status::Passed, Status::Failed] {
        let job = room.claim(worker).await;
        room.finish(&job, status).await;
    }
    let (status, all) = retry(json!({})).await;
    assert_eq!(
        (status, &all["retry_of"], &all["event"]),
        (StatusCode::CREATED, &json!(number.0), &json!("retry"))
    );
    assert_eq!([&all["jobs"][0]["status"], &all["jobs"][1]["status"]], ["queued", "queued"]);
    let (_, some) = retry(json!({"failed": true})).await;
    assert_eq!([&some["jobs"][0]["status"], &some["jobs"][1]["status"]], ["passed", "queued"]);
    let empty = answer(room.request(Method::POST, &format!("/api/v1/builds/{number}/retry"))).await;
    assert_eq!(empty.0, StatusCode::CREATED, "{}", empty.1);
}

#[tokio::test]
async fn numbers_for_prometheus() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    room.build("example").await;
    room.worker().await;
    let (status, text) = room.get("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    for line in [
        "ocelot_queue_depth 1",
        "ocelot_jobs_running 0",
        "ocelot_workers{state=\"idle\"} 1",
        "ocelot_worker_slots{state=\"free\"} 4",
        "ocelot_http_request_duration_seconds_bucket{route=\"/api/v1/builds\",status=\"201\"",
        "process_resident_memory_bytes ",
        "process_open_fds ",
    ] {
        assert!(text.as_str().unwrap().contains(line), "{line} is missing in {text}");
    }
}
