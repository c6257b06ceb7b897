//! Listings, and what is said of one build: columns for people, JSON for programs, names in both.

use std::path::Path;

use ocelot_testkit::{Output, ocelot};
use serde_json::{Value, json};

use super::OCELOT;
use super::fake::{Answer, Fake, build, job};

const NOW: &str = "2026-01-01T00:00:00Z";

fn server() -> Fake {
    Fake::start(|request| {
        let page = |items: Value| Answer::Json(json!({"items": items, "next": null}));
        let repo = |name: &str| {
            json!({"repo": format!("git/{name}"), "forge": "git", "owner": "", "name": name,
                "clone_url": format!("https://h/{name}.git"), "default_branch": "main", "public": false})
        };
        let worker = |name: &str, slots: u32| {
            json!({"id": 1, "name": name, "state": "idle", "labels": {"os": "linux"}, "slots": slots, "busy": 0,
                "version": "1", "sharing": "paths", "last_seen_at": NOW, "jobs": []})
        };
        let token = |id: i64, name: &str| {
            json!({"id": id, "name": name, "role": "read", "repos": [], "created_at": NOW, "expires_at": null,
                "last_used_at": null})
        };
        let waits = |position: u32, job: &str| {
            json!({"position": position, "build": 2, "repo": "git/app", "job": job, "labels": {}, "queued_at": NOW,
                "reason": "no worker has the label tag=mac"})
        };
        match request.split('?').next().unwrap() {
            "GET /api/v1/repos" => {
                page(json!([repo("a"), repo("日本語"), repo("a-much-longer-name-than-others")]))
            }
            "GET /api/v1/workers" => page(json!([worker("w", 2), worker("builder 🚀", 128)])),
            "GET /api/v1/tokens" => page(json!([token(1, "x"), token(1000, "ein längerer Name")])),
            "GET /api/v1/queue" => {
                let items = [waits(1, "mac"), waits(2, "linux-arm64")];
                Answer::Json(json!({"items": items, "next": "p2", "waiting": 99_999}))
            }
            "GET /api/v1/pause" => {
                Answer::Json(json!({"paused": false, "by": null, "reason": null, "since": null}))
            }
            "GET /api/v1/stats" => {
                let counts = |total: u64| {
                    json!({"total": total, "counts": {"passed": total, "failed": 0, "error": 0,
                    "timed_out": 0, "cancelled": 0, "skipped": 0}, "pass_rate": (total > 0).then_some(1.0),
                    "duration_ms": {"p50": 65_000, "p95": 900}, "queue_ms": {"p50": null, "p95": null}})
                };
                let item = |day: &str, total: u64| {
                    let mut item = counts(total);
                    item["from"] = format!("2026-01-{day}T00:00:00Z").into();
                    item["to"] = item["from"].clone();
                    item
                };
                Answer::Json(
                    json!({"repo": "git/a", "branch": null, "job": null, "stage": null, "by": "day", "from": NOW,
                    "to": NOW, "total": counts(12), "items": [item("01", 2), item("02", 0), item("03", 10)]}),
                )
            }
            "GET /api/v1/export" => Answer::Text("{\"number\":1}\n{\"number\":2}\n"),
            "POST /api/v1/badges/git/app" | "GET /api/v1/badges/git/app" => {
                Answer::Json(json!({"repo": "git/app", "image": "http://h/b.svg?key=k",
                "markdown": "[![build](http://h/b.svg?key=k)](http://h/)", "visible": true, "key": "k"}))
            }
            "GET /api/v1/badges/git/bare" => {
                Answer::Json(json!({"repo": "git/bare", "image": "http://h/b.svg",
                "markdown": "", "visible": false, "key": null}))
            }
            "DELETE /api/v1/badges/git/app" | "DELETE /api/v1/badges/git/bare" => Answer::Json(json!(null)),
            "GET /api/v1/builds" => page(json!([build("failed", &json!([])), build("passed", &json!([]))])),
            "GET /api/v1/builds/1" => {
                let stages =
                    [(1, "setup", "passed", 0), (2, "unit tests", "failed", 0), (3, "after", "skipped", 0)];
                let mut jobs = json!([job("linux", "failed", &stages), job("mac", "queued", &[])]);
                jobs[0]["stages"][1]["exit_code"] = 7.into();
                jobs[0]["reason"] = "unit tests: exit code 7".into();
                let mut build = build("failed", &jobs);
                build["reason"] = "job linux: unit tests: exit code 7 (and 1 more job)".into();
                Answer::Json(build)
            }
            "GET /api/v1/builds/1/insights" => {
                let line = |line: u64, count: u64, text: &str| json!({"line": line, "offset": 0, "count": count, "text": text});
                let lines = [
                    line(7, 1, "error: no such \u{1b}]thing"),
                    line(12_345, 3, "x"),
                    line(1, 1, "c"),
                    line(2, 1, "d"),
                    line(3, 1, "e"),
                    line(4, 1, "f"),
                ];
                Answer::Json(json!({"number": 1, "expected_ms": null, "expected_at": null,
                    "broken_since": {"last_good": null, "first_bad": {"number": 1, "commit": "b".repeat(40)}, "builds": 1},
                    "stages": [{"job": "linux", "stage": "unit tests", "id": 2, "compared_with": 20, "total": 31, "lines": lines}]}))
            }
            "DELETE /api/v1/builds/1/stages/2/log" => Answer::Json(json!(null)),
            "GET /api/v1/builds/2" => {
                let mut build = build("queued", &json!([job("mac", "queued", &[])]));
                build["number"] = 2.into();
                Answer::Json(build)
            }
            _ => Answer::Missing,
        }
    })
}

