//! Who workers are: enrolment, removal, revoked tokens, drained ones, and those that have lost something.

use std::collections::BTreeMap;

use ocelot_api::proto::from_server::Message as Down;
use ocelot_api::proto::from_worker::Message as Up;
use ocelot_api::proto::{Enrolment, FromWorker, Heartbeat, Hello, Ready};
use ocelot_model::Status;
use reqwest::{Method, StatusCode};
use tonic::Code;

use super::world::{DEADLINE, Worker, World, hello, refused, with_token};

/// What a worker made for itself.
fn own(at: u8) -> String {
    format!("ocw_{}", format!("{at:02x}").repeat(32))
}

async fn enrol(world: &World, token: &str, name: &str, secret: &str) -> Result<String, tonic::Status> {
    let request = Enrolment { name: name.into(), secret: secret.into() };
    Ok(world.client().await.enrol(with_token(token, request)).await?.into_inner().name)
}

/// A connected worker with an identity of its own, and the token that it came with.
async fn enrolled(world: &mut World, name: &str) -> (Worker, String) {
    let (_, token) = world.app().store.create_enrolment(&BTreeMap::new(), None, None, "ann").await.unwrap();
    enrol(world, &token, name, &own(1)).await.unwrap();
    world.secret = own(1);
    (world.worker(name, 1).await, token)
}

/// What the admin asks for over HTTP.
async fn ask(world: &World, method: Method, path: &str) -> StatusCode {
    let token = std::fs::read_to_string(world.folder.path().join("admin-token")).unwrap();
    let url = format!("http://{}{path}", world.server.address);
    reqwest::Client::new().request(method, url).bearer_auth(token.trim()).send().await.unwrap().status()
}

/// The status with which the worker's stream ends.
async fn end(worker: &mut Worker) -> tonic::Status {
    loop {
        match tokio::time::timeout(DEADLINE, worker.down.message()).await.expect("the server is silent") {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the session ended without a word"),
            Err(status) => return status,
        }
    }
}

