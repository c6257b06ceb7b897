//! Lists with filters, statistics and exports.

use ocelot_model::access::Role;
use ocelot_model::{BuildNumber, Status};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::room::{Room, SMALL, answer, git};

/// `git/app` with a passed and a failed build, `git/secret` with a passed one; all are counted.
pub(super) async fn scene() -> Room {
    let room = Room::new().await;
    room.known("app", SMALL).await;
    room.known("secret", SMALL).await;
    let worker = room.worker().await;
    for (name, status) in [("app", Status::Passed), ("app", Status::Failed), ("secret", Status::Passed)] {
        ended(&room, name, worker, status).await;
    }
    assert_eq!(room.app.store.count_builds(10).await.unwrap(), 3);
    room
}

pub(super) async fn ended(
    room: &Room,
    name: &str,
    worker: ocelot_model::WorkerId,
    status: Status,
) -> BuildNumber {
    let number = room.build(name).await;
    let job = room.claim(worker).await;
    for (stage, _) in &job.stages {
        room.stage(&job, *stage, Status::Running).await;
        room.stage(&job, *stage, if *stage == job.stages[0].0 { Status::Passed } else { status }).await;
    }
    room.finish(&job, status).await;
    number
}

fn numbers(page: &Value) -> Vec<i64> {
    page["items"].as_array().unwrap().iter().map(|build| build["number"].as_i64().unwrap()).collect()
}

/// The same question is answered from memory while nothing changes, and never after it did.
#[tokio::test]
async fn a_list_is_never_older_than_the_last_change() {
    let room = scene().await;
    let asked = "/api/v1/builds?repo=git/app";
    for count in 3..8 {
        let (_, page) = room.get(asked).await;
        assert_eq!(room.get(asked).await.1, page);
        room.build("app").await;
        assert_eq!(numbers(&room.get(asked).await.1).len(), count);
    }
}

#[tokio::test]
async fn every_filter_of_the_list() {
    let room = scene().await;
    let (_, first) = room.get("/api/v1/builds/1").await;
    let short = &first["commit"].as_str().unwrap()[..7];
    let queued = first["queued_at"].as_str().unwrap().replace('+', "%2B");
    for (query, want) in [
        ("", vec![3, 2, 1]),
        ("?repo=git/app", vec![2, 1]),
        ("?repo=git/none", vec![]),
        ("?branch=main&status=failed", vec![2]),
        ("?branch=none", vec![]),
        ("?event=manual", vec![3, 2, 1]),
        ("?event=push", vec![]),
        ("?worker=w1&repo=git/secret", vec![3]),
        ("?worker=w2", vec![]),
        (&format!("?commit={short}&repo=git/app"), vec![2, 1]),
        ("?commit=0000000", vec![]),
        (&format!("?until={queued}"), vec![]),
        (&format!("?since={queued}"), vec![3, 2, 1]),
        ("?q=A%20CHANGE", vec![3, 2, 1]),
        (&format!("?repo=git/app&q={short}"), vec![2, 1]),
        ("?q=nowhere", vec![]),
        ("?status=passed&repo=git/app&branch=main&event=manual&worker=w1&q=change", vec![1]),
    ] {
        let (status, page) = room.get(&format!("/api/v1/builds{query}")).await;
        assert_eq!((status, numbers(&page), &page["next"]), (StatusCode::OK, want, &Value::Null), "{query}");
    }
    for (path, words) in [
        ("builds?limit=abc", "limit: it is a number from 1 to 500, not `abc`"),
        ("audit?limit=-1", "limit: it is a number from 1 to 500, not `-1`"),
        ("deliveries?limit=", "limit: it is a number from 1 to 500, not ``"),
        ("workers?limit=0", "limit: it is a number from 1 to 500, not `0`"),
        ("builds/1/log?attempt=a%20b", "attempt: it is a whole number, not `a b`"),
    ] {
        let (status, body) = room.get(&format!("/api/v1/{path}")).await;
        assert_eq!((status, &body["detail"]), (StatusCode::BAD_REQUEST, &json!(words)), "{path}");
    }
    for query in
        ["commit=abc", "commit=nothex7", "status=green", "event=x", "since=today", "cursor=x", "limit=0"]
    {
        let (status, body) = room.get(&format!("/api/v1/builds?{query}")).await;
        let name = query.split('=').next().unwrap();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {body}");
        assert!(body["detail"].as_str().unwrap().starts_with(name), "{query}: {body}");
    }
}