fn call(args: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    ocelot(Path::new(OCELOT), folder.path(), &[("OCELOT_URL", &server().url)], args, "").expect(0)
}

/// Columns that a terminal needs for a text, for what stands in these tests.
fn width(text: &str) -> usize {
    text.chars()
        .map(|c| if matches!(c, '\u{3000}'..='\u{9fff}' | '\u{1f300}'..='\u{1faff}') { 2 } else { 1 })
        .sum()
}

#[test]
fn columns_stand_below_their_headings() {
    // The last heading, and how it begins in every row.
    for (args, heading, begin) in [
        (&["repo", "list"][..], "CLONE URL", "https://"),
        (&["worker", "list"], "FILES", "paths"),
        (&["token", "list"], "ROLE", "read"),
        (&["queue"], "WHY IT WAITS", "no worker"),
        (&["summary"], "HASH", "aaaaaaaaaa"),
    ] {
        let said = call(args).stdout;
        let mut lines = said.lines().filter(|line| *line != "and 99997 more");
        let first = lines.next().unwrap();
        let at = width(&first[..first.find(heading).unwrap()]);
        for line in lines {
            let found = line.find(begin).map(|to| width(&line[..to]));
            assert_eq!(found, Some(at), "{begin} below {heading}:\n{said}");
        }
    }
}

#[test]
fn json_is_all_that_stands_on_stdout() {
    let lists = [&["repo", "list"][..], &["worker", "list"], &["token", "list"], &["queue"], &["summary"]];
    for args in lists {
        let said = call(&[args, &["--json"]].concat());
        assert!(said.json().as_array().is_some_and(|rows| rows.len() > 1), "{args:?}");
    }
    assert_eq!(call(&["status", "1", "--json"]).json()["jobs"][0]["stages"][1]["name"], "unit tests");
    let why = call(&["why", "1", "--json"]).json();
    let want =
        json!({"job": "linux", "stage": "unit tests", "status": "failed", "exit_code": 7, "reason": null});
    assert_eq!((&why["status"], &why["stages"]), (&"failed".into(), &json!([want])), "{why}");
}

#[test]
fn a_long_queue_is_cut_and_says_so() {
    let said = call(&["queue"]);
    assert!(said.stdout.ends_with("\nand 99997 more\n"), "{}", said.stdout);
    assert_eq!(call(&["queue", "--json"]).stderr, "and 99997 more\n");
}

#[test]
fn why_and_status_name_stages_and_jobs() {
    let why = call(&["why", "1"]).stdout;
    assert!(why.contains("linux/unit tests") && why.contains("exit code 7"), "{why}");
    assert_eq!(why.matches("exit code 7").count(), 1, "{why}");
    let new =
        "\nIn the log of linux/unit tests, new against its last 20 passed runs:\n      7  error: no such ";
    assert!(why.contains(new) && !why.contains('\u{1b}'), "{why}");
    assert!(why.contains("\n  12345  x  (3 times)\n") && why.contains("\n         and 26 more\n"), "{why}");
    assert!(why.contains("is broken since build 1 (bbbbbbbbbb) at least, this is the first one."), "{why}");
    let status = call(&["status", "1"]).stdout;
    assert!(status.contains("[linux/unit tests]") && status.matches("exit code 7").count() == 1, "{status}");
}

