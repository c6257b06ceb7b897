//! What stands on the terminal while a build is followed, whatever the order in which things arrive.

use std::path::Path;
use std::process::{Command, Stdio};

use ocelot_testkit::{Output, ocelot};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::OCELOT;
use super::fake::{Answer, Fake, build, end_event, job, log_event, stage_event};

/// Follows a build whose picture and events are these; logs are those of the stages.
fn follow(picture: Value, events: Vec<Value>, logs: &'static [(i64, &str)], args: &[&str]) -> Output {
    let fake = Fake::start(move |request| {
        let log = logs.iter().find(|(id, _)| request.contains(&format!("/stages/{id}/log")));
        match (request, log) {
            ("GET /api/v1/builds/1", _) => Answer::Json(picture.clone()),
            ("GET /api/v1/builds/1/events", _) => Answer::Events(events.clone()),
            (_, Some((_, text))) => Answer::Text(text),
            _ => Answer::Missing,
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let args: Vec<&str> = ["logs", "1", "--follow"].iter().chain(args).copied().collect();
    ocelot(Path::new(OCELOT), folder.path(), &[("OCELOT_URL", &fake.url)], &args, "")
}

/// The lines that are about stages.
fn lines(output: &Output) -> Vec<&str> {
    let lines = output.stdout.lines();
    lines.filter(|line| !line.starts_with("Build ")).collect()
}

#[test]
fn the_end_of_a_stage_comes_after_all_its_lines() {
    let stages = [(1, "one", "passed", 4), (2, "two", "passed", 4), (3, "three", "failed", 4)];
    // Ends overtake the last bytes, and the second log overtakes the first end.
    let events = vec![
        stage_event(1, "running"),
        log_event(2, 0, "c\n"),
        log_event(1, 0, "a\n"),
        stage_event(1, "passed"),
        log_event(1, 0, "a\n"),
        log_event(1, 2, "b\n"),
        stage_event(2, "running"),
        stage_event(2, "passed"),
        stage_event(3, "running"),
        stage_event(3, "failed"),
        log_event(2, 2, "d\n"),
        log_event(3, 0, "e\nf\n"),
        stage_event(3, "failed"),
        end_event("failed"),
    ];
    let picture = build("failed", &json!([job("default", "failed", &stages)]));
    let said = follow(picture, events, &[(1, "a\nb\n"), (2, "c\nd\n"), (3, "e\nf\n")], &[]).expect(1);
    let want = [
        "── one",
        "a",
        "b",
        "── two",
        "c",
        "d",
        "── three",
        "e",
        "f",
        "three: failed",
        "three took some time to fail",
    ];
    assert_eq!(lines(&said), want);
}

#[test]
fn jobs_side_by_side_print_whole_lines_with_their_names() {
    let jobs = json!([
        job("linux", "passed", &[(1, "test", "passed", 4)]),
        job("mac", "failed", &[(2, "test", "failed", 9), (3, "after", "skipped", 0)])
    ]);
    let events = vec![
        stage_event(1, "running"),
        stage_event(2, "running"),
        log_event(1, 0, "on"),
        log_event(2, 0, "two\nth"),
        stage_event(1, "passed"),
        stage_event(2, "failed"),
        stage_event(3, "skipped"),
        end_event("failed"),
    ];
    let said = follow(build("failed", &jobs), events, &[(1, "one\n"), (2, "two\nthree")], &[]).expect(1);
    let want = [
        "mac/test | two",
        "linux/test | one",
        "linux/test: passed",
        "mac/test | three",
        "mac/test: failed",
        "mac/test took some time to fail",
    ];
    assert_eq!(lines(&said), want);
}

#[test]
fn with_json_the_build_stands_alone_on_stdout() {
    let jobs = json!([job("default", "passed", &[(1, "one", "passed", 2)])]);
    let fake = Fake::start(move |request| match request {
        "POST /api/v1/builds" => Answer::Json(build("queued", &json!([]))),
        "GET /api/v1/builds/1" => Answer::Json(build("passed", &jobs)),
        "GET /api/v1/builds/1/events" => Answer::Events(vec![
            json!({"kind": "build", "build": 1, "repo": "git/app", "status": "queued"}),
            stage_event(1, "running"),
            log_event(1, 0, "a\n"),
            stage_event(1, "passed"),
            end_event("passed"),
        ]),
        _ => Answer::Missing,
    });
    let folder = tempfile::tempdir().unwrap();
    let args = ["build", "git/app", "--follow", "--json"];
    let said = ocelot(Path::new(OCELOT), folder.path(), &[("OCELOT_URL", &fake.url)], &args, "").expect(0);
    assert_eq!(said.json()["status"], "passed");
    assert!(said.stderr.contains("Build 1 waits"), "{}", said.stderr);
}

#[test]
fn ctrl_c_ends_the_watching_and_says_that_the_build_goes_on() {
    let jobs = json!([job("default", "running", &[(1, "one", "running", 2)])]);
    let fake = Fake::start(move |request| match request {
        "GET /api/v1/builds/1" => Answer::Json(build("running", &jobs)),
        "GET /api/v1/builds/1/events" => {
            Answer::Silence(vec![stage_event(1, "running"), log_event(1, 0, "a\n")])
        }
        _ => Answer::Missing,
    });
    let mut child = Command::new(OCELOT)
        .args(["logs", "1", "--follow"])
        .env("OCELOT_URL", &fake.url)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while line != "a\n" {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut out, &mut line).unwrap() > 0, "it ended before");
    }
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("Build 1 goes on") && said.contains("ocelot cancel 1"), "{said}");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let jobs = json!([job("default", "passed", &[(1, "one", "passed", 9)])]);
    let fake = Fake::start(move |request| match request {
        "GET /api/v1/builds/1" => Answer::Json(build("passed", &jobs)),
        "GET /api/v1/builds/1/stages/1/log" => Answer::Text("a\nb\nc\n"),
        _ => Answer::Missing,
    });
    for args in
        [&["logs", "1"][..], &["status", "1"], &["completions", "bash"], &["help"], &["validate", "--schema"]]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = Command::new(OCELOT)
            .args(args)
            .env("OCELOT_URL", &fake.url)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), said.as_ref()), (Some(0), ""), "{args:?}");
    }
}
