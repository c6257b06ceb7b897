//! What earlier builds say about one.

use ocelot_model::novel::Shapes;
use ocelot_model::{BuildNumber, StageId, Status};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::room::{Room, SMALL};

/// A build whose second stage has this log and ends like this.
async fn run(room: &Room, log: &str, status: Status) -> (BuildNumber, StageId) {
    let number = room.build("example").await;
    let worker = room.worker_with(&format!("w{number}"), "docker").await;
    let job = room.claim(worker).await;
    let [setup, second] = [job.stages[0].0, job.stages[1].0];
    for (id, text, status) in [(setup, "ready", Status::Passed), (second, log, status)] {
        room.stage(&job, id, Status::Running).await;
        room.log(id, 0, text.as_bytes()).await;
        room.log_end(id, text.as_bytes()).await;
        room.stage(&job, id, status).await;
    }
    room.finish(&job, status).await;
    (number, second)
}

async fn insights(room: &Room, number: BuildNumber) -> Value {
    let (status, body) = room.get(&format!("/api/v1/builds/{number}/insights")).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

#[tokio::test]
async fn new_lines_of_a_failed_log_are_told_first() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    let passed = "building 1 of 2\nwarning: old\nall 12 tests passed\n";
    let (_, stage) = run(&room, passed, Status::Passed).await;
    let mut shapes = Shapes::default();
    shapes.feed(passed.as_bytes());
    room.app.store.learn_shapes(stage, &shapes.finish()).await.unwrap();
    let failed =
        "building 1 of 3\nwarning: old\nsomething else\n\x1b[31merror: it <broke>\x1b[0m\nsomething else\n";
    let (number, stage) = run(&room, failed, Status::Failed).await;
    let body = insights(&room, number).await;
    assert_eq!(
        body["stages"],
        json!([{"job": "default", "stage": "test", "id": stage.0, "compared_with": 1, "total": 2, "lines": [
            {"line": 4, "offset": 44, "count": 1, "text": "error: it <broke>"},
            {"line": 3, "offset": 29, "count": 2, "text": "something else"}]}])
    );
    assert_eq!(body["broken_since"]["last_good"]["number"], 1);
    assert_eq!(
        (&body["broken_since"]["first_bad"]["number"], &body["expected_ms"]),
        (&2.into(), &Value::Null)
    );
    let page =
        room.request(Method::GET, &format!("/builds/{number}")).send().await.unwrap().text().await.unwrap();
    assert!(
        page.contains("error: it &#60;broke&#62;") && page.contains("New against the last 1 passed run"),
        "{page}"
    );
    // Who removes the log removes what was shown of it.
    let path = format!("/api/v1/builds/{number}/stages/{stage}/log");
    assert!(room.request(Method::DELETE, &path).send().await.unwrap().status().is_success());
    assert!(!insights(&room, number).await.to_string().contains("it <broke>"));
}

#[tokio::test]
async fn without_a_passed_run_what_looks_like_a_fault_is_told() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    let (number, _) = run(&room, "one\ntwo\nfatal: no such thing\nthree\n", Status::Failed).await;
    let stage = &insights(&room, number).await["stages"][0];
    assert_eq!((&stage["compared_with"], &stage["total"]), (&0.into(), &1.into()));
    assert_eq!(stage["lines"][0]["text"], "fatal: no such thing");
}

#[tokio::test]
async fn what_runs_and_what_waits_says_when_it_may_be_over() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    let first = room.build("example").await;
    assert_eq!(insights(&room, first).await["expected_ms"], Value::Null);
    let worker = room.worker().await;
    let job = room.claim(worker).await;
    room.stage(&job, job.stages[0].0, Status::Running).await;
    room.stage(&job, job.stages[0].0, Status::Passed).await;
    room.finish(&job, Status::Passed).await;
    let waiting = room.build("example").await;
    let body = insights(&room, waiting).await;
    assert!(body["expected_ms"].is_i64() && body["expected_at"].is_string(), "{body}");
    room.app.store.worker_goodbye(worker).await.unwrap();
    let body = insights(&room, waiting).await;
    assert!(body["expected_ms"].is_i64(), "{body}");
    // No worker is connected: nobody knows when it begins.
    assert_eq!(body["expected_at"], Value::Null);
    let job = room.claim(worker).await;
    room.stage(&job, job.stages[0].0, Status::Running).await;
    let body = insights(&room, waiting).await;
    assert!(body["expected_at"].is_string(), "{body}");
    let page =
        room.request(Method::GET, &format!("/builds/{waiting}")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("usually") && page.contains("may be over at"), "{page}");
}