#[tokio::test]
async fn statistics_count_what_the_caller_may_read() {
    let room = scene().await;
    let counts = |stats: &Value| {
        let total = &stats["total"];
        (total["total"].clone(), total["counts"]["passed"].clone(), total["counts"]["failed"].clone())
    };
    let (status, all) = room.get("/api/v1/stats").await;
    assert_eq!((status, counts(&all)), (StatusCode::OK, (json!(3), json!(2), json!(1))), "{all}");
    // The days before are there, too, and empty.
    assert_eq!(all["items"].as_array().unwrap().len(), 31, "{all}");
    assert_eq!(all["items"][30]["total"], 3, "{all}");
    assert_eq!(
        (&all["items"][0]["total"], &all["items"][0]["pass_rate"]),
        (&json!(0), &Value::Null),
        "{all}"
    );
    let (_, app) = room.get("/api/v1/stats?repo=git/app&bucket=hour").await;
    assert_eq!(
        (counts(&app), &app["total"]["pass_rate"]),
        ((json!(2), json!(1), json!(1)), &json!(0.5)),
        "{app}"
    );
    assert!(app["total"]["queue_ms"]["p50"].is_i64() && app["total"]["duration_ms"]["p95"].is_i64(), "{app}");
    // The worker said 5 ms of each stage.
    let (_, stage) =
        room.get("/api/v1/stats?repo=git/app&job=default&stage=test&branch=main&bucket=week").await;
    assert_eq!(stage["total"]["duration_ms"], json!({"p50": 5, "p95": 5}), "{stage}");
    assert_eq!(stage["total"]["queue_ms"], json!({"p50": null, "p95": null}), "{stage}");
    let (_, one) = room.get("/api/v1/stats?by=repo&limit=1").await;
    assert_eq!(
        (one["items"].as_array().unwrap().len(), &one["more"], counts(&one).0),
        (1, &json!(true), json!(3))
    );
    for (by, key, want) in [
        ("by=repo", "repo", json!(["git/app", "git/secret"])),
        ("repo=git/app&by=branch", "branch", json!(["main"])),
        ("repo=git/app&by=job", "job", json!(["default"])),
        ("repo=git/app&by=stage", "stage", json!(["setup", "test"])),
    ] {
        let (_, stats) = room.get(&format!("/api/v1/stats?{by}")).await;
        let names: Vec<Value> = stats["items"].as_array().unwrap().iter().map(|i| i[key].clone()).collect();
        assert_eq!((Value::from(names), &stats["more"]), (want, &json!(false)), "{stats}");
    }
    let token = room.token(Role::Read, &["git/app"]).await;
    let ask = |path: &str| answer(room.plain(Method::GET, path).bearer_auth(&token));
    assert_eq!(counts(&ask("/api/v1/stats").await.1).0, 2);
    let (_, by) = ask("/api/v1/stats?by=repo").await;
    assert_eq!((by["items"].as_array().unwrap().len(), &by["items"][0]["repo"]), (1, &json!("git/app")));
    let hidden = ask("/api/v1/stats?repo=git/secret").await;
    assert_eq!(hidden.0, StatusCode::NOT_FOUND);
    assert_eq!(hidden, ask("/api/v1/stats?repo=git/none").await);
}

