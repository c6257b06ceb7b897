//! Logs as text.

use std::time::Duration;

use ocelot_model::access::Role;
use ocelot_model::build::Outcome;
use ocelot_model::{StageId, Status};
use reqwest::{Method, StatusCode};

use crate::room::{Room, SMALL, answer};

/// A passed build whose second stage has this log, and that stage.
async fn logged(text: &[u8]) -> (Room, String, StageId) {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    let number = room.build("example").await;
    let worker = room.worker().await;
    let job = room.claim(worker).await;
    let [setup, second] = [job.stages[0].0, job.stages[1].0];
    room.log(setup, 0, b"ready").await;
    room.log_end(setup, b"ready").await;
    room.stage(&job, setup, Status::Passed).await;
    room.stage(&job, second, Status::Running).await;
    for (chunk, at) in text.chunks(700_000).zip((0..).step_by(700_000)) {
        room.log(second, at, chunk).await;
    }
    room.log_end(second, text).await;
    room.stage(&job, second, Status::Passed).await;
    room.finish(&job, Status::Passed).await;
    let path = format!("/api/v1/builds/{number}/stages/{second}/log");
    (room, path, second)
}

#[tokio::test]
async fn ranges_count_bytes() {
    let (room, path, _) = logged(b"one\ntwo\nthree\n").await;
    for (range, status, want, of) in [
        ("", 200, "one\ntwo\nthree\n", ""),
        ("bytes=4-6", 206, "two", "bytes 4-6/14"),
        ("bytes=8-", 206, "three\n", "bytes 8-13/14"),
        ("bytes=-6", 206, "three\n", "bytes 8-13/14"),
        ("bytes=0-999", 206, "one\ntwo\nthree\n", "bytes 0-13/14"),
        ("bytes=14-", 416, "", "bytes */14"),
        ("bytes=a-", 200, "one\ntwo\nthree\n", ""),
    ] {
        let mut request = room.request(Method::GET, &path);
        if !range.is_empty() {
            request = request.header("range", range);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{range}");
        let got = response.headers().get("content-range").map_or("", |value| value.to_str().unwrap());
        assert_eq!(got, of, "{range}");
        if status != 416 {
            assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
            assert_eq!(response.text().await.unwrap(), want, "{range}");
        }
    }
}

#[tokio::test]
async fn tail_search_and_times() {
    let (room, path, _) = logged(b"one\ntwo\nthree\nTWO more").await;
    for (query, want) in [
        ("tail=1", "TWO more"),
        ("tail=2", "three\nTWO more"),
        ("tail=0", ""),
        ("tail=99", "one\ntwo\nthree\nTWO more"),
        ("search=two", "two\nTWO more"),
        ("search=two&tail=2", "TWO more"),
        ("search=none", ""),
        ("timestamps=true&tail=1", "1970-01-01T00:00:01.000Z TWO more"),
    ] {
        let response = room.request(Method::GET, &format!("{path}?{query}")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{query}");
        assert_eq!(response.text().await.unwrap(), want, "{query}");
    }
}

#[tokio::test]
async fn a_range_of_a_changed_log_means_nothing() {
    let (room, path, _) = logged(b"one\ntwo\nthree\n").await;
    for (query, ranges, want) in [
        ("", true, "one\n"),
        ("?search=", true, "one\n"),
        ("?tail=1", false, "three\n"),
        ("?search=two", false, "two\n"),
        ("?search=two&tail=1", false, ""),
        ("?timestamps=true&tail=1", false, "1970-01-01T00:00:01.000Z three\n"),
    ] {
        let request = room.request(Method::GET, &format!("{path}{query}")).header("range", "bytes=0-3");
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), if ranges { 206 } else { 200 }, "{query}");
        assert_eq!(response.headers().contains_key("accept-ranges"), ranges, "{query}");
        assert_eq!(response.headers().contains_key("content-range"), ranges, "{query}");
        assert_eq!(response.text().await.unwrap(), want, "{query}");
    }
    // A version that we never gave out cannot be the one that is there.
    let request = room.request(Method::GET, &path).header("range", "bytes=0-3").header("if-range", "\"x\"");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
}