#[test]
fn why_says_what_each_job_waits_for() {
    let why = call(&["why", "2"]).stdout;
    assert!(why.contains("job mac waits at place 1: no worker has the label tag=mac"), "{why}");
    assert_eq!(call(&["why", "2", "--json"]).json()["waiting"][1]["job"], "linux-arm64");
}

#[test]
fn what_does_not_exist_is_named() {
    let url = server().url;
    let folder = tempfile::tempdir().unwrap();
    for (args, name) in [
        (&["why", "77"][..], "build 77"),
        (&["status", "77"], "build 77"),
        (&["cancel", "77"], "build 77"),
        (&["retry", "77"], "build 77"),
        (&["build", "git/nope"], "git/nope"),
        (&["repo", "show", "git/nope"], "git/nope"),
        (&["repo", "remove", "git/nope"], "git/nope"),
    ] {
        let said = ocelot(Path::new(OCELOT), folder.path(), &[("OCELOT_URL", &url)], args, "").expect(2);
        assert!(said.stderr.contains(name) && said.stdout.is_empty(), "{args:?}: {}", said.stderr);
    }
}

#[test]
fn in_a_checkout_the_summary_is_of_its_repository() {
    let checkout = ocelot_testkit::GitRepo::with("image: a\n");
    let top = checkout.path().canonicalize().unwrap().display().to_string();
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = asked.clone();
    let fake = Fake::start(move |request| match request.split_once('?') {
        Some(("GET /api/v1/repos", _)) => {
            Answer::Json(json!({"next": null, "items": [{"repo": "git/here", "forge": "git",
            "owner": "", "name": "here", "clone_url": top, "default_branch": "main", "public": false}]}))
        }
        Some(("GET /api/v1/builds", query)) => {
            log.lock().unwrap().push(query.contains("git%2Fhere"));
            Answer::Json(json!({"next": null, "items": []}))
        }
        _ => Answer::Missing,
    });
    let elsewhere = tempfile::tempdir().unwrap();
    let call = |folder: &Path, args: &[&str]| {
        ocelot(Path::new(OCELOT), folder, &[("OCELOT_URL", &fake.url)], args, "").expect(0);
    };
    call(checkout.path(), &["summary"]);
    call(checkout.path(), &["summary", "--all"]);
    call(elsewhere.path(), &["summary"]);
    assert_eq!(*asked.lock().unwrap(), [true, false, false]);
}

#[test]
fn deleting_a_log_asks_first() {
    let url = server().url;
    let folder = tempfile::tempdir().unwrap();
    let call = |args: &[&str]| ocelot(Path::new(OCELOT), folder.path(), &[("OCELOT_URL", &url)], args, "");
    let said = call(&["logs", "1", "unit tests", "--delete"]).expect(64).stderr;
    assert!(
        said.contains("deletes the log of linux/unit tests of build 1") && said.contains("--yes"),
        "{said}"
    );
    let said = call(&["logs", "1", "unit tests", "--delete", "--yes"]).expect(0).stdout;
    assert_eq!(said, "Deleted the log of linux/unit tests of build 1.\n");
    let said = call(&["logs", "1", "nope", "--delete", "--yes"]).expect(2).stderr;
    assert!(said.contains("no stage `nope`"), "{said}");
    call(&["logs", "1", "--delete"]).expect(64);
    call(&["logs", "1", "setup", "--yes"]).expect(64);
}