#[tokio::test]
async fn what_cannot_be_counted_is_said() {
    let room = scene().await;
    for (query, words) in [
        ("branch=main", "repo:"),
        ("by=stage", "repo:"),
        ("repo=git/app&stage=test", "job:"),
        ("repo=git/app&job=a&by=repo", "by:"),
        ("repo=git/app&branch=a&by=branch", "by:"),
        ("by=worker", "by:"),
        ("bucket=year", "bucket:"),
        ("bucket=day&by=repo", "bucket:"),
        ("from=yesterday", "from:"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from:"),
        ("from=9999-01-01T00:00:00Z", "from:"),
        ("bucket=hour&from=2020-01-01T00:00:00Z", "35 days"),
        ("bucket=day&from=2000-01-01T00:00:00Z", "1000 periods"),
        ("limit=5", "limit: it is for `by`"),
        ("by=repo&limit=501", "limit: it is a number from 1 to 500, not `501`"),
        ("by=repo&limit=abc", "limit: it is a number from 1 to 500, not `abc`"),
    ] {
        let (status, body) = room.get(&format!("/api/v1/stats?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {body}");
        assert!(body["detail"].as_str().unwrap().contains(words), "{query}: {body}");
    }
    let (status, _) =
        room.get("/api/v1/stats?from=-009999-01-01T00:00:00Z&to=9999-12-30T00:00:00Z&bucket=week").await;
    assert!(status == StatusCode::BAD_REQUEST, "{status}");
}

async fn rows(room: &Room, query: &str) -> Vec<Value> {
    let text = text(room, query).await;
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn text(room: &Room, query: &str) -> String {
    let answer = room.request(Method::GET, &format!("/api/v1/export?{query}")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{query}");
    answer.text().await.unwrap()
}

#[tokio::test]
async fn an_export_has_all_that_ended() {
    let room = scene().await;
    room.build("app").await;
    let builds = rows(&room, "").await;
    let seen: Vec<_> = builds.iter().map(|row| (row["number"].clone(), row["status"].clone())).collect();
    let want = [(1, "passed"), (2, "failed"), (3, "passed")].map(|(n, s)| (json!(n), json!(s)));
    assert_eq!(seen, want);
    for key in ["queue_ms", "duration_ms"] {
        assert!(builds[0][key].is_i64(), "{}", builds[0]);
    }
    assert_eq!((&builds[0]["triggered_by"], &builds[0]["event"]), (&json!("root"), &json!("manual")));
    let jobs = rows(&room, "what=jobs&repo=git/app").await;
    assert_eq!(jobs.len(), 2);
    assert_eq!((&jobs[1]["worker"], &jobs[1]["status"]), (&json!("w1"), &json!("failed")), "{}", jobs[1]);
    assert!(jobs[0]["queue_ms"].is_i64() && jobs[0]["duration_ms"].is_i64(), "{}", jobs[0]);
    let stages = rows(&room, "what=stages&repo=git/secret").await;
    assert_eq!(
        (stages.len(), &stages[1]["stage"], &stages[1]["duration_ms"]),
        (2, &json!("test"), &json!(5))
    );
    // From where one was.
    let second = builds[1]["finished_at"].as_str().unwrap();
    let rest = rows(&room, &format!("since={second}")).await;
    assert_eq!(rest.iter().map(|row| row["number"].as_i64().unwrap()).collect::<Vec<_>>(), [2, 3]);
    let first = rows(&room, &format!("until={second}")).await;
    assert_eq!(first.len(), 1);
    let csv = text(&room, "format=csv").await;
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert!(lines[0].starts_with("number,repo,status,event,branch,commit,message,"), "{csv}");
    assert!(lines[1].starts_with("1,git/app,passed,manual,main,"), "{csv}");
    assert_eq!(lines.len(), 5, "{csv}");
    for query in ["format=xml", "what=logs", "since=x", "limit=3"] {
        let (status, _) = room.get(&format!("/api/v1/export?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn an_export_goes_on_page_after_page() {
    let room = Room::new().await;
    room.known("app", SMALL).await;
    let worker = room.worker().await;
    // More than are read at once.
    for at in 0..203 {
        let number = room.build("app").await;
        let job = room.claim(worker).await;
        room.finish(&job, if at % 2 == 0 { Status::Passed } else { Status::Failed }).await;
        assert_eq!(number.0, at + 1);
    }
    let all: Vec<i64> = rows(&room, "").await.iter().map(|row| row["number"].as_i64().unwrap()).collect();
    assert_eq!(all, (1..=203).collect::<Vec<i64>>());
    let jobs: Vec<i64> =
        rows(&room, "what=jobs").await.iter().map(|row| row["build"].as_i64().unwrap()).collect();
    assert_eq!(jobs, all);
}

#[tokio::test]
async fn an_export_has_what_the_caller_may_read() {
    let room = scene().await;
    let token = room.token(Role::Read, &["git/app"]).await;
    let ask = |path: &str| answer(room.plain(Method::GET, path).bearer_auth(&token));
    for what in ["builds", "jobs", "stages"] {
        let (status, text) = ask(&format!("/api/v1/export?what={what}")).await;
        let text = text.as_str().unwrap();
        assert!(status == StatusCode::OK && text.contains("git/app") && !text.contains("secret"), "{text}");
    }
    let hidden = ask("/api/v1/export?repo=git/secret").await;
    assert_eq!(hidden.0, StatusCode::NOT_FOUND);
    assert_eq!(hidden, ask("/api/v1/export?repo=git/none").await);
}

#[tokio::test]
async fn text_of_strangers_is_no_formula() {
    let room = Room::new().await;
    let path = room.known("app", SMALL).await;
    git(&path, &["commit", "-q", "--allow-empty", "-m", "=HYPERLINK(\"http://evil\",\"x\")"]);
    let worker = room.worker().await;
    ended(&room, "app", worker, Status::Passed).await;
    let csv = text(&room, "format=csv").await;
    assert!(csv.contains(",\"'=HYPERLINK(\"\"http://evil\"\",\"\"x\"\")\","), "{csv}");
    assert!(rows(&room, "").await[0]["message"].as_str().unwrap().starts_with("=HYPERLINK"), "{csv}");
}

async fn page(room: &Room, path: &str) -> (StatusCode, String) {
    let response = room.request(Method::GET, path).send().await.unwrap();
    (response.status(), response.text().await.unwrap())
}

#[tokio::test]
async fn the_page_of_builds_has_filters() {
    let room = scene().await;
    let today = room.app.store.now().await.unwrap().strftime("%Y-%m-%d").to_string();
    for (query, want) in [
        ("branch=main&event=manual&worker=w1&status=failed", vec![2]),
        ("branch=none", vec![]),
        ("since=2020-01-01", vec![3, 2, 1]),
        ("until=2020-01-01", vec![]),
        // A day belongs to it as a whole.
        (&format!("since=2020-01-01&until={today}"), vec![3, 2, 1]),
    ] {
        let (status, html) = page(&room, &format!("/?{query}")).await;
        assert_eq!(status, StatusCode::OK);
        for number in 1..=3 {
            let there = html.contains(&format!("id=\"build-{number}\""));
            // Builds are made within a moment, which may be midnight.
            assert!(there == want.contains(&number) || query.contains(&today), "{query}: {number}");
        }
        assert!(html.contains("<details class=\"more\" open>"), "{query}");
    }
    for (query, words) in [
        ("event=nonsense", "event: `nonsense`"),
        ("status=green", "status: `green`"),
        ("commit=abc", "commit: `abc` is not 7 to 64 hexadecimal digits"),
        ("since=nonsense", "since: `nonsense` is no day; write it like 2026-01-31"),
        ("until=2026-02-30", "until: `2026-02-30` is no day"),
        ("before=x", "before: `x` is no number of a build"),
        ("cursor=b9", "cursor: it is one of the API"),
        ("commit=%3Cb%3E", "commit: `&#60;b&#62;` is not"),
    ] {
        let (status, html) = page(&room, &format!("/?{query}")).await;
        assert!(status == StatusCode::BAD_REQUEST && html.contains(words), "{query}: {html}");
        // The form is there to be mended, and nobody is told that no build fits.
        assert!(html.contains("<form class=\"filter\"") && !html.contains("No build"), "{html}");
    }
    let (_, html) = page(&room, "/?repo=git/app").await;
    assert!(
        html.contains("href=\"/stats?repo=git%2Fapp\"") && html.contains("<details class=\"more\">"),
        "{html}"
    );
    let (_, html) = page(&room, "/builds/1").await;
    assert!(html.contains("<dt>Waited</dt>"), "{html}");
}

#[tokio::test]
async fn the_page_of_statistics() {
    let room = scene().await;
    let (status, html) = page(&room, "/stats").await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains(">git/app</a>") && html.contains(">git/secret</a>"), "{html}");
    assert!(html.contains("<dd>66.7 %</dd>") && html.contains("3 ended, 66.7 % passed"), "{html}");
    assert!(html.contains("the tallest bar is ") && html.contains(" in a day"), "{html}");
    // What is of one repository is not told of all.
    for query in ["branch=main", "job=default", "stage=test"] {
        assert_eq!(page(&room, &format!("/stats?{query}")).await.0, StatusCode::BAD_REQUEST, "{query}");
    }
    let (_, html) = page(&room, "/stats?repo=git/app&span=day").await;
    for text in
        ["Branches", "Jobs", "Stages", ">default / test</a>", "<dd>50.0 %</dd>", "ocelot repo badge git/app"]
    {
        assert!(html.contains(text), "{text} in {html}");
    }
    room.post("/api/v1/badges/git/app", &json!({})).await;
    let (_, html) = page(&room, "/stats?repo=git/app&stage=test&branch=main").await;
    assert!(html.contains("[![build](") && html.contains("key="), "{html}");
    // No script and no style stand in it, which the policy would not allow.
    assert!(!html.contains("style=") && html.matches("<script").count() == 1, "{html}");
    assert_eq!(page(&room, "/stats?repo=git/none").await.0, StatusCode::NOT_FOUND);
    let (_, html) = page(&room, "/stats?repo=git/app&branch=none").await;
    assert!(html.contains("Nothing ended since"), "{html}");
    let token = room.token(Role::Read, &["git/app"]).await;
    let seen =
        room.plain(Method::GET, "/stats").bearer_auth(&token).send().await.unwrap().text().await.unwrap();
    assert!(seen.contains(">git/app</a>") && !seen.contains("secret"), "{seen}");
    let hidden = room.plain(Method::GET, "/stats?repo=git/secret").bearer_auth(&token).send().await.unwrap();
    assert_eq!(hidden.status(), StatusCode::NOT_FOUND);
}