/// A build whose job was tried twice; the second time its stage failed as it may.
pub(super) async fn tried_twice() -> Room {
    let room = Room::new().await;
    let yml =
        "image: busybox\nretry: {script: 1}\nstages:\n  - {name: test, script: [a], allow_failure: [1]}\n";
    room.known("example", yml).await;
    room.build("example").await;
    let worker = room.worker().await;
    let first = room.claim(worker).await;
    room.log(first.stages[0].0, 0, b"begins").await;
    let reason = Some("test: killed\nby signal 9".to_owned());
    room.finish_with(&first, Outcome { status: Status::Failed, reason, infrastructure: false }).await;
    let second = room.claim(worker).await;
    room.log(second.stages[0].0, 0, b"ready\n").await;
    room.stage(&second, second.stages[0].0, Status::Passed).await;
    room.log(second.stages[1].0, 0, b"no\n").await;
    room.stage(&second, second.stages[1].0, Status::Failed).await;
    room.finish(&second, Status::Passed).await;
    room
}

#[tokio::test]
async fn earlier_attempts_keep_their_logs() {
    let room = tried_twice().await;
    let (_, build) = room.get("/api/v1/builds/1").await;
    let attempts = build["jobs"][0]["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0]["reason"], "test: killed\nby signal 9");
    assert_eq!(attempts[0]["stages"][0]["log_bytes"], 6);
    assert_eq!(attempts[1]["stages"], build["jobs"][0]["stages"]);
    let stage = &build["jobs"][0]["stages"][1];
    assert_eq!((&stage["status"], &stage["allowed"]), (&"failed".into(), &true.into()));
    assert_eq!((&build["status"], &build["jobs"][0]["allowed"]), (&"passed".into(), &false.into()));
    let newest = "=== job default, attempt 2; attempt 1: failed, test: killed by signal 9 (?attempt=1) ===\n\
                  === setup (passed) ===\nready\n=== test (failed, allowed) ===\nno\n";
    let first = "=== job default, attempt 1; attempt 2: passed (?attempt=2) ===\n=== setup (skipped) ===\nbegins\n\
                 === test (skipped) ===\n";
    for (query, want) in [("", newest), ("?attempt=2", newest), ("?attempt=1", first)] {
        let response =
            room.request(Method::GET, &format!("/api/v1/builds/1/log{query}")).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), want, "{query}");
    }
    for (query, status, code) in [
        ("attempt=3", 404, "no_such_attempt"),
        ("attempt=0", 404, "no_such_attempt"),
        ("attempt=x", 400, "bad_request"),
    ] {
        let (got, body) = room.get(&format!("/api/v1/builds/1/log?{query}")).await;
        assert_eq!((got.as_u16(), &body["code"]), (status, &code.into()), "{body}");
    }
}