#[test]
fn a_pause_is_said_where_jobs_wait() {
    let state = json!({"paused": true, "by": "ann", "reason": "new disk", "since": NOW});
    let fake = Fake::start(move |request| match request.split('?').next().unwrap() {
        "GET /api/v1/queue" => Answer::Json(json!({"items": [], "next": null})),
        "GET /api/v1/pause" | "POST /api/v1/pause" => Answer::Json(state.clone()),
        "POST /api/v1/unpause" => {
            Answer::Json(json!({"paused": false, "by": null, "reason": null, "since": null}))
        }
        _ => Answer::Missing,
    });
    let folder = tempfile::tempdir().unwrap();
    let call = |args: &[&str]| {
        ocelot(Path::new(OCELOT), folder.path(), &[("OCELOT_URL", &fake.url)], args, "").expect(0).stdout
    };
    assert_eq!(call(&["queue"]), "Paused by ann: new disk\nNothing waits.\n");
    assert_eq!(call(&["queue", "--json"]), "[]\n");
    assert!(
        call(&["pause", "--reason", "new disk"]).starts_with("Paused by ann: new disk. Running jobs go on")
    );
    assert_eq!(call(&["unpause"]), "Jobs are handed out again.\n");
}

#[test]
fn statistics_show_what_ended() {
    let said = call(&["stats", "git/a"]).stdout;
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("DAY") && lines[1].starts_with("2026-01-01"), "{said}");
    assert!(lines[1].contains("1 min 5 s") && lines[1].contains("100.0 %"), "{said}");
    // A day on which nothing ended is no row.
    assert!(
        lines[2].starts_with("2026-01-03") && lines[3].starts_with("git/a: 12 ended, 100.0 % passed"),
        "{said}"
    );
    assert_eq!(call(&["stats", "git/a", "--json"]).json()["items"].as_array().unwrap().len(), 3);
}

#[test]
fn an_export_is_what_the_server_says() {
    let want = "{\"number\":1}\n{\"number\":2}\n";
    assert_eq!(call(&["export"]).stdout, want);
    let folder = tempfile::tempdir().unwrap();
    let (url, file) = (server().url, folder.path().join("out"));
    let args = ["export", "git/app", "--since", "7d", "--output", file.to_str().unwrap()];
    ocelot(Path::new(OCELOT), folder.path(), &[("OCELOT_URL", &url)], &args, "").expect(0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), want);
    // What breaks off leaves what was there, and nothing else.
    let cut = Fake::start(|request| match request.split('?').next().unwrap_or_default() {
        "GET /api/v1/export" => Answer::Cut("{\"number\":3}\n"),
        _ => Answer::Missing,
    });
    for output in [file.as_path(), &folder.path().join("new")] {
        let args = ["export", "--output", output.to_str().unwrap()];
        let said = ocelot(Path::new(OCELOT), folder.path(), &[("OCELOT_URL", &cut.url)], &args, "")
            .expect(69)
            .stderr;
        assert!(said.contains("broke off in the middle") && !said.contains("running"), "{said}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), want);
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["out"]);
    let args = ["export", "--since", "yesterday"];
    let said = ocelot(Path::new(OCELOT), folder.path(), &[("OCELOT_URL", &url)], &args, "").expect(64).stderr;
    assert!(said.contains("`yesterday` is no time"), "{said}");
}

#[test]
fn a_badge_is_what_goes_into_a_readme() {
    let said = call(&["repo", "badge", "git/app", "--branch", "main"]);
    assert_eq!(said.stdout, "[![build](http://h/b.svg?key=k)](http://h/)\n");
    assert!(said.stderr.contains("Whoever has this address"), "{}", said.stderr);
    assert!(said.stderr.contains("of any branch"), "the key is for all of them: {}", said.stderr);
    for (handle, words) in [("git/app", "has no key any more"), ("git/bare", "had no key")] {
        let said = call(&["repo", "badge", handle, "--remove"]);
        assert!(said.stdout.is_empty() && said.stderr.contains(words), "{}", said.stderr);
    }
}

#[test]
fn builds_are_looked_for_until_there_are_enough() {
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = asked.clone();
    let fake = Fake::start(move |request| match request.split_once('?') {
        Some(("GET /api/v1/builds", query)) => {
            let mut asked = log.lock().unwrap();
            asked.push(query.to_owned());
            // The server looks at so many at once, and finds few.
            let (items, next) = match asked.len() {
                1 => (json!([]), json!("b9")),
                2 => (json!([build("failed", &json!([]))]), json!("b5")),
                _ => (json!([build("failed", &json!([])), build("failed", &json!([]))]), json!("b1")),
            };
            Answer::Json(json!({"items": items, "next": next}))
        }
        _ => Answer::Missing,
    });
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "summary",
        "--limit",
        "3",
        "-q",
        "a b",
        "--event",
        "push",
        "--worker",
        "w",
        "--since",
        "2026-01-01T00:00:00Z",
        "--json",
    ];
    let said = ocelot(Path::new(OCELOT), folder.path(), &[("OCELOT_URL", &fake.url)], &args, "").expect(0);
    assert_eq!(said.json().as_array().unwrap().len(), 3);
    let asked = asked.lock().unwrap();
    assert!(
        asked[0].contains("event=push&since=2026-01-01T00%3A00%3A00Z&worker=w&q=a+b&limit=3"),
        "{asked:?}"
    );
    assert!(asked[1].ends_with("limit=3&cursor=b9") && asked[2].ends_with("limit=2&cursor=b5"), "{asked:?}");
    assert_eq!(asked.len(), 3);
}

