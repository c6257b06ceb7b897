//! The pages as the server renders them. What a browser makes of them is tested with the executable.

use std::fmt::Write as _;

use ocelot_model::Status;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::logs::tried_twice;
use crate::room::{Room, SMALL, commit, git};

async fn page(room: &Room, path: &str) -> String {
    let response = room.request(Method::GET, path).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.text().await.unwrap()
}

#[tokio::test]
async fn earlier_attempts_and_allowed_failures_are_shown() {
    let room = tried_twice().await;
    let html = page(&room, "/builds/1").await;
    let (_, build) = room.get("/api/v1/builds/1").await;
    let first = build["jobs"][0]["attempts"][0]["stages"][0]["id"].as_i64().unwrap();
    assert!(html.contains("Attempt 1 <strong class=\"failed\">failed</strong>"), "{html}");
    assert!(html.contains("killed\nby signal 9"), "{html}");
    assert!(html.contains(&format!("<a href=\"/api/v1/builds/1/stages/{first}/log\">setup</a>")), "{html}");
    assert_eq!(html.matches("<span class=\"may\">allowed</span>").count(), 1, "{html}");
}

#[tokio::test]
async fn a_log_that_is_closed_comes_when_it_is_opened() {
    let room = tried_twice().await;
    let (_, build) = room.get("/api/v1/builds/1").await;
    let setup = build["jobs"][0]["stages"][0]["id"].as_i64().unwrap();
    let html = page(&room, "/builds/1").await;
    assert!(
        html.contains("<span class=\"t\">no</span>") && !html.contains("<span class=\"t\">ready</span>"),
        "{html}"
    );
    let lines = page(&room, &format!("/builds/1/stages/{setup}/lines")).await;
    assert!(lines.contains("<span class=\"t\">ready</span>"), "{lines}");
    for (path, want) in [
        (format!("/builds/2/stages/{setup}/lines"), 404),
        (
            format!("/builds/1/stages/{setup}/lines?offset=18446744073709551615&line=18446744073709551615"),
            200,
        ),
        ("/builds/01".to_owned(), 404),
        ("/builds/+1".to_owned(), 404),
    ] {
        let status = room.request(Method::GET, &path).send().await.unwrap().status();
        assert_eq!(status.as_u16(), want, "{path}");
    }
}

#[tokio::test]
async fn a_build_of_many_jobs_stays_small() {
    let room = Room::new().await;
    let mut jobs = String::new();
    for n in 0..60 {
        writeln!(jobs, "  j{n}: {{stages: [{{name: one, script: [a]}}]}}").unwrap();
    }
    room.known("example", &format!("image: busybox\njobs:\n{jobs}")).await;
    room.build("example").await;
    let worker = room.worker().await;
    let log = "x".repeat(60_000);
    for _ in 0..60 {
        let job = room.claim(worker).await;
        let [setup, one] = [job.stages[0].0, job.stages[1].0];
        room.stage(&job, setup, Status::Passed).await;
        room.log(one, 0, log.as_bytes()).await;
        room.stage(&job, one, Status::Failed).await;
        room.finish(&job, Status::Failed).await;
    }
    let html = page(&room, "/builds/1").await;
    assert!(html.contains("60 failed") && html.len() < 400_000, "{} bytes", html.len());
    assert!(html.contains("job j0 ended as failed (and 59 more jobs)"), "no reason");
    assert_eq!(html.matches("<details class=\"job\"").count(), 60);
}

#[tokio::test]
async fn what_no_build_fits_shows_none() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    room.build("example").await;
    for (query, shown) in [
        ("", true),
        ("?repo=git/example&status=queued", true),
        ("?repo=git/other", false),
        ("?before=1", false),
    ] {
        let html = page(&room, &format!("/{query}")).await;
        assert_eq!(html.contains("id=\"build-1\""), shown, "{query}");
        assert_eq!(html.contains("Newest builds"), query.contains("before"), "{query}");
    }
}

#[tokio::test]
async fn hidden_characters_of_a_branch_are_named() {
    let room = Room::new().await;
    let path = room.known("example", SMALL).await;
    let branch = "a\u{202e}b<script>";
    git(&path, &["checkout", "-q", "-b", branch]);
    commit(&path, &[("a", "1")]);
    let (status, body) = room.post("/api/v1/builds", &json!({"repo": "git/example", "branch": branch})).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    for path in ["/", "/builds/1"] {
        let html = page(&room, path).await;
        assert!(html.contains("a[U+202E]b&#60;script&#62;") && !html.contains('\u{202e}'), "{html}");
    }
}
