//! The switch that keeps waiting jobs waiting.

use ocelot_model::access::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::room::{Room, SMALL, answer};

#[tokio::test]
async fn who_paused_and_why_is_said_everywhere() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    let running = room.build("example").await;
    let worker = room.worker().await;
    room.claim(worker).await;
    let (status, state) = room.post("/api/v1/pause", &json!({"reason": " new <disk> "})).await;
    assert_eq!((status, &state["by"], &state["paused"]), (StatusCode::OK, &"root".into(), &true.into()));
    assert_eq!(room.get("/api/v1/pause").await.1, state);
    let waiting = room.build("example").await;
    let (_, queue) = room.get("/api/v1/queue").await;
    assert_eq!(queue["items"][0]["reason"], "paused by root: new <disk>", "{queue}");
    let words = "No job begins: paused by root: new &#60;disk&#62;";
    for path in ["/".to_owned(), format!("/builds/{waiting}"), format!("/builds/{running}")] {
        let page = room.get(&path).await.1;
        assert!(page.as_str().unwrap().contains(words), "{path}: {page}");
    }
    // It does what it is there for.
    assert_eq!(room.get("/readyz").await, (StatusCode::OK, "ready\n".into()));
    assert!(room.app.store.claim(worker).await.unwrap().is_none());
    let (status, state) = answer(room.request(Method::POST, "/api/v1/unpause")).await;
    let none = Value::Null;
    assert_eq!((status, &state["paused"], &state["by"]), (StatusCode::OK, &false.into(), &none));
    let page = room.get("/").await.1;
    assert!(!page.as_str().unwrap().contains("No job begins"), "{page}");
    assert!(room.app.store.claim(worker).await.unwrap().is_some());
}

#[tokio::test]
async fn an_admin_of_the_whole_server_pauses() {
    let room = Room::new().await;
    for (role, scope, change, look) in [
        (Role::Read, &[][..], 403, 200),
        (Role::Write, &[], 403, 200),
        (Role::Admin, &["git/example"], 403, 200),
        (Role::Worker, &[], 403, 403),
    ] {
        let token = room.token(role, scope).await;
        let ask = |method, path| answer(room.plain(method, path).bearer_auth(&token));
        assert_eq!(ask(Method::POST, "/api/v1/pause").await.0.as_u16(), change, "{role}");
        assert_eq!(ask(Method::POST, "/api/v1/unpause").await.0.as_u16(), change, "{role}");
        assert_eq!(ask(Method::GET, "/api/v1/pause").await.0.as_u16(), look, "{role}");
    }
    for (body, want) in [
        (json!({"reason": "a\nb"}), 400),
        (json!({"reason": "x".repeat(501)}), 400),
        (json!({"why": "x"}), 422),
        (json!({"reason": ""}), 200),
    ] {
        assert_eq!(room.post("/api/v1/pause", &body).await.0.as_u16(), want, "{body}");
    }
    // A body is not needed.
    let (status, state) = answer(room.request(Method::POST, "/api/v1/pause")).await;
    assert_eq!((status, &state["reason"]), (StatusCode::OK, &Value::Null));
}

#[tokio::test]
async fn a_server_that_is_about_to_stop_says_so_and_serves() {
    let room = Room::new().await;
    room.app.stopping.cancel();
    let (status, problem) = room.get("/readyz").await;
    assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &"not_ready".into()));
    assert_eq!(problem["detail"], "Not ready: the server stops.");
    assert_eq!(room.get("/healthz").await.0, StatusCode::OK);
    assert_eq!(room.get("/api/v1/builds").await.0, StatusCode::OK);
}

#[tokio::test]
async fn calls_of_the_store_are_counted_by_name() {
    let room = Room::new().await;
    room.get("/api/v1/builds").await;
    let (_, text) = room.get("/metrics").await;
    let series = "ocelot_db_query_duration_seconds_count{query=\"list_builds\"}";
    assert!(text.as_str().unwrap().contains(series), "{text}");
}
