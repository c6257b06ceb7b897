//! `GET /api/v1/queue`: who is next, and why the others wait.

use crate::room::Room;

const JOBS: &str = "jobs:
  a: {image: busybox, stages: [{name: test, script: [echo]}]}
  b: {image: busybox, needs: [a], stages: [{name: test, script: [echo]}]}
  c: {image: busybox, labels: {gpu: a100}, stages: [{name: test, script: [echo]}]}
";

async fn rows(room: &Room, query: &str) -> Vec<(i64, String, String)> {
    let (_, body) = room.get(&format!("/api/v1/queue{query}")).await;
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let row = |row: &serde_json::Value| {
        let job = format!("{} {}", row["build"], text(&row["job"]));
        (row["position"].as_i64().unwrap(), job, text(&row["reason"]))
    };
    body["items"].as_array().unwrap().iter().map(row).collect()
}

#[tokio::test]
async fn every_waiting_job_has_its_place_and_its_reason() {
    let room = Room::new().await;
    let worker = room.worker().await;
    room.known("one", JOBS).await;
    room.known("two", crate::room::SMALL).await;
    room.build("one").await;
    for _ in 0..2 {
        room.build("one").await;
        room.build("two").await;
    }
    for _ in 0..4 {
        room.claim(worker).await;
    }
    // The newer build of `two` comes before the older one of `one`, which had its turn.
    room.build("one").await;
    room.build("two").await;
    let later = "4 of 4 slots busy, 3rd in line: newer jobs of other repositories have their turn first";
    let want = [
        (1, "4 a", "4 of 4 slots busy, 1st in line"),
        (2, "7 default", "4 of 4 slots busy, 2nd in line"),
        (3, "6 a", later),
        (4, "1 c", "no worker has label gpu=a100"),
        (5, "2 c", "no worker has label gpu=a100"),
        (6, "4 c", "no worker has label gpu=a100"),
        (7, "6 c", "no worker has label gpu=a100"),
        (8, "1 b", "needs job `a`"),
        (9, "2 b", "needs job `a`"),
        (10, "4 b", "needs job `a`"),
        (11, "6 b", "needs job `a`"),
    ]
    .map(|(position, job, reason)| (position, job.to_owned(), reason.to_owned()));
    assert_eq!(rows(&room, "").await, want);
    assert_eq!(rows(&room, "?limit=3&cursor=p4").await, want[4..7]);
}

/// Only the rows of its page are asked for, and yet it knows all the places and how many wait.
#[tokio::test]
async fn a_page_of_a_long_queue_says_how_many_wait() {
    let room = Room::new().await;
    room.known("one", &format!("concurrency: {{group: deploy}}\n{JOBS}")).await;
    for _ in 0..20 {
        room.build("one").await;
    }
    let (_, first) = room.get("/api/v1/queue?limit=5").await;
    assert_eq!((first["items"].as_array().unwrap().len(), &first["next"]), (5, &"p5".into()));
    assert_eq!(first["waiting"], 60);
    let last = rows(&room, "?limit=50&cursor=p59").await;
    assert_eq!(last, [(60, "20 c".to_owned(), "concurrency group deploy held by build 1".to_owned())]);
    let (_, beyond) = room.get("/api/v1/queue?cursor=p60").await;
    assert_eq!(beyond, serde_json::json!({"items": [], "next": null, "waiting": 60}));
    let places =
        async |query: &str| rows(&room, query).await.into_iter().map(|row| row.0).collect::<Vec<_>>();
    assert_eq!(places("?build=20").await, [58, 59, 60]);
    assert_eq!(places("?build=20&limit=1&cursor=p1").await, [59]);
    assert!(places("?build=4711").await.is_empty());
    let (status, why) = room.get("/api/v1/queue?build=last").await;
    assert_eq!(
        (status.as_u16(), &why["detail"]),
        (400, &"build: it is the number of a build, not `last`".into())
    );
}

#[tokio::test]
async fn a_job_in_an_image_waits_for_a_worker_with_containers() {
    let room = Room::new().await;
    let host = room.worker_with("bare", "host").await;
    room.known("one", crate::room::SMALL).await;
    room.build("one").await;
    assert!(room.app.store.claim(host).await.unwrap().is_none(), "it would run without its image");
    let reason = "no worker has label executor=docker".to_owned();
    assert_eq!(rows(&room, "").await, [(1, "1 default".to_owned(), reason)]);
    room.claim(room.worker().await).await;
}