/// What `ocelot approve 1` says of a build like this.
fn approved(status: &str, change: fn(&mut Value)) -> (String, String) {
    let mut job = job("deploy", status, &[]);
    job["approved_by"] = "ann".into();
    let mut build = build(status, &json!([job]));
    build["commit"] = format!("{}{}", "ab".repeat(6), "c".repeat(28)).into();
    change(&mut build);
    let fake = Fake::start(move |request| match request {
        "POST /api/v1/builds/1/approve" => Answer::Json(build.clone()),
        _ => Answer::Missing,
    });
    let folder = tempfile::tempdir().unwrap();
    let said = ocelot(Path::new(OCELOT), folder.path(), &[("OCELOT_URL", &fake.url)], &["approve", "1"], "")
        .expect(0);
    (said.stdout, said.stderr)
}

#[test]
fn an_approval_says_of_what_it_is_and_what_comes_next() {
    let said = "ann approved job deploy of build 1 (commit abababababab of git/app).\n";
    let log = "`ocelot logs 1 --follow` shows its log.";
    let whole = |build: &mut Value| {
        build["approved_by"] = "bob".into();
        build["pull_request"] = 7.into();
        build["trusted"] = false.into();
        build["jobs"][0]["approved_by"] = Value::Null;
    };
    for (status, change, said, next) in [
        ("queued", (|_| {}) as fn(&mut Value), said, format!("It waits for a worker now; {log}\n")),
        ("running", |_| {}, said, format!("It runs; {log}\n")),
        (
            "running",
            |build| build["jobs"] = json!([build["jobs"][0], job("prod", "blocked", &[])]),
            said,
            format!("It runs; {log} Still to be approved: prod.\n"),
        ),
        ("blocked", |_| {}, said, "It still waits for somebody; `ocelot why 1` says for what.\n".to_owned()),
        (
            "cancelled",
            |_| {},
            said,
            "Build 1 is over (cancelled): that changes nothing any more.\n".to_owned(),
        ),
        (
            "queued",
            whole,
            "bob approved commit abababababab of git/app, pull request 7 for build 1; another commit waits again.\n",
            format!(
                "It waits for a worker now; {log} It gets no secrets: its commit is not the repository's own.\n"
            ),
        ),
    ] {
        assert_eq!(approved(status, change), (said.to_owned(), next));
    }
}

#[test]
fn an_empty_list_of_secrets_says_how_to_keep_one() {
    for (role, repos, args, want) in [
        ("admin", json!([]), &["secret", "list"][..], "None yet; `ocelot secret add NAME` keeps one.\n"),
        (
            "admin",
            json!([]),
            &["creds", "nexus", "list"],
            "None yet; `ocelot creds maven add NAME` keeps one.\n",
        ),
        (
            "admin",
            json!(["git/app"]),
            &["secret", "list"],
            "None that this token may see; `ocelot secret add NAME --scope REPO` keeps one.\n",
        ),
        (
            "read",
            json!([]),
            &["secret", "list"],
            "None that this token may see: it takes role admin for what they are for.\n",
        ),
    ] {
        let fake = Fake::start(move |request| match request.split('?').next().unwrap() {
            "GET /api/v1/credentials" => Answer::Json(json!({"items": [], "next": null})),
            "GET /api/v1/whoami" => Answer::Json(json!({"name": "x", "role": role, "repos": repos.clone()})),
            _ => Answer::Missing,
        });
        let folder = tempfile::tempdir().unwrap();
        let said = ocelot(Path::new(OCELOT), folder.path(), &[("OCELOT_URL", &fake.url)], args, "").expect(0);
        assert_eq!(said.stdout, want);
    }
}