async fn is_shown(world: &World, id: i64, want: &str) {
    let waiting = async {
        loop {
            let token = std::fs::read_to_string(world.folder.path().join("admin-token")).unwrap();
            let url = format!("http://{}/api/v1/workers", world.server.address);
            let answer = reqwest::Client::new().get(url).bearer_auth(token.trim()).send().await.unwrap();
            let list: serde_json::Value = answer.json().await.unwrap();
            let items = list["items"].as_array().unwrap();
            if items.iter().any(|it| it["id"] == id && it["state"] == want) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("worker {id} is never {want}"));
}

#[tokio::test]
async fn an_enrolled_worker_is_what_its_token_says() {
    let mut world = World::new().await;
    let labels = BTreeMap::from([("zone".to_owned(), "dmz".to_owned())]);
    let (_, token) = world.app().store.create_enrolment(&labels, Some(1), None, "ann").await.unwrap();
    for _ in 0..2 {
        assert_eq!(enrol(&world, &token, "w1", &own(1)).await.unwrap(), "w1");
    }
    refused(enrol(&world, &token, "w2", &own(2)).await.map(drop), Code::Unauthenticated, "used up");
    refused(
        enrol(&world, "ocl_x", "w2", &own(2)).await.map(drop),
        Code::Unauthenticated,
        "worker token create",
    );
    refused(enrol(&world, &token, "", &own(1)).await.map(drop), Code::InvalidArgument, "name");
    refused(enrol(&world, &token, "w1", "short").await.map(drop), Code::InvalidArgument, "64 hexadecimal");
    // The token itself is none for working.
    world.secret.clone_from(&token);
    refused(world.greet(hello("w1", 1)).await.map(drop), Code::Unauthenticated, "too old to enrol");
    world.secret = own(1);
    let labels = [("zone", "inside"), ("executor", "docker")].map(|(key, value)| (key.into(), value.into()));
    let labels = labels.into();
    let worker = world.greet(Hello { labels, ..hello("renamed", 1) }).await.unwrap();
    assert_eq!(worker.welcome.name, "w1");
    worker.say(Up::Ready(Ready { slots: 1 }));
    let yml = "image: busybox\nlabels: {zone: dmz}\nstages:\n  - name: test\n    script: [echo hello]\n";
    let mut worker = worker;
    world.build_of(yml).await;
    worker.offer().await;
}

#[tokio::test]
async fn a_worker_writes_about_its_own_attempts_only() {
    let mut world = World::new().await;
    let (mut one, offer, build) = world.working("w1").await;
    let (mut other, _) = enrolled(&mut world, "w2").await;
    refused(other.report(&offer, 0, "passed", None).await, Code::PermissionDenied, "another worker");
    refused(other.finish(&offer, "failed").await, Code::PermissionDenied, "another worker");
    let (chunks, mut acks) = other.logs().await;
    let lease = offer.lease.clone();
    let stage_id = offer.stages[0].id;
    let chunk = ocelot_api::proto::LogChunk { lease, stage_id, data: "x".into(), ..Default::default() };
    chunks.send(chunk).unwrap();
    refused(acks.message().await.map(drop), Code::PermissionDenied, "another worker");
    one.finish(&offer, "passed").await.unwrap();
    world.until(build, |it| it.build.status == Status::Passed).await;
}

#[tokio::test]
async fn a_removed_worker_loses_its_attempt_at_once_and_stays_out() {
    let mut world = World::new().await;
    let (mut worker, token) = enrolled(&mut world, "w1").await;
    let build = world.build().await;
    let offer = worker.offer().await;
    worker.take(&offer).await;
    let path = format!("/api/v1/workers/{}", worker.welcome.worker_id);
    assert_eq!(ask(&world, Method::DELETE, &path).await, StatusCode::NO_CONTENT);
    // The lease would have lasted three minutes.
    let detail = world.detail(build).await;
    let attempts = &detail.jobs[0].attempts;
    assert_eq!((attempts[0].status, attempts[1].status), (Status::Error, Status::Queued));
    assert_eq!(attempts[0].reason.as_deref(), Some("its worker was removed by admin"));
    assert_eq!(end(&mut worker).await.code(), Code::Unauthenticated);
    refused(world.greet(hello("w1", 1)).await.map(drop), Code::Unauthenticated, "");
    refused(
        enrol(&world, &token, "w1", &own(1)).await.map(drop),
        Code::AlreadyExists,
        "was removed by admin",
    );
    refused(worker.finish(&offer, "passed").await, Code::Unauthenticated, "");
    assert_eq!(ask(&world, Method::DELETE, &path).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_revoked_token_costs_its_workers_their_attempts_at_once() {
    let world = World::new().await;
    let (mut worker, offer, build) = world.working("w1").await;
    let token = world.app().store.find_token(&world.secret).await.unwrap().unwrap();
    let path = format!("/api/v1/tokens/{}", token.id);
    assert_eq!(ask(&world, Method::DELETE, &path).await, StatusCode::NO_CONTENT);
    let detail = world.detail(build).await;
    let attempts = &detail.jobs[0].attempts;
    assert_eq!((attempts[0].status, attempts[1].status), (Status::Error, Status::Queued));
    assert!(attempts[0].reason.as_deref().unwrap().contains("revoked"), "{attempts:?}");
    assert_eq!(end(&mut worker).await.code(), Code::Unauthenticated);
    refused(worker.finish(&offer, "passed").await, Code::Unauthenticated, "");
    is_shown(&world, worker.welcome.worker_id, "disconnected").await;
}

#[tokio::test]
async fn a_token_that_is_revoked_elsewhere_ends_the_session_at_the_next_beat() {
    let world = World::new().await;
    let (mut worker, offer, build) = world.working("w1").await;
    let token = world.app().store.find_token(&world.secret).await.unwrap().unwrap();
    // As by a server of the version before, which wakes nobody.
    let url = format!("sqlite://{}/ocelot.db", world.folder.path().display());
    let other = ocelot_store::Options {
        database_url: url,
        data: world.folder.path().to_owned(),
        log_store: ocelot_store::LogStoreOptions::default(),
        key_file: None,
    };
    let other = ocelot_store::Store::open(&other).await.unwrap();
    other.revoke_token(token.id, "tests").await.unwrap();
    worker.beat(&[offer.lease.clone().unwrap()]);
    assert_eq!(end(&mut worker).await.code(), Code::Unauthenticated);
    let detail = world.until(build, |it| it.jobs[0].attempts.len() == 2).await;
    assert!(
        detail.jobs[0].attempts[0].reason.as_deref().unwrap().contains("token was revoked"),
        "{detail:?}"
    );
}

#[tokio::test]
async fn a_drained_worker_goes_on_with_what_it_has() {
    let world = World::new().await;
    let mut worker = world.worker("w1", 2).await;
    let first = world.build().await;
    let offer = worker.offer().await;
    worker.take(&offer).await;
    let id = worker.welcome.worker_id;
    assert_eq!(ask(&world, Method::POST, &format!("/api/v1/workers/{id}/drain")).await, StatusCode::OK);
    is_shown(&world, id, "draining").await;
    let second = world.build().await;
    worker.finish(&offer, "passed").await.unwrap();
    world.until(first, |it| it.build.status == Status::Passed).await;
    // Another one of the same labels is not held up by it.
    let mut other = world.worker("w2", 1).await;
    let offer = other.offer().await;
    assert_eq!(offer.build_number, second.0);
    other.take(&offer).await;
    // It lasts over a new connection.
    drop(worker);
    let mut worker = world.worker("w1", 1).await;
    let third = world.build().await;
    is_shown(&world, id, "draining").await;
    assert_eq!(ask(&world, Method::POST, &format!("/api/v1/workers/{id}/resume")).await, StatusCode::OK);
    assert_eq!(worker.offer().await.build_number, third.0);
}

#[tokio::test]
async fn a_worker_that_ends_says_so_and_is_offered_nothing() {
    let world = World::new().await;
    let mut worker = world.worker("w1", 1).await;
    worker.say(Up::Heartbeat(Heartbeat { ending: true, ..Heartbeat::default() }));
    is_shown(&world, worker.welcome.worker_id, "draining").await;
    let build = world.build().await;
    let mut other = world.worker("w2", 1).await;
    assert_eq!(other.offer().await.build_number, build.0);
    drop(worker.up);
    assert!(matches!(tokio::time::timeout(DEADLINE, worker.down.message()).await, Ok(Ok(None) | Err(_))));
}

#[tokio::test]
async fn a_worker_that_comes_back_without_its_attempt_has_lost_it() {
    let world = World::new().await;
    let (worker, offer, build) = world.working("w1").await;
    // Its connection ends, and the server has noticed: then it ends its side, too.
    let Worker { up, mut down, .. } = worker;
    drop(up);
    while let Ok(Some(_)) = tokio::time::timeout(DEADLINE, down.message()).await.expect("it does not end") {}
    let mut back = world.worker("w1", 1).await;
    // It hears that the attempt is over, which it knew, and then of the new one.
    assert!(matches!(back.hear().await, Some(Down::Drop(_))));
    let again = back.offer().await;
    assert_eq!(again.build_number, build.0);
    let detail = world.detail(build).await;
    let attempts = &detail.jobs[0].attempts;
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0].reason.as_deref(), Some("the worker w1 came back without it"));
    refused(back.finish(&offer, "passed").await, Code::FailedPrecondition, "stale_attempt");
}

#[tokio::test]
async fn old_and_new_find_a_common_version_or_say_why_not() {
    let world = World::new().await;
    // One that will speak more, and still knows what we speak.
    let newer = Hello { protocol_min: 1, protocol_max: 7, ..hello("newer", 1) };
    assert_eq!(world.greet(newer).await.unwrap().welcome.protocol, 1);
    let older = Hello { protocol_min: 0, protocol_max: 1, ..hello("older", 1) };
    let mut older = world.greet(older).await.unwrap();
    assert_eq!(older.welcome.protocol, 1);
    // A kind of message that this server does not know.
    older.up.send(FromWorker { message: None }).unwrap();
    older.say(Up::Ready(Ready { slots: 1 }));
    world.build().await;
    assert!(matches!(older.hear().await, Some(Down::Offer(_))));
    let much_newer = Hello { protocol_min: 6, protocol_max: 7, ..hello("much", 1) };
    let words =
        "this server speaks worker protocol 1 to 1, this worker 6 to 7: bring the older one up to date";
    refused(world.greet(much_newer).await.map(drop), Code::FailedPrecondition, words);
}