#[tokio::test]
async fn a_large_log_is_whole() {
    let text: Vec<u8> = (0..200_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    let (room, path, _) = logged(&text).await;
    let got = room.request(Method::GET, &path).send().await.unwrap().bytes().await.unwrap();
    assert!(got == text, "{} bytes instead of {}", got.len(), text.len());
    let tail =
        room.request(Method::GET, &format!("{path}?tail=20000")).send().await.unwrap().text().await.unwrap();
    assert_eq!(tail.lines().next(), Some("line 180000"));
}

#[tokio::test]
async fn the_log_of_a_build_has_headings() {
    let (room, _, _) = logged(b"hello\n").await;
    let response = room.request(Method::GET, "/api/v1/builds/1/log").send().await.unwrap();
    assert_eq!(
        response.text().await.unwrap(),
        "=== setup (passed) ===\nready\n=== test (passed) ===\nhello\n"
    );
}

#[tokio::test]
async fn a_stage_is_found_under_its_own_build_only() {
    let (room, path, _) = logged(b"hello\n").await;
    room.build("example").await;
    let other = path.replace("/builds/1/", "/builds/2/");
    assert_eq!(room.get(&other).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_page_goes_back_in_a_large_log() {
    let text: Vec<u8> = (1..=60_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    let (room, _, stage) = logged(&text).await;
    let end = |html: &str| {
        let (_, rest) = html.split_once("data-before=\"")?;
        rest.split_once('"').map(|(offset, _)| offset.to_owned())
    };
    let shown = |html: &str| {
        let lines = html.split("<span class=\"t\">line ").skip(1);
        lines.map(|line| line.split('<').next().unwrap().parse().unwrap()).collect::<Vec<u32>>()
    };
    let page = self::text(&room, "/builds/1").await;
    let mut all = shown(&page);
    assert!(all.len() < 10_000 && all.last() == Some(&60_000), "{} lines", all.len());
    let mut before = end(&page);
    let mut pieces = 0;
    while let Some(offset) = before {
        let piece = self::text(&room, &format!("/builds/1/stages/{stage}/lines?before={offset}")).await;
        let mut lines = shown(&piece);
        // Their numbers are right, too.
        assert!(piece.contains(&format!("id=\"s{stage}-L{}\"", lines[0])), "{}", lines[0]);
        lines.append(&mut all);
        all = lines;
        before = end(&piece);
        pieces += 1;
    }
    assert!(all.into_iter().eq(1..=60_000) && pieces > 1, "{pieces} pieces");
}

/// The log as text: of the stage with this query, or of the whole build.
async fn text(room: &Room, path: &str) -> String {
    room.request(Method::GET, path).send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn every_reader_of_a_deleted_log_gets_the_note() {
    let (room, path, stage) = logged(b"one\ntoken=hunter2\nthree\n").await;
    let page = format!("/builds/1/stages/{stage}/lines");
    assert!(text(&room, "/builds/1").await.contains("hunter2"));
    for _ in 0..2 {
        let deleted = answer(room.request(Method::DELETE, &path)).await;
        assert_eq!(deleted.0, StatusCode::NO_CONTENT, "{}", deleted.1);
    }
    let note = text(&room, &path).await;
    assert!(note.starts_with("[log deleted by root on 2") && note.ends_with(" UTC]\n"), "{note}");
    for query in ["tail=1", "tail=0", "search=hunter2", "timestamps=true", "search=none&tail=1"] {
        assert_eq!(text(&room, &format!("{path}?{query}")).await, note, "{query}");
    }
    for range in ["bytes=0-3", "bytes=5000-"] {
        let response = room.request(Method::GET, &path).header("range", range).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{range}");
        assert_eq!(response.text().await.unwrap(), note, "{range}");
    }
    let whole = text(&room, "/api/v1/builds/1/log").await;
    assert_eq!(whole, format!("=== setup (passed) ===\nready\n=== test (passed) ===\n{note}"));
    let line = note.trim_end();
    for path in [
        "/builds/1".to_owned(),
        page.clone(),
        format!("{page}?offset=4&line=2"),
        format!("{page}?offset=900"),
    ] {
        let shown = text(&room, &path).await;
        assert!(shown.contains(line) && !shown.contains("hunter2"), "{path}: {shown}");
    }
    let end = text(&room, &format!("{page}?offset={}&line=2", note.len())).await;
    assert_eq!(end, "");
    let stream = text(&room, "/api/v1/builds/1/events").await;
    assert!(stream.contains(line) && !stream.contains("hunter2"), "{stream}");
}

#[tokio::test]
async fn a_log_is_deleted_by_an_admin_and_when_it_is_over() {
    let (room, path, _) = logged(b"token=hunter2\n").await;
    for (role, want) in [(Role::Read, 403), (Role::Write, 403), (Role::Metrics, 404)] {
        let token = room.token(role, &[]).await;
        let (status, body) = answer(room.plain(Method::DELETE, &path).bearer_auth(token)).await;
        assert_eq!(status.as_u16(), want, "{role}: {body}");
    }
    assert_eq!(text(&room, &path).await, "token=hunter2\n");
    let number = room.build("example").await;
    let worker = room.app.store.list_workers().await.unwrap()[0].id;
    let job = room.claim(worker).await;
    let stage = job.stages[1].0;
    room.stage(&job, stage, Status::Running).await;
    let path = format!("/api/v1/builds/{number}/stages/{stage}/log");
    let (status, body) = answer(room.request(Method::DELETE, &path)).await;
    assert_eq!((status, &body["code"]), (StatusCode::CONFLICT, &"conflict".into()));
    assert!(body["detail"].as_str().unwrap().starts_with("stage test is running"), "{body}");
    let elsewhere = path.replace(&format!("/builds/{number}/"), "/builds/1/");
    assert_eq!(answer(room.request(Method::DELETE, &elsewhere)).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_reader_who_comes_back_to_a_deleted_log_gets_the_note() {
    let (room, path, _) = logged(b"one\ntoken=hunter2\nthree\n").await;
    let before = text(&room, "/api/v1/builds/1/events").await;
    let ids: Vec<&str> = before.lines().filter_map(|line| line.strip_prefix("id:")).map(str::trim).collect();
    assert_eq!(answer(room.request(Method::DELETE, &path)).await.0, StatusCode::NO_CONTENT);
    let mut noted = 0;
    for id in ids {
        let request = room.request(Method::GET, "/api/v1/builds/1/events").header("last-event-id", id);
        let stream = request.send().await.unwrap().text().await.unwrap();
        assert!(!stream.contains("hunter2"), "{stream}");
        noted += usize::from(stream.contains("[log deleted by root"));
        for event in stream.lines().filter_map(|line| line.strip_prefix("data: ")) {
            let event: serde_json::Value = serde_json::from_str(event).unwrap();
            let Some(text) = event["text"].as_str().filter(|text| text.contains("[log deleted")) else {
                continue;
            };
            // The log begins anew: this is all of it.
            assert_eq!((&event["offset"], &event["bytes"]), (&0.into(), &text.len().into()), "{event}");
        }
        let mut ids: Vec<&str> = stream.lines().filter_map(|line| line.strip_prefix("id:")).collect();
        let all = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), all, "every event has an id of its own: {stream}");
    }
    assert!(noted > 0);
}

#[tokio::test]
async fn a_log_that_is_missing_in_the_log_store_is_named_as_such() {
    let (room, path, stage) = logged(b"one\ntwo\n").await;
    let store = &room.app.store;
    store.copy_log(stage, Duration::ZERO).await.unwrap();
    store.drop_copied(100).await.unwrap();
    let text = room.request(Method::GET, &path).send().await.unwrap().text().await.unwrap();
    assert_eq!(text, "one\ntwo\n");
    remove_blobs(&room.app.config.data.join("log-store"));
    for query in ["", "?tail=1", "?search=two"] {
        let (status, problem) = answer(room.request(Method::GET, &format!("{path}{query}"))).await;
        assert_eq!(
            (status, problem["code"].as_str()),
            (StatusCode::BAD_GATEWAY, Some("log_missing")),
            "{query}"
        );
        let words = problem["detail"].as_str().unwrap();
        assert!(words.contains("missing in the log store") && !words.contains("file:"), "{words}");
    }
    // What is left of the build can be read.
    let whole = path.split("/stages").next().unwrap().to_owned() + "/log";
    let text = room.request(Method::GET, &whole).send().await.unwrap().text().await.unwrap();
    assert!(text.contains("ready\n") && text.contains("[this log is missing in the log store]\n"), "{text}");
}

/// All of them, however deep.
fn remove_blobs(folder: &std::path::Path) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            remove_blobs(&entry);
        } else if entry.extension().is_some_and(|end| end == "zst") {
            std::fs::remove_file(entry).unwrap();
        }
    }
}
