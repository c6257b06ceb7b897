//! Concurrency groups: only so many builds of one go on at once.

use ocelot_model::build::Outcome;
use ocelot_model::{BuildNumber, Status};
use ocelot_server::builds::advance;
use ocelot_store::Claimed;
use serde_json::json;

use crate::room::{Room, SMALL};

async fn room(concurrency: &str) -> Room {
    let room = Room::new().await;
    room.known("app", &format!("concurrency: {{{concurrency}}}\n{SMALL}")).await;
    room
}

async fn end(room: &Room, job: &Claimed, status: Status) {
    let outcome = Outcome { status, reason: None, infrastructure: false };
    advance::finish(&room.app, &job.lease, &[], outcome).await.unwrap();
}

async fn status(room: &Room, build: BuildNumber) -> Status {
    room.app.store.find_build(build).await.unwrap().unwrap().status
}

async fn reasons(room: &Room) -> Vec<String> {
    let (_, queue) = room.get("/api/v1/queue").await;
    let rows = queue["items"].as_array().unwrap().iter();
    rows.map(|row| format!("{}: {}", row["build"], row["reason"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn the_next_build_waits_for_the_one_before() {
    let room = room("group: \"deploy-${{ branch }}\"").await;
    let worker = room.worker().await;
    let (first, second, third) = (room.build("app").await, room.build("app").await, room.build("app").await);
    let job = room.claim(worker).await;
    assert_eq!(job.build.number, first);
    assert!(room.app.store.claim(worker).await.unwrap().is_none());
    let held = format!("concurrency group deploy-main held by build {first}");
    assert_eq!(reasons(&room).await, [format!("{second}: {held}"), format!("{third}: {held}")]);
    // One that is cancelled while it waits is no hindrance.
    room.post(&format!("/api/v1/builds/{second}/cancel"), &json!({})).await;
    assert_eq!(status(&room, second).await, Status::Cancelled);
    end(&room, &job, Status::Failed).await;
    let job = room.claim(worker).await;
    assert_eq!(job.build.number, third);
    end(&room, &job, Status::Passed).await;
    assert_eq!(status(&room, third).await, Status::Passed);
}

#[tokio::test]
async fn a_group_may_have_several_places_and_other_repositories_have_their_own() {
    let room = room("group: deploy, limit: 2").await;
    room.known("other", &format!("concurrency: {{group: deploy}}\n{SMALL}")).await;
    let worker = room.worker().await;
    for _ in 0..3 {
        room.build("app").await;
    }
    let other = room.build("other").await;
    let mut jobs = Vec::new();
    while let Some(job) = room.app.store.claim(worker).await.unwrap() {
        jobs.push(job.build.number);
    }
    jobs.sort_unstable();
    assert_eq!(jobs, [BuildNumber(1), BuildNumber(2), other]);
    assert_eq!(reasons(&room).await, ["3: concurrency group deploy held by builds 1, 2"]);
}

#[tokio::test]
async fn the_newest_build_cancels_the_others() {
    let room = room("group: deploy, cancel_running: true").await;
    let worker = room.worker().await;
    let first = room.build("app").await;
    let job = room.claim(worker).await;
    let second = room.build("app").await;
    let third = room.build("app").await;
    // What waits ends at once; what runs is told to stop, once, and keeps its place until it has stopped.
    assert_eq!(status(&room, second).await, Status::Cancelled);
    let stored = room.app.store.find_build(second).await.unwrap().unwrap();
    assert_eq!(stored.reason.as_deref(), Some("build 3 took its place in concurrency group deploy"));
    let running = room.app.store.find_build(first).await.unwrap().unwrap();
    assert!(running.status == Status::Running && running.cancel_requested_at.is_some());
    assert!(room.app.store.claim(worker).await.unwrap().is_none());
    end(&room, &job, Status::Cancelled).await;
    assert_eq!(room.claim(worker).await.build.number, third);
}

#[tokio::test]
async fn a_further_attempt_and_a_retry_keep_the_order() {
    let room = room("group: deploy").await;
    let worker = room.worker().await;
    let first = room.build("app").await;
    let second = room.build("app").await;
    let job = room.claim(worker).await;
    // It is tried again after a while.
    let outcome = Outcome { status: Status::Error, reason: None, infrastructure: true };
    advance::finish(&room.app, &job.lease, &[], outcome).await.unwrap();
    assert!(room.app.store.claim(worker).await.unwrap().is_none());
    assert_eq!(status(&room, first).await, Status::Running);
    let held = format!("concurrency group deploy held by build {first}");
    assert!(reasons(&room).await.contains(&format!("{second}: {held}")));
    // Cancelled while it waits for its next attempt, it lets go.
    room.post(&format!("/api/v1/builds/{first}/cancel"), &json!({})).await;
    assert_eq!(status(&room, first).await, Status::Cancelled);
    let (_, again) = room.post(&format!("/api/v1/builds/{first}/retry"), &json!({})).await;
    let job = room.claim(worker).await;
    assert_eq!(job.build.number, second);
    assert_eq!(
        reasons(&room).await,
        [format!("{}: concurrency group deploy held by build {second}", again["number"])]
    );
    end(&room, &job, Status::Passed).await;
    assert_eq!(Some(room.claim(worker).await.build.number.0), again["number"].as_i64());
}
